"""Whether progress has been made within the allowance, and since when it has not."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from progress_monitor.config import StallConfig
from progress_monitor.judgement.gain import NOTHING, no_gain
from progress_monitor.judgement.looping import LoopRule
from progress_monitor.judgement.noise import (
    FEW,
    FINE,
    REPEATED,
    Floats,
    NoiseModel,
    quantile,
    scatter_now,
    stand_still,
    within_a_step,
)
from progress_monitor.judgement.signal import Sample
from progress_monitor.judgement.votes import Votes

QUIET = 0.42
"""Scatter, in minimum gains, up to which half a gain is told from noise by eye."""
BLURRED = 0.28
"""The same, from which half a gain may as well be noise, so that the windows are tested too."""
GRAIN_MARGIN = 1.5
SELDOM = 0.9
"""Share of the numbers of a rest above which one is taken for a gain that was made."""
STOOD_WITHIN = 1.5
"""Allowances of numbers that are looked at for where they stood before they came back to it."""
DUE_DEVIATIONS = 3.0
DUE_STEPS = 2.0
"""Steps of their grid after which numbers that are all the same are overdue, whatever the noise."""
CLEAR_NATS = 11.0
RELEASE_DEVIATIONS = 3.5


class StallRule:
    """Baseline, minimum gain and time allowance, as in a navigation stack's progress checker.

    A gain is taken to be made when half of ``minimum_gain`` is seen, so that noise of up to a
    quarter of it can neither hide progress nor feign it: with such noise, progress by
    ``minimum_gain`` in every allowance is never called a stall, and no progress always is.
    With more noise a call waits until the numbers of the last allowances show it (``gain.py``).
    """

    def __init__(self, config: StallConfig) -> None:
        self._config = config
        self._gain = 0.5 * config.minimum_gain
        self._releases = Votes(config.release, config.release)
        self.restart()

    def restart(self) -> None:
        """Take a new baseline from the next tick."""
        self.baseline: float | None = None
        self.since = 0.0
        self.active = False
        self.test = NOTHING
        self.in_circles = False
        self._start = 0.0
        self._feigned = 0.0
        self._gained_at = 0.0
        self._called_at = 0.0
        self._cannot_tell = False
        self._releases.clear()

    @property
    def cannot_tell(self) -> bool:
        """Whether the longest allowance has passed and neither gain nor stall is clear."""
        return self._cannot_tell

    def update(
        self,
        samples: Sequence[Sample],
        series: Floats,
        allowance: float,
        interval: float,
        noise: NoiseModel,
        loop: LoopRule,
        against: float = 0.0,
        held: bool = False,
    ) -> bool:
        """Judge the newest of ``samples`` (oldest first) and return whether the task is stalled.

        :param series: (2, ticks) observed time in s and progress of the same ticks.
        :param allowance: for the present step, in seconds of observed time.
        :param interval: usual observed time between ticks, s; NaN if not known.
        :param against: evidence of other kinds that work goes on, nats.
        :param held: whether the number is kept because nothing moves; it does not scatter then.
        """
        newest = samples[-1]
        if self.baseline is None:
            self._measure_from(newest)
            return False
        expected = 2.0 * self._config.minimum_gain / allowance
        allowance *= self._patience(noise.grid.grain)
        times, values = series[:, np.searchsorted(series[0], self._start - 1e-9) :]
        if self.active:
            self._release(newest, times, values, 0.0 if held else noise.scatter, noise)
            return self.active
        timed_out = self._time_out(newest, samples, allowance, interval)
        if not timed_out:
            timed_out = self._stood(times, values, allowance, noise.grid.coarsest)
        self.test = NOTHING
        self._cannot_tell = False
        recent = values[np.searchsorted(times, self.since - 1e-9) :]
        # The last allowance: that numbers scattered before it says nothing of a plateau either.
        starts = np.searchsorted(times, np.array([self.since, newest.time - allowance]) - 1e-9)
        quiet = held or any(
            self._is_quiet(values[start:], expected * float(times[-1] - times[start]), noise)
            for start in starts.tolist()
        )
        self.in_circles = not quiet and loop.goes_round(recent)
        if quiet or self.in_circles:
            self._gained_at = max(self.since, self._gained_at)
            self._set_active(timed_out, newest)
            blurred = noise.known and noise.scatter > BLURRED * self._config.minimum_gain
            if self.active or held or self.in_circles or not blurred:
                return self.active
        gain, grain = self._config.minimum_gain, noise.grid.grain
        self.test = no_gain(times, values, allowance, gain, *noise.behind, grain)
        if self.test.gained:
            self._gained_at = newest.time
        clear = self.test.odds - against >= CLEAR_NATS
        if clear:
            self.baseline = float(values[self.test.start :].mean())
            self.since = float(times[self.test.start])
        self._set_active(clear, newest)
        waited = newest.time - max(self._gained_at, self._start)
        self._cannot_tell = not clear and waited >= self._config.longest * allowance
        return self.active

    def _stood(self, times: Floats, values: Floats, allowance: float, grid: float) -> bool:
        """Whether the numbers are back where they stood an allowance ago, and mostly stayed there.

        What was taken for a gain between then was none.
        """
        gain = self._config.minimum_gain
        first, last = times[-1] - STOOD_WITHIN * allowance, times[-1] - allowance
        ends = np.searchsorted(times, [first - 1e-6, last + 1e-6])
        step = grid + 1e-4 if grid <= FINE * gain else 0.0
        same = np.abs(values - values[-1]) <= max(REPEATED * gain, step)
        there = np.flatnonzero(same[ends[0] : ends[1]])
        if not there.size:
            return False
        start = int(ends[0] + there[-1])
        # Where most numbers are one, the newest must be that one.
        if len(values) - start < FEW or 2 * int(same[start:].sum()) <= len(values) - start:
            return False
        stood = values[start:]
        if not (stand_still(stood, gain, grid) or within_a_step(stood, gain, grid)):
            return False
        self.baseline, self.since = float(values[-1]), float(times[start])
        self._feigned = max(quantile(values[start:], SELDOM) - self.baseline, 0.0)
        return True

    def _patience(self, grain: float) -> float:
        """Allowances that numbers rounded to ``grain`` may stand still for at twice the gain."""
        return max(1.0, GRAIN_MARGIN * grain / (2.0 * self._config.minimum_gain))

    def _is_quiet(self, recent: Floats, missed: float, noise: NoiseModel) -> bool:
        """Whether half a gain is told from noise by eye in some newest numbers.

        That is so where the numbers do not scatter in general, and where they stand still now,
        whatever they did before. Those that are rounded do so until they are due for the next step.

        :param missed: what twice the minimum gain would have come to meanwhile, 0..1.
        """
        gain, grain = self._config.minimum_gain, noise.grid.grain
        scatter = noise.behind[0]
        if max(scatter, scatter_now(recent)) <= QUIET * gain:
            return True
        if stand_still(recent, gain, noise.grid.coarsest):
            return True
        if within_a_step(recent, gain, noise.grid.coarsest):
            return True
        if np.ptp(recent) > REPEATED * gain:
            return False
        if missed >= DUE_STEPS * noise.grid.coarsest:
            return True
        if not grain or not noise.known:
            return False
        bare = math.sqrt(max(scatter**2 - grain**2 / 12.0, 0.0))
        return missed >= grain + DUE_DEVIATIONS * bare

    def rest(self, time: float) -> None:
        """Nothing has moved since ``time``: what was gained later was a change of mind."""
        if self.baseline is not None and not self.active:
            self.since = max(min(self.since, time), self._start)

    def take_over(self, other: StallRule, newest: Sample) -> None:
        """Call the stall that ``other`` has found in other numbers of the same ticks."""
        self.test, self.in_circles = other.test, other.in_circles
        self.baseline, self.since = newest.level, other.since
        self._set_active(True, newest)

    def _set_active(self, stalled: bool, newest: Sample) -> None:
        if stalled:
            self.active = True
            self._called_at = newest.time
            self._releases.clear()

    def _time_out(
        self, newest: Sample, samples: Sequence[Sample], allowance: float, interval: float
    ) -> bool:
        """Whether half of the gain has not been seen within the allowance."""
        assert self.baseline is not None
        gained = newest.progress >= self.baseline + self._gain
        if newest.level >= self.baseline + self._gain:
            self._move_baseline(samples)
            return False
        # Ticks shortly before the allowance ends may already vote, so that confirmation adds no
        # delay; the call itself is made by a tick after it.
        early = (self._config.confirm - 1) * interval if interval == interval else 0.0
        due = self.since + max(allowance - early, 0.0)
        among = max(self._config.confirm, self._config.confirm_of)
        asked = list(itertools.islice(reversed(samples), among))
        votes = sum(
            item.time >= due and item.progress < self.baseline + self._gain for item in asked
        )
        agreed = votes >= self._config.confirm
        return agreed and not gained and newest.time - self.since >= allowance

    def _release(
        self, newest: Sample, times: Floats, values: Floats, scatter: float, noise: NoiseModel
    ) -> None:
        """End the stall when enough ticks, or the mean of as many as it takes, show a gain."""
        assert self.baseline is not None
        standing = self.baseline + self._feigned
        needed = max(self._gain, RELEASE_DEVIATIONS * scatter)
        released = self._releases.add(newest.progress >= standing + needed)
        if not released and scatter > 0.0:
            after = values[np.searchsorted(times, self._called_at, side='right') :][::-1]
            for ticks in (4, 8, 16, 32, 64):
                if ticks > len(after):
                    break
                clear = max(self._gain, RELEASE_DEVIATIONS * noise.of_mean(ticks))
                released = released or float(after[:ticks].mean()) >= standing + clear
        if released:
            self.restart()
            self._measure_from(newest)

    def _measure_from(self, sample: Sample) -> None:
        self.baseline = sample.level
        self.since = self._start = self._gained_at = sample.time

    def _move_baseline(self, samples: Sequence[Sample]) -> None:
        """Date the gain back to the tick that first showed it; the median saw it later."""
        assert self.baseline is not None
        threshold = self.baseline + self._gain
        first = samples[-1]
        for item in reversed(samples):
            if item.time <= self.since or item.progress < threshold:
                break
            first = item
        self.baseline = min(samples[-1].level, first.progress)
        self.since = first.time


def onset(samples: Sequence[Sample], baseline: float, gain: float) -> Sample:
    """The tick from which progress has stood at its present level, going back from the newest.

    The place is the best split of the recent ticks into a straight rise and a constant, by the sum
    of absolute residuals, so that single outliers do not move it.

    :param baseline: progress that the stall was measured from; ticks well below it belong to the
        rise, and no more of them than the split needs are looked at.
    """
    recent = list(samples)
    values = np.array([item.progress for item in recent])
    times = np.array([item.time for item in recent])
    below = np.flatnonzero(np.array([item.level for item in recent]) < baseline - 4.0 * gain)
    start = max(int(below[-1]) - 3, 0) if below.size else 0
    values, times, recent = values[start:], times[start:], recent[start:]
    count = len(recent)
    if count < 4:
        return recent[0]
    best, lowest = 0, float('inf')
    for split in range(count - 2):
        plateau = float(np.median(values[split:]))
        cost = float(np.abs(values[split:] - plateau).sum())
        if split:
            rise = _line_through(times[: split + 1], values[: split + 1], plateau)
            cost += float(np.abs(values[:split] - rise[:-1]).sum())
        if cost < lowest - 1e-9:
            best, lowest = split, cost
    return recent[best]


def _line_through(times: np.ndarray, values: np.ndarray, end: float) -> np.ndarray:
    """Line that ends at ``end`` at the last time, with the median slope of the others to it."""
    before = times[-1] - times[:-1]
    slope = float(np.median((end - values[:-1]) / np.maximum(before, 1e-9)))
    return end - slope * (times[-1] - times)
