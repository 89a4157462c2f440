"""Whether progress that had been made is lost."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from progress_monitor.config import RegressionConfig
from progress_monitor.judgement.noise import Floats, NoiseModel
from progress_monitor.judgement.signal import Sample
from progress_monitor.judgement.votes import Votes

VOTE_DEVIATIONS = 6.5
STEP_DEVIATIONS = 6.0
TICKS_SINCE = (5, 8, 16, 32, 64)
LEAST_BEFORE = 16


class RegressionRule:
    """A confirmed fall from the best level since the last baseline.

    Half of the fall is enough when the plan says so too, that is, when a step that was done is
    needed again. Where the numbers scatter, the fall must stand out of that: single ticks by
    ``VOTE_DEVIATIONS``, or a step between many of them by ``STEP_DEVIATIONS`` of its own. Released
    when progress rises from the lowest level by ``gain``.
    """

    def __init__(self, config: RegressionConfig, gain: float, release: int) -> None:
        self._drop = config.drop
        self._gain = gain
        self._votes = Votes(config.confirm, config.confirm_of)
        self._releases = Votes(release, release)
        self.restart()

    def restart(self) -> None:
        """Forget the best level; it is taken from the next tick."""
        self.peak: float | None = None
        self.lowest = 1.0
        self.active = False
        self._ticks = 0
        self._votes.clear()
        self._releases.clear()

    def update(self, sample: Sample, numbers: Floats, undone: bool, noise: NoiseModel) -> bool:
        """Judge one tick and return whether progress is lost.

        :param numbers: (ticks,) progress of all ticks, oldest first, without wild answers.
        """
        if self.peak is None:
            self.peak = sample.level
        if self.active:
            self.lowest = min(self.lowest, sample.level)
            gain = max(self._gain, 4.0 * noise.scatter)
            if self._releases.add(sample.progress >= self.lowest + gain):
                self.restart()
                self.peak = sample.level
            return self.active
        self.peak = max(self.peak, sample.level)
        drop = max(0.5 * self._drop if undone else self._drop, noise.grid.back)
        needed = max(drop, VOTE_DEVIATIONS * noise.scatter_before)
        fallen = sample.progress <= self.peak - needed
        agreed = self._votes.add(fallen) and fallen
        if self._has_stepped_back(numbers, drop, noise) or agreed:
            self.active = True
            self.lowest = sample.progress
            self._releases.clear()
        return self.active

    def _has_stepped_back(self, numbers: Floats, drop: float, noise: NoiseModel) -> bool:
        """Whether there is a step down; only asked where single ticks cannot show it."""
        self._ticks += 1
        scatter = noise.scatter_before
        if VOTE_DEVIATIONS * scatter <= drop:
            return False
        for since in TICKS_SINCE:
            seen = min(self._ticks, len(numbers))
            ticks = min(since + max(3 * since, LEAST_BEFORE), seen)
            if ticks - since < LEAST_BEFORE:
                break
            values = numbers[-ticks:]
            step, error = step_of(values, since, noise.correlation)
            fallen = step <= -max(drop, STEP_DEVIATIONS * scatter * error)
            # A wild answer or two are no step.
            if fallen and np.median(values[-since:]) <= np.median(values[:-since]) - 0.5 * drop:
                return True
        return False

    def force(self, sample: Sample) -> None:
        """Take progress as lost, whatever the fall."""
        self.active = True
        self.peak = 1.0 if self.peak is None else self.peak
        self.lowest = sample.progress
        self._releases.clear()

    def onset(self, samples: Sequence[Sample]) -> Sample:
        """The last tick before the fall: the newest that still stood near the peak."""
        assert self.peak is not None
        near = self.peak - 0.25 * self._drop
        for index in range(len(samples) - 1, -1, -1):
            if samples[index].progress >= near:
                return samples[index]
        return samples[0]


def step_of(values: Floats, since: int, correlation: float) -> tuple[float, float]:
    """The step down or up before the last ``since`` of ``values``, over a straight line.

    By generalised least squares: correlated numbers hardly change from one to the next, so a sudden
    step stands out of them more than the means of either side do.

    :param correlation: of successive numbers, 0..1.
    :returns: its size, and its standard deviation in units of that of the numbers.
    """
    ticks = len(values)
    columns = np.zeros((4, ticks))
    columns[0] = 1.0
    columns[1] = np.arange(ticks) / ticks
    columns[2, -since:] = 1.0
    columns[3] = values
    white = columns.copy()
    white[:, 1:] -= correlation * columns[:, :-1]
    head = math.sqrt(1.0 - correlation**2)
    white[:, 0] *= head
    inverse = np.linalg.inv(white[:3] @ white[:3].T)
    step = float(inverse[2] @ (white[:3] @ white[3]))
    return step, head * math.sqrt(float(inverse[2, 2]))
