"""Stages while they are being cut: not yet complete, and never inconsistent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from progress_monitor.adapt.annotation import MOST_STAGES, Annotation, Stage
from progress_monitor.adapt.proposal import ProposedStage


class DraftError(ValueError):
    """A change cannot be made. The message says why, and the draft is as it was."""


class Draft:
    """Boundaries between stages, in s, and the text of each, which may be empty.

    There is always one stage at least, and each lasts one frame at least.

    :param duration_s: length of the recording, s.
    :param fps: its frame rate, 1/s; boundaries are moved to its frames.
    """

    def __init__(self, task: str, duration_s: float, fps: float) -> None:
        self.task = task
        self.done = True
        self.reason = ''
        self.bounds = [0.0, duration_s]
        self.texts = ['']
        self._duration_s = duration_s
        self._fps = fps

    @property
    def stages(self) -> tuple[tuple[str, float, float], ...]:
        """Text, start and end in s of each stage."""
        return tuple(zip(self.texts, self.bounds, self.bounds[1:], strict=False))

    def load(self, item: Annotation) -> None:
        """Go on from what was annotated."""
        self.task, self.done, self.reason = item.task, item.done, item.reason
        self._set(item.stages)

    def take(self, stages: Iterable[ProposedStage]) -> None:
        """Take proposed stages in place of those that there are."""
        self._set(stages)

    def cut(self, time_s: float) -> int:
        """Divide the stage at ``time_s``; the second part, whose number is returned, has no text.

        :raises DraftError: if there is a boundary, no stage, or one too many.
        """
        time_s = self._on_frame(time_s)
        if len(self.texts) >= MOST_STAGES:
            raise DraftError(f'there are {MOST_STAGES} stages; no more can be held')
        for number, (_, start_s, end_s) in enumerate(self.stages, 1):
            if start_s + self._frame_s < time_s + 1e-9 < end_s - self._frame_s + 2e-9:
                self.bounds.insert(number, time_s)
                self.texts.insert(number, '')
                return number + 1
        raise DraftError(f'{time_s:.2f} s lies within no stage, or on a boundary')

    def move(self, boundary: int, time_s: float) -> None:
        """Move a boundary: 0 is the start of the first stage, n the end of the n-th.

        :raises DraftError: if there is no such boundary, or another would be passed.
        """
        if not 0 <= boundary < len(self.bounds):
            raise DraftError(f'there is no stage {boundary}; there are {len(self.texts)}')
        time_s = self._on_frame(time_s)
        lowest = self.bounds[boundary - 1] + self._frame_s if boundary else 0.0
        last = boundary == len(self.bounds) - 1
        highest = self._duration_s if last else self.bounds[boundary + 1] - self._frame_s
        if not lowest - 1e-9 <= time_s <= highest + 1e-9:
            raise DraftError(f'{time_s:.2f} s does not lie within {lowest:.2f} to {highest:.2f} s')
        self.bounds[boundary] = time_s

    def merge(self, number: int) -> None:
        """Make one of stage ``number`` and the next, with the text of the first that has one.

        :raises DraftError: if there are no such two.
        """
        if not 1 <= number < len(self.texts):
            raise DraftError(f'there is no stage {number} with one after it')
        text = self.texts.pop(number)
        self.texts[number - 1] = self.texts[number - 1] or text
        del self.bounds[number]

    def name(self, number: int, text: str) -> None:
        """Say what stage ``number`` is.

        :raises DraftError: if there is no such stage.
        """
        if not 1 <= number <= len(self.texts):
            raise DraftError(f'there is no stage {number}; there are {len(self.texts)}')
        self.texts[number - 1] = text

    def entry(self) -> dict[str, Any]:
        """The draft as a file holds it, without the videos."""
        return {
            'task': self.task,
            'stages': [
                {'text': text, 'start_s': start_s, 'end_s': end_s}
                for text, start_s, end_s in self.stages
            ],
            'done': self.done,
            'reason': self.reason,
        }

    @property
    def _frame_s(self) -> float:
        return 1.0 / self._fps

    def _on_frame(self, time_s: float) -> float:
        return round(time_s * self._fps) / self._fps

    def _set(self, stages: Iterable[ProposedStage | Stage]) -> None:
        taken = list(stages)
        if taken:
            self.bounds = [taken[0].start_s, *(stage.end_s for stage in taken)]
            self.texts = [stage.text for stage in taken]
