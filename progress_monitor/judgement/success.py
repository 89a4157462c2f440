"""Whether the task is done, and whether what was done has been undone."""

from __future__ import annotations

from progress_monitor.config import RegressionConfig, SuccessConfig
from progress_monitor.judgement.votes import Votes
from progress_monitor.types import Estimate, Verdict


class SuccessRule:
    """Enough progress, an empty list of remaining steps and, where offered, a second opinion.

    It stays until as many ticks as confirm a regression name remaining steps and less progress.
    """

    def __init__(self, config: SuccessConfig, regression: RegressionConfig) -> None:
        self._config = config
        self._drop = regression.drop
        self._votes = Votes(config.confirm, config.confirm_of)
        self._against = Votes(regression.confirm, regression.confirm_of)
        self.active = False

    @property
    def confidence(self) -> float:
        """Share of the last m ticks that say so."""
        return self._votes.share

    def restart(self) -> None:
        self.active = False
        self._votes.clear()
        self._against.clear()

    def update(self, estimate: Estimate) -> bool:
        """Judge one tick and return whether the task is done."""
        done = (
            estimate.progress >= self._config.progress
            and estimate.verdict is Verdict.DONE
            and not estimate.success_probability < self._config.probability
        )
        undone = estimate.verdict is Verdict.NOT_DONE and (
            estimate.progress <= self._config.progress - self._drop
        )
        agreed = self._votes.add(done)
        against = self._against.add(undone)
        if not self.active and agreed and done:
            self.active = True
            self._against.clear()
        elif self.active and against and undone:
            self.active = False
            self._votes.clear()
        return self.active
