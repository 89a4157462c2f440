"""Where a recorded motion changes: it pauses, turns, or another part of the picture moves.

Optical flow is averaged over a grid of cells, each cell's motion to the left, right, up and down
apart. Where the mean of half a second before points elsewhere than that of half a second after,
one action ends and another begins (the novelty of J. Foote, "Automatic audio segmentation using a
measure of audio novelty", 2000, on motion).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from progress_monitor.adapt.recording import Recording

Floats = NDArray[np.float64]

_SAMPLES_PER_S = 10.0
_WIDTH = 120
_GRID = 4
_SIDE_S = 0.6
_SMOOTHING_S = 0.15
# Flow of the whole picture, in pixels a sample summed over cells, that is taken for the codec's.
_STILL = 1.0
# Of the speed that a camera exceeds a tenth of the time.
_MOVES = 0.12
_LEAST_NOVELTY = 0.15
_REST = 0.1
_PAUSE = 0.35
_TURN = 0.3


@dataclass(frozen=True)
class Change:
    """A time in s at which the motion changes, how much, 0..1, and in which way."""

    time_s: float
    strength: float
    kind: str


@dataclass(frozen=True)
class MotionSummary:
    """``start_s`` to ``end_s`` is the part in which anything moves; ``changes`` lie within."""

    start_s: float
    end_s: float
    changes: tuple[Change, ...]


def summarise(recording: Recording) -> MotionSummary:
    """Find where the motion changes that the first camera of ``recording`` sees.

    Cameras on wrists are not asked: whatever they see moves all the time.
    """
    every = max(1, round(recording.fps / _SAMPLES_PER_S))
    step_s = every / recording.fps
    if recording.frames <= 2 * every:
        return MotionSummary(0.0, recording.duration_s, ())
    cells = _flow(recording, every)
    usual = float(np.percentile(cells.sum(1), 90))
    if usual < _STILL:
        return MotionSummary(0.0, recording.duration_s, ())
    cells = _smooth(cells / usual, _SMOOTHING_S / step_s)
    speed = cells.sum(1)
    moving = np.flatnonzero(speed > _MOVES)
    if not moving.size:
        return MotionSummary(0.0, recording.duration_s, ())
    start_s = float(moving[0]) * step_s
    end_s = min(float(moving[-1] + 1) * step_s, recording.duration_s)
    novelty = _smooth(_novelty(cells, round(_SIDE_S / step_s)), 0.1 / step_s)
    side = max(1, round(_SIDE_S / step_s))
    changes = tuple(
        Change(time_s, strength, _kind(cells, speed, index, side))
        for index, strength in _peaks(novelty, side)
        # The flow from one sample to the next is told of the time between them.
        for time_s in ((index + 0.5) * step_s,)
        if start_s + _SIDE_S <= time_s <= end_s - 0.5 * _SIDE_S
    )
    return MotionSummary(start_s, end_s, changes)


def _flow(recording: Recording, every: int) -> Floats:
    """(samples - 1, cells * 4): motion left, right, up and down in each cell, pixels a sample."""
    follower = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    rows = []
    before: NDArray[np.uint8] | None = None
    for grey in recording.greys(0, every):
        height = max(24, round(_WIDTH * grey.shape[0] / grey.shape[1]))
        now = np.asarray(cv2.resize(grey, (_WIDTH, height), interpolation=cv2.INTER_AREA), np.uint8)
        if before is not None:
            flow = follower.calc(before, now, None)  # type: ignore[call-overload]
            parts = np.concatenate((np.maximum(flow, 0.0), np.maximum(-flow, 0.0)), axis=2)
            rows.append(cv2.resize(parts, (_GRID, _GRID), interpolation=cv2.INTER_AREA).ravel())
        before = now
    return np.asarray(rows, np.float64)


def _smooth(series: Floats, sigma: float) -> Floats:
    """A Gaussian over the first axis, its ends repeated."""
    flat = np.ascontiguousarray(series.reshape(len(series), -1))
    smoothed = cv2.GaussianBlur(
        flat, (1, 2 * max(1, round(3 * sigma)) + 1), 1e-6, None, sigma, cv2.BORDER_REPLICATE
    )
    return np.asarray(smoothed, np.float64).reshape(series.shape)


def _novelty(cells: Floats, side: int) -> Floats:
    """One minus the cosine of the motion before and after; stillness counts as a direction."""
    found = np.zeros(len(cells))
    for index in range(1, len(cells)):
        before = cells[max(0, index - side) : index].mean(0)
        after = cells[index : index + side].mean(0)
        rest = _REST * _REST
        lengths = (before @ before + rest) * (after @ after + rest)
        found[index] = 1.0 - (before @ after + rest) / np.sqrt(lengths)
    return found


def _peaks(series: Floats, apart: int) -> list[tuple[int, float]]:
    """Index and prominence of the maxima that stand out, the strongest first to take its place."""
    inner = np.arange(1, len(series) - 1)
    tops = inner[(series[inner] > series[inner - 1]) & (series[inner] >= series[inner + 1])]
    chosen: list[tuple[int, float]] = []
    for top in sorted(tops.tolist(), key=lambda index: -series[index]):
        prominence = _prominence(series, top)
        if prominence >= _LEAST_NOVELTY and all(abs(top - other) >= apart for other, _ in chosen):
            chosen.append((top, prominence))
    return sorted(chosen)


def _prominence(series: Floats, top: int) -> float:
    """How far one must come down from ``top`` to reach higher ground, or an end."""
    higher = np.flatnonzero(series > series[top])
    left = higher[higher < top]
    right = higher[higher > top]
    before = series[left[-1] if left.size else 0 : top + 1]
    after = series[top : right[0] + 1 if right.size else len(series)]
    return float(series[top] - max(before.min(), after.min()))


def _kind(cells: Floats, speed: Floats, index: int, side: int) -> str:
    around = slice(max(0, index - side), index + side)
    if speed[max(0, index - 1) : index + 2].min() < _PAUSE * speed[around].max():
        return 'pause'
    before = _direction(cells[max(0, index - side) : index])
    after = _direction(cells[index : index + side])
    lengths = float(np.linalg.norm(before) * np.linalg.norm(after))
    if lengths > 0.0 and float(before @ after) / lengths < _TURN:
        return 'turn'
    return 'other part moves'


def _direction(cells: Floats) -> Floats:
    """Mean motion to the right and down, (2,)."""
    parts = cells.reshape(-1, 4).mean(axis=0)
    return np.asarray(parts[:2] - parts[2:], np.float64)
