"""Questions and answers drawn from episodes, as the monitor will ask them.

Every strategy has its form. Windows of ProcVLM hold 1 frame or 5 to 17, at 0.2 to 0.8 s from frame
to frame; the memory is right, a tick or two behind, missing, or wrong. The count of frames says
nothing about progress: some windows repeat one frame, in some the robot stops or takes its work
back, and where a window reaches back before the episode the robot waits at its beginning. Some
tasks do not fit the scene, and some scenes are not the cell's. A demonstration is another episode
of the task, or its actions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from progress_monitor_lab.sim.tasks import TASKS
from progress_monitor_lab.training import formats
from progress_monitor_lab.training.answers import (
    FOREIGN_TASKS,
    answer,
    percent,
    refusal,
    stages,
    unfitting,
    wordings,
)
from progress_monitor_lab.training.data import Corpus, Episode
from progress_monitor_lab.training.formats import Sample

# How often each form is asked.
FORMS = {'procvlm': 0.55, 'recurrent': 0.16, 'topreward': 0.09, 'progresslm': 0.2}
SINGLE_FRAME = 0.3
LONGEST, SHORTEST = 17, 5
SNIPPET, SNIPPET_STRIDES = 4, (2, 3, 5)
SCORED, SCORED_STRIDES = (6, 8, 8, 8, 10), (2, 3)
DEMONSTRATED = (4, 9)
IN_WORDS = 0.35
STRIDES = (1, 2, 3, 4)
REPEATED, STOPPED = 0.12, 0.15
# Work that is undone, in tasks of which one look tells how far they are.
REVERSED = 0.1
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
# An episode that demonstrates its task reaches its end without falling back.
FINISHED, SETBACK = 0.995, 0.03
# Of the wrong memories in tasks of several phases: those that missed the end of the last step for
# good. The monitor's memory holds what the model said, so a model that waits for it never moves on.
FORGETFUL = 0.6


@dataclass(frozen=True, eq=False)
class _Asked:
    """A window of an episode (indices within it, and within the corpus) and the task's wording.

    ``stride`` is from frame to frame, and below 0 where the episode is shown backwards.
    """

    episode: Episode
    window: tuple[int, ...]
    stride: int
    frames: tuple[int, ...]
    wording: str


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
        self._shown: dict[str, list[Episode]] = {}
        for episode in corpus.episodes:
            if episode.progress[-1] > FINISHED and np.diff(episode.progress).min() > -SETBACK:
                self._shown.setdefault(episode.task, []).append(episode)

    def form(self, forms: Sequence[str] = tuple(FORMS)) -> str:
        """The form of the next batch, one of ``forms``."""
        shares = np.array([FORMS[form] for form in forms])
        return str(self._rng.choice(forms, p=shares / shares.sum()))

    def frames_of(self, form: str) -> int:
        """How many frames the windows of the next batch hold."""
        if form == 'recurrent':
            return SNIPPET
        if form == 'topreward':
            return int(self._rng.choice(SCORED))
        if form == 'progresslm' or self._rng.random() < SINGLE_FRAME:
            return 1
        return int(self._rng.integers(SHORTEST, LONGEST + 1))

    def draw(self, form: str, count: int) -> Sample:
        """One sample of a form, with a window of ``count`` frames."""
        if self._corpus.foreign and self._rng.random() < FOREIGN:
            task = str(self._rng.choice(tuple(TASKS)))
            text = str(self._rng.choice((*wordings(task), *FOREIGN_TASKS)))
            return self._refused(form, self._foreign(count), text, task)
        rng = self._rng
        episode = self._corpus.episodes[rng.choice(len(self._chance), p=self._chance)]
        strides = {'recurrent': SNIPPET_STRIDES, 'topreward': SCORED_STRIDES}.get(form, STRIDES)
        stride = int(rng.choice(strides))
        if len(TASKS[episode.task].phases) == 1 and rng.random() < REVERSED:
            stride = -stride
        window = self._window(episode, count, stride)
        frames = tuple(episode.first + index for index in window)
        if rng.random() < UNFITTING:
            task = str(rng.choice(self._other_scenes(episode.task)))
            return self._refused(form, frames, str(rng.choice(unfitting(episode.task))), task)
        wording = str(rng.choice(wordings(episode.task)))
        if rng.random() < 0.4:
            wording = TASKS[episode.task].instruction
        draw = getattr(self, f'_{form}')
        sample: Sample = draw(_Asked(episode, window, stride, frames, wording))
        return sample

    def _window(self, episode: Episode, count: int, stride: int) -> tuple[int, ...]:
        rng = self._rng
        end = len(episode.progress)
        last = int(rng.integers(max(end - ENDING, 0) if rng.random() < AT_END else 0, end))
        kind, still = rng.random(), 0
        if kind < REPEATED:
            still = count
        elif kind < REPEATED + STOPPED:
            still = int(rng.integers(1, count + 1))
        ages = np.maximum(np.arange(count)[::-1] - still, 0)
        return tuple(np.clip(last - stride * ages, 0, end - 1).tolist())

    def _foreign(self, count: int) -> tuple[int, ...]:
        """Frames of another scene: neighbours in the corpus are of the same kind."""
        rng = self._rng
        shown = len(self._corpus.images) - self._corpus.foreign
        last = int(rng.integers(shown, len(self._corpus.images)))
        frames = np.full(count, last)
        if rng.random() < 0.5:
            frames = np.clip(last - np.arange(count)[::-1], shown, None)
        return tuple(frames.tolist())

    def _refused(self, form: str, frames: tuple[int, ...], text: str, task: str) -> Sample:
        """The refusal of a task that does not fit; ``task`` is one of another scene."""
        rng = self._rng
        if form == 'recurrent':
            steps = stages(task)
            before = ('', formats.thought(steps, int(rng.integers(len(steps)))))
            return formats.recurrent(frames, text, before[int(rng.integers(2))], '', 'n/a')
        if form == 'topreward':
            return formats.topreward(frames, text, -0.1, False, bool(rng.random() < 0.5))
        if form == 'progresslm':
            shown, _ = self._demonstration(task)
            goal = str(rng.choice(wordings(task)))
            return formats.progresslm(frames[-1], goal, shown, 'n/a', 'n/a')
        done = (None, (), stages(task)[:1])[int(rng.integers(3))]
        return formats.procvlm(frames, text, done, refusal())

    def _procvlm(self, asked: _Asked) -> Sample:
        episode, window, frames = asked.episode, asked.window, asked.frames
        last, steps = window[-1], stages(episode.task)
        said = answer(float(episode.progress[last]), steps[int(episode.stage[last]) :])
        done = self._memory(episode, window, asked.stride)
        return formats.procvlm(frames, asked.wording, None if done is None else steps[:done], said)

    def _recurrent(self, asked: _Asked) -> Sample:
        episode, window, frames = asked.episode, asked.window, asked.frames
        last, steps = window[-1], stages(episode.task)
        before = ''
        if window[0] > 0 or self._rng.random() < 0.5:
            done = self._memory(episode, (*window, last), asked.stride * SNIPPET)
            before = '' if done is None else formats.thought(steps, done)
        stage = int(episode.stage[last])
        said = percent(float(episode.progress[last]), stage == len(steps))
        return formats.recurrent(frames, asked.wording, before, formats.thought(steps, stage), said)

    def _topreward(self, asked: _Asked) -> Sample:
        episode, last = asked.episode, asked.window[-1]
        done = int(episode.stage[last]) == len(stages(episode.task))
        progress = float(episode.progress[last])
        say_true = bool(self._rng.random() < 0.5)
        return formats.topreward(asked.frames, asked.wording, progress, done, say_true)

    def _progresslm(self, asked: _Asked) -> Sample:
        episode, last = asked.episode, asked.window[-1]
        progress, stage = float(episode.progress[last]), int(episode.stage[last])
        shown, in_words = self._demonstration(episode.task)
        near = int(np.argmin([abs(reached - progress) for _, reached in shown]))
        ref = min(stage, len(shown) - 1) if in_words else near
        score = percent(progress, stage == len(stages(episode.task)))
        return formats.progresslm(asked.frames[-1], asked.wording, shown, str(ref + 1), score)

    def _demonstration(self, task: str) -> tuple[Sequence[tuple[str | int, float]], bool]:
        """The states of a demonstration, and whether they are words."""
        rng = self._rng
        if task not in self._shown or rng.random() < IN_WORDS:
            return formats.text_demonstration(task), True
        episode = self._shown[task][int(rng.integers(len(self._shown[task])))]
        count = int(rng.integers(*DEMONSTRATED))
        wanted = np.linspace(0.0, 1.0, count)
        # Where progress begins above 0, the first states are one.
        picked = sorted({int(np.argmin(np.abs(episode.progress - share))) for share in wanted})
        return [(episode.first + i, float(episode.progress[i])) for i in picked], False

    @staticmethod
    def _other_scenes(task: str) -> tuple[str, ...]:
        kind = TASKS[task].scene.split('-')[0]
        return tuple(name for name in TASKS if TASKS[name].scene.split('-')[0] != kind)

    def _memory(self, episode: Episode, window: tuple[int, ...], stride: int) -> int | None:
        """How many steps are remembered as done; None: nothing is remembered."""
        rng, last = self._rng, window[-1]
        count = len(stages(episode.task))
        kind = rng.random()
        if kind < MEMORY_MISSING:
            return None
        wrong = kind < MEMORY_MISSING + MEMORY_WRONG
        if wrong and len(TASKS[episode.task].phases) == 1:
            return int(rng.integers(0, count + 1))
        if wrong and len(window) > 1 and rng.random() < FORGETFUL:
            return max(int(episode.stage[last]) - 1, 0)
        lag = int(rng.integers(0, 3)) + (int(rng.integers(1, 3)) if wrong else 0)
        return int(episode.stage[np.clip(last - lag * stride, 0, len(episode.stage) - 1)])
