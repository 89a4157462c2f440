"""ProgressLM: one frame held against a demonstration (arXiv 2601.15224).

The model names the nearest demonstrated state, then a score around it; ``n/a`` is an answer and
says that the demonstration does not fit what is seen. There is no list of steps, so the score alone
says whether the task is done: from ``success.progress`` on.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from progress_monitor.config import MonitorConfig
from progress_monitor.parameters import ParameterError
from progress_monitor.strategies.checkpoints import unsuited
from progress_monitor.strategies.demonstration import Demonstration
from progress_monitor.strategies.prompt_file import PromptFile
from progress_monitor.strategies.reading import (
    Said,
    Tag,
    as_share,
    find_tags,
    first_readable,
    read_digits,
    read_value,
    split_thought,
    unescape,
)
from progress_monitor.strategies.strategy import History, Question
from progress_monitor.strategy_config import ProgressLMConfig
from progress_monitor.types import (
    NAN,
    Estimate,
    Evidence,
    Generate,
    Generated,
    Part,
    Recollection,
    Scored,
    Verdict,
    View,
)

VARIANTS = (
    'progresslm_sft',
    'progresslm_rl',
    'progresslm_eval',
    'progresslm_nothink',
    'progresslm_short',
)
_DEMONSTRATION = ('demonstration', 'demonstration_images')


class ProgressLM:
    """The demonstration, then the newest frame of one camera."""

    name = 'progresslm'
    sessions = ('progresslm',)
    scores = False
    clips = False
    checkpoints = ('progresslm', 'small_cell')

    def __init__(
        self,
        config: MonitorConfig,
        own: ProgressLMConfig,
        model_name: str = '',
        cameras: Sequence[str] = (),
        demonstration: Demonstration | None = None,
    ) -> None:
        """``demonstration`` takes the place of the folder that ``own`` names.

        :raises ParameterError: if the demonstration or the prompt cannot be used, or it is not
            said which of several ``cameras`` is compared.
        """
        self._camera = _camera(own.camera, cameras)
        if demonstration is None:
            if not own.demonstration:
                raise ParameterError(
                    'progresslm.demonstration: names no folder; record a demonstration first'
                )
            demonstration = Demonstration.load(Path(os.path.expanduser(own.demonstration)))
        self.demonstration = demonstration
        self.prompt = _prompt(own.prompt, demonstration.kind, model_name)
        self.prompt_hash = self.prompt.sha256
        self.sample_period_s = config.window.sample_period
        self.shows = f'newest frame every {config.window.sample_period:g} s'
        self._done_from = config.success.progress

    def unsuited(self, model_name: str) -> str:
        """A warning if the checkpoint was not made for this; else empty."""
        return unsuited(self.name, model_name, self.checkpoints)

    def reset(self) -> None:
        """Nothing is kept from answer to answer."""

    def select(self, history: History, now_ns: int) -> View | None:
        """The newest frame of the camera; None while there is none."""
        if not history.samples:
            return None
        for frame in history.samples[-1]:
            if not self._camera or frame.camera == self._camera:
                return View((frame,), frame.stamp_ns)
        return None

    def ask(self, view: View, memory: Recollection) -> tuple[Question, ...]:
        """Ask with the demonstration's goal: it is what the demonstration shows."""
        images, labelled, labels = _shown(self.demonstration)
        parts = self.prompt.parts(
            {
                'goal': self.demonstration.goal,
                'demonstration': labelled,
                'demonstration_images': images,
                'demonstration_labels': labels,
                'frames': view.frames,
            }
        )
        return (Question(self.name, parts, Generate(stop=('</score>',), number_tag='score')),)

    def read(self, answers: tuple[Generated | Scored, ...], view: View) -> Estimate:
        """Read anchor and score.

        Bare scores up to 1 are shares, all others percent, as the published evaluation takes them.
        An anchor of n/a beside a number is a CONTRADICTION.
        """
        (answer,) = answers
        assert isinstance(answer, Generated)
        stamp_ns = view.stamp_ns
        _, text = split_thought(unescape(answer.text))
        score = first_readable(find_tags(text, 'score')) or _bare(text)
        reference = first_readable(find_tags(text, 'ref'))
        reasoning = _reasoning(text, reference)
        if score is None:
            return Estimate(stamp_ns, NAN, NAN, None, Evidence.NO_NUMBER, reasoning)
        if score.said is Said.REFUSAL:
            return Estimate(stamp_ns, NAN, NAN, None, Evidence.REFUSED, reasoning)
        progress = as_share(score.value, score.percent)
        scale = 0.01 if score.percent or score.value > 1.0 else 1.0
        digits = read_digits(answer.number, scale, self._done_from)
        unfit = reference is not None and reference.said is Said.REFUSAL
        return Estimate(
            stamp_ns,
            progress,
            digits.deviation,
            None,
            Evidence.CONTRADICTION if unfit else Evidence.GOOD,
            reasoning,
            success_probability=digits.reached,
            verdict=Verdict.DONE if progress >= self._done_from else Verdict.NOT_DONE,
            expected=digits.mean,
        )


def _camera(chosen: str, cameras: Sequence[str]) -> str:
    """The camera whose frames are compared; empty: the only one."""
    listed = ', '.join(cameras)
    if chosen and cameras and chosen not in cameras:
        raise ParameterError(f'progresslm.camera: {chosen} is not one of {listed}')
    if not chosen and len(cameras) > 1:
        raise ParameterError(
            'progresslm.camera: a single frame is compared with the demonstration; say which of '
            f'the cameras takes it: {listed}'
        )
    return chosen


def _prompt(chosen: str, kind: str, model_name: str) -> PromptFile:
    if chosen == 'auto':
        trained = Path(model_name).name.casefold().replace('_', '-').split('-')
        chosen = 'progresslm_rl' if 'rl' in trained else 'progresslm_sft'
    if chosen == 'progresslm_nothink' and kind == 'text':
        raise ParameterError(
            'progresslm.prompt: progresslm_nothink is published for visual demonstrations only'
        )
    if chosen in VARIANTS:
        chosen = f'{chosen}_{kind}'
    prompt = PromptFile.load(chosen, ('frames', 'goal'), (*_DEMONSTRATION, 'demonstration_labels'))
    if not any(f'{{{field}}}' in prompt.text for field in _DEMONSTRATION):
        raise ParameterError(f'prompt file {chosen!r} must hold {{demonstration}}')
    return prompt


def _shown(demonstration: Demonstration) -> tuple[tuple[Part, ...], tuple[Part, ...], str]:
    """The images alone, the images (or the steps' texts) with their labels, the labels alone."""
    if demonstration.kind == 'text':
        steps = (
            f'Step {i}. {step.text}\nThe Progress for now is {round(100 * step.progress)}%.'
            for i, step in enumerate(demonstration.steps, 1)
        )
        return (), ('\n\n'.join(steps),), ''
    images: list[Part] = []
    labelled: list[Part] = []
    labels: list[str] = []
    for step in demonstration.steps:
        assert step.image is not None
        label = f'{round(100 * step.progress)}%'
        images.append(step.image)
        labelled += ([' '] if labelled else []) + [step.image, f' {label}']
        labels.append(f'<image> {label}')
    return tuple(images), tuple(labelled), ' '.join(labels)


def _bare(text: str) -> Tag | None:
    """The score of an answer that is nothing but the score."""
    said, value, percent = read_value(text.strip())
    return None if said is Said.UNREADABLE else Tag(0, text.strip(), said, value, percent)


def _reasoning(text: str, reference: Tag | None) -> str:
    parts = [f'Reference state: {reference.content}.'] if reference else []
    parts += [tag.content for name in ('ref_think', 'score_think') for tag in find_tags(text, name)]
    return '\n'.join(part for part in parts if part) or text.strip()
