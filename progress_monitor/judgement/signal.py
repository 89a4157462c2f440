"""Progress and its rate from noisy ticks at unequal intervals."""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from progress_monitor.config import SignalConfig
from progress_monitor.types import NAN

Floats = NDArray[np.float64]

UNKNOWN_SPREAD = 0.03
SPREAD_FLOOR = 0.05
HISTORY = 600


@dataclass(frozen=True)
class Sample:
    """One judged tick: observed time in s, acquisition stamp, progress, its spread, filtered level.

    Observed time runs only while there is evidence to judge by.
    """

    time: float
    stamp_ns: int
    progress: float
    spread: float
    level: float


def weighted_median(values: Sequence[float], weights: Sequence[float]) -> float:
    """Lower weighted median: the smallest value with at least half of the weight up to it."""
    order = np.argsort(np.asarray(values), kind='stable')
    cumulative = np.cumsum(np.asarray(weights, np.float64)[order])
    index = int(np.searchsorted(cumulative, 0.5 * cumulative[-1] - 1e-12))
    return float(values[int(order[index])])


def theil_sen(times: Floats, values: Floats) -> float:
    """Median of the slopes over all pairs (Sen 1968); NaN for fewer than two distinct times."""
    dt = times[:, None] - times[None, :]
    dv = values[:, None] - values[None, :]
    later = dt > 1e-9
    return float(np.median(dv[later] / dt[later])) if bool(later.any()) else NAN


class ProgressSignal:
    """Running weighted median for the level, Theil-Sen for the rate, the newest tick for the value.

    The level follows a lasting change after (ticks + 1) / 2 ticks and ignores (ticks - 1) / 2
    outliers within ``ticks``; it never leaves the range of those ticks.
    """

    def __init__(self, config: SignalConfig) -> None:
        self._config = config
        self._samples: deque[Sample] = deque(maxlen=HISTORY)
        self._last_number = NAN
        self._series = np.empty((3, 2 * HISTORY))
        self._end = 0

    @property
    def samples(self) -> deque[Sample]:
        """Judged ticks, oldest first."""
        return self._samples

    @property
    def level(self) -> float:
        return self._samples[-1].level if self._samples else NAN

    @property
    def series(self) -> Floats:
        """Observed time in s, number and frames shown of the judged ticks: (3, ticks) float64.

        The number is as the model named it, with what the frames shown add to it.
        """
        return self._series[:, self._end - len(self._samples) : self._end]

    def clear(self) -> None:
        self._samples.clear()
        self._last_number = NAN

    def add(
        self,
        time: float,
        stamp_ns: int,
        progress: float,
        spread: float,
        number: float,
        frames: int = 0,
    ) -> Sample:
        """Take in one tick; ``time`` must not go back.

        :param progress: what is filtered: ``number``, without what the ``frames`` shown add to it.
        """
        if self._end == self._series.shape[1]:
            self._series[:, :HISTORY] = self._series[:, -HISTORY:].copy()
            self._end = HISTORY
        self._series[:, self._end] = time, number, frames
        self._end += 1
        recent = list(self._samples)[-(self._config.ticks - 1) :] if self._config.ticks > 1 else []
        values = [item.progress for item in recent] + [progress]
        weights = [_weight(item.spread) for item in recent] + [_weight(spread)]
        sample = Sample(time, stamp_ns, progress, spread, weighted_median(values, weights))
        self._samples.append(sample)
        return sample

    def reject(self, offset: float, limit: float) -> None:
        """Put the level plus ``offset`` for the newest number of ``series`` if it is wild.

        It is wild if it lies far from the level, from the number before it and from where the line
        through these two leads: a task may move by much from one tick to the next.

        :param limit: how far from there a number may lie, 0..1.
        """
        number = float(self._series[1, self._end - 1])
        middle = self._samples[-1].level + offset
        near = (middle, self._last_number, 2.0 * self._last_number - middle)
        if all(abs(number - place) > limit for place in near if math.isfinite(place)):
            self._series[1, self._end - 1] = middle
        self._last_number = number

    def interval(self) -> float:
        """Median observed time between the last ticks, s; NaN before two of them.

        Ticks between which observed time stood still say nothing of it.
        """
        times = [item.time for item in itertools.islice(reversed(self._samples), 9)]
        gaps = [later - earlier for later, earlier in itertools.pairwise(times) if later > earlier]
        return median(gaps) if gaps else NAN

    def rate(self) -> float:
        """Progress per second of observed time; NaN before three ticks."""
        recent = self._recent()
        if len(recent) < 3:
            return NAN
        return theil_sen(
            np.array([item.time for item in recent]), np.array([item.progress for item in recent])
        )

    def value(self) -> float:
        """Best present estimate of progress, 0..1; NaN before the first tick.

        It is the newest tick's, at no delay, unless that stands alone: further than
        ``signal.leap`` from both ticks before it. Then it is the one before, until the next tick
        confirms the leap.
        """
        if self.leaps:
            return self._samples[-2].progress
        return self._samples[-1].progress if self._samples else NAN

    @property
    def leaps(self) -> bool:
        """Whether the newest tick stands alone, so that the next must confirm it."""
        *before, newest = [item.progress for item in list(self._samples)[-3:]] or [NAN]
        return bool(before) and all(abs(newest - value) > self._config.leap for value in before)

    def _recent(self) -> list[Sample]:
        now = self._samples[-1].time if self._samples else 0.0
        recent = [
            item
            for item in list(self._samples)[-32:]
            if now - item.time <= self._config.rate_period
        ]
        return recent if len(recent) >= 3 else list(self._samples)[-3:]


def _weight(spread: float) -> float:
    """Weight of a tick; the floor keeps one confident slip from outvoting four other ticks."""
    return 1.0 / ((spread if math.isfinite(spread) else UNKNOWN_SPREAD) + SPREAD_FLOOR)
