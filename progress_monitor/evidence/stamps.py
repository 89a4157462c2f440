"""Whether a stream's stamps move on, and on the same time base as the ROS clock."""

from __future__ import annotations


class StampWatch:
    """Follows the acquisition stamps of one camera.

    :param tolerance: how far a stamp may lie ahead of the clock, or fall back, s.
    :param confirm: successive stamps that must go back before that is a new time base.
    """

    def __init__(self, tolerance: float, confirm: int) -> None:
        self._tolerance_ns = round(tolerance * 1e9)
        self._confirm = confirm
        self._backward = 0
        self.newest_ns: int | None = None
        self.jumped = False
        self.repeats = 0

    def take(self, stamp_ns: int) -> bool:
        """Whether the stamp moves on. Several in a row that went back are a new time base."""
        newest = self.newest_ns
        if newest is None or stamp_ns > newest:
            self.newest_ns = stamp_ns
            self.repeats = self._backward = 0
            self.jumped = False
            return True
        if stamp_ns == newest:
            self.repeats += 1
            return False
        self._backward += 1
        if self._backward > self._confirm and newest - stamp_ns > self._tolerance_ns:
            self.jumped = True
            self.newest_ns = stamp_ns
        return False

    def check_ahead(self, now_ns: int) -> bool:
        """Whether the newest stamp lies too far ahead of the clock; it is then forgotten."""
        if self.newest_ns is None or self.newest_ns - now_ns <= self._tolerance_ns:
            return False
        self.jumped = True
        self.newest_ns = now_ns
        return True
