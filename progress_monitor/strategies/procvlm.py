"""ProcVLM's way of asking for the remaining steps and the progress (arXiv 2605.08774).

The wording before the tag differs from model to model, so the list and the tag are read and the
sentences are not. Unlike the reference tool, which repeats the last value when it finds no tag,
no tag here means unknown. The one sentence that stands for a value is "This task is finished
because ...", which the model itself writes in place of a tag: it is read as 100 %. The tag holds
percent, with or without the sign, as the reference tool takes it.
"""

from __future__ import annotations

import re

from progress_monitor.config import MonitorConfig
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
from progress_monitor.strategies.selection import WindowSelection, described
from progress_monitor.strategies.steps_list import remaining_steps, says_finished
from progress_monitor.strategies.strategy import History, Question
from progress_monitor.strategy_config import ProcVLMConfig
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

_COMPLETE = 99.95
_HARDLY_BEGUN = 50.0
_ECHO = re.compile(r'<progress>[ ]tags\b\.?', re.IGNORECASE)


class ProcVLM:
    """Images first, then the text, in one user turn; answers end in a progress tag."""

    name = 'procvlm'
    sessions = ('procvlm',)
    scores = False
    clips = False
    checkpoints = ('procvlm', 'small_cell')

    def __init__(self, config: MonitorConfig, own: ProcVLMConfig | None = None) -> None:
        own = own or ProcVLMConfig()
        self.prompt = PromptFile.load(own.prompt, ('frames', 'task'), ('done',))
        self.prompt_hash = self.prompt.sha256
        self.sample_period_s = config.window.sample_period
        self.shows = described(config.window)
        self._selection = WindowSelection(config.window)
        self._done_from = config.success.progress

    def unsuited(self, model_name: str) -> str:
        """A warning if the checkpoint was not made for this; else empty."""
        return unsuited(self.name, model_name, self.checkpoints)

    def reset(self) -> None:
        """Let the next window start anew."""
        self._selection.reset()

    def select(self, history: History, now_ns: int) -> View | None:
        """The window, by the policy that ``window.policy`` names."""
        if not history.samples:
            return None
        frames = self._selection.select(history.samples)
        return View(frames, max(frame.stamp_ns for frame in frames))

    def ask(self, view: View, memory: Recollection) -> tuple[Question, ...]:
        """Ask about the task; the sentence on what is done is appended unless it is empty."""
        done = f' {memory.done}' if memory.done else ''
        parts = self.prompt.parts({'frames': view.frames, 'task': memory.task, 'done': done})
        want = Generate(stop=('</progress>', '</Progress>'), number_tag='progress')
        return (Question(self.name, parts, want),)

    def read(self, answers: tuple[Generated | Scored, ...], view: View) -> Estimate:
        """Read the list and the tag.

        Progress and spread are NaN unless the evidence is GOOD or CONTRADICTION; the number of the
        first readable tag is clamped to 0..100 percent.
        """
        (answer,) = answers
        assert isinstance(answer, Generated)
        stamp_ns = view.stamp_ns
        _, text = split_thought(unescape(answer.text))
        text, echoed = _without_echo(text)
        tags = find_tags(text, 'progress')
        tag = first_readable(tags)
        # What stands in a tag is no step, whether it can be read or not.
        ends = tag or (tags[-1] if tags else None)
        reasoning = (text[: ends.start] if ends else text).strip()
        if tag is None and says_finished(text) and answer.finish in (Finish.STOP, Finish.END):
            return Estimate(stamp_ns, 1.0, NAN, (), Evidence.GOOD, reasoning, verdict=Verdict.DONE)
        if tag is None:
            steps = None if echoed else remaining_steps(reasoning, NAN)
            return Estimate(stamp_ns, NAN, NAN, steps, Evidence.NO_NUMBER, reasoning)
        if tag.said is Said.REFUSAL:
            return Estimate(stamp_ns, NAN, NAN, None, Evidence.REFUSED, reasoning)
        percent = min(max(tag.value, 0.0), 100.0)
        steps = remaining_steps(reasoning, percent)
        if steps is None and percent >= _COMPLETE:
            steps = ()
        contradicts = (bool(steps) and percent >= _COMPLETE) or (
            steps == () and percent < _HARDLY_BEGUN
        )
        digits = read_digits(answer.number, 0.01, self._done_from)
        return Estimate(
            stamp_ns,
            percent / 100.0,
            digits.deviation,
            steps,
            Evidence.CONTRADICTION if contradicts else Evidence.GOOD,
            reasoning,
            success_probability=digits.reached,
            verdict=Verdict.DONE if steps == () else Verdict.NOT_DONE,
            expected=digits.mean,
        )


def _without_echo(text: str) -> tuple[str, bool]:
    """``text`` after the last echo of the prompt's end, and whether there was one."""
    ends = [match.end() for match in _ECHO.finditer(text)]
    return (text[ends[-1] :], True) if ends else (text, False)
