"""Whether a number that changes while nothing moves in the picture says anything of the task."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from progress_monitor.judgement.tick import Tick

Floats = NDArray[np.float64]

STILLNESS_NATS = 6.0
MOST_STILLNESS_NATS = 18.0
STEP_ERROR = 0.1
"""How often a step is taken for done, or for undone, by mistake; after ``memory.confirm``."""
STEP_NATS = math.log((1.0 - STEP_ERROR) / STEP_ERROR)
LEAST_TICKS = 12
KEPT = 240


class RestEvidence:
    """Log-odds (nats) that work goes on, while the pictures rest.

    Stillness speaks against it, by six nats for each ``evidence.still_after`` up to three of them;
    a step that the plan counts as done meanwhile speaks for it, by its error rate; and so does a
    number that rises steadily, by the likelihood ratio of a straight line against a constant. A
    single leap is no such rise, and neither is a number that grows with the frames shown.
    """

    def __init__(self, still_after: float) -> None:
        self._still_after = still_after
        self.restart()

    def restart(self) -> None:
        """Something has moved."""
        self._series: list[tuple[float, float, float]] = []
        self._done_steps: int | None = None

    def add(self, time: float, tick: Tick, rested: float) -> bool:
        """Take in a number at rest and return whether it is to count.

        :param time: observed time, s; :param rested: how long nothing has moved, s.
        """
        self._series.append((time, tick.estimate.progress, float(tick.frames)))
        del self._series[:-KEPT]
        if self._done_steps is None:
            self._done_steps = tick.done_steps
        stillness = min(STILLNESS_NATS * rested / self._still_after, MOST_STILLNESS_NATS)
        steps = STEP_NATS * max(tick.supposed_steps - self._done_steps, 0)
        return steady_rise(np.array(self._series)) + steps > stillness


def steady_rise(series: Floats) -> float:
    """Log-likelihood ratio (nats) of a steady rise against none; 0 where it does not rise steadily.

    :param series: (ticks, 3) float64 of time in s, number and frames shown.
    """
    if len(series) < LEAST_TICKS:
        return 0.0
    quarters = np.array([np.median(part) for part in np.array_split(series[:, 1], 4)])
    if bool((np.diff(quarters) < (quarters[-1] - quarters[0]) / 8.0).any()):
        return 0.0
    if quarters[-1] <= quarters[0]:
        return 0.0
    time, number, frames = (series - series.mean(axis=0)).T
    varied = float(frames @ frames)
    if varied > 1e-9:
        time = time - (time @ frames) / varied * frames
        number = number - (number @ frames) / varied * frames
    square = float(time @ time)
    if square < 1e-6 * len(series):
        return 0.0
    slope = float(time @ number) / square
    if slope <= 0.0:
        return 0.0
    left = number - slope * time
    power = float(left @ left)
    if power < 1e-12:
        return math.inf
    rho = min(max(float(left[1:] @ left[:-1]) / power, 0.0), 0.9)
    independent = len(series) * (1.0 - rho) / (1.0 + rho)
    # A line that may rise fits better than a constant anyhow (Schwarz 1978).
    by_chance = 0.5 * math.log(len(series))
    return max(0.5 * independent * math.log1p(slope * slope * square / power) - by_chance, 0.0)
