"""What each strategy asks of the small checkpoint and what it shall answer.

Prompts come from the strategies themselves, so that training and monitor cannot drift apart. A
frame in a prompt stands for an index into the corpus.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from progress_monitor.config import MonitorConfig
from progress_monitor.strategies.demonstration import Demonstration, DemonstrationStep
from progress_monitor.strategies.progresslm import ProgressLM
from progress_monitor.strategies.recurrent import Recurrent
from progress_monitor.strategies.strategy import Question, Strategy
from progress_monitor.strategies.topreward import CONTINUATIONS, TopReward
from progress_monitor.strategy_config import ProgressLMConfig
from progress_monitor.types import Frame, Recollection, View
from progress_monitor_lab.sim.tasks import TASKS
from progress_monitor_lab.training.answers import prompt

Part = str | int

_BLANK = np.zeros((128, 128, 3), np.uint8)
_CONFIG = MonitorConfig()
_RECURRENT = Recurrent(_CONFIG)
_TOPREWARD = TopReward(_CONFIG)
_UNFIT = 'The task does not fit what is seen.'
# How the likelihood of True rises with progress, so that its logarithm rises evenly.
_STEEPNESS = 5.0
_ALMOST_DONE, _DONE = 0.75, 0.99


@dataclass(frozen=True)
class Sample:
    """One prompt and the answer to learn.

    ``parts`` are texts and frames (indices into the corpus). Where two answers are possible,
    ``other`` is the second one and ``chance_of_other`` its share at the first token that differs.
    """

    parts: tuple[Part, ...]
    answer: str
    chat: bool = True
    other: str = ''
    chance_of_other: float = 0.0

    @property
    def frames(self) -> tuple[int, ...]:
        """Indices into the corpus, in the order shown."""
        return tuple(part for part in self.parts if isinstance(part, int))


def procvlm(frames: Sequence[int], task: str, done: Sequence[str] | None, answer: str) -> Sample:
    """The window, the task and the memory's line; ``answer`` as it is to be said."""
    return Sample((*frames, prompt(task, done)), answer)


def thought(steps: Sequence[str], stage: int) -> str:
    """The chain of thought when the first ``stage`` of ``steps`` are done."""
    lines = [
        f'{number}. {step} [{"completed" if number <= stage else "pending"}]'
        for number, step in enumerate(steps, 1)
    ]
    return '\n'.join([*lines, f'Completed: {stage} of {len(steps)}'])


def recurrent(frames: Sequence[int], task: str, before: str, now: str, percent: str) -> Sample:
    """A snippet and the thought before it; ``now`` is the thought after it, empty: unfit."""
    view = _view(frames)
    (question,) = _RECURRENT.ask(view, Recollection(task, thought=before))
    answer = f'<think>\n{now or _UNFIT}\n</think>\n<answer>{percent}</answer>'
    return Sample(_parts(question), answer)


def topreward(
    frames: Sequence[int], task: str, progress: float, done: bool, say_true: bool
) -> Sample:
    """The statement and its likelihood; ``progress`` below 0 where the task does not fit."""
    (question,) = _TOPREWARD.ask(_view(frames), Recollection(task))
    true = _DONE if done else _ALMOST_DONE * math.exp(-_STEEPNESS * (1.0 - progress))
    answer, other = CONTINUATIONS if say_true else CONTINUATIONS[::-1]
    return Sample(
        _parts(question), answer, chat=False, other=other,
        chance_of_other=1.0 - true if say_true else true,
    )  # fmt: skip


def progresslm(
    frame: int, goal: str, demonstration: Sequence[tuple[str | int, float]], ref: str, score: str
) -> Sample:
    """One frame against a demonstration of (frame or text, progress 0..1) in order."""
    steps = tuple(
        DemonstrationStep(progress, text=state)
        if isinstance(state, str)
        else DemonstrationStep(progress, image=_frame(state))
        for state, progress in demonstration
    )
    kind = 'text' if isinstance(demonstration[0][0], str) else 'visual'
    strategy: Strategy = ProgressLM(
        _CONFIG,
        ProgressLMConfig(prompt='progresslm_short'),
        demonstration=Demonstration(kind, goal, steps),
    )
    (question,) = strategy.ask(_view([frame]), Recollection(goal))
    return Sample(_parts(question), f'<ref>{ref}</ref><score>{score}</score>')


def text_demonstration(task: str) -> tuple[tuple[str, float], ...]:
    """The actions of ``task``, each with the progress at its end."""
    reached = np.cumsum([stage.budget for stage in TASKS[task].stages])
    return tuple(
        (stage.action, min(float(end), 1.0))
        for stage, end in zip(TASKS[task].stages, reached, strict=True)
    )


def _frame(index: int) -> Frame:
    return Frame(index, 'camera', index, _BLANK)


def _view(frames: Sequence[int]) -> View:
    return View(tuple(_frame(index) for index in frames), 0)


def _parts(question: Question) -> tuple[Part, ...]:
    return tuple(part.uid if isinstance(part, Frame) else str(part) for part in question.parts)
