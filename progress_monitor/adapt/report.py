"""Whether the adapted monitor may be trusted before this camera: curves, figures and a verdict."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from progress_monitor.adapt.augmentation import Look
from progress_monitor.adapt.demonstration import Demonstration
from progress_monitor.adapt.playing import Curve, run
from progress_monitor.adapt.samples import ELSEWHERE
from progress_monitor.node_config import NodeConfig
from progress_monitor.offline.proposals import parameter_yaml, propose
from progress_monitor.offline.recorded_runs import LEVEL_TICKS, Run
from progress_monitor.types import Backend

REPORT, PLOT, PARAMETERS = 'report.json', 'report.png', 'proposed.yaml'
LEAST_VOC, MOST_MAE, MOST_REFUSED, LEAST_REFUSAL = 0.9, 10.0, 0.1, 0.8
NEARLY_DONE = 0.9
STOPS = (0.0, 0.25, 0.5, 0.75)
REST_S = 6.0
STANDSTILL_ALLOWANCES = 1.6
UNPROBED = 'without the probe'


@dataclass(frozen=True)
class Verdict:
    """``reasons`` not to trust it, in sentences; none: it may be trusted.

    ``end_doubtful``: it takes unfinished work for done.
    """

    reasons: tuple[str, ...]
    end_doubtful: bool = False

    @property
    def sentence(self) -> str:
        """The verdict in one line."""
        if not self.reasons:
            return (
                'The monitor may be tried here: it follows the demonstration and knows its end, '
                'other tasks and standstills. Other runs of the task are the real test.'
            )
        return 'Do not trust the monitor here: ' + '; '.join(self.reasons) + '.'


def examine(
    demonstration: Demonstration,
    config: NodeConfig,
    backend: Backend,
    others: Sequence[Demonstration] = (),
    tell: Callable[[str], None] = lambda name: None,
    unprobed: Backend | None = None,
) -> dict[str, Curve]:
    """Play the demonstration, a held-out look at it, standstills and another task's question.

    :param others: further runs of the task that were not learnt from: the held-out curves then.
    :param tell: given the name of each curve before it is played, which may take minutes.
    :param unprobed: the same adapter without its linear probe, which follows the demonstration by
        its making, whatever it is worth elsewhere. None: it has none.
    """
    curves: dict[str, Curve] = {}

    def played(
        name: str,
        shown: Demonstration,
        indices: Sequence[int],
        task: str = '',
        look: Look | None = None,
        asked: Backend = backend,
    ) -> None:
        tell(name)
        curves[name] = run(name, shown, indices, config, asked, task=task, look=look)

    length = len(demonstration.images)
    rest = [length - 1] * round(REST_S / demonstration.period_s)
    whole = [*range(length), *rest]
    played('demonstration', demonstration, whole)
    look = Look.draw(np.random.default_rng(977))
    if others:
        for number, other in enumerate(others, 1):
            end = [len(other.images) - 1] * len(rest)
            played(f'held out {number}', other, [*range(len(other.images)), *end])
    else:
        played('held out 1', demonstration, whole, look=look)
    if unprobed is not None:
        played(UNPROBED, demonstration, whole, look=look, asked=unprobed)
    stand = round(STANDSTILL_ALLOWANCES * config.stall.allowance / demonstration.period_s)
    for share in STOPS:
        at = int(share * demonstration.end)
        played(f'stopped at {100 * share:.0f} %', demonstration, [*range(at + 1), *[at] * stand])
    played('other task', demonstration, range(length), task=ELSEWHERE[0])
    return curves


def rank_correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Spearman's, ties averaged; 0 where one of the two is constant."""
    ranks = []
    for values in (a, b):
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        middle = (np.cumsum(counts) - (counts - 1) / 2.0)[inverse]
        ranks.append(middle - middle.mean())
    scale = float(np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum()))
    return float((ranks[0] * ranks[1]).sum()) / scale if scale > 0.0 else 0.0


def figures(curve: Curve) -> dict[str, float]:
    """Figures of a curve: ``voc``, ``mae`` in points, ``refused``, ``noise`` in points."""
    known = np.isfinite(curve.progress)
    errors = np.abs(curve.progress - curve.truth)[known]
    # What comes after the end stands still, and has no order.
    moving = known & ~curve.finished
    order = 0.0
    if int(moving.sum()) > 2 and np.ptp(curve.progress[moving]) > 0:
        order = rank_correlation(curve.progress[moving], curve.seconds[moving])
    return {
        'voc': order,
        'mae': 100.0 * float(errors.mean()) if errors.size else math.nan,
        'refused': curve.refused,
        'noise': 100.0 * curve.noise,
    }


def decide(curves: dict[str, Curve], done: bool) -> Verdict:
    """What speaks against trusting the monitor."""
    reasons = []
    end_doubtful = False
    for name, curve in curves.items():
        found = figures(curve)
        end_doubtful = end_doubtful or _takes_for_done(curve)
        if name.startswith(('demonstration', 'held out')):
            if found['refused'] > MOST_REFUSED:
                reasons.append(f'{name}: {found["refused"]:.0%} of the answers are refusals')
            if found['voc'] < LEAST_VOC:
                reasons.append(
                    f'{name}: progress does not follow the work (VOC {found["voc"]:.2f})'
                )
            if not found['mae'] <= MOST_MAE:
                reasons.append(f'{name}: progress is off by {found["mae"]:.0f} points')
            if done:
                reasons += _of_success(name, curve)
        elif name == UNPROBED:
            if found['voc'] < LEAST_VOC or not found['mae'] <= MOST_MAE:
                reasons.append(
                    f'{name}: what the language model says does not follow the demonstration '
                    f'(VOC {found["voc"]:.2f}, off by {found["mae"]:.0f} points)'
                )
        elif name.startswith('stopped'):
            if curve.successes:
                reasons.append(f'{name}: a success is called')
            if not curve.stalls:
                reasons.append(f'{name}: the standstill is not called')
        elif found['refused'] < LEAST_REFUSAL:
            reasons.append(f'another task is refused in {found["refused"]:.0%} of the answers only')
    return Verdict(tuple(reasons), end_doubtful)


def _takes_for_done(curve: Curve) -> bool:
    """Whether a success is called of work that is not nearly done."""
    last = np.searchsorted(curve.seconds, curve.successes, 'right') - 1
    return bool(np.any(curve.truth[last] < NEARLY_DONE))


def _of_success(name: str, curve: Curve) -> list[str]:
    at = curve.seconds[curve.finished]
    if not at.size:
        return []
    if not any(time >= at[0] - 1.0 for time in curve.successes):
        return [f'{name}: its success is not called']
    if any(time < at[0] - 1.0 for time in curve.successes):
        return [f'{name}: a success is called too early']
    return []


def thresholds(curves: dict[str, Curve]) -> dict[str, float]:
    """Parameters that the calibration proposes from the curves; none where they are too short."""
    runs: dict[bool, list[Run]] = {True: [], False: []}
    for name, curve in curves.items():
        known = np.isfinite(curve.progress)
        if name in ('other task', UNPROBED) or int(known.sum()) < LEVEL_TICKS:
            continue
        kept = Run(Path(name), curve.seconds[known], curve.progress[known])
        runs[not name.startswith('stopped')].append(kept)
    if not runs[True] or not runs[False]:
        return {}
    return propose(runs[True], runs[False])[0]


def write(
    folder: Path, task: str, curves: dict[str, Curve], verdict: Verdict, course: dict[str, Any]
) -> None:
    """Write the report as JSON, the curves as a picture and the proposed parameters.

    :raises OSError: if they cannot be written.
    """
    values = thresholds(curves)
    content = {
        'task': task,
        'trusted': not verdict.reasons,
        'verdict': verdict.sentence,
        'reasons': list(verdict.reasons),
        'training': course,
        'proposed': values,
        'curves': {
            name: {
                **{key: _known(value) for key, value in figures(curve).items()},
                'successes_s': list(curve.successes),
                'stalls_s': list(curve.stalls),
                'seconds': [round(value, 3) for value in curve.seconds.tolist()],
                'progress': [_known(value) for value in curve.progress.tolist()],
                'truth': [_known(value) for value in curve.truth.tolist()],
            }
            for name, curve in curves.items()
        },
    }
    text = json.dumps(content, indent=2, ensure_ascii=False) + '\n'
    (folder / REPORT).write_text(text, encoding='utf-8')
    if values:
        (folder / PARAMETERS).write_text(parameter_yaml(values), encoding='utf-8')
    _plot(folder / PLOT, task, curves)


def _plot(path: Path, task: str, curves: dict[str, Curve]) -> None:
    from matplotlib.figure import Figure

    from progress_monitor.offline.plot import draw_progress, label_axes

    figure = Figure(figsize=(9, 2.4 * len(curves)), layout='constrained')
    for place, (name, curve) in enumerate(curves.items(), 1):
        axes = figure.add_subplot(len(curves), 1, place)
        if name != 'other task':
            axes.plot(curve.seconds, 100 * curve.truth, color='0.5', linestyle='--', label='truth')
        draw_progress(
            axes, curve.seconds.tolist(), curve.progress.tolist(), [0.0] * len(curve.seconds)
        )
        for time in curve.successes:
            axes.axvline(time, color='green', label='success')
        for time in curve.stalls:
            axes.axvline(time, color='red', label='stall')
        label_axes(axes, f'{task}: {name}', float(curve.seconds[-1]) if len(curve.seconds) else 1)
    figure.savefig(path, dpi=100)


def _known(value: float) -> float | None:
    return round(value, 5) if math.isfinite(value) else None
