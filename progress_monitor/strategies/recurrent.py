"""Recurrent reasoning: the newest snippet and the chain of thought so far (arXiv 2603.17312).

The structure is the published one (key steps, their status, the completed share, ``<think>`` and
``<answer>``); the wording of the prompt is the monitor's own, as none is published, and the first
round has images, where the method's has none. Each frame is shown in one snippet at most, so the
cost of an answer does not grow with the task. The memory keeps and bounds the chain of thought.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from progress_monitor.config import MonitorConfig
from progress_monitor.parameters import ParameterError
from progress_monitor.strategies.checkpoints import unsuited
from progress_monitor.strategies.prompt_file import PromptFile
from progress_monitor.strategies.reading import (
    Said,
    find_tags,
    first_readable,
    read_digits,
    split_thought,
    unescape,
)
from progress_monitor.strategies.selection import FRAMES_AT_ONCE
from progress_monitor.strategies.strategy import History, Question
from progress_monitor.strategy_config import RecurrentConfig
from progress_monitor.types import (
    NAN,
    Estimate,
    Evidence,
    Finish,
    Generate,
    Generated,
    Recollection,
    Scored,
    Verdict,
    View,
)

_FIRST = 'Nothing yet: this is the beginning.'
_STEP = re.compile(r'(?:\d{1,3}[.)]|[-*•])?[ \t]{0,8}(.*)')
_STATUS = re.compile(
    r'[\[(【（][ ]?((?:not |in)?completed?|(?:not )?done|pending|in progress|not started)[ ]?'
    r'[\])】）][.]?',
    re.IGNORECASE,
)
_COMPLETED = ('complete', 'completed', 'done')
_HARDLY_BEGUN = 0.5


class Recurrent:
    """Snippets of all cameras; every answer brings the next chain of thought."""

    name = 'recurrent'
    sessions = ('recurrent',)
    scores = False
    clips = False
    checkpoints = ('r2vlm', 'small_cell')

    def __init__(
        self,
        config: MonitorConfig,
        own: RecurrentConfig | None = None,
        cameras: Sequence[str] = (),
    ) -> None:
        """:raises ParameterError: if the frames of ``cameras`` are too many to be shown at once."""
        own = own or RecurrentConfig()
        if own.frames * len(cameras) > FRAMES_AT_ONCE:
            raise ParameterError(
                f'recurrent.frames: {own.frames} of {len(cameras)} cameras make '
                f'{own.frames * len(cameras)} frames; at most {FRAMES_AT_ONCE} can be shown: '
                'lower it'
            )
        self.shows = f'snippets of {own.frames} every {own.sample_period:g} s'
        self.prompt = PromptFile.load(own.prompt, ('frames', 'task', 'thought'))
        self.prompt_hash = self.prompt.sha256
        self.sample_period_s = own.sample_period
        self._frames = own.frames
        self._done_from = config.success.progress
        self.reset()

    def unsuited(self, model_name: str) -> str:
        """A warning if the checkpoint was not made for this; else empty."""
        return unsuited(self.name, model_name, self.checkpoints)

    def reset(self) -> None:
        """Let the next snippet begin anywhere."""
        self._shown_ns: int | None = None

    def select(self, history: History, now_ns: int) -> View | None:
        """The newest ``frames`` of each camera; None until so many came since the last snippet."""
        newest = list(history.samples)[-self._frames :]
        if len(newest) < self._frames:
            return None
        begins_ns, ends_ns = (max(frame.stamp_ns for frame in newest[i]) for i in (0, -1))
        if self._shown_ns is not None and begins_ns <= self._shown_ns:
            return None
        self._shown_ns = ends_ns
        return View(tuple(frame for sample in newest for frame in sample), ends_ns)

    def ask(self, view: View, memory: Recollection) -> tuple[Question, ...]:
        """Ask for the chain of thought as it is after the snippet."""
        thought = memory.thought or _FIRST
        parts = self.prompt.parts({'frames': view.frames, 'task': memory.task, 'thought': thought})
        return (Question(self.name, parts, Generate(stop=('</answer>',), number_tag='answer')),)

    def read(self, answers: tuple[Generated | Scored, ...], view: View) -> Estimate:
        """Read chain of thought, key steps and answer.

        ``thought`` is empty, so that the earlier one stays, where the answer was cut or holds no
        number. The task is done when no key step is pending and the answer reaches
        ``success.progress``.
        """
        (answer,) = answers
        assert isinstance(answer, Generated)
        stamp_ns = view.stamp_ns
        thought, text = split_thought(unescape(answer.text))
        tag = first_readable(find_tags(text, 'answer'))
        cut = answer.finish not in (Finish.STOP, Finish.END)
        if tag is None or cut:
            return Estimate(stamp_ns, NAN, NAN, None, Evidence.NO_NUMBER, thought or text.strip())
        if tag.said is Said.REFUSAL:
            return Estimate(stamp_ns, NAN, NAN, None, Evidence.REFUSED, thought)
        progress = min(max(tag.value / 100.0, 0.0), 1.0)
        pending = _pending(thought)
        finished = progress >= self._done_from
        contradicts = (finished and bool(pending)) or (pending == () and progress < _HARDLY_BEGUN)
        digits = read_digits(answer.number, 0.01, self._done_from)
        return Estimate(
            stamp_ns,
            progress,
            digits.deviation,
            pending,
            Evidence.CONTRADICTION if contradicts else Evidence.GOOD,
            thought,
            success_probability=digits.reached,
            verdict=Verdict.DONE if finished and not pending else Verdict.NOT_DONE,
            expected=digits.mean,
            thought=thought,
        )


def _pending(thought: str) -> tuple[str, ...] | None:
    """Key steps that are not completed, in order; None where no line tells a status."""
    found = False
    pending = []
    for line in thought.split('\n'):
        status = next(reversed(list(_STATUS.finditer(line))), None)
        if status is None:
            continue
        found = True
        if status[1].casefold() in _COMPLETED:
            continue
        # A status may stand before its step.
        sides = (line[: status.start()], line[status.end() :])
        step = next((step for side in sides if (step := _named(side))), '')
        if step:
            pending.append(step)
    return tuple(pending) if found else None


def _named(text: str) -> str:
    """The step in one side of a line, without its number."""
    step = _STEP.match(text.replace('**', '').strip())
    return step[1].strip(' :-') if step is not None else ''
