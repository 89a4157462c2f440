"""Work that is worth doing only for the newest of what comes, on a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar('T')


class LatestWorker(Generic[T]):
    """Calls ``work`` on the newest item handed over; those that came meanwhile are forgotten.

    What ``work`` raises is handed to ``failed``, and the next item is worked on.
    """

    def __init__(
        self, name: str, work: Callable[[T], None], failed: Callable[[Exception], None]
    ) -> None:
        self._work = work
        self._failed = failed
        self._items: list[T] = []
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def hand_over(self, item: T) -> None:
        """Take ``item`` in the place of one that waits; returns at once."""
        with self._changed:
            self._items = [item]
            self._changed.notify()

    def close(self) -> None:
        """Finish what is being worked on, drop what waits, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._closed)
                if self._closed:
                    return
                item = self._items.pop()
            try:
                self._work(item)
            except Exception as error:
                self._failed(error)
