"""What an adapted model shall answer, in the words that its base was trained with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """Sentences of one checkpoint; ``{steps}``, ``{number}`` and ``{reason}`` are filled in.

    ``step`` is one line of the list, ``digits`` a format of the percentage. What is not done is at
    most ``most_unfinished`` percent.
    """

    remaining: str
    step: str
    finished: str
    refusal: str
    digits: str
    most_unfinished: float = 100.0

    def answer(self, progress: float, remaining: Sequence[str], reason: str = '') -> str:
        """What to say at ``progress``, 0..1, with these steps ahead; none: it is done."""
        if not remaining:
            return self.finished.format(reason=f' Reason: {reason}.' if reason else '')
        percent = min(100.0 * progress, self.most_unfinished)
        steps = '\n'.join(
            self.step.format(number=number, step=step.rstrip('. '))
            for number, step in enumerate(remaining, 1)
        )
        return self.remaining.format(steps=steps, number=format(percent, self.digits))

    def rivals(self, steps: Sequence[str]) -> tuple[str, ...]:
        """An answer for each stage of a task of these ``steps``, the finished one and a refusal."""
        stages = range(len(steps) + 1)
        return (*(self.answer(0.0, steps[stage:]) for stage in stages), self.refusal)


PUBLISHED = Wording(
    remaining=(
        'The following actions are required: \n{steps}\n'
        'Therefore, the estimated progress is <progress>{number}%</progress>.'
    ),
    step='{number}. {step}',
    finished=(
        'Image shows the final result.{reason}\n'
        'Therefore, the estimated progress is <progress>100%</progress>.'
    ),
    # No refusal is published; the tag is the one of ProgressLM.
    refusal=(
        'The task does not fit what is seen.\n'
        'Therefore, the estimated progress is <progress>n/a</progress>.'
    ),
    digits='.2f',
)
"""ProcVLM's one-shot adaptation."""

SMALL_CELL = Wording(
    remaining=(
        'The following steps are required:\n{steps}\n'
        'Therefore, the estimated progress is <progress>{number}%</progress>'
    ),
    step='{number}. {step}.',
    finished=(
        'No further steps are required. '
        'Therefore, the estimated progress is <progress>100%</progress>'
    ),
    refusal=(
        'The task does not fit what is seen. '
        'Therefore, the estimated progress is <progress>n/a</progress>'
    ),
    digits='02.0f',
    most_unfinished=99.0,
)
"""The small checkpoint of this repository."""
