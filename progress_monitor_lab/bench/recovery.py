"""Recovery benchmark: how many tasks the supervisor saves, against nothing and a plain time-out.

Every case is played without a monitor, with a time-out in its place, and, over DDS, with monitor
and supervisor. The time-out is the shortest that replans in no healthy run, slow ones included.
Runs are kept line by line, so that a benchmark that was broken off goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from progress_monitor_lab.bench.recovery_cases import (
    LIMIT_S,
    MODES,
    RECOVERABLE,
    TASKS_PLAYED,
    Case,
    Run,
    cases,
    healthy,
    known_faults,
    play_alone,
    standstill_of,
    timeout_of,
)
from progress_monitor_lab.demo.run import MONITOR_MODULE, share_folder
from progress_monitor_lab.sim.tasks import TASKS


class Runs:
    """The runs of a benchmark, on disk as they come."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._runs: dict[tuple[str, str], Run] = {}
        if path.exists():
            for line in path.read_text(encoding='utf-8').splitlines():
                try:
                    self._put(Run.from_row(json.loads(line)))
                except (ValueError, KeyError, TypeError):
                    continue  # the line that a broken-off run left

    def get(self, case: Case, mode: str) -> Run | None:
        """A run that was made."""
        return self._runs.get((case.name, mode))

    def add(self, run: Run) -> None:
        """Keep a run."""
        self._put(run)
        with self._path.open('a', encoding='utf-8') as file:
            file.write(json.dumps(run.to_row()) + '\n')

    def _put(self, run: Run) -> None:
        self._runs[run.case.name, run.mode] = run


def summarise(chosen: Sequence[Case], runs: Runs) -> dict[str, Any]:
    """The figures over the cases that were played in every mode.

    Success counts all cases with a fault; seconds are of simulated time, from a fault that can be
    recovered from to the first replan. ``time_lost_s`` is the median by which the recovered cases
    took longer than the same case without its fault, where that was played.
    """
    rows: dict[str, list[Run]] = {mode: [] for mode in MODES}
    for case in chosen:
        found = [runs.get(case, mode) for mode in MODES]
        if all(run is not None for run in found):
            for mode, run in zip(MODES, found, strict=True):
                assert run is not None
                rows[mode].append(run)
    faulty = {mode: [run for run in rows[mode] if run.case.fault != 'none'] for mode in MODES}
    broken = {mode: [run for run in rows[mode] if run.case.fault in RECOVERABLE] for mode in MODES}
    result: dict[str, Any] = {'cases': len(rows['with'])}
    for mode in MODES:
        result[f'success_{mode}'] = _share(faulty[mode])
        result[f'recovered_{mode}'] = _share(broken[mode])
        result[f'needless_{mode}'] = sum(run.needless for run in rows[mode])
        result[f'hung_{mode}'] = sum(run.hung for run in rows[mode])
        result[f'replans_{mode}'] = sum(len(run.replans_s) for run in rows[mode])
    result['needless_recoveries'] = result['needless_with']
    result['median_seconds_to_recover'] = _median([run.recovery_s for run in broken['with']])
    result['median_seconds_to_recover_timeout'] = _median(
        [run.recovery_s for run in broken['timeout']]
    )
    for mode in ('with', 'timeout'):
        result[f'time_lost_{mode}_s'] = _median([_lost(run, runs) for run in broken[mode]])
    wall = sum(run.wall_s for run in rows['with'])
    played = sum(run.done_s if run.done_s is not None else LIMIT_S for run in rows['with'])
    result['times_real_time'] = round(played / wall, 2) if wall else None
    result['by_fault'] = {
        fault: {
            'cases': len([run for run in rows['with'] if run.case.fault == fault]),
            **{
                mode: _share([run for run in rows[mode] if run.case.fault == fault])
                for mode in MODES
            },
        }
        for fault in dict.fromkeys(case.fault for case in chosen)
    }
    return result


def table(summary: dict[str, Any]) -> str:
    """The figures for a reader."""
    lines = [
        f'{"fault":14} {"cases":>6} {"without":>9} {"time-out":>9} {"monitor":>9}',
    ]
    for fault, row in summary['by_fault'].items():
        shares = ''.join(f' {_percent(row[mode]):>9}' for mode in MODES)
        lines.append(f'{fault:14} {row["cases"]:6}{shares}')
    for text, name in (
        ('with a fault', 'success'),
        ('recoverable', 'recovered'),
    ):
        shares = ''.join(f' {_percent(summary[f"{name}_{mode}"]):>9}' for mode in MODES)
        lines.append(f'{text:14} {"":6}{shares}')
    for name in ('needless', 'hung'):
        counts = ''.join(f' {summary[f"{name}_{mode}"]:9}' for mode in MODES)
        lines.append(f'{name:14} {"":6}{counts}')
    lines.append(
        f'fault to replan, median: {summary["median_seconds_to_recover"]} s '
        f'(time-out {summary["median_seconds_to_recover_timeout"]} s); '
        f'time lost {summary["time_lost_with_s"]} s '
        f'(time-out {summary["time_lost_timeout_s"]} s); '
        f'{summary["times_real_time"]} times real time'
    )
    return '\n'.join(lines)


def _share(runs: Sequence[Run]) -> float | None:
    return round(sum(run.done_s is not None for run in runs) / len(runs), 4) if runs else None


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(statistics.median(known), 2) if known else None


def _lost(run: Run, runs: Runs) -> float | None:
    plain = runs.get(Case(run.case.task, 'none', run.case.seed), 'without')
    if run.done_s is None or plain is None or plain.done_s is None:
        return None
    return run.done_s - plain.done_s


def _percent(share: float | None) -> str:
    return '-' if share is None else f'{share:.0%}'


def _play_alone(chosen: Sequence[Case], runs: Runs) -> None:
    for case in chosen:
        _alone(case, runs)
    well = {task: _healthy_runs(task, chosen, runs) for task in {case.task for case in chosen}}
    for case in chosen:
        if runs.get(case, 'timeout') is not None:
            continue
        alone, limit_s = _alone(case, runs), timeout_of(well[case.task])
        if alone.done_s is not None and alone.done_s < limit_s:
            runs.add(dataclasses.replace(alone, mode='timeout'))
        else:
            runs.add(play_alone(case, 'timeout', limit_s, standstill_of(well[case.task])))


def _healthy_runs(task: str, chosen: Sequence[Case], runs: Runs) -> list[Run]:
    seeds = sorted({case.seed for case in chosen})
    return [_alone(case, runs) for case in healthy(task, seeds)]


def _alone(case: Case, runs: Runs) -> Run:
    run = runs.get(case, 'without')
    if run is None:
        run = play_alone(case, 'without', None)
        runs.add(run)
    return run


def _play_live(chosen: Sequence[Case], runs: Runs, options: argparse.Namespace) -> None:
    # Needs ROS, which the rest does not.
    from progress_monitor_lab.bench.recovery_dds import live_cell

    due = [case for case in chosen if runs.get(case, 'with') is None]
    if not due:
        return
    logs = Path(options.out) / 'recovery_logs'
    end = time.monotonic() + options.minutes * 60.0
    monitor = options.monitor.split() if options.monitor else MONITOR_MODULE
    with live_cell(Path(options.model), logs, monitor) as cell:
        for number, case in enumerate(due, 1):
            if time.monotonic() > end:
                print(f'time is up: {len(due) - number + 1} cases are left; run it again to go on')
                break
            run = cell.play(case, standstill_of(_healthy_runs(case.task, chosen, runs)))
            runs.add(run)
            ended = 'never done' if run.done_s is None else f'done after {run.done_s:.1f} s'
            replans = ', '.join(f'{at:.1f}' for at in run.replans_s) or 'none'
            print(f'{number}/{len(due)} {case.name}: {ended}; replans: {replans}', flush=True)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog=sys.argv[0], description=__doc__)
    choice = parser.add_argument
    choice('--tasks', nargs='+', default=TASKS_PLAYED, choices=tuple(TASKS), metavar='TASK')
    choice('--faults', nargs='+', default=known_faults(), choices=known_faults(), metavar='FAULT')
    choice('--seeds', type=int, default=5, help='seeds of each task and fault')
    choice('--first-seed', type=int, default=9000, help='a seed that the model has not seen')
    choice('--minutes', type=float, default=1e6, help='begin no case over DDS after so long')
    choice('--model', default=str(share_folder() / 'models' / 'small_cell'))
    choice('--monitor', default='', help='arguments of python that start another monitor node')
    choice('--out', default='out/bench')
    options = parser.parse_args()
    if options.seeds < 1:
        parser.error('--seeds must be at least 1')
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    chosen = list(cases(options.tasks, options.faults, seeds))
    runs = Runs(out / 'recovery.jsonl')
    try:
        _play_alone(chosen, runs)
        _play_live(chosen, runs, options)
    except RuntimeError as error:
        print(f'recovery: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('broken off; run it again to go on', file=sys.stderr)
        return 130
    summary = summarise(chosen, runs)
    (out / 'recovery.json').write_text(json.dumps(summary, indent=2) + '\n', encoding='utf-8')
    print(table(summary))
    return 0
