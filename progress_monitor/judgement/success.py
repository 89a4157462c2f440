"""Whether the task is done, and whether what was done has been undone."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from progress_monitor.config import RegressionConfig, SuccessConfig
from progress_monitor.judgement.noise import NoiseModel, stand_still
from progress_monitor.judgement.votes import Votes
from progress_monitor.types import Estimate, Verdict

DEVIATIONS = 2.0
CLEAR_NATS = 2.0 * DEVIATIONS**2
MOST_TICKS = 24


class SuccessRule:
    """Enough progress, the strategy's verdict and, where offered, its second opinion.

    Where two deviations of ``success.confirm`` ticks exceed what ``success.progress`` leaves to 1,
    the numbers of as many as it takes must be clear too. Success stays until as many ticks as
    confirm a regression say that the task is not done and name less progress.
    """

    def __init__(self, config: SuccessConfig, regression: RegressionConfig) -> None:
        self._config = config
        self._drop = regression.drop
        self._votes = Votes(config.confirm, config.confirm_of)
        self._against = Votes(regression.confirm, regression.confirm_of)
        self._recent: deque[float] = deque(maxlen=MOST_TICKS)
        self.active = False

    @property
    def confidence(self) -> float:
        """Share of the last m ticks that say so."""
        return self._votes.share

    def restart(self) -> None:
        self.active = False
        self._votes.clear()
        self._against.clear()
        self._recent.clear()

    def update(self, estimate: Estimate, noise: NoiseModel) -> bool:
        """Judge one tick and return whether the task is done."""
        self._recent.append(estimate.progress)
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
        if not self.active and agreed and done and self._is_clear(noise):
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
        margin = max(1.0 - self._config.progress, 1e-3)
        recent = np.array(self._recent)[::-1]
        newest = recent[: self._config.confirm]
        if stand_still(newest, 0.5 * margin, noise.grid.proven):
            return True
        if DEVIATIONS * noise.long_run <= margin * math.sqrt(self._config.confirm):
            return True
        ticks = np.arange(1, len(recent) + 1)
        above = np.cumsum(recent) / ticks - (self._config.progress - margin)
        blur = np.array([noise.of_mean(count) for count in ticks.tolist()])
        odds = 2.0 * margin * above / blur**2
        enough = ticks >= self._config.confirm
        return bool((odds[enough] >= CLEAR_NATS).any()) or (
            len(recent) == MOST_TICKS and above[-1] >= 0.0
        )
