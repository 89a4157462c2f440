"""The episodes of the judgement benchmark: recordings, played straight or edited, with the truth.

Editing changes the order of the frames, the pictures of the camera and the task's text. A scene
that stands still is shown by pictures with a sensor noise of their own, as a live camera would.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from progress_monitor_lab.bench.judgement_recordings import Recording, load
from progress_monitor_lab.sim.cell import TASKS, applicable
from progress_monitor_lab.sim.disturbance import DISTURBANCES, Bump, Disturbance
from progress_monitor_lab.sim.unseen import EVERY_TASK

FRAME_S = 0.1
NOISE_FREE = 'noise_free_camera'
NOISE_LEVELS = 0.7
HISTORY_TASKS = tuple(name for name, task in TASKS.items() if len(task.phases) > 1)
SIMPLE_TASKS = tuple(name for name in TASKS if name not in HISTORY_TASKS)


@dataclass(frozen=True)
class Shown:
    """One frame of an episode: which picture, and what the camera makes of it.

    ``lens`` is 'clear', 'still' (the robot rests), 'frozen', 'black' or 'covered'; ``late`` is the
    time from acquisition to delivery, s.
    """

    index: int
    lens: str = 'clear'
    late: float = 0.0


@dataclass(frozen=True)
class Plan:
    """One episode before its frames are read: enough to list and to skip it."""

    kind: str
    task: str
    seed: int

    @property
    def name(self) -> str:
        return f'{self.kind}-{self.task}-{self.seed}'


@dataclass(frozen=True, eq=False)
class Episode:
    """What is shown, and what is true at each frame.

    ``stall_from`` and ``fall_from`` are the frames at which the robot begins to hang or to lose
    progress for good reason to be called; -1: it does not. ``disturbance`` names what disturbs the
    camera, ``bump_s`` is when it is knocked (-1: it is not), and ``answer_s`` the time that the
    model takes for one answer, s.
    """

    plan: Plan
    text: str
    recording: Recording
    shown: tuple[Shown, ...]
    answerable: bool = True
    stall_from: int = -1
    fall_from: int = -1
    disturbance: str = ''
    bump_s: float = -1.0
    answer_s: float = 0.0

    @property
    def seconds(self) -> float:
        return len(self.shown) * FRAME_S

    def progress(self) -> NDArray[np.float64]:
        """True progress at each frame, (n,)."""
        return self.recording.progress[[item.index for item in self.shown]]

    def pictures(self) -> Iterator[NDArray[np.uint8]]:
        """The frames as the camera delivers them, (height, width, 3) uint8."""
        rng = np.random.default_rng(_seed(self.plan, 'noise'))
        disturb = self._disturbance()
        last: NDArray[np.uint8] | None = None
        for number, item in enumerate(self.shown):
            image = np.asarray(self.recording.images[item.index])
            if item.lens == 'frozen' and last is not None:
                image = last
            elif item.lens == 'still':
                image = image if self.disturbance == NOISE_FREE else _noisy(image, rng)
            elif item.lens == 'black':
                image = _noisy(np.zeros_like(image), rng)
            elif item.lens == 'covered':
                image = _noisy(cv2.GaussianBlur(image, (0, 0), 14.0) // 2, rng)
            last = image
            yield image if disturb is None else disturb(image, number * FRAME_S)

    def _disturbance(self) -> Disturbance | None:
        rng = np.random.default_rng(_seed(self.plan, 'disturbance'))
        if self.bump_s >= 0.0:
            return Bump(rng, self.bump_s)
        made = DISTURBANCES.get(self.disturbance)
        return made(rng) if made is not None else None


def _noisy(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    noise = rng.normal(0.0, NOISE_LEVELS, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def _seed(plan: Plan, purpose: str) -> int:
    return zlib.crc32(f'{plan.name}/{purpose}'.encode())


Maker = Callable[[Plan, Path, float, np.random.Generator], Episode]


def _whole(recording: Recording, rest_s: float = 5.0) -> list[Shown]:
    """All of a recording; its end stands still for at least ``rest_s``."""
    frames = [Shown(index) for index in range(len(recording.progress))]
    missing = round(rest_s / FRAME_S) - (len(frames) - recording.tail)
    return frames + [Shown(frames[-1].index, 'still')] * max(missing, 0)


def _finish(recording: Recording) -> int:
    """First frame of the finished task; the number of frames if it is never finished."""
    done = np.flatnonzero(recording.progress >= 1.0)
    return int(done[0]) if done.size else len(recording.progress)


def _straight(variant: str) -> Maker:
    def make(plan: Plan, cache: Path, allowance: float, rng: np.random.Generator) -> Episode:
        recording = load(cache, plan.task, plan.seed, variant)
        return Episode(plan, _text(plan), recording, tuple(_whole(recording)))

    return make


def _text(plan: Plan) -> str:
    return EVERY_TASK[plan.task].instruction


def _paused(plan: Plan, cache: Path, allowance: float, rng: np.random.Generator) -> Episode:
    recording = load(cache, plan.task, plan.seed, 'nominal')
    frames = _whole(recording)
    at = int(rng.uniform(0.1, 0.9) * _finish(recording))
    rest = round(rng.uniform(0.3, 0.6) * allowance / FRAME_S)
    shown = frames[:at] + [Shown(at, 'still')] * rest + frames[at:]
    return Episode(plan, _text(plan), recording, tuple(shown))


def _frozen_robot(plan: Plan, cache: Path, allowance: float, rng: np.random.Generator) -> Episode:
    """The robot stops at a random point; half of them go on after a long while."""
    return _stopped(plan, load(cache, plan.task, plan.seed, 'nominal'), allowance, rng)


def _stopped(
    plan: Plan, recording: Recording, allowance: float, rng: np.random.Generator
) -> Episode:
    frames = _whole(recording)
    at = int(rng.uniform(0.05, 0.92) * _finish(recording))
    rest = round((allowance + 6.0) / FRAME_S)
    shown = frames[:at] + [Shown(at, 'still')] * rest
    if rng.random() < 0.5:
        shown += frames[at:]
    return Episode(plan, _text(plan), recording, tuple(shown), stall_from=at)


def _missed(plan: Plan, cache: Path, allowance: float, rng: np.random.Generator) -> Episode:
    recording = load(cache, plan.task, plan.seed, 'missed_grasp')
    best = np.maximum.accumulate(recording.progress)
    at = int(np.flatnonzero(best >= best[-1] - 0.01)[0])
    shown = [Shown(index) for index in range(len(recording.progress))]
    wanted = at + round((allowance + 6.0) / FRAME_S)
    shown += [Shown(shown[-1].index, 'still')] * max(wanted - len(shown), 0)
    return Episode(plan, _text(plan), recording, tuple(shown), stall_from=at)


def _dropped(plan: Plan, cache: Path, allowance: float, rng: np.random.Generator) -> Episode:
    recording = load(cache, plan.task, plan.seed, 'drop')
    shown = tuple(_whole(recording))
    return Episode(plan, _text(plan), recording, shown, fall_from=recording.fault)


def _backwards(top: int) -> list[Shown]:
    """From a frame back to the start, and a rest there."""
    return [Shown(index) for index in range(top, -1, -1)] + [Shown(0, 'still')] * 30


def _undone(plan: Plan, cache: Path, allowance: float, rng: np.random.Generator) -> Episode:
    """Done, a rest, and taken apart again: by the expert for the drawer, else backwards."""
    if plan.task == 'drawer_open':
        recording = load(cache, plan.task, plan.seed, 'undo')
        done = _finish(recording)
        frames = [Shown(index) for index in range(len(recording.progress))]
        shown = frames[: done + 1] + [Shown(done, 'still')] * 40 + frames[done + 1 :]
        return Episode(plan, _text(plan), recording, tuple(shown), fall_from=done + 40)
    recording = load(cache, plan.task, plan.seed, 'nominal')
    frames = _whole(recording)
    done = _finish(recording)
    shown = [*frames, *_backwards(done)]
    return Episode(plan, _text(plan), recording, tuple(shown), fall_from=len(frames))


def _reversed(plan: Plan, cache: Path, allowance: float, rng: np.random.Generator) -> Episode:
    """Backwards from somewhere past the middle to the start."""
    recording = load(cache, plan.task, plan.seed, 'nominal')
    top = int(rng.uniform(0.6, 0.95) * _finish(recording))
    shown = [Shown(i) for i in range(top)] + _backwards(top)
    return Episode(plan, _text(plan), recording, tuple(shown), fall_from=top)


def _cycle(plan: Plan, cache: Path, allowance: float, rng: np.random.Generator) -> Episode:
    """Forward to the end, then at once backward to the start."""
    recording = load(cache, plan.task, plan.seed, 'nominal')
    top = _finish(recording)
    shown = [Shown(i) for i in range(top)] + _backwards(top - 1)
    return Episode(plan, _text(plan), recording, tuple(shown), fall_from=top)


def _looping(plan: Plan, cache: Path, allowance: float, rng: np.random.Generator) -> Episode:
    """There and back between two points, again and again, for more than three allowances."""
    recording = load(cache, plan.task, plan.seed, 'nominal')
    progress, done = recording.progress, _finish(recording)
    high = int(rng.uniform(0.5, 0.85) * done)
    low = int(np.argmin(np.abs(progress[:high] - (progress[high] - rng.uniform(0.12, 0.3)))))
    low = min(low, high - 5)
    shown = [Shown(i) for i in range(high)]
    there_and_back = [*range(high, low, -1), *range(low, high)]
    wanted = len(shown) + round((3.0 * allowance + 6.0) / FRAME_S)
    while len(shown) < wanted:
        shown += [Shown(i) for i in there_and_back]
    return Episode(plan, _text(plan), recording, tuple(shown), stall_from=high)


def _idle(plan: Plan, cache: Path, allowance: float, rng: np.random.Generator) -> Episode:
    recording = load(cache, plan.task, plan.seed, 'nominal')
    return Episode(plan, _text(plan), recording, tuple(_whole(recording, 2.0 * allowance)))


def _static(plan: Plan, cache: Path, allowance: float, rng: np.random.Generator) -> Episode:
    """One moment of the task from first to last."""
    recording = load(cache, plan.task, plan.seed, 'nominal')
    at = int(rng.uniform(0.0, 0.9) * _finish(recording))
    shown = [Shown(at, 'still')] * round((allowance + 9.0) / FRAME_S)
    return Episode(plan, _text(plan), recording, tuple(shown), stall_from=0)


def _unanswerable(plan: Plan, cache: Path, allowance: float, rng: np.random.Generator) -> Episode:
    """Another scene's task is asked for; to open a drawer that shall be closed is no such task."""
    recording = load(cache, plan.task, plan.seed, 'nominal')
    kind = EVERY_TASK[plan.task].scene.split('-')[0]
    others = sorted(name for name, task in TASKS.items() if task.scene.split('-')[0] != kind)
    text = TASKS[others[int(rng.integers(len(others)))]].instruction
    return Episode(plan, text, recording, tuple(_whole(recording)), answerable=False)


def _camera(lens: str) -> Maker:
    def make(plan: Plan, cache: Path, allowance: float, rng: np.random.Generator) -> Episode:
        """The camera fails while the robot works and rests; in half of them it comes back."""
        recording = load(cache, plan.task, plan.seed, 'nominal')
        frames = _whole(recording, 4.0)
        at = int(rng.uniform(0.2, 0.8) * _finish(recording))
        length = round((allowance + 5.0) / FRAME_S)
        rest = [Shown(at, 'still')] * length
        comes_back = rng.random() < 0.5
        if lens == 'lagging':
            rest = [Shown(at, 'still', 3.0)] * length
        else:
            rest = [Shown(at, lens)] * length
        shown = frames[:at] + rest + (frames[at:] if comes_back else [])
        return Episode(plan, _text(plan), recording, tuple(shown))

    return make


def _disturbed(disturbance: str) -> Maker:
    """The robot works to the end or stops on the way, before a camera that is disturbed."""
    variant = 'clean' if disturbance == NOISE_FREE else 'nominal'

    def make(plan: Plan, cache: Path, allowance: float, rng: np.random.Generator) -> Episode:
        recording = load(cache, plan.task, plan.seed, variant)
        if plan.seed % 2:
            made = _stopped(plan, recording, allowance, rng)
        else:
            made = Episode(plan, _text(plan), recording, tuple(_whole(recording)))
        return replace(made, disturbance=disturbance)

    return make


def _bumped(plan: Plan, cache: Path, allowance: float, rng: np.random.Generator) -> Episode:
    """The camera is knocked while the robot works; nothing can be told of the task from then on."""
    recording = load(cache, plan.task, plan.seed, 'nominal')
    at = float(rng.uniform(0.3, 0.7)) * _finish(recording) * FRAME_S
    return Episode(plan, _text(plan), recording, tuple(_whole(recording)), bump_s=at)


def _slow(answer_s: float) -> Maker:
    """The model takes its time for every answer."""

    def make(plan: Plan, cache: Path, allowance: float, rng: np.random.Generator) -> Episode:
        made = (_frozen_robot if plan.seed % 2 else MAKERS['half_speed'])(
            plan, cache, allowance + 3.0 * answer_s, rng
        )
        rest = [Shown(made.shown[-1].index, 'still')] * round(5.0 * answer_s / FRAME_S)
        return replace(made, answer_s=answer_s, shown=(*made.shown, *rest))

    return make


MAKERS: dict[str, Maker] = {
    'nominal': _straight('nominal'),
    'half_speed': _straight('half'),
    'quarter_speed': _straight('quarter'),
    'paused': _paused,
    'idle_after_success': _idle,
    'robot_frozen': _frozen_robot,
    'missed_grasp': _missed,
    'drop': _dropped,
    'undo': _undone,
    'reversed': _reversed,
    'cycle': _cycle,
    'looping': _looping,
    'static': _static,
    'unanswerable': _unanswerable,
    'camera_frozen': _camera('frozen'),
    'camera_black': _camera('black'),
    'camera_covered': _camera('covered'),
    'camera_lagging': _camera('lagging'),
    **{kind: _disturbed(kind) for kind in DISTURBANCES},
    NOISE_FREE: _disturbed(NOISE_FREE),
    'bumped_camera': _bumped,
    'slow_model_2s': _slow(2.0),
    'slow_model_5s': _slow(5.0),
}
CALM_KINDS = ('nominal', 'half_speed', 'quarter_speed', 'paused', 'idle_after_success')
CAMERA_KINDS = (*(kind for kind in MAKERS if kind.startswith('camera')), 'bumped_camera')
_HISTORY_MAKES_NO_SENSE = ('undo', 'reversed', 'cycle', 'looping')
_SEEDS = {
    'nominal': 4, 'half_speed': 2, 'quarter_speed': 1, 'robot_frozen': 3, 'drop': 5,
    'missed_grasp': 2, 'undo': 2, 'reversed': 2, 'cycle': 1, 'looping': 1, 'camera_frozen': 1,
    'camera_black': 1, 'camera_covered': 1, 'camera_lagging': 1, 'unanswerable': 2, 'static': 1,
    'paused': 2, 'idle_after_success': 1, 'distractor': 2, 'exposure_drift': 2, 'compression': 2,
    'wrist_camera': 2, NOISE_FREE: 2, 'bumped_camera': 1, 'slow_model_2s': 2, 'slow_model_5s': 2,
}  # fmt: skip


def plans(first_seed: int, share: float = 1.0) -> list[Plan]:
    """All episodes, or about ``share`` of the seeds of each kind, at least one; kinds alternate."""
    listed = []
    for kind in MAKERS:
        for task in TASKS:
            if kind in _HISTORY_MAKES_NO_SENSE and task in HISTORY_TASKS:
                continue
            if kind in ('drop', 'missed_grasp') and not applicable(task, kind):
                continue
            for number in range(max(round(_SEEDS[kind] * share), 1)):
                listed.append((number, task, Plan(kind, task, first_seed + number)))
    return [plan for _, _, plan in sorted(listed, key=lambda item: item[:2])]


def make(plan: Plan, cache: Path, allowance: float) -> Episode:
    """Read (or record) what the episode needs and edit it; everything follows from the plan."""
    rng = np.random.default_rng(_seed(plan, 'episode'))
    return MAKERS[plan.kind](plan, cache, allowance, rng)
