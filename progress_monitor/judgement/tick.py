"""What the judge is told once per usable answer."""

from __future__ import annotations

from dataclasses import dataclass

from progress_monitor.types import Estimate


@dataclass(frozen=True)
class Tick:
    """One estimate, and what the plan and the pictures say beside it.

    ``step`` is the first remaining step (empty: none, or not known), ``undone`` whether the plan
    holds a step that was done and is needed again, ``done_steps`` how many steps of it are done,
    and ``supposed_steps`` how many would be if the answers of a rest were taken into it.
    ``resting_since_ns`` is the stamp since which nothing has moved in any picture, None while
    something moves; ``never_moved`` says that nothing has moved since the first frame. ``frames``
    is the number of frames that the model was shown, 0 where it is not known. ``leapt`` says that
    the judge doubts the estimate.
    """

    estimate: Estimate
    step: str = ''
    undone: bool = False
    done_steps: int = 0
    supposed_steps: int = 0
    resting_since_ns: int | None = None
    never_moved: bool = False
    frames: int = 0
    leapt: bool = False
