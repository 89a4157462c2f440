"""Demonstrations of the cell's tasks, for the strategy that compares with one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from progress_monitor.strategies.demonstration import FILE, Demonstration, DemonstrationStep
from progress_monitor.types import Frame, new_uid
from progress_monitor_lab.bench.judgement_recordings import load
from progress_monitor_lab.sim.cell import TASKS

# Far from the seeds that are judged, and from those of the training.
SEED = 9900
STATES = 5


def demonstration_for(cache: Path, text: str) -> str:
    """The folder with a demonstration of the task of these words, recorded if it is not there.

    It shows the task asked about, not the one in the picture, so that a scene that does not fit
    does not fit its demonstration either.
    """
    task = next(name for name, item in TASKS.items() if item.instruction == text)
    folder = cache / 'demonstrations' / f'{task}-{SEED}-{STATES}'
    if not (folder / FILE).is_file():
        demonstrate(cache, task).save(folder)
    return str(folder)


def demonstrate(cache: Path, task: str) -> Demonstration:
    """``STATES`` states of an undisturbed run, evenly spaced in true progress."""
    recording = load(cache, task, SEED, 'nominal')
    steps = []
    for wanted in np.linspace(0.0, 1.0, STATES).tolist():
        index = int(np.argmax(recording.progress >= wanted))
        image = np.array(recording.images[index])
        frame = Frame(new_uid(), 'demonstration', 0, image)
        steps.append(DemonstrationStep(wanted, image=frame))
    return Demonstration('visual', TASKS[task].instruction, tuple(steps))
