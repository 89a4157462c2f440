"""How to ask the model and how to read its answer, one strategy a file."""

from __future__ import annotations

from typing import Protocol

from progress_monitor.strategies.procvlm import ProcVLM
from progress_monitor.types import Answer, Estimate, Frame, Prompt


class Strategy(Protocol):
    """Makes the question from a window and reads the answer.

    ``memory`` is the sentence about the steps done so far; empty: the model is not told.
    """

    def prompt(self, frames: tuple[Frame, ...], task: str, memory: str) -> Prompt: ...

    def read(self, answer: Answer, stamp_ns: int) -> Estimate: ...


STRATEGIES: dict[str, type[Strategy]] = {'procvlm': ProcVLM}
