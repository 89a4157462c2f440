"""Sets what was said about the episodes against the truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from progress_monitor.config import MonitorConfig
from progress_monitor.steps import likeness
from progress_monitor.types import NAN, Evidence, Verdict
from progress_monitor_lab.bench.judgement_episodes import (
    CALM_KINDS,
    CAMERA_KINDS,
    FRAME_S,
    HISTORY_TASKS,
    Episode,
)
from progress_monitor_lab.bench.judgement_play import Record
from progress_monitor_lab.bench.metrics import Floats, in_interval, mae, mean, nse, share, voc
from progress_monitor_lab.sim.scene import UNDONE_BELOW
from progress_monitor_lab.sim.unseen import EVERY_TASK

# A fall of the truth below the first is no regression, above the second it is one; between the
# two a call is neither asked for nor held against the monitor. So with standstill.
SMALL_FALL = 0.08
SUCCESS_SLACK_S = 1.0
NEARLY_DONE = 0.95
NEARLY_DONE_S = 2.0
LATEST_S = 12.0


@dataclass
class Tally:
    """Counts of one kind of call."""

    hits: int = 0
    misses: int = 0
    false: int = 0
    delays: list[float] = field(default_factory=list)

    @property
    def precision(self) -> float:
        return share(self.hits, self.hits + self.false)

    @property
    def recall(self) -> float:
        return share(self.hits, self.hits + self.misses)

    def add(self, other: Tally) -> None:
        self.hits += other.hits
        self.misses += other.misses
        self.false += other.false
        self.delays += other.delays


@dataclass
class Score:
    """What one system made of one episode.

    ``late_ticks`` are the ticks from the end of the allowance to the call of a stall: by the pace
    of the samples, or of the model where that takes longer for an answer.
    """

    kind: str
    seconds: float
    stall: Tally = field(default_factory=Tally)
    regression: Tally = field(default_factory=Tally)
    success: Tally = field(default_factory=Tally)
    onset_errors: list[float] = field(default_factory=list)
    late_ticks: list[float] = field(default_factory=list)
    steps: list[bool] = field(default_factory=list)
    answered: int = 0
    refused: int = 0
    absolute_error: float = NAN
    normalised_error: float = NAN
    voc: float = NAN
    time_voc: float = NAN
    in_step: float = NAN
    finish: float = NAN
    rises: bool = True
    costs: list[float] = field(default_factory=list)


def score(episode: Episode, record: Record, config: MonitorConfig) -> Score:
    """Judge one record by the truth of its episode."""
    result = Score(episode.plan.kind, record.seconds)
    progress = episode.progress()
    _score_values(result, episode, record, progress)
    _score_success(result, episode, record, progress)
    _score_calls(result, episode, record, progress, config)
    return result


def _score_values(result: Score, episode: Episode, record: Record, progress: Floats) -> None:
    clear = [tick for tick in record.ticks if episode.shown[tick[1]].lens in ('clear', 'still')]
    result.answered = len(clear)
    result.refused = sum(tick[3] == Evidence.REFUSED for tick in clear)
    values = [NAN if tick[2] is None else tick[2] for tick in clear]
    truth = [progress[tick[1]] for tick in clear]
    result.costs = [cost for cost in record.costs if cost is not None]
    result.rises = len(set(truth)) > 1
    if episode.answerable and values:
        task = EVERY_TASK[episode.plan.task]
        begins = [task.progress(stage, 0.0) for stage in range(len(task.stages))]
        result.in_step = in_interval(values, truth, begins)
        result.finish = mean(
            [
                float((tick[4] == Verdict.DONE) == (true >= 1.0))
                for tick, true in zip(clear, truth, strict=True)
            ]
        )
        result.absolute_error = mae(values, truth)
        result.normalised_error = nse(values, truth)
        result.voc = voc(values, truth)
        result.time_voc = voc(values, [tick[0] for tick in clear])


def _score_success(result: Score, episode: Episode, record: Record, progress: Floats) -> None:
    begin, end = _finished(progress, episode)
    right: list[float] = []
    for number, item in enumerate(record.successes):
        if not item['succeeded']:
            continue
        at = item['at']
        nearly = _was_nearly_done(progress, at)
        if begin is not None and (
            begin - SUCCESS_SLACK_S <= at <= end
            or (nearly and _stands(record.successes, number, begin))
        ):
            right.append(at)
        elif not (episode.answerable and nearly):
            result.success.false += 1
    if begin is None:
        return
    if right:
        result.success.hits = 1
        result.success.delays.append(max(right[0] - begin, 0.0))
    elif end - begin >= 2.5:
        result.success.misses = 1


def _stands(said: Sequence[dict[str, Any]], number: int, at: float) -> bool:
    """Whether what was said before a time had not been taken back by then."""
    ended = said[number + 1]['at'] if number + 1 < len(said) else math.inf
    return bool(said[number]['at'] < at < ended)


def _was_nearly_done(progress: Floats, at: float) -> bool:
    """Whether a success at ``at`` is neither right nor wrong: the task was done but for a hair."""
    now = min(round(at / FRAME_S), len(progress) - 1)
    before = max(now - round(NEARLY_DONE_S / FRAME_S), 0)
    return bool(progress[before : now + 1].max() >= NEARLY_DONE)


def _finished(progress: Floats, episode: Episode) -> tuple[float | None, float]:
    """When the task is done and until when, s; it counts if a camera could see it."""
    seen = np.array([item.lens in ('clear', 'still') for item in episode.shown])
    done = np.flatnonzero((progress >= 1.0) & seen)
    if not done.size or not episode.answerable:
        return None, 0.0
    undone = np.flatnonzero(progress[done[0] :] < UNDONE_BELOW)
    end = done[0] + undone[0] if undone.size else len(progress)
    return float(done[0]) * FRAME_S, float(end) * FRAME_S + SUCCESS_SLACK_S


def _score_calls(
    result: Score, episode: Episode, record: Record, progress: Floats, config: MonitorConfig
) -> None:
    wanted = _wanted(episode, record)
    tally = result.regression if episode.fall_from >= 0 else result.stall
    found = False
    for number, call in enumerate(record.calls):
        if not call['stalled']:
            continue
        excusable = _excusable(call, episode, progress, config)
        # A robot may hang before its very last gain: a call that was right then and stands counts.
        stands = excusable and wanted is not None and _stands(record.calls, number, wanted[0] - 0.5)
        if wanted is not None and (stands or wanted[0] - 0.5 <= call['at'] <= wanted[1]):
            right = episode.fall_from < 0 or call['cause'] != 'NO_CHANGE'
            if right and not found:
                found = True
                tally.hits += 1
                counted_from = max(wanted[0], config.stall.grace_period)
                delay = max(call['at'] - counted_from, 0.0)
                tally.delays.append(delay)
                if episode.fall_from < 0:
                    tick = max(config.window.sample_period, episode.answer_s)
                    result.late_ticks.append((delay - config.stall.allowance) / tick)
                result.onset_errors.append(abs(call['since'] - wanted[0]))
                _score_step(result, episode, call, wanted[0])
            continue
        if not excusable:
            lost = call['cause'] == 'REGRESSION'
            (result.regression if lost else result.stall).false += 1
    if wanted is not None and not found:
        tally.misses += 1


def _wanted(episode: Episode, record: Record) -> tuple[float, float] | None:
    """From when to when a call is right: from the onset to the end of the episode."""
    begin = max(episode.stall_from, episode.fall_from)
    return (begin * FRAME_S, record.seconds + FRAME_S) if begin >= 0 else None


def _score_step(result: Score, episode: Episode, call: dict[str, Any], begin: float) -> None:
    """A stall hangs in the step of its onset; a fall, in the step it falls back to."""
    at = begin if episode.fall_from < 0 else call['at']
    index = min(round(at / FRAME_S), len(episode.shown) - 1)
    left = episode.recording.left(episode.shown[index].index)
    if left:
        result.steps.append(likeness(call['step'], left[0], 80.0) > 0.0)


def _excusable(
    call: dict[str, Any], episode: Episode, progress: Floats, config: MonitorConfig
) -> bool:
    """Whether the truth leaves room for a call that was not asked for."""
    if episode.plan.kind in CALM_KINDS or episode.plan.kind in CAMERA_KINDS:
        return False
    if not episode.answerable:
        return False
    now = min(round(call['at'] / FRAME_S), len(progress) - 1)
    if call['cause'] == 'REGRESSION':
        recent = progress[max(now - round(LATEST_S / FRAME_S), 0) : now + 1]
        return bool((np.maximum.accumulate(recent) - recent).max() >= SMALL_FALL)
    before = max(now - round((config.stall.allowance - 2.0) / FRAME_S), 0)
    best = np.maximum.accumulate(progress)
    standing = best[now] - best[before] < config.stall.minimum_gain
    return bool(standing and (now - before) * FRAME_S >= config.stall.allowance - 2.5)


def summary(scores: Sequence[Score], plans_tasks: Sequence[str]) -> dict[str, float | int]:
    """The figures of one system over all its episodes; ``plans_tasks`` names each one's task."""
    stall, regression, success = Tally(), Tally(), Tally()
    for item in scores:
        stall.add(item.stall)
        regression.add(item.regression)
        success.add(item.success)
    of = _by_kind(scores)
    looping = [delay for item in of.get('looping', []) for delay in item.stall.delays]
    others = [item for item in scores if item.kind != 'looping']
    standing = [delay for item in others for delay in item.stall.delays]
    late = [ticks for item in others for ticks in item.late_ticks]
    calm = [item for kind in CALM_KINDS for item in of.get(kind, [])]
    calm_hours = sum(item.seconds for item in calm) / 3600.0
    false = sum(item.stall.false + item.regression.false for item in calm)
    answerable = [item for item in scores if item.kind != 'unanswerable']
    refused = of.get('unanswerable', [])
    history = [
        item
        for item, task in zip(scores, plans_tasks, strict=True)
        if task in HISTORY_TASKS and item.kind in CALM_KINDS[:4]
    ]
    return {
        'voc': mean([item.voc for item in of.get('nominal', [])]),
        'static_voc': mean([item.time_voc for item in of.get('static', [])]),
        'cycle_voc': mean([item.voc for item in of.get('cycle', [])]),
        'memory_voc': mean([item.voc for item in history]),
        'mae': mean([item.absolute_error for item in answerable]),
        'nse': mean([item.normalised_error for item in answerable]),
        'prc': mean([item.voc for item in answerable if item.rises]),
        'bin_accuracy': mean([item.in_step for item in answerable]),
        'finish_accuracy': mean([item.finish for item in answerable]),
        'afrr': share(
            sum(item.refused for item in answerable), sum(item.answered for item in answerable)
        ),
        'uda': share(sum(item.refused for item in refused), sum(item.answered for item in refused)),
        'stall_precision': stall.precision,
        'stall_recall': stall.recall,
        'stall_delay_s': _median(standing),
        'stall_delay_max_s': max(standing, default=NAN),
        'stall_late_ticks_max': max(late, default=NAN),
        'looping_delay_max_s': max(looping, default=NAN),
        'regression_precision': regression.precision,
        'regression_recall': regression.recall,
        'regression_delay_s': _median(regression.delays),
        'success_precision': success.precision,
        'success_recall': success.recall,
        'success_delay_s': _median(success.delays),
        'false_alarms': false,
        'false_alarms_per_hour': share_of(false, calm_hours),
        'calm_hours': calm_hours,
        'hours': sum(item.seconds for item in scores) / 3600.0,
        'camera_false_calls': sum(
            item.stall.false + item.regression.false + item.success.false
            for kind in CAMERA_KINDS
            for item in of.get(kind, [])
        ),
        'localisation_error_s': _median([e for item in scores for e in item.onset_errors]),
        'localisation_step_accuracy': mean(
            [float(right) for item in scores for right in item.steps]
        ),
        'tick_ms': _median([cost for item in scores for cost in item.costs]),
        'episodes': len(scores),
    }


def table(scores: Sequence[Score]) -> list[tuple[str, ...]]:
    """One row per kind of episode, for people."""
    rows: list[tuple[str, ...]] = [
        ('kind', 'episodes', 'min', 'MAE', 'VOC', 'refused', 'stalls', 'falls', 'successes',
         'false', 'delay s'),
    ]  # fmt: skip
    for kind, items in _by_kind(scores).items():
        stall, fall, success = Tally(), Tally(), Tally()
        for item in items:
            stall.add(item.stall)
            fall.add(item.regression)
            success.add(item.success)
        answered = sum(item.answered for item in items)
        rows.append(
            (
                kind,
                str(len(items)),
                f'{sum(item.seconds for item in items) / 60.0:.1f}',
                f'{mean([item.absolute_error for item in items]):.3f}',
                f'{mean([item.voc for item in items]):.3f}',
                f'{share(sum(item.refused for item in items), answered):.3f}',
                f'{stall.hits}/{stall.hits + stall.misses}',
                f'{fall.hits}/{fall.hits + fall.misses}',
                f'{success.hits}/{success.hits + success.misses}',
                f'{stall.false}s {fall.false}r {success.false}d',
                f'{_median(stall.delays + fall.delays):.1f}',
            )
        )
    return rows


def _by_kind(scores: Sequence[Score]) -> dict[str, list[Score]]:
    kinds: dict[str, list[Score]] = {}
    for item in scores:
        kinds.setdefault(item.kind, []).append(item)
    return kinds


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else NAN


def share_of(count: int, hours: float) -> float:
    """Events an hour; NaN for no time."""
    return count / hours if hours else NAN
