"""Progress of a demonstration's pictures, as ProcVLM's one-shot adaptation defines it.

A stage has a budget, about its share of the time (arXiv 2605.08774), and inside a stage progress
follows the visual change from picture to picture. Pure NumPy.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST_WEIGHT, MOST_WEIGHT = 0.75, 1.25
"""Bounds of a stage's weight; 1 is that of a stage of average length."""
NOT_DONE_CUTOFF = 0.75
"""Progress at the end of a demonstration that did not come to its end."""
FINISHED = -1
"""The stage of pictures that come after the last one."""
_STILL = 0.5
_SIDE, _KEPT = 32, 8


def perceptual_hash(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Signs of the low frequencies of a picture about their median: (64,) bool.

    :param image: (height, width, 3) uint8 RGB, or (height, width) uint8.
    """
    grey = image.astype(np.float64)
    if grey.ndim == 3:
        grey = grey @ np.array((0.299, 0.587, 0.114))
    small = _averaged(_averaged(grey, _SIDE).T, _SIDE).T
    waves = _COSINES @ small @ _COSINES.T
    return (waves > np.median(waves)).ravel()


def visual_change(images: Sequence[NDArray[np.uint8]]) -> Floats:
    """Change from each picture to the next, (n - 1,), 0.5 where nothing changes to at most 1.5."""
    hashes = [perceptual_hash(image) for image in images]
    differing = [float(np.mean(a != b)) for a, b in itertools.pairwise(hashes)]
    return _STILL + np.array(differing, np.float64)


def stage_progress(stages: NDArray[np.int64], change: Floats, done: bool = True) -> Floats:
    """Progress of each picture, 0..1: never falling, 0 at the first, 1 from the last stage on.

    At the first picture of a stage it is the sum of the budgets before it. What did not come to
    its end reaches ``NOT_DONE_CUTOFF`` instead of 1.

    :param stages: (n,) index of each picture's stage, never falling; ``FINISHED`` after the last.
    :param change: (n - 1,) positive, as :func:`visual_change` gives it.
    :raises ValueError: if the shapes do not fit or stages fall.
    """
    stages = np.asarray(stages, np.int64)
    working = stages != FINISHED
    order = np.where(working, stages, np.iinfo(np.int64).max)
    if len(change) != max(len(stages) - 1, 0) or np.any(np.diff(order) < 0):
        raise ValueError('stages must never fall, and there must be a change between any two')
    kinds, counts = np.unique(stages[working], return_counts=True)
    steps = np.zeros(len(stages))
    for stage, count in zip(kinds.tolist(), counts.tolist(), strict=True):
        first = int(np.argmax(stages == stage))
        inside = change[first : first + count - 1]
        weight = np.clip(len(kinds) * count / counts.sum(), LEAST_WEIGHT, MOST_WEIGHT)
        if count == 1:
            # One picture has no change inside: its whole budget lies behind it.
            steps[first] = weight
        else:
            steps[first + 1 : first + count] = weight * inside / inside.sum()
    whole = steps.sum()
    if whole == 0.0:
        return np.zeros(len(stages))
    progress = np.concatenate([[0.0], np.cumsum(steps)[:-1]]) / whole
    if len(stages):
        progress[0] = 0.0
    return np.minimum(progress, 1.0) * (1.0 if done else NOT_DONE_CUTOFF)


def _averaged(values: Floats, count: int) -> Floats:
    """``values`` (n, m) in ``count`` rows, each the mean of the part of the rows that it covers."""
    edges = np.linspace(0.0, len(values), count + 1)
    whole = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    low = np.minimum(edges.astype(np.int64), len(values) - 1)
    at_edges = whole[low] + (edges - low)[:, None] * values[low]
    return np.diff(at_edges, axis=0) / np.diff(edges)[:, None]


def _cosines() -> Floats:
    place = (np.arange(_SIDE) + 0.5) * np.pi / _SIDE
    return np.cos(np.arange(_KEPT)[:, None] * place[None, :])


_COSINES = _cosines()
