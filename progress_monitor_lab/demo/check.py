"""The demo over seeds and faults: ``python -m progress_monitor_lab.demo.check``.

Each run is a demo of its own in a process of its own. What has been run is kept, so that an
interrupted check goes on where it stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import progress_monitor
from progress_monitor_lab.demo.run import share_folder
from progress_monitor_lab.demo.story import FAULTS
from progress_monitor_lab.sim.cell import applicable
from progress_monitor_lab.sim.tasks import TASKS

SEEDS = 10
_RUN_LIMIT_S = 600.0


def plan(seeds: int) -> Iterator[tuple[str, str, int]]:
    """Task, fault and seed of every run; the tasks to which a fault can happen take turns."""
    for fault in FAULTS:
        tasks = [task for task in TASKS if applicable(task, fault)]
        for seed in range(seeds):
            yield tasks[seed % len(tasks)], fault, seed


def count(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures of ``out/check_demo.json``.

    ``false_alarms`` are runs in which a stall was called while nothing was wrong: at any time
    without a fault, before the injection with one. ``recovered`` counts faulty runs that ended in
    success after a replan, ``succeeded`` fault-free ones that ended in success.
    """
    faulty = [row for row in rows if row['fault'] != 'none']
    fault_free = [row for row in rows if row['fault'] == 'none']
    return {
        'runs': len(rows),
        'faulty_runs': len(faulty),
        'detected': sum(row.get('stall_detected_s') is not None for row in faulty),
        'false_alarms': sum(bool(row.get('false_alarm')) for row in rows),
        'recovered': sum(bool(row['story_happened']) for row in faulty),
        'succeeded': sum(bool(row['story_happened']) for row in fault_free),
        'rows': list(rows),
    }


def run_one(task: str, fault: str, seed: int, out: Path, model: Path) -> dict[str, Any]:
    """Play one demo without its film; its summary, or a row that says why there is none."""
    folder = out / f'{fault}_{seed}_{task}'
    summary = folder / 'summary.json'
    summary.unlink(missing_ok=True)
    command = [sys.executable, '-m', 'progress_monitor_lab.demo', '--no-film']
    command += ['--task', task, '--fault', fault, '--seed', str(seed)]
    command += ['--out', str(folder), '--model', str(model)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        said, _ = child.communicate(timeout=_RUN_LIMIT_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        # The demo ends its own children when it is told to stop.
        child.terminate()
        child.communicate()
        raise
    if summary.is_file():
        return dict(json.loads(summary.read_text(encoding='utf-8')))
    lines = said.strip().splitlines()
    missing = lines[0] if lines else f'the demo ended with code {child.returncode}'
    return {
        'task': task,
        'fault': fault,
        'seed': seed,
        'story_happened': False,
        'outcome': 'not played',
        'missing': missing,
    }


def fingerprint(model: Path) -> str:
    """Changes with checkpoint, parameters and code: runs of another state do not count."""
    digest = hashlib.sha256()
    files = [share_folder() / 'config' / 'cell.yaml', *sorted(model.glob('*.json'))]
    files += sorted(Path(progress_monitor.__file__).parent.rglob('*.py'))
    for path in [*files, *sorted(model.glob('*.safetensors'))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def main(arguments: list[str] | None = None) -> int:
    """Run what is not there yet, print the table; 0 if every story happened."""
    parser = argparse.ArgumentParser(prog='python -m progress_monitor_lab.demo.check')
    parser.add_argument('--seeds', type=int, default=SEEDS)
    parser.add_argument('--out', type=Path, default=Path('out'))
    parser.add_argument('--model', type=Path, default=share_folder() / 'models' / 'small_cell')
    given = parser.parse_args(arguments)
    console = Console()
    if not (given.model / 'config.json').is_file():
        console.print(f'{given.model}: no checkpoint lies there; give its folder with --model.')
        return 2
    state = fingerprint(given.model)
    folder = given.out / 'check_demo'
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / 'runs.jsonl'
    done = _kept(kept, state)
    rows: list[dict[str, Any]] = []
    for task, fault, seed in plan(given.seeds):
        row = done.get((task, fault, seed))
        if row is None:
            try:
                row = run_one(task, fault, seed, folder, given.model)
            except subprocess.TimeoutExpired:
                console.print(f'{task}, {fault}, seed {seed}: no end after {_RUN_LIMIT_S:.0f} s')
                return 1
            except KeyboardInterrupt:
                console.print('Interrupted; the next check goes on from here.')
                return 130
            with kept.open('a', encoding='utf-8') as file:
                file.write(json.dumps({'state': state, **row}) + '\n')
            verdict = 'ok' if row['story_happened'] else row['missing']
            console.print(
                f'{fault:<13} seed {seed:<2} {task:<18} {verdict}',
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
        rows.append(row)
    report = count(rows)
    target = given.out / 'check_demo.json'
    target.write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')
    _print_table(report, console)
    return 0 if all(row['story_happened'] for row in rows) else 1


def _kept(path: Path, state: str) -> dict[tuple[str, str, int], dict[str, Any]]:
    if not path.is_file():
        return {}
    done: dict[tuple[str, str, int], dict[str, Any]] = {}
    for line in path.read_text(encoding='utf-8').splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue  # the last line of an interrupted run
        if row.pop('state', '') == state:
            done[row['task'], row['fault'], row['seed']] = row
    return done


def _print_table(report: dict[str, Any], console: Console) -> None:
    table = Table('fault', 'runs', 'called', 'false alarms', 'ended well', 'delay s', 'MAE')
    for fault in FAULTS:
        rows = [row for row in report['rows'] if row['fault'] == fault]
        delays = [d for row in rows if (d := row.get('stall_detected_s')) is not None]
        errors = [e for row in rows if (e := row.get('mae')) is not None]
        table.add_row(
            fault,
            str(len(rows)),
            str(len(delays)) if fault != 'none' else '-',
            str(sum(bool(row.get('false_alarm')) for row in rows)),
            str(sum(bool(row['story_happened']) for row in rows)),
            f'{sum(delays) / len(delays):.1f}' if delays else '-',
            f'{sum(errors) / len(errors):.1f}' if errors else '-',
        )
    console.print(table)
    console.print(
        f'{report["detected"]} of {report["faulty_runs"]} faults called, '
        f'{report["recovered"]} recovered, {report["false_alarms"]} false alarms, '
        f'{report["succeeded"]} of {report["runs"] - report["faulty_runs"]} fault-free runs well.',
        highlight=False,
    )


if __name__ == '__main__':
    sys.exit(main())
