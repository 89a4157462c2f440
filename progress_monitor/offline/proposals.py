"""Parameters proposed from recorded runs, each with the ROC that it comes from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import yaml

from progress_monitor.offline.recorded_runs import Floats, Run
from progress_monitor.strategies.calibration import TokenCalibration, calibrate

GAINS = (0.02, 0.03, 0.05, 0.1)
MARGIN = 1.25
"""The proposed allowance over the longest standstill of a run that succeeded."""
# Fewer answers say too little of a standstill.
_LEAST_TICKS = 10
# evidence.confirm counts unusable answers among as many; its default wins where it is as good.
_CONFIRM_WINDOW = 3
_CONFIRM_USUAL = 2


@dataclass(frozen=True, eq=False)
class Roc:
    """Rates over all thresholds: of ``positive`` and of ``negative`` scores at or above each."""

    thresholds: Floats
    true_rate: Floats
    false_rate: Floats
    area: float


def roc(positive: Floats, negative: Floats) -> Roc:
    """Receiver operating characteristic of scores that are higher for ``positive``."""
    thresholds = np.unique(np.concatenate((positive, negative)))
    true_rate = np.array([(positive >= value).mean() for value in thresholds])
    false_rate = np.array([(negative >= value).mean() for value in thresholds])
    above = np.searchsorted(np.sort(negative), positive)
    level = np.searchsorted(np.sort(negative), positive, side='right')
    area = float((above + level).mean()) / (2.0 * len(negative))
    return Roc(thresholds, true_rate, false_rate, area)


def propose(
    successes: Sequence[Run], failures: Sequence[Run]
) -> tuple[dict[str, float], dict[str, Roc]]:
    """Parameters by dotted name, and the ROC that each comes from.

    ``success.progress`` lies midway between the best threshold for the progress at the end of a run
    and the next score below it. ``stall.minimum_gain`` is the one of ``GAINS`` whose longest
    standstills tell failures from successes best; ``stall.allowance`` is a quarter above the
    longest standstill of the successes, and ten ticks at least.
    """
    ends = roc(np.array([run.end for run in successes]), np.array([run.end for run in failures]))
    scores = np.unique(np.concatenate((ends.thresholds, [0.0])))
    best = float(ends.thresholds[int(np.argmax(ends.true_rate - ends.false_rate))])
    below = scores[scores < best]
    threshold = 0.5 * (best + float(below[-1])) if below.size else best
    by_gain = {
        gain: roc(
            np.array([run.longest_standstill(gain) for run in failures]),
            np.array([run.longest_standstill(gain) for run in successes]),
        )
        for gain in GAINS
    }
    gain = max(GAINS, key=lambda item: (by_gain[item].area, -item))
    longest = max(run.longest_standstill(gain) for run in successes)
    tick = max(float(np.median(np.diff(run.times))) for run in successes)
    least = max(MARGIN * longest, _LEAST_TICKS * tick, 1.0)
    values = {
        'stall.allowance': math.ceil(round(10.0 * least, 6)) / 10.0,
        'stall.minimum_gain': gain,
        'success.progress': min(max(round(threshold, 3), 0.01), 1.0),
    }
    return values, {'success.progress': ends, 'stall.allowance': by_gain[gain]}


def propose_confirm(own: Sequence[Run], other: Sequence[Run]) -> tuple[int, Roc]:
    """``evidence.confirm``, and the ROC of unusable answers among the newest three.

    :param own: runs of the task.
    :param other: runs of other tasks, of which the model was asked for this one.
    """
    foreign, known = (
        np.concatenate([run.unusable_of_newest(_CONFIRM_WINDOW) for run in runs]).astype(float)
        for runs in (other, own)
    )
    gain = {
        count: float((foreign >= count).mean() - (known >= count).mean())
        for count in range(1, _CONFIRM_WINDOW + 1)
    }
    best = max(gain, key=lambda count: (gain[count], count == _CONFIRM_USUAL, count))
    return best, roc(foreign, known)


def propose_token(
    successes: Sequence[Run], failures: Sequence[Run], readings: int
) -> TokenCalibration | None:
    """``topreward.floor`` and ``topreward.ceiling``; None: the runs hold no such readings.

    A success is finished at its last ``readings``, and unfinished in its first half; what lies
    between is not known.

    :raises ParameterError: if finished readings lie no higher than those at the start.
    """
    runs, finished = [], []
    for run in (*successes, *failures):
        count = len(run.readings)
        flags: list[bool | None] = [False] * count
        if any(run is item for item in successes):
            half = min(count // 2, max(count - readings, 0))
            flags[half:] = [None] * (count - half)
            flags[max(count - readings, 0) :] = [True] * min(readings, count)
        runs.append(run.readings.tolist())
        finished.append(flags)
    return calibrate(runs, finished, readings) if any(runs) else None


def placed(run: Run, found: TokenCalibration) -> Run:
    """``run`` with the progress that its readings have between the floor and ceiling ``found``."""
    progress = (run.readings - found.floor) / (found.ceiling - found.floor)
    return replace(run, times=run.reading_times, progress=np.clip(progress, 0.0, 1.0))


def parameter_yaml(values: dict[str, float]) -> str:
    """A ROS 2 parameter file of the node ``progress_monitor``."""
    groups: dict[str, dict[str, float]] = {}
    for name, value in values.items():
        group, _, field = name.partition('.')
        groups.setdefault(group, {})[field] = value
    return yaml.safe_dump({'progress_monitor': {'ros__parameters': groups}}, sort_keys=False)
