"""Whether progress has been made within the allowance, and since when it has not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from progress_monitor.config import StallConfig
from progress_monitor.judgement.signal import Sample
from progress_monitor.judgement.votes import Votes


class StallRule:
    """Baseline, minimum gain and time allowance, as in a navigation stack's progress checker.

    A gain is taken to be made when half of ``minimum_gain`` is seen, so that noise of up to a
    quarter of it can neither hide progress nor feign it: with such noise, progress by
    ``minimum_gain`` in every allowance is never called a stall, and no progress always is.
    """

    def __init__(self, config: StallConfig) -> None:
        self._config = config
        self._gain = 0.5 * config.minimum_gain
        self._votes = Votes(config.confirm, config.confirm_of)
        self._releases = Votes(config.release, config.release)
        self.restart()

    def restart(self) -> None:
        """Take a new baseline from the next tick."""
        self.baseline: float | None = None
        self.since = 0.0
        self._start = 0.0
        self.active = False
        self._votes.clear()
        self._releases.clear()

    def update(self, samples: Sequence[Sample], allowance: float, interval: float) -> bool:
        """Judge the newest of ``samples`` (oldest first) and return whether the task is stalled.

        :param allowance: for the present step, in seconds of observed time.
        :param interval: usual observed time between ticks, s; NaN if not known.
        """
        newest = samples[-1]
        if self.baseline is None:
            self._measure_from(newest)
            return False
        gained = newest.progress >= self.baseline + self._gain
        if self.active:
            if self._releases.add(gained):
                self.restart()
                self._measure_from(newest)
            return self.active
        if newest.level >= self.baseline + self._gain:
            self._move_baseline(samples)
            self._votes.clear()
            return False
        elapsed = newest.time - self.since
        # Ticks shortly before the allowance ends may already vote, so that confirmation adds no
        # delay; the call itself is made by a tick after it.
        early = (self._config.confirm - 1) * interval if interval == interval else 0.0
        agreed = self._votes.add(not gained and elapsed >= allowance - early)
        if agreed and not gained and elapsed >= allowance:
            self.active = True
            self._releases.clear()
        return self.active

    def rest(self, time: float) -> None:
        """Nothing has moved since ``time``: what was gained later was a change of mind."""
        if self.baseline is not None and not self.active:
            self.since = max(min(self.since, time), self._start)

    def _measure_from(self, sample: Sample) -> None:
        self.baseline = sample.level
        self.since = self._start = sample.time

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
