"""Floor and ceiling of the token reading, from a few recorded runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from progress_monitor.parameters import ParameterError

_FIRST_READINGS = 3


@dataclass(frozen=True)
class TokenCalibration:
    """``topreward.floor`` and ``topreward.ceiling``, with what they were found to be worth.

    ``true_rate`` is the share of finished readings at or above the ceiling, ``false_rate`` that of
    unfinished ones.
    """

    floor: float
    ceiling: float
    true_rate: float
    false_rate: float


def calibrate(
    runs: Sequence[Sequence[float]], finished: Sequence[Sequence[bool | None]], readings: int
) -> TokenCalibration:
    """Find both from the log-probabilities of ``runs``, each in order of time.

    ``finished`` says of each reading whether the task was done; None: not known. The floor is the
    median of the first readings; the ceiling the threshold on the mean of the newest ``readings``
    that tells finished from unfinished best (TOPReward names none; its readers tune one by the
    ROC).

    :raises ParameterError: if the runs hold no finished, or no unfinished, readings.
    """
    first = [float(np.median(run[:_FIRST_READINGS])) for run in runs if run]
    done: list[float] = []
    undone: list[float] = []
    for run, flags in zip(runs, finished, strict=True):
        for end in range(readings, len(run) + 1):
            value = float(np.mean(run[end - readings : end]))
            known = flags[end - readings : end]
            if None not in known:
                (done if all(known) else undone).append(value)
    if not done or not undone:
        raise ParameterError('the runs must show the task both unfinished and finished')
    floor = float(np.median(first))
    thresholds = np.unique([*done, *undone])
    true = np.array([np.mean(np.array(done) >= value) for value in thresholds])
    false = np.array([np.mean(np.array(undone) >= value) for value in thresholds])
    best = int(np.argmax(true - false))
    # Midway to the next reading below, so that one as good as the worst that counted still does.
    below = float(thresholds[best - 1]) if best else float(thresholds[best])
    ceiling = min((float(thresholds[best]) + below) / 2.0, -1e-4)
    if ceiling <= floor:
        raise ParameterError('readings of finished runs lie no higher than those at the start')
    return TokenCalibration(
        round(floor, 4),
        round(ceiling, 4),
        round(float(true[best]), 4),
        round(float(false[best]), 4),
    )
