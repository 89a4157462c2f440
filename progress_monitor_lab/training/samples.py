"""Questions and answers drawn from episodes, as the monitor will ask them.

Windows hold 1 frame or 5 to 17 (ProcVLM's), at 0.2 to 0.8 s from frame to frame. The memory is
right, a tick or two behind, missing, or wrong. The count of frames says nothing about progress:
some windows repeat one frame, in some the robot stops, and where a window reaches back before the
episode the robot waits at its beginning. Some tasks do not fit the scene, and some scenes are not
the cell's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from progress_monitor_lab.sim.tasks import TASKS
from progress_monitor_lab.training.answers import (
    FOREIGN_TASKS,
    answer,
    prompt,
    refusal,
    stages,
    unfitting,
    wordings,
)
from progress_monitor_lab.training.data import Corpus, Episode

SINGLE_FRAME = 0.3
LONGEST, SHORTEST = 17, 5
STRIDES = (1, 2, 3, 4)
REPEATED, STOPPED = 0.12, 0.15
# Whether a task is done or nearly so hangs on details; the last frames are asked about more often.
AT_END, ENDING = 0.18, 24
UNFITTING = 0.1
# Pictures of other scenes; half of such windows show one picture again and again.
FOREIGN = 0.1
LONGEST_EPISODE = 150
# How often a task is asked about, if not once: what needs memory or sharp eyes is harder.
SHARES = {
    'press_three_times': 2.5,
    'drawer_open_close': 2.5,
    'pick_place': 2.0,
    'bin_picking': 1.5,
    'push': 1.5,
    'sweep_into': 1.5,
    'window_open': 1.3,
}
MEMORY_MISSING, MEMORY_WRONG = 0.3, 0.22
# Of the wrong memories in tasks of several phases: those that missed the end of the last step for
# good. The monitor's memory holds what the model said, so a model that waits for it never moves on.
FORGETFUL = 0.6


@dataclass(frozen=True)
class Sample:
    """Frames (indices into the corpus), the user's text and the answer to learn."""

    frames: tuple[int, ...]
    text: str
    answer: str


class Sampler:
    """Draws samples from a corpus."""

    def __init__(self, corpus: Corpus, seed: int) -> None:
        self._corpus = corpus
        self._rng = np.random.default_rng(seed)
        lengths = [min(len(episode.progress), LONGEST_EPISODE) for episode in corpus.episodes]
        of_task = dict.fromkeys((episode.task for episode in corpus.episodes), 0)
        for episode, length in zip(corpus.episodes, lengths, strict=True):
            of_task[episode.task] += length
        chances = np.array(
            [
                length * SHARES.get(episode.task, 1.0) / of_task[episode.task]
                for episode, length in zip(corpus.episodes, lengths, strict=True)
            ]
        )
        self._chance = chances / chances.sum()

    def frames_of_batch(self) -> int:
        """How many frames the windows of the next batch hold."""
        if self._rng.random() < SINGLE_FRAME:
            return 1
        return int(self._rng.integers(SHORTEST, LONGEST + 1))

    def draw(self, count: int) -> Sample:
        """One sample with a window of ``count`` frames."""
        rng = self._rng
        if self._corpus.foreign and rng.random() < FOREIGN:
            return self._foreign(count)
        episode = self._corpus.episodes[rng.choice(len(self._chance), p=self._chance)]
        stride = int(rng.choice(STRIDES))
        end = len(episode.progress)
        last = int(rng.integers(max(end - ENDING, 0) if rng.random() < AT_END else 0, end))
        kind, still = rng.random(), 0
        if kind < REPEATED:
            still = count
        elif kind < REPEATED + STOPPED:
            still = int(rng.integers(1, count + 1))
        ages = np.maximum(np.arange(count)[::-1] - still, 0)
        window = np.maximum(last - stride * ages, 0)
        return self._sample(episode, tuple(window.tolist()), stride)

    def _foreign(self, count: int) -> Sample:
        """Any task in another scene: its neighbours in the corpus are of the same kind."""
        rng = self._rng
        shown = len(self._corpus.images) - self._corpus.foreign
        last = int(rng.integers(shown, len(self._corpus.images)))
        frames = np.full(count, last)
        if rng.random() < 0.5:
            frames = np.clip(last - np.arange(count)[::-1], shown, None)
        task = str(rng.choice(tuple(TASKS)))
        text = str(rng.choice((*wordings(task), *FOREIGN_TASKS)))
        done = (None, (), stages(task)[:1])[int(rng.integers(3))]
        return Sample(tuple(frames.tolist()), prompt(text, done), refusal())

    def _sample(self, episode: Episode, window: tuple[int, ...], stride: int) -> Sample:
        rng = self._rng
        frames = tuple(episode.first + index for index in window)
        if rng.random() < UNFITTING:
            text = str(rng.choice(unfitting(episode.task)))
            done = None if rng.random() < 0.5 else ()
            return Sample(frames, prompt(text, done), refusal())
        last = window[-1]
        wording = str(rng.choice(wordings(episode.task)))
        if rng.random() < 0.4:
            wording = TASKS[episode.task].instruction
        steps = stages(episode.task)
        said = answer(float(episode.progress[last]), steps[int(episode.stage[last]) :])
        return Sample(frames, prompt(wording, self._memory(episode, window, stride)), said)

    def _memory(
        self, episode: Episode, window: tuple[int, ...], stride: int
    ) -> tuple[str, ...] | None:
        rng, last = self._rng, window[-1]
        steps = stages(episode.task)
        kind = rng.random()
        if kind < MEMORY_MISSING:
            return None
        wrong = kind < MEMORY_MISSING + MEMORY_WRONG
        if wrong and len(TASKS[episode.task].phases) == 1:
            return steps[: int(rng.integers(0, len(steps) + 1))]
        if wrong and len(window) > 1 and rng.random() < FORGETFUL:
            return steps[: max(int(episode.stage[last]) - 1, 0)]
        lag = int(rng.integers(0, 3)) + (int(rng.integers(1, 3)) if wrong else 0)
        return steps[: int(episode.stage[max(last - lag * stride, 0)])]
