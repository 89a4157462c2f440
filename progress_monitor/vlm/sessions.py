"""What is kept between the requests of one session: key-value states, a draft, graphs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence

import numpy as np

from progress_monitor.vlm.cache import PrefixCache
from progress_monitor.vlm.graphs import StepGraphs
from progress_monitor.vlm.pictures import Picture

MAX_SESSIONS = 4


class Session:
    """States of the last prompt, the last answer as a draft, and the keys of pictures shown.

    ``adapter`` names the adapter by which all of it came about, and ``vision`` the one by which
    the pictures were encoded.
    """

    def __init__(self, layers: int) -> None:
        self.adapter = ''
        self.vision = ''
        self.cache = PrefixCache(layers)
        self.draft: tuple[int, ...] = ()
        self.pictures: frozenset[int] = frozenset()
        self._shown: frozenset[int] = frozenset()
        self.graphs: StepGraphs | None = None
        self.graphs_tried = False

    def forget(self) -> None:
        """Forget the content; buffers, and graphs captured over them, stay for the next."""
        self.cache.remember(np.empty(0, np.int64))
        self.draft = ()
        self.pictures = self._shown = frozenset()

    def show(self, pictures: Sequence[Picture]) -> None:
        """Take ``pictures`` as those of the newest request.

        A clip that moves on by one frame pairs its frames anew, and as before when it moves on
        again: pairs are held for one request more.
        """
        before, self._shown = self._shown, frozenset(picture.key for picture in pictures)
        merged = any(picture.merged for picture in pictures)
        self.pictures = self._shown | before if merged else self._shown


class Sessions:
    """At most ``MAX_SESSIONS`` sessions by name; beyond that the longest unused one gives way.

    One name under two adapters makes two sessions, so that nothing passes from one to the other.
    Each holds the key-value states of one prompt and answer (two tensors of layers x key heads x
    tokens x head size: 115 kB a token for a model of 2 B in 16 bits). The vision features are
    shared: those of every session's ``pictures`` are held.
    """

    def __init__(self, layers: int) -> None:
        self._layers = layers
        self._live: OrderedDict[tuple[str, str], Session] = OrderedDict()
        self._spare: list[Session] = []

    def __iter__(self) -> Iterator[Session]:
        return iter(self._live.values())

    def get(self, name: str, adapter: str = '') -> Session:
        """The session ``name`` under ``adapter``, empty if it is new."""
        key = adapter, name
        found = self._live.get(key)
        if found is None:
            if len(self._live) >= MAX_SESSIONS:
                self._retire(self._live.popitem(last=False)[1])
            found = self._live[key] = self._empty(adapter)
        self._live.move_to_end(key)
        return found

    def pictures(self, vision: str = '') -> frozenset[int]:
        """Keys of the pictures of every live session that sees by ``vision``."""
        shown = (session.pictures for session in self if session.vision == vision)
        return frozenset().union(*shown)

    def forget(self) -> None:
        """End every session."""
        while self._live:
            self._retire(self._live.popitem()[1])

    def _empty(self, adapter: str) -> Session:
        if not self._spare:
            found = Session(self._layers)
        else:
            fitting = (i for i, item in enumerate(self._spare) if item.adapter == adapter)
            found = self._spare.pop(next(fitting, -1))
        if found.adapter != adapter:
            # Graphs hold the layers with which they were captured.
            found.adapter, found.graphs, found.graphs_tried = adapter, None, False
        return found

    def _retire(self, session: Session) -> None:
        session.forget()
        self._spare.append(session)
