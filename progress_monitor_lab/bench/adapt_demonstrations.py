"""Demonstrations of the cell, as a person would record and annotate them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from progress_monitor.adapt.annotation import Annotation, Stage
from progress_monitor.offline.video import write_video
from progress_monitor_lab.sim.cell import STEP_PERIOD_S, Workcell

LONGEST_STEPS = 900
REST_STEPS = 20
SPEED = 0.5


def record(task: str, seed: int, folder: Path, speed: float = SPEED) -> Annotation:
    """Film one run of ``task`` to its end and a rest, and say when each stage began.

    A recording that is there already is kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f'{task}-{seed}.mp4'
    cell = Workcell(task, seed, speed=speed, render=not path.is_file())
    images, running = [], []
    rest = 0
    try:
        for _ in range(LONGEST_STEPS):
            step = cell.step()
            images.append(step.image)
            running.append(len(cell.task.stages) - len(step.truth.remaining_steps))
            rest += not step.truth.remaining_steps
            if rest > REST_STEPS:
                break
    finally:
        cell.close()
    if not path.is_file():
        partial = path.with_suffix('.part.mp4')
        write_video(images, partial, 1.0 / STEP_PERIOD_S)
        partial.rename(path)
    # A stage that is fallen back into begins where it was last left for good.
    best = np.minimum.accumulate(np.array(running)[::-1])[::-1]
    texts = [stage.action for stage in cell.task.stages]
    starts = [int(np.argmax(best >= number)) for number in range(len(texts) + 1)]
    stages = tuple(
        Stage(text, starts[number] * STEP_PERIOD_S, starts[number + 1] * STEP_PERIOD_S)
        for number, text in enumerate(texts)
        if starts[number + 1] > starts[number]
    )
    return Annotation(cell.task.instruction, (path,), stages, True)
