"""What a strategy is: it selects frames, asks, and reads the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from progress_monitor.types import (
    Estimate,
    Frame,
    Generate,
    Generated,
    Part,
    Recollection,
    Score,
    Scored,
    View,
)


class History(Protocol):
    """What a strategy needs of the history: samples in time, oldest first, one frame a camera."""

    @property
    def samples(self) -> Sequence[tuple[Frame, ...]]: ...


@dataclass(frozen=True, eq=False)
class Question:
    """A request that has no id yet; see ``Request`` for the fields."""

    session: str
    parts: tuple[Part, ...]
    want: Generate | Score
    chat: bool = True


class Strategy(Protocol):
    """Makes questions from the history and reads their answers.

    ``prompt_hash`` tells its prompt from every other, ``sessions`` names the kinds of question
    that it asks, ``sample_period_s`` is how far apart in time it wants the samples of the history,
    and ``shows`` says in words which frames the model is shown. ``scores`` says whether it asks for
    log-probabilities after a turn that is left open, which not every server gives, and ``clips``
    whether it shows clips, which not every model can be shown. ``unsuited`` is
    a warning where a checkpoint of that name was not made for it. ``read`` is given the answers to
    questions of one view.
    """

    @property
    def name(self) -> str: ...

    @property
    def prompt_hash(self) -> str: ...

    @property
    def sessions(self) -> tuple[str, ...]: ...

    @property
    def sample_period_s(self) -> float: ...

    @property
    def shows(self) -> str: ...

    @property
    def scores(self) -> bool: ...

    @property
    def clips(self) -> bool: ...

    def unsuited(self, model_name: str) -> str: ...

    def select(self, history: History, now_ns: int) -> View | None: ...

    def ask(self, view: View, memory: Recollection) -> tuple[Question, ...]: ...

    def read(self, answers: tuple[Generated | Scored, ...], view: View) -> Estimate: ...

    def reset(self) -> None: ...
