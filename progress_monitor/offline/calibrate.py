"""``python -m progress_monitor.offline.calibrate``: parameters proposed from recorded runs."""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

Floats = NDArray[np.float64]

GAINS = (0.02, 0.03, 0.05, 0.1)
MARGIN = 1.25
"""The proposed allowance over the longest standstill of a run that succeeded."""
LEVEL_TICKS = 5


class CalibrationError(ValueError):
    """A recorded run cannot be used. The message names the file and what to do."""


@dataclass(frozen=True)
class Run:
    """A recorded run: times in s and progress 0..1 of the ticks that named one."""

    path: Path
    times: Floats
    progress: Floats

    @property
    def end(self) -> float:
        """Median progress of the last ticks."""
        return float(np.median(self.progress[-LEVEL_TICKS:]))

    def longest_standstill(self, gain: float) -> float:
        """Longest time without a rise of the running median by half of ``gain``, s."""
        level = np.array(
            [
                np.median(self.progress[max(i - LEVEL_TICKS + 1, 0) : i + 1])
                for i in range(len(self.progress))
            ]
        )
        best, since, longest = float(level[0]), float(self.times[0]), 0.0
        for time, value in zip(self.times.tolist(), level.tolist(), strict=True):
            if value >= best + 0.5 * gain:
                best, since = value, time
            longest = max(longest, time - since)
        return longest


@dataclass(frozen=True)
class Roc:
    """Rates over all thresholds: of ``positive`` and of ``negative`` scores at or above each."""

    thresholds: Floats
    true_rate: Floats
    false_rate: Floats
    area: float


def read_run(path: Path) -> Run:
    """Read a ``ticks.jsonl`` of ``python -m progress_monitor.offline``.

    :raises OSError: if it cannot be read.
    :raises CalibrationError: if it holds fewer than five ticks with a progress, or is no such file.
    """
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            item = json.loads(line)
            time, percent = float(item['timestamp_sec']), item['progress']
            if percent is not None:
                rows.append((time, float(percent) / 100.0))
                if not (math.isfinite(time) and 0.0 <= rows[-1][1] <= 1.0):
                    raise ValueError('no time, or no percentage')
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise CalibrationError(
                f'{path}: line {number} is no tick; give a ticks.jsonl written by '
                'python -m progress_monitor.offline'
            ) from error
    if len(rows) < LEVEL_TICKS:
        raise CalibrationError(f'{path}: fewer than {LEVEL_TICKS} ticks name a progress')
    times, progress = np.array(rows, np.float64).T
    return Run(path, times, progress)


def roc(positive: Floats, negative: Floats) -> Roc:
    """Receiver operating characteristic of scores that are higher for ``positive``."""
    thresholds = np.unique(np.concatenate((positive, negative)))
    true_rate = np.array([(positive >= value).mean() for value in thresholds])
    false_rate = np.array([(negative >= value).mean() for value in thresholds])
    wins = (positive[:, None] > negative[None, :]).mean()
    ties = (positive[:, None] == negative[None, :]).mean()
    return Roc(thresholds, true_rate, false_rate, float(wins + 0.5 * ties))


def propose(successes: list[Run], failures: list[Run]) -> tuple[dict[str, float], dict[str, Roc]]:
    """Parameters by dotted name, and the ROC that each comes from.

    ``success.progress`` lies midway between the best threshold for the progress at the end of a run
    and the next score below it. ``stall.minimum_gain`` is the one of ``GAINS`` whose longest
    standstills tell failures from successes best; ``stall.allowance`` is a quarter above the
    longest standstill of the successes.
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
    values = {
        'stall.allowance': max(math.ceil(10.0 * MARGIN * longest) / 10.0, 1.0),
        'stall.minimum_gain': gain,
        'success.progress': min(max(round(threshold, 3), 0.01), 1.0),
    }
    return values, {'success.progress': ends, 'stall.allowance': by_gain[gain]}


def parameter_yaml(values: dict[str, float]) -> str:
    """A ROS 2 parameter file of the node ``progress_monitor``."""
    groups: dict[str, dict[str, float]] = {}
    for name, value in values.items():
        group, _, field = name.partition('.')
        groups.setdefault(group, {})[field] = value
    return yaml.safe_dump({'progress_monitor': {'ros__parameters': groups}}, sort_keys=False)


def main(arguments: list[str] | None = None) -> int:
    """Propose, print the ROC and write the file; 0, or 2 with one sentence on what is wrong."""
    parser = argparse.ArgumentParser(
        prog='python -m progress_monitor.offline.calibrate',
        description='Propose parameters from the ticks.jsonl files of recorded runs.',
    )
    parser.add_argument(
        '--success', type=Path, nargs='+', required=True, help='runs that succeeded'
    )
    parser.add_argument('--failure', type=Path, nargs='+', required=True, help='runs that failed')
    parser.add_argument('--out', type=Path, default=Path('out/calibrated.yaml'))
    given = parser.parse_args(arguments)
    try:
        successes = [read_run(path) for path in given.success]
        failures = [read_run(path) for path in given.failure]
        values, curves = propose(successes, failures)
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(parameter_yaml(values), encoding='utf-8')
    except (OSError, CalibrationError) as error:
        print(error, file=sys.stderr)
        return 2
    for name, curve in curves.items():
        print(f'{name}: {values[name]:g}; area under the ROC {curve.area:.2f}')
        print('  threshold  true rate  false rate')
        for row in zip(curve.thresholds, curve.true_rate, curve.false_rate, strict=True):
            print(f'  {row[0]:9.3f}  {row[1]:9.2f}  {row[2]:10.2f}')
        if curve.area < 0.9:
            print('  Successes and failures are hardly told apart by this; give more runs.')
    print(f'stall.minimum_gain: {values["stall.minimum_gain"]:g}')
    print(f'written to {given.out}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
