"""Where an answer ends, and how long it may take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from time import perf_counter

from progress_monitor.types import Finish
from progress_monitor.vlm.errors import RequestRefused
from progress_monitor.vlm.loading import VLM


class StopRule:
    """Ends an answer at an end-of-text token or once a stop string is complete, in either case."""

    def __init__(self, vlm: VLM) -> None:
        self._tokenizer = vlm.tokenizer
        self._ends = vlm.end_tokens
        self._pieces: dict[int, str] = {}

    def piece(self, token: int) -> str:
        """The text of one token."""
        found = self._pieces.get(token)
        if found is None:
            found = self._pieces[token] = self._tokenizer.decode([token])
        return found

    def finish(self, answer: Sequence[int], stop: Sequence[str]) -> Finish | None:
        """END or STOP if ``answer`` is complete with its last token.

        ``stop`` is compared without regard to case: a model that writes ``</Progress>`` has ended
        its answer too.
        """
        if answer[-1] in self._ends:
            return Finish.END
        last = self.piece(answer[-1]).lower()
        wanted = [text.lower() for text in stop if text]
        if not any(text[-1] in last for text in wanted):
            return None
        reach = max(map(len, wanted))
        tail = ''.join(self.piece(token) for token in answer[-reach:]).lower()
        return Finish.STOP if any(text in tail for text in wanted) else None


class TimeLimit:
    """The wall time that one request may take, from its construction on."""

    def __init__(self, limit_s: float) -> None:
        self._started = perf_counter()
        self._limit_s = limit_s

    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return perf_counter() - self._started

    def over(self) -> bool:
        """Whether the time is over."""
        return self.elapsed_s() >= self._limit_s

    def check(self, done: str) -> None:
        """Refuse the request if the time is over; ``done`` says how far it has come.

        :raises RequestRefused: if so.
        """
        if math.isfinite(self._limit_s) and self.over():
            raise RequestRefused(
                f'the time limit of {self._limit_s:.3g} s is over after {done} and before the '
                'first word of an answer; show fewer frames, lower model.max_pixels, or raise '
                'model.deadline_s'
            )
