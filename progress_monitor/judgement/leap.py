"""A number by which most of the task was done between two looks."""

from __future__ import annotations

import math

from progress_monitor.types import NAN

MOST = 0.7
SOON = 1.0 / 6.0
"""Share of the allowance within which two looks leave no time for that much work."""


class LeapGuard:
    """Whether a number is doubted: it leapt by more than ``MOST`` of the task, all at once.

    A model that has seen hardly anything of a task may take a hand that draws back for one that is
    done. Nothing that a robot does for an allowance is over between two looks, so that such a
    number stands for nothing until it has stood for an allowance. It is measured from the highest
    number before it; the first of all is no leap, and neither is one after a gap.

    :ivar before: highest number that was not doubted, 0..1; NaN before the first.
    :ivar doubted: the newest number where it is doubted, else NaN.
    """

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.before = NAN
        self.pause()

    def pause(self) -> None:
        """For a while nothing could be seen: the next number is no leap."""
        self.doubted = NAN
        self._last = NAN
        self._since: float | None = None

    def doubts(self, number: float, time: float, allowance: float) -> bool:
        """Take in one number, 0..1.

        :param time: of its stamp, s; :param allowance: for the present step, s.
        """
        leapt = number - self.before > MOST
        soon = 0.0 <= time - self._last <= SOON * allowance
        self._last = time
        if leapt and self._since is None and soon:
            self._since = time
        if leapt and self._since is not None and 0.0 <= time - self._since < allowance:
            self.doubted = number
            return True
        self.doubted, self._since = NAN, None
        self.before = number if math.isnan(self.before) else max(number, self.before)
        return False
