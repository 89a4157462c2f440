"""Whether the task is done, and whether what was done has been undone."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from progress_monitor.config import RegressionConfig, SuccessConfig
from progress_monitor.judgement.noise import Floats, NoiseModel, stand_still
from progress_monitor.judgement.votes import Votes
from progress_monitor.types import NAN, Estimate, Verdict

DEVIATIONS = 2.0
CLEAR_NATS = 2.0 * DEVIATIONS**2
MOST_TICKS = 24
LEAP = 0.5
BANDS = 6
MOST_PATIENCE = 1.0 / 6.0
"""Share of the allowance that a success is waited for at the most, however slow the task is."""


class Lead:
    """Whether numbers have been high for as long as they may have been early.

    A number that is early by a ``band`` below ``high`` is early by the time that the task takes for
    it. That time is taken from its own rise over the last ``BANDS``, the slowest of them, for a
    number that lags and then catches up looks fast. It is that of the stamps: the task goes on
    while nobody can see it. After a leap of more than ``LEAP`` it is not known, and the leap may be
    a change of mind: the longest is waited for. A number that has been high ever since a recovery
    says that there was nothing to recover from: it is waited for an allowance.
    """

    def __init__(self, high: float, band: float) -> None:
        self._high = high
        self._lows = tuple(high - count * band for count in range(1, BANDS + 1))
        self._last = NAN
        self._has_been_low = True
        self.restart()

    def restart(self) -> None:
        self._neared: list[float | None] = [None] * BANDS
        self._reached: float | None = None
        self._leapt = False

    def recover(self) -> None:
        """A recovery has been started: the task is not done."""
        self.restart()
        self._has_been_low = False

    def update(self, number: float, time: float, allowance: float) -> bool:
        """Take in one number and return whether the lead is over.

        :param time: of its stamp, s; :param allowance: for the present step, s.
        """
        last, self._last = self._last, number
        if any(neared is not None and time < neared for neared in self._neared):
            self.restart()
        self._neared = [
            None if number < low else time if neared is None else neared
            for low, neared in zip(self._lows, self._neared, strict=True)
        ]
        self._has_been_low = self._has_been_low or number < self._high
        if number < self._lows[0]:
            self._reached = None
        elif self._reached is None and number >= self._high:
            self._reached = time
            self._leapt = number - last > LEAP
        if self._reached is None:
            return False
        rises = [self._reached - (neared or 0.0) for neared in self._neared]
        paces = [rise / count for count, rise in enumerate(rises, 1)]
        longest = MOST_PATIENCE * allowance
        lead = longest if self._leapt else min(max(paces), longest)
        if not self._has_been_low:
            lead = allowance
        return time - self._reached >= lead - 1e-6


class SuccessRule:
    """Enough progress, the strategy's verdict and, where offered, its second opinion.

    Where two deviations of ``success.confirm`` ticks exceed what ``success.progress`` leaves to 1,
    the numbers of as many as it takes must be clear too. The number must have been that high for as
    long as its last rise took from three times as much missing, or its part of a longer one.
    Success stays until as many ticks as confirm a regression say that the task is not done and name
    less progress.
    """

    def __init__(self, config: SuccessConfig, regression: RegressionConfig) -> None:
        self._config = config
        self._drop = regression.drop
        self._votes = Votes(config.confirm, config.confirm_of)
        self._against = Votes(regression.confirm, regression.confirm_of)
        self._recent: deque[float] = deque(maxlen=MOST_TICKS)
        self._margin = max(1.0 - config.progress, 1e-3)
        self._lead = Lead(config.progress, 2.0 * self._margin)
        self.active = False

    @property
    def confidence(self) -> float:
        """Share of the last m ticks that say so."""
        return self._votes.share

    def recover(self) -> None:
        """A recovery has been started: what counts was seen after it."""
        self.active = False
        self._votes.clear()
        self._against.clear()
        self._recent.clear()
        self._lead.recover()

    def update(self, estimate: Estimate, allowance: float, noise: NoiseModel) -> bool:
        """Judge one tick and return whether the task is done.

        :param allowance: for the present step, s.
        """
        self._recent.append(estimate.progress)
        time = estimate.stamp_ns * 1e-9
        lead_over = self._lead.update(estimate.progress, time, allowance)
        done = (
            estimate.progress >= self._config.progress
            and estimate.verdict is Verdict.DONE
            and not estimate.success_probability < self._config.probability
        )
        drop = max(self._drop, 4.0 * noise.scatter_before)
        undone = estimate.verdict is Verdict.NOT_DONE and (
            estimate.progress <= self._config.progress - drop
        )
        agreed = self._votes.add(done)
        against = self._against.add(undone)
        if not self.active and agreed and done and lead_over and self._is_clear(noise):
            self.active = True
            self._against.clear()
        elif self.active and against and undone:
            self.active = False
            self._votes.clear()
        return self.active

    def _is_clear(self, noise: NoiseModel) -> bool:
        """Whether the numbers are that high by more than noise.

        The mean of some number of ticks must speak for ``success.progress``, against three times as
        much missing, by ``CLEAR_NATS``; that of ``MOST_TICKS`` need only be nearer to it.
        """
        margin = self._margin
        recent = np.array(self._recent)[::-1]
        newest = recent[: self._config.confirm]
        if stand_still(newest, 0.5 * margin, noise.grid.proven):
            return True
        if DEVIATIONS * noise.long_run <= margin * math.sqrt(self._config.confirm):
            return True
        ticks = np.arange(1, len(recent) + 1)
        mean = np.cumsum(recent) / ticks
        above = mean - (self._config.progress - margin)
        blur = np.array([noise.of_mean(count) for count in ticks.tolist()])
        odds = np.maximum(2.0 * margin * above / blur**2, self._own_odds(recent, mean, blur, noise))
        enough = ticks >= self._config.confirm
        return bool((odds[enough] >= CLEAR_NATS).any()) or (
            len(recent) == MOST_TICKS and above[-1] >= 0.0
        )

    def _own_odds(self, recent: Floats, mean: Floats, blur: Floats, noise: NoiseModel) -> Floats:
        """The same by the scatter of those ticks themselves, nats.

        What is known of the scatter weighs as much as one of them (``gain.py``): numbers that
        repeat themselves do not scatter now, whatever they did on the way up.
        """
        ticks = np.arange(1, len(recent) + 1)
        own = np.maximum(np.cumsum(recent**2) - ticks * mean**2, 0.0)
        grain = noise.grid.coarsest
        left = own + noise.scatter**2 + ticks * (grain**2 / 12.0 + 1e-10)
        weight = noise.scatter**2 / blur**2
        short = weight * np.maximum(self._config.progress - mean, 0.0) ** 2
        beyond = weight * np.maximum(mean - (self._config.progress - 2.0 * self._margin), 0.0) ** 2
        odds: Floats = 0.5 * ticks * np.log((left + beyond) / (left + short))
        return odds
