"""Questions and answers drawn from demonstrations, as the monitor will ask them.

Windows hold 1 frame (40 %) or from the fewest to the most that the monitor shows, about its own
pace apart (arXiv 2605.08774 has 1 in 30 %, or 5 to 17). What must not be learnt from a single run,
such as that more frames mean more progress, is broken: the robot waits, stops, and takes its work
back.
Other tasks asked about these pictures, and this task about other pictures, are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from progress_monitor.adapt.augmentation import Look, Picture, pause, reverse, window
from progress_monitor.adapt.demonstration import Demonstration
from progress_monitor.adapt.wording import Wording
from progress_monitor.memory import done_sentence
from progress_monitor.node_config import NodeConfig
from progress_monitor.strategies import make_strategy
from progress_monitor.types import Clip, Frame, Recollection, View

SINGLE = 0.4
STILL, PAUSED, REVERSED = 0.25, 0.2, 0.15
FINISHED, NEAR_END = 0.5, 0.3
OTHER_TASK, OTHER_SCENE, PREFIX = 0.03, 0.06, 0.06
MEMORY_MISSING = 0.25
# Shortest and longest way from frame to frame, in samples of the monitor: a demonstration is often
# slower than the work that is watched.
STRIDES = (0.5, 2.2)
# Texts of tasks that no single demonstration shows.
ELSEWHERE = (
    'fold the towel',
    'water the plant',
    'close the laptop',
    'stack the plates',
    'hang up the coat',
    'peel the potato',
    'unlock the door',
    'wipe the window',
)


@dataclass(frozen=True, eq=False)
class Sample:
    """One question and its answer; a frame's ``uid`` is the index of its picture in the pool.

    The last ``cameras`` frames are the newest sample of the monitor. ``rivals`` are answers that
    other pictures would have had: where one parts from the answer, a decision is made.
    """

    parts: tuple[str | Frame, ...]
    answer: str
    cameras: int = 1
    rivals: tuple[str, ...] = ()


class Pool:
    """Pictures that samples show, each once; what a look makes of one is made when it is wanted.

    A demonstration is seen in more ways than memory could hold.
    """

    def __init__(self) -> None:
        self._entries: list[tuple[Picture, Look, int]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, image: Picture, look: Look | None = None, seed: int = 0) -> int:
        """Keep a picture (height, width, 3) uint8, to be seen as ``look`` shows it; its index.

        :param seed: of the noise that the look adds.
        """
        self._entries.append((image, look or Look.plain(), seed))
        return len(self._entries) - 1

    def image(self, index: int) -> Picture:
        """The picture as it is seen."""
        image, look, seed = self._entries[index]
        return look.apply(image, np.random.default_rng(seed))

    def frame(self, index: int) -> Frame:
        """The picture as a frame of a question, of which its size alone is right."""
        return Frame(index, 'camera', index, self._entries[index][0])


@dataclass(frozen=True, eq=False)
class Rendition:
    """A demonstration under one look: (n, cameras) indices into the pool."""

    demonstration: Demonstration
    pictures: NDArray[np.int64]


def render(
    demonstration: Demonstration, pool: Pool, look: Look, rng: np.random.Generator
) -> Rendition:
    """Put all pictures of a demonstration into the pool, as ``look`` shows them."""
    rows = [
        [pool.add(image, look, int(rng.integers(2**32))) for image in sample]
        for sample in demonstration.images
    ]
    return Rendition(demonstration, np.array(rows, np.int64))


class Sampler:
    """Draws samples of the renditions; equal random numbers give equal samples.

    :param foreign: indices of pictures of other scenes; may be empty.
    :param foreign_tasks: texts of tasks that the renditions do not show.
    """

    def __init__(
        self,
        renditions: Sequence[Rendition],
        pool: Pool,
        config: NodeConfig,
        wording: Wording,
        foreign: Sequence[int] = (),
        foreign_tasks: Sequence[str] = (),
    ) -> None:
        self._renditions = renditions
        self._pool = pool
        self._config = config
        self._strategy = make_strategy(replace(config, strategy='procvlm'))
        self._wording = wording
        self._foreign = foreign
        shown = {item.demonstration.task for item in renditions}
        self._foreign_tasks = tuple(
            task for task in (*foreign_tasks, *ELSEWHERE) if task not in shown
        )

    def frames(self, rng: np.random.Generator) -> int:
        """Samples of the monitor that a window shall hold."""
        if rng.random() < SINGLE:
            return 1
        cameras = self._renditions[0].demonstration.cameras
        bounds = self._config.window
        fewest = max(-(-bounds.min_images // cameras), 2)
        most = max(bounds.max_images // cameras, fewest)
        # Short ones more often: they cost less, and mostly the newest frame decides.
        return fewest + int((most + 1 - fewest) * rng.random() ** 2)

    def draw(self, count: int, rng: np.random.Generator) -> Sample:
        """One sample whose window holds ``count`` samples of the monitor."""
        rendition = self._renditions[int(rng.integers(len(self._renditions)))]
        demonstration = rendition.demonstration
        task, steps, refusal = demonstration.task, demonstration.steps, self._wording.refusal
        memory = self._memory(steps, rng)
        kind = rng.random()
        if kind < OTHER_SCENE and self._foreign:
            shown = [int(rng.choice(np.asarray(self._foreign))) for _ in range(count)]
            if rng.random() < 0.5:
                shown = [shown[-1]] * count
            return self._sample(tuple(shown), demonstration, task, memory, refusal, steps)
        indices, last = self._window(demonstration, count, rng)
        pictures = tuple(int(item) for item in rendition.pictures[indices].ravel())
        if kind < OTHER_SCENE + OTHER_TASK:
            other = str(rng.choice(self._foreign_tasks))
            return self._sample(pictures, demonstration, other, memory, refusal, steps)
        progress, stage = float(demonstration.progress[last]), int(demonstration.stage[last])
        if kind < OTHER_SCENE + OTHER_TASK + PREFIX and len(steps) > 1:
            task, steps, progress, stage = _prefix(demonstration, last, rng)
            memory = self._memory(steps, rng)
        reason = demonstration.reason if task == demonstration.task else ''
        said = self._wording.answer(progress, steps[stage:], reason)
        return self._sample(pictures, demonstration, task, memory, said, steps)

    def of(self, rendition: Rendition, last: int, count: int) -> Sample:
        """What the monitor asks at a sample of a run that has gone well until then."""
        demonstration = rendition.demonstration
        stride = self._config.window.sample_period / demonstration.period_s
        ages = np.arange(count)[::-1] * stride
        indices = np.maximum(np.rint(last - ages), 0).astype(np.int64)
        pictures = tuple(int(item) for item in rendition.pictures[indices].ravel())
        stage = int(demonstration.stage[last])
        steps = demonstration.steps
        before = int(demonstration.stage[max(last - round(2 * stride), 0)])
        said = self._wording.answer(
            float(demonstration.progress[last]), steps[stage:], demonstration.reason
        )
        memory = done_sentence(steps[:before]) if self._config.memory.in_prompt else ''
        return self._sample(pictures, demonstration, demonstration.task, memory, said, steps)

    def _window(
        self, demonstration: Demonstration, count: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], int]:
        """Indices of a window and its newest one.

        A recording rests when it is done, and nowhere else. So what is done is drawn as often
        however long the rest, after work as often as at rest, and work stands still as often.
        """
        length = len(demonstration.stage)
        end = demonstration.end
        finished = demonstration.done and rng.random() < FINISHED
        stride = self._config.window.sample_period / demonstration.period_s
        if finished or end == 0:
            last = int(rng.integers(end, length))
        else:
            # What the monitor's next sample will show as done looks like it, and is neither.
            before = max(end - round(stride), 1) if demonstration.done else end
            # Whether it is done hangs on details: what comes before it is asked about more often.
            near = max(before - max(end // 8, 1), 0)
            last = int(rng.integers(near if rng.random() < NEAR_END else 0, before))
        indices = window(min(last, end), count, stride * rng.uniform(*STRIDES), rng)
        indices[-1] = last
        kind = rng.random()
        if kind < STILL:
            indices[:] = last
        elif kind < STILL + PAUSED:
            indices = pause(indices, rng)
        elif kind < STILL + PAUSED + REVERSED and not finished:
            indices = reverse(indices, length - 1, rng)
        return indices, last

    def _sample(
        self,
        pictures: tuple[int, ...],
        demonstration: Demonstration,
        task: str,
        memory: str,
        said: str,
        steps: tuple[str, ...],
    ) -> Sample:
        parts = self._parts(pictures, task, memory)
        return Sample(parts, said, demonstration.cameras, self._wording.rivals(steps))

    def _memory(self, steps: tuple[str, ...], rng: np.random.Generator) -> str:
        """The memory's sentence: it names the first steps, whichever are done.

        The monitor remembers what this model has said. One that has learnt to believe it stays with
        its first mistake to the end of the run.
        """
        if not self._config.memory.in_prompt or rng.random() < MEMORY_MISSING:
            return ''
        return done_sentence(steps[: int(rng.integers(len(steps) + 1))])

    def _parts(self, pictures: tuple[int, ...], task: str, done: str) -> tuple[str | Frame, ...]:
        frames = tuple(self._pool.frame(index) for index in pictures)
        view = View(frames, frames[-1].stamp_ns)
        (question,) = self._strategy.ask(view, Recollection(task, done))
        return tuple(part for part in question.parts if not isinstance(part, Clip))


def _prefix(
    demonstration: Demonstration, last: int, rng: np.random.Generator
) -> tuple[str, tuple[str, ...], float, int]:
    """A distractor: another task that shares the first steps, and is done after them.

    As in R2VLM (arXiv 2603.17312), so that the text is read and not only the pictures.
    """
    steps = demonstration.steps
    count = int(rng.integers(1, len(steps)))
    after = np.flatnonzero(demonstration.stage >= count)
    whole = float(demonstration.progress[after[0]]) if after.size else 1.0
    progress = min(float(demonstration.progress[last]) / max(whole, 1e-9), 1.0)
    task = ', then '.join(step.rstrip('. ').casefold() for step in steps[:count])
    return task, steps[:count], progress, min(int(demonstration.stage[last]), count)
