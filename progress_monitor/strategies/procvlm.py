"""ProcVLM's way of asking for the remaining steps and the progress (arXiv 2605.08774).

The wording before the tag differs from model to model, so the list and the tag are read and the
sentences are not. Unlike the reference tool, which repeats the last value when it finds no tag,
no tag here means unknown.
"""

from __future__ import annotations

import math
import re

from progress_monitor.config import MonitorConfig
from progress_monitor.strategies.selection import WindowSelection
from progress_monitor.strategies.strategy import History, Question
from progress_monitor.types import (
    NAN,
    Estimate,
    Evidence,
    Generate,
    Generated,
    Recollection,
    Scored,
    Verdict,
    View,
)

TEMPLATE = (
    'Given the recent observation and the task "{task}", first infer the remaining atomic actions '
    'required to complete the task. Then estimate the current completion percentage and output it '
    'as a float wrapped by <progress> tags.'
)

_TAG = re.compile(
    r'<progress>\s*(?:([+-]?(?:\d+\.?\d*|\.\d+))\s*%?|(n\s*/?\s*a))\s*</progress>', re.IGNORECASE
)
_LINE_ITEM = re.compile(r'^[ \t]*(?:\(?\d{1,2}[.)]|[-*•])[ \t]+(\S.*?)[ \t]*$', re.MULTILINE)
_INLINE_ITEM = re.compile(r'(?<!\S)\(?\d{1,2}[.)]\s+(\S.*?)(?=\s+\(?\d{1,2}[.)]\s|\s*$)', re.DOTALL)
_CONCLUSION = re.compile(r'\b(?:therefore|thus|hence|so),', re.IGNORECASE)
_NOTHING_LEFT = re.compile(
    r'\b(?:no|zero)\s+(?:further|more|remaining|additional|other)\s+'
    r'(?:\w+\s+)?(?:steps?|actions?)\b',
    re.IGNORECASE,
)
_COMPLETE = 99.95
_HARDLY_BEGUN = 50.0


class ProcVLM:
    """Images first, then the text, in one user turn; answers end in a progress tag."""

    name = 'procvlm'
    sessions = ('procvlm',)

    def __init__(self, config: MonitorConfig) -> None:
        self._selection = WindowSelection(config.window)
        self._done_from = 100.0 * config.success.progress
        self.sample_period_s = config.window.sample_period

    def reset(self) -> None:
        """Let the next window start anew."""
        self._selection.reset()

    def select(self, history: History, now_ns: int) -> View | None:
        """The window, by the policy that ``window.policy`` names."""
        frames = self._selection.select(history.samples)
        return View(frames, max(frame.stamp_ns for frame in frames))

    def ask(self, view: View, memory: Recollection) -> tuple[Question, ...]:
        """Ask about the task; the sentence on what is done is appended unless it is empty."""
        text = TEMPLATE.replace('{task}', memory.task)
        text = f'{text} {memory.done}' if memory.done else text
        want = Generate(stop=('</progress>', '</Progress>'), number_tag='progress')
        return (Question('procvlm', (*view.frames, text), want),)

    def read(self, answers: tuple[Generated | Scored, ...], view: View) -> Estimate:
        """Read the list and the tag.

        Progress and spread are NaN unless the evidence is GOOD or CONTRADICTION; the number of the
        first tag is clamped to 0..100 percent.
        """
        (answer,) = answers
        assert isinstance(answer, Generated)
        stamp_ns = view.stamp_ns
        tag = _TAG.search(answer.text)
        reasoning = (answer.text[: tag.start()] if tag else answer.text).strip()
        steps = _remaining(reasoning)
        if tag is None:
            return Estimate(stamp_ns, NAN, NAN, steps, Evidence.NO_NUMBER, reasoning)
        if tag.group(2):
            return Estimate(stamp_ns, NAN, NAN, None, Evidence.REFUSED, reasoning)
        percent = min(max(float(tag.group(1)), 0.0), 100.0)
        if steps is None and percent >= _COMPLETE:
            steps = ()
        spread, done = self._distribution(answer.number)
        contradicts = (bool(steps) and percent >= _COMPLETE) or (
            steps == () and percent < _HARDLY_BEGUN
        )
        evidence = Evidence.CONTRADICTION if contradicts else Evidence.GOOD
        verdict = Verdict.DONE if steps == () else Verdict.NOT_DONE
        return Estimate(
            stamp_ns,
            percent / 100.0,
            spread,
            steps,
            evidence,
            reasoning,
            success_probability=done,
            verdict=verdict,
        )

    def _distribution(self, number: tuple[tuple[float, float], ...]) -> tuple[float, float]:
        """Standard deviation, 0..1, and the probability that the number stands for success."""
        if not number:
            return NAN, NAN
        mean = sum(value * share for value, share in number)
        variance = sum(share * (value - mean) ** 2 for value, share in number)
        done = sum(share for value, share in number if value >= self._done_from)
        return math.sqrt(variance) / 100.0, done


def _remaining(text: str) -> tuple[str, ...] | None:
    """Steps of the list; empty if the text says that none is left; None if it says neither."""
    listing = _CONCLUSION.split(text)[0]
    items = _LINE_ITEM.findall(listing)
    if len(items) < 2:
        items = _INLINE_ITEM.findall(listing) or items
    if items:
        return tuple(items)
    return () if _NOTHING_LEFT.search(text) else None
