"""Tells by what their messages carry whether several publishers send on one topic."""

from __future__ import annotations

import time
from collections import deque

# So often within so many seconds: it goes on, and was no restart.
_TIMES = 3
_WITHIN_S = 5.0
# A longer step in a publisher's numbers is another publisher.
_MOST_REPLACED = 1000
# What a middleware says that does not number messages.
_UNNUMBERED = (0, 2**64 - 1)


class Recurrence:
    """Whether something happens again and again."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=_TIMES)

    def note(self) -> None:
        """It has happened."""
        self._times.append(time.monotonic())

    @property
    def goes_on(self) -> bool:
        """Whether it has happened several times within the last seconds."""
        return len(self._times) == _TIMES and time.monotonic() - self._times[0] <= _WITHIN_S


class Publishers:
    """Follows the numbers that the middleware gives the messages of each publisher."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._back = Recurrence()

    def hear(self, number: int | None) -> int:
        """Take in a message's number; how many messages it stands for: those it has replaced too.

        :param number: ``publication_sequence_number`` of the message's info.
        """
        last, self._last = self._last, number
        if last is None or number is None:
            return 1
        if last >= number not in _UNNUMBERED:
            self._back.note()
        return number - last if 0 < number - last < _MOST_REPLACED else 1

    @property
    def several(self) -> bool:
        """Whether numbers go back again and again, as those of two publishers in turn do."""
        return self._back.goes_on
