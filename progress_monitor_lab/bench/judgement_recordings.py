"""Episodes of the simulated cell, rendered once and kept outside the repository."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from progress_monitor.resize import fit
from progress_monitor_lab.sim import camera, cell, scene, stages, tasks, unseen
from progress_monitor_lab.sim.cell import Workcell
from progress_monitor_lab.sim.scene import UNDONE_BELOW
from progress_monitor_lab.sim.stages import CellState
from progress_monitor_lab.sim.tasks import TASKS
from progress_monitor_lab.sim.unseen import EVERY_TASK

SIZE = 128
TAIL_STEPS = 30
LONGEST_STEPS = 1100
REPLAN_AFTER = 80
MISSED_STEPS = 250
VARIANTS = ('nominal', 'clean', 'half', 'quarter', 'freeze', 'missed_grasp', 'drop', 'undo')
_SPEEDS = {'half': 0.5, 'quarter': 0.25}
_FAULTS = {'freeze': 'freeze_robot', 'missed_grasp': 'missed_grasp', 'drop': 'drop'}


@dataclass(frozen=True, eq=False)
class Recording:
    """One episode at 10 Hz: images (n, 128, 128, 3) uint8, true progress and remaining steps.

    ``remaining`` counts the steps of ``steps`` that are left, ``fault`` is the first frame of the
    fault, or -1, and ``tail`` the first frame of the last stretch, in which nothing moves.
    """

    images: NDArray[np.uint8]
    progress: NDArray[np.float64]
    remaining: NDArray[np.int64]
    steps: tuple[str, ...]
    fault: int
    tail: int

    def left(self, index: int) -> tuple[str, ...]:
        """The steps that remain at a frame."""
        return self.steps[len(self.steps) - int(self.remaining[index]) :]


def default_cache() -> Path:
    """Where recordings are kept unless told otherwise."""
    base = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    return Path(base).expanduser() / 'progress_monitor' / 'recordings'


def load(cache: Path, task: str, seed: int, variant: str) -> Recording:
    """Read a recording from ``cache``; make it first if it is not there.

    The folder is named after the simulation's source, so that a changed cell is recorded anew.
    """
    folder = cache / _version()
    name = f'{task}-{variant}-{seed}'
    facts_file, images_file = folder / f'{name}.json', folder / f'{name}.npy'
    if not facts_file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        _save(_record(task, seed, variant), images_file, facts_file)
    facts = json.loads(facts_file.read_text())
    return Recording(
        images=np.load(images_file, mmap_mode='r', allow_pickle=False),
        progress=np.asarray(facts['progress'], np.float64),
        remaining=np.asarray(facts['remaining'], np.int64),
        steps=tuple(facts['steps']),
        fault=facts['fault'],
        tail=facts['tail'],
    )


def _version() -> str:
    source = b''.join(
        Path(str(module.__file__)).read_bytes()
        for module in (camera, cell, scene, stages, tasks, unseen)
    )
    return hashlib.sha256(source + Path(__file__).read_bytes()).hexdigest()[:12]


def _save(recording: Recording, images_file: Path, facts_file: Path) -> None:
    facts = {
        'progress': [round(float(value), 5) for value in recording.progress],
        'remaining': [int(value) for value in recording.remaining],
        'steps': list(recording.steps),
        'fault': recording.fault,
        'tail': recording.tail,
    }
    # Another process may record the same episode; a rename shows it whole or not at all.
    own = f'.{os.getpid()}'
    partial_images = images_file.with_name(images_file.name + own)
    with partial_images.open('wb') as file:
        np.save(file, recording.images, allow_pickle=False)
    partial_images.rename(images_file)
    partial_facts = facts_file.with_name(facts_file.name + own)
    partial_facts.write_text(json.dumps(facts))
    partial_facts.rename(facts_file)


def _record(task: str, seed: int, variant: str) -> Recording:
    played = 'drawer_open_close' if variant == 'undo' else task
    workcell = Workcell(
        played,
        seed=seed,
        speed=_SPEEDS.get(variant, 1.0),
        fault=_FAULTS.get(variant, 'none'),
        noise=variant != 'clean',
    )
    images: list[NDArray[np.uint8]] = []
    progress: list[float] = []
    remaining: list[int] = []
    fault, settled, finished = -1, 0, False
    try:
        while settled < TAIL_STEPS and len(images) < LONGEST_STEPS:
            step = workcell.step()
            images.append(fit(step.image, SIZE * SIZE, 32))
            if variant == 'undo':
                done, left = _opening(workcell.pose(), finished)
            else:
                done, left = step.truth.progress, len(step.truth.remaining_steps)
            finished = left == 0
            progress.append(done)
            remaining.append(left)
            if fault < 0 and step.truth.fault:
                fault = step.index
            stopped = step.truth.done or step.truth.fault == 'freeze_robot'
            stopped = stopped or (finished and variant != 'undo')
            settled = settled + 1 if stopped else 0
            if variant == 'drop' and 0 <= fault == step.index - REPLAN_AFTER:
                workcell.replan()
            if variant == 'missed_grasp' and len(images) >= MISSED_STEPS:
                break
    finally:
        workcell.close()
    return Recording(
        images=np.stack(images),
        progress=np.array(progress),
        remaining=np.array(remaining),
        steps=tuple(stage.action for stage in EVERY_TASK[task].stages),
        fault=fault,
        tail=len(images) - settled,
    )


def _opening(pose: NDArray[np.float64], finished: bool) -> tuple[float, int]:
    """Progress and number of remaining steps of opening the drawer, read from a pose."""
    task = TASKS['drawer_open']
    state = CellState(pose[:3], float(pose[9]), pose[3:6], pose[3:6], pose[6:9])
    stage, share = task.phases[0].assess(state)
    progress = task.progress(stage, share)
    if finished and progress >= UNDONE_BELOW:
        return 1.0, 0
    return progress, len(task.stages) - stage
