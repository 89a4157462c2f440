"""Observed time: the part of the ROS clock in which there was evidence to judge by."""

from __future__ import annotations

from collections import deque

LEAST_GAP_S = 1.0
GAP_INTERVALS = 4.0
INTERVALS = 8


class ObservedClock:
    """Advances by the time between stamps, but not over gaps and not while held.

    A gap is more than four usual intervals between ticks, and at least a second. So neither
    silence nor a jump of the clock counts. What is usual is the second shortest of the last eight
    intervals, gaps among them, and before there are eight the shortest: jumps that come often are
    still jumps, and a model that has become slow is soon known to be so.
    """

    def __init__(self) -> None:
        self.time = 0.0
        self.stamp_ns: int | None = None
        self._held = True
        self._intervals: deque[float] = deque(maxlen=INTERVALS)

    def hold(self) -> None:
        """Stand still until the next tick."""
        self._held = True

    def forget(self) -> None:
        """The stamps start again earlier."""
        self.stamp_ns = None
        self._held = True

    def is_new(self, stamp_ns: int) -> bool:
        """Whether ``stamp_ns`` is later than every stamp before it."""
        return self.stamp_ns is None or stamp_ns > self.stamp_ns

    def advance(self, stamp_ns: int) -> float:
        """Move on to ``stamp_ns`` and return observed time, s."""
        if self.stamp_ns is not None and not self._held:
            passed = (stamp_ns - self.stamp_ns) * 1e-9
            usual = self._usual()
            if passed <= max(GAP_INTERVALS * usual, LEAST_GAP_S):
                self.time += passed
            self._intervals.append(passed)
        self._held = False
        self.stamp_ns = stamp_ns
        return self.time

    def _usual(self) -> float:
        ordered = sorted(self._intervals)
        if len(ordered) < INTERVALS:
            return ordered[0] if ordered else 0.0
        return ordered[1]


class Suspension:
    """The grace period after a start, and the time of a recovery: nothing but success is judged."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._until_ns: int | None = None

    def begin(self, now_ns: int, duration_s: float) -> None:
        """Suspend judgement for ``duration_s``; 0 takes the grace period."""
        duration = duration_s if duration_s > 0.0 else self._grace_s
        self._until_ns = now_ns + round(duration * 1e9)

    def forget(self) -> None:
        """The stamps start again earlier."""
        self._until_ns = None

    def start(self, stamp_ns: int) -> None:
        """The first tick has come: the grace period begins, unless a recovery goes on."""
        if self._until_ns is None:
            self.begin(stamp_ns, 0.0)

    def covers(self, stamp_ns: int) -> bool:
        return self._until_ns is not None and stamp_ns < self._until_ns

    def ended(self, stamp_ns: int) -> bool:
        """Whether a suspension has ended by ``stamp_ns``; says so once."""
        if self._until_ns is None or stamp_ns < self._until_ns:
            return False
        self._until_ns = None
        return True
