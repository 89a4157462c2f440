"""What is kept between the requests of one session: key-value states, a draft, graphs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import numpy as np

from progress_monitor.vlm.cache import PrefixCache
from progress_monitor.vlm.graphs import StepGraphs

MAX_SESSIONS = 4


class Session:
    """States of the last prompt, the last answer as a draft, and the frames of the last request."""

    def __init__(self, layers: int) -> None:
        self.cache = PrefixCache(layers)
        self.draft: tuple[int, ...] = ()
        self.frames: frozenset[int] = frozenset()
        self.graphs: StepGraphs | None = None
        self.graphs_tried = False

    def forget(self) -> None:
        """Forget the content; buffers, and graphs captured over them, stay for the next."""
        self.cache.remember(np.empty(0, np.int64))
        self.draft = ()
        self.frames = frozenset()


class Sessions:
    """At most ``MAX_SESSIONS`` sessions by name; beyond that the longest unused one gives way.

    Each holds the key-value states of one prompt and answer (two tensors of layers x key heads x
    tokens x head size: 115 kB a token for a model of 2 B in 16 bits). The vision features are
    shared: those of the last request of every session are held.
    """

    def __init__(self, layers: int) -> None:
        self._layers = layers
        self._live: OrderedDict[str, Session] = OrderedDict()
        self._spare: list[Session] = []

    def __iter__(self) -> Iterator[Session]:
        return iter(self._live.values())

    def get(self, name: str) -> Session:
        """The session ``name``, empty if it is new."""
        found = self._live.get(name)
        if found is None:
            if len(self._live) >= MAX_SESSIONS:
                self._retire(self._live.popitem(last=False)[1])
            found = self._spare.pop() if self._spare else Session(self._layers)
            self._live[name] = found
        self._live.move_to_end(name)
        return found

    def frames(self) -> frozenset[int]:
        """Uids of the frames of the last request of every live session."""
        return frozenset().union(*(session.frames for session in self))

    def forget(self) -> None:
        """End every session."""
        while self._live:
            self._retire(self._live.popitem()[1])

    def _retire(self, session: Session) -> None:
        session.forget()
        self._spare.append(session)
