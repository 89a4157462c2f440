"""Whether the task is done, and whether what was done has been undone."""

from __future__ import annotations

import math
from collections import deque

from progress_monitor.config import RegressionConfig, SuccessConfig
from progress_monitor.judgement.noise import NoiseModel
from progress_monitor.judgement.votes import Votes
from progress_monitor.types import Estimate, Verdict

DEVIATIONS = 2.0
MOST_TICKS = 12
REPEATED_TICKS = 4
"""Equal numbers in a row that scatter no more, whatever those before them did."""
_SAME = 1e-3


class SuccessRule:
    """Enough progress, the strategy's verdict and, where offered, its second opinion.

    Where the numbers scatter, the mean of as many of them as it takes must be there too. Success
    stays until as many ticks as confirm a regression say that the task is not done and name less
    progress.
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
        """Whether the mean of enough ticks is that high; two deviations within what is missing."""
        newest = list(self._recent)[-max(REPEATED_TICKS, self._config.confirm) :]
        if len(newest) >= REPEATED_TICKS and max(newest) - min(newest) <= _SAME:
            return True
        margin = max(1.0 - self._config.progress, 1e-3)
        wanted = math.ceil((DEVIATIONS * noise.long_run / margin) ** 2)
        if wanted <= self._config.confirm:
            return True
        recent = list(self._recent)[-min(wanted, MOST_TICKS) :]
        return (
            len(recent) >= min(wanted, MOST_TICKS)
            and sum(recent) / len(recent) >= self._config.progress - margin
        )
