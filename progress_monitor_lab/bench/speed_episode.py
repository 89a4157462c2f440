"""Frames for the speed benchmark: recorded in the simulated cell, or drawn."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from progress_monitor.types import Frame

_STEP_S = 0.1
_DRAWN_SAMPLES = 24
_SYNTHETIC_TASK = 'Move the square to the right.'


def record(
    source: str, task: str, size: tuple[int, int], period_s: float, ticks: int
) -> tuple[str, list[list[Frame]]]:
    """The task's text, and episodes of together at least ``ticks`` frames ``period_s`` apart.

    ``source`` is ``cell``, where an episode is an undisturbed run to its end, one seed after the
    other, or ``drawn`` for frames that need no simulator. Frames have ``size`` (width, height).
    """
    if source == 'cell':
        from progress_monitor_lab.sim.cell import TASKS

        text, seeds = TASKS[task].instruction, map(_episode, itertools.repeat(task), _seeds())
    else:
        text, seeds = _SYNTHETIC_TASK, map(_drawing, _seeds())
    stride = max(round(period_s / _STEP_S), 1)
    uids = itertools.count()
    episodes: list[list[Frame]] = []
    while sum(map(len, episodes)) < ticks:
        images = itertools.islice(next(seeds), 0, None, stride)
        episodes.append(
            [
                Frame(next(uids), 'camera', int(index * period_s * 1e9), _resized(image, size))
                for index, image in enumerate(images)
            ]
        )
    return text, episodes


def _seeds() -> Iterator[int]:
    return itertools.count(90_000)


def _episode(task: str, seed: int) -> Iterator[NDArray[np.uint8]]:
    from progress_monitor_lab.sim.cell import Workcell

    cell = Workcell(task=task, seed=seed)
    try:
        for _ in range(600):
            step = cell.step()
            yield step.image
            if step.truth.done:
                return
    finally:
        cell.close()


def _drawing(seed: int) -> Iterator[NDArray[np.uint8]]:
    for index in range(_DRAWN_SAMPLES * 5):
        yield _drawn(seed, index)


@functools.lru_cache(maxsize=256)
def _drawn(seed: int, index: int) -> NDArray[np.uint8]:
    image = np.random.default_rng([seed, index]).integers(90, 110, (128, 128, 3), dtype=np.uint8)
    image[50:78, index : index + 28] = (200, 60, 40)
    return image


def _resized(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    if (image.shape[1], image.shape[0]) == size:
        return image
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
