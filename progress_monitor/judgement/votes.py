from __future__ import annotations

from collections import deque


class Votes:
    """Whether n of the last m ticks agree."""

    def __init__(self, needed: int, among: int) -> None:
        self._needed = needed
        self._last: deque[bool] = deque(maxlen=max(among, needed))

    def add(self, vote: bool) -> bool:
        """Take in one vote and return whether enough agree."""
        self._last.append(vote)
        return self.agreed

    @property
    def agreed(self) -> bool:
        return sum(self._last) >= self._needed

    @property
    def share(self) -> float:
        """Share of the last m ticks that agree, 0..1; ticks that are not there yet do not."""
        return sum(self._last) / (self._last.maxlen or 1)

    def clear(self) -> None:
        self._last.clear()
