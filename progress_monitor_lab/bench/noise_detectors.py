"""Why the generalised likelihood ratio: other detectors on the same series, all told the noise.

Page's CUSUM (Biometrika 41, 1954) of the increments, and a Kalman filter of a local linear trend
(Harvey 1989) with correlated noise in its state, beside the windows that the judge tests. Each has
the threshold at which it makes ``RATE`` false calls in an hour of work at twice the minimum gain.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from progress_monitor.judgement.gain import no_gain

Floats = NDArray[np.float64]

RATE = 0.5
SLOPE_CHANGES = (0.003, 0.01, 0.03)
"""Of the Kalman filter's slope from tick to tick, in units of the gain: the best is taken."""


@dataclass(frozen=True)
class Setting:
    """What all detectors know: scatter and correlation of the numbers, and what is asked.

    ``gain`` is the minimum in every ``allowance_s``, ticks are ``tick_s`` apart.
    """

    scatter: float
    correlation: float
    gain: float
    allowance_s: float
    tick_s: float

    @property
    def step(self) -> float:
        """Twice the minimum gain, per tick."""
        return 2.0 * self.gain * self.tick_s / self.allowance_s


Detector = Callable[[Floats, Setting], Floats]
"""Evidence of no gain after each tick, (series, ticks), from numbers of the same shape."""


def likelihood_ratio(numbers: Floats, known: Setting) -> Floats:
    """The judge's own test."""
    times: Floats = known.tick_s * np.arange(numbers.shape[1], dtype=np.float64)
    evidence = np.full(numbers.shape, -math.inf)
    for index, series in enumerate(numbers):
        for end in range(math.ceil(known.allowance_s / known.tick_s) + 1, len(series) + 1):
            start = max(end - math.ceil(10.0 * known.allowance_s / known.tick_s) - 1, 0)
            evidence[index, end - 1] = no_gain(
                times[start:end],
                series[start:end],
                known.allowance_s,
                known.gain,
                known.scatter,
                known.correlation,
            ).odds
    return evidence


def cusum(numbers: Floats, known: Setting) -> Floats:
    """Sum of what the increments fall short of the minimum gain, never below 0."""
    missing = 0.5 * known.step - np.diff(numbers, axis=1, prepend=numbers[:, :1])
    evidence = np.zeros(numbers.shape)
    for tick in range(1, numbers.shape[1]):
        evidence[:, tick] = np.maximum(evidence[:, tick - 1] + missing[:, tick], 0.0)
    return evidence


def kalman(numbers: Floats, known: Setting, slope_change: float) -> Floats:
    """Deviations by which the filtered slope falls short of the minimum gain."""
    rho = known.correlation
    forward = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, rho]])
    seen = np.array([1.0, 0.0, 1.0])
    innovation = known.scatter**2 * (1.0 - rho**2)
    added = np.diag([0.0, (slope_change * known.step) ** 2, innovation])
    state = np.zeros((3, len(numbers)))
    state[0], state[1] = numbers[:, 0], known.step
    blur = np.diag([known.scatter**2, (4.0 * known.step) ** 2, known.scatter**2])
    evidence = np.full(numbers.shape, -math.inf)
    for tick in range(1, numbers.shape[1]):
        state, blur = forward @ state, forward @ blur @ forward.T + added
        weight = blur @ seen / float(seen @ blur @ seen + 1e-12)
        state = state + np.outer(weight, numbers[:, tick] - seen @ state)
        blur = blur - np.outer(weight, seen @ blur)
        evidence[:, tick] = (0.5 * known.step - state[1]) / math.sqrt(blur[1, 1])
    return evidence


def detectors() -> dict[str, list[Detector]]:
    """Every detector by name, with what there is to choose of it."""

    def filtered(change: float) -> Detector:
        return lambda numbers, known: kalman(numbers, known, change)

    return {
        'GLR (the judge)': [likelihood_ratio],
        'Kalman': [filtered(change) for change in SLOPE_CHANGES],
        'CUSUM': [cusum],
    }


def delays(
    detector: Detector, steady: Floats, stalled: Floats, onsets: list[int], known: Setting
) -> Floats:
    """Allowances from each onset to the call at ``RATE`` false calls an hour; inf without one.

    :param steady: (runs, ticks) numbers of steady work; :param stalled: (series, ticks) numbers
        that stand still from ``onsets`` on.
    """
    first = math.ceil(known.allowance_s / known.tick_s)
    most = np.sort(detector(steady, known)[:, first:].max(axis=1))[::-1]
    allowed = int(RATE * steady.size * known.tick_s / 3600.0)
    threshold = float(most[min(allowed, len(most) - 1)])
    evidence = detector(stalled, known)
    waited = []
    for series, onset in zip(evidence, onsets, strict=True):
        called = np.flatnonzero(series[onset + 1 :] > threshold)
        ticks = float(called[0]) + 1.0 if called.size else math.inf
        waited.append(ticks * known.tick_s / known.allowance_s)
    return np.array(waited)
