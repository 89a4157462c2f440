"""Render the episodes that the small checkpoint learns from, one .npz file each.

An episode holds every second camera frame (0.2 s), reduced to the model's 128 x 128 pixels exactly
as the monitor reduces it, the truth, and the poses that the vision tower learns to see. Files that
exist are kept, so an interrupted run goes on where it was.

    python -m progress_monitor_lab.training.render_episodes CACHE --episodes 40 --processes 2
"""

from __future__ import annotations

import argparse
import multiprocessing
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from progress_monitor.resize import fit
from progress_monitor_lab.sim.cell import TASKS, Workcell, applicable
from progress_monitor_lab.training.data import FRAME_STEPS

MAXIMUM_STEPS = 700
IDLE_STEPS = 40
PIXELS = 128 * 128


def plan(task: str, seed: int, fault: str = '') -> tuple[float, str, int]:
    """Speed, fault and steps until replanning of one episode, drawn from its seed.

    An episode with a given ``fault`` shows longer what comes of it.
    """
    rng = np.random.default_rng([seed, 7])
    if fault:
        return float(rng.uniform(0.5, 1.0)), fault, int(rng.integers(40, 110))
    faults = [f for f in ('freeze_robot', 'drop', 'missed_grasp') if applicable(task, f)]
    fault = 'none' if rng.random() < 0.45 else str(rng.choice(faults))
    return float(rng.uniform(0.3, 1.0)), fault, int(rng.integers(20, 60))


@dataclass(frozen=True)
class Job:
    """One episode; a fault of '' and a speed of 0 are drawn from its seed."""

    folder: Path
    task: str
    seed: int
    fault: str = ''
    speed: float = 0.0


def render(job: Job) -> str:
    """Play one episode and write its file."""
    warnings.simplefilter('ignore')
    task, seed = job.task, job.seed
    path = job.folder / f'{task}-{seed}.npz'
    if path.exists():
        return path.name
    speed, fault, patience = plan(task, seed, job.fault)
    speed = job.speed or speed
    cell = Workcell(task, seed, speed=speed, fault=fault)
    frames: dict[str, list[Any]] = {'image': [], 'progress': [], 'stage': [], 'pose': []}
    faulty = idle = 0
    stages = len(cell.task.stages)
    try:
        for index in range(MAXIMUM_STEPS):
            keep = index % FRAME_STEPS == 0
            step = cell.step(picture=keep)
            if keep:
                frames['image'].append(fit(step.image, PIXELS, 32))
                frames['progress'].append(step.truth.progress)
                frames['stage'].append(stages - len(step.truth.remaining_steps))
                frames['pose'].append(cell.pose())
            faulty += bool(step.truth.fault)
            if step.truth.fault and faulty == patience + (60 if fault == 'missed_grasp' else 0):
                cell.replan()
            idle += step.truth.done
            if idle > IDLE_STEPS:
                break
    finally:
        cell.close()
    partial = path.with_suffix('.part')
    with partial.open('wb') as stream:
        np.savez(
            stream,
            image=np.array(frames['image'], np.uint8),
            progress=np.array(frames['progress'], np.float32),
            stage=np.array(frames['stage'], np.int64),
            pose=np.array(frames['pose'], np.float32),
            speed=np.float32(speed),
        )
    partial.rename(path)
    return path.name


def main() -> None:
    """Render what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('cache', type=Path)
    parser.add_argument('--episodes', type=int, default=40, help='per task')
    parser.add_argument('--first-seed', type=int, default=100)
    parser.add_argument('--task', action='append', choices=tuple(TASKS), help='only these')
    parser.add_argument('--fault', default='', help='in every episode; empty: drawn for each')
    parser.add_argument('--speed', type=float, default=0.0, help='of the robot; 0: drawn for each')
    parser.add_argument('--processes', type=int, default=2)
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.episodes)
    jobs = [
        Job(arguments.cache, task, seed, arguments.fault, arguments.speed)
        for seed in seeds
        for task in arguments.task or TASKS
        if not arguments.fault or applicable(task, arguments.fault)
    ]
    with multiprocessing.get_context('spawn').Pool(arguments.processes) as pool:
        for count, name in enumerate(pool.imap_unordered(render, jobs), 1):
            if count % 20 == 0:
                print(f'{count}/{len(jobs)} {name}', flush=True)


if __name__ == '__main__':
    main()
