"""The recovery benchmark: its cases, its figures, and one case over DDS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('metaworld')

from progress_monitor_lab.bench.recovery import Runs, summarise, table
from progress_monitor_lab.bench.recovery_cases import (
    Case,
    Run,
    cases,
    healthy,
    play_alone,
    standstill_of,
    timeout_of,
)
from progress_monitor_lab.sim.cell import Truth

ROOT = Path(__file__).parent.parent
TASK = 'bin_picking'


def test_only_faults_that_can_happen_are_played() -> None:
    chosen = list(cases(['push', 'drawer_open'], ['none', 'drop'], range(2)))
    assert Case('drawer_open', 'drop', 0) not in chosen
    assert len(chosen) == len({case.name for case in chosen})
    assert {case.seed for case in chosen} == {0, 1}


def test_a_frozen_robot_is_lost_alone_and_saved_late_by_a_time_out() -> None:
    well = [play_alone(case, 'without', None) for case in healthy(TASK, [9000])]
    limit_s = timeout_of(well)
    assert limit_s > max(run.done_s or 0.0 for run in well)
    frozen = Case(TASK, 'freeze_robot', 9000)
    alone = play_alone(frozen, 'without', None)
    assert alone.done_s is None and alone.fault_s is not None
    saved = play_alone(frozen, 'timeout', limit_s)
    assert saved.done_s is not None
    assert saved.replans_s[0] == pytest.approx(limit_s, abs=0.2)
    assert saved.needless == 0


def run(mode: str, fault: str, **more: object) -> Run:
    return Run(Case(TASK, fault, 0), mode, **more)  # type: ignore[arg-type]


def test_a_robot_that_hangs_without_a_fault_is_not_replanned_for_needlessly() -> None:
    """It hangs once it stands still for longer than in any healthy run, since the last replan."""
    well = [run('without', 'slow', standstill_s=4.0), run('without', 'none', standstill_s=1.0)]
    limit_s = standstill_of(well)
    assert limit_s == pytest.approx(4.4)
    played = run('with', 'carried_away')
    for tenths in range(250):
        at_s = tenths / 10
        played.see(at_s, Truth(min(at_s, 10.0) / 20.0, 'Carry', ('Carry',), False, ''))
        if tenths in (80, 130, 170, 190):
            played.replan(at_s, '', limit_s)
    # At work; 3 s into a standstill; 4 s after that replan; 2 s after the next.
    assert (played.needless, played.hung) == (4, 0)
    assert played.standstill_s == pytest.approx(5.8)
    played.replan(25.0, '', limit_s)
    assert (played.needless, played.hung) == (4, 1)
    played.replan(25.1, 'freeze_robot', limit_s)
    assert (played.needless, played.hung) == (4, 1)
    for at_s in (26.0, 40.0):
        played.see(at_s, Truth(1.0, '', (), True, ''))
    played.replan(40.0, '', limit_s)
    assert (played.needless, played.hung) == (5, 1)


def test_the_figures_count_what_was_played_in_every_mode(tmp_path: Path) -> None:
    runs = Runs(tmp_path / 'runs.jsonl')
    for item in (
        run('without', 'none', done_s=10.0),
        run('timeout', 'none', done_s=10.0),
        run('with', 'none', done_s=10.0, replans_s=[5.0], needless=1, wall_s=5.0),
        run('without', 'drop', fault_s=4.0),
        run('timeout', 'drop', fault_s=4.0, replans_s=[15.0], done_s=25.0),
        run('with', 'drop', fault_s=4.0, replans_s=[8.0, 14.0], done_s=18.0, hung=1, wall_s=9.0),
        run('without', 'freeze_robot', fault_s=4.0),
    ):
        runs.add(item)
    chosen = list(cases([TASK], ['none', 'drop', 'freeze_robot'], [0]))
    summary = summarise(chosen, runs)
    assert summary['cases'] == 2
    assert summary['success_without'] == 0.0
    assert summary['success_with'] == summary['success_timeout'] == 1.0
    assert summary['needless_recoveries'] == 1
    assert (summary['hung_with'], summary['hung_timeout']) == (1, 0)
    assert summary['median_seconds_to_recover'] == 4.0
    assert summary['median_seconds_to_recover_timeout'] == 11.0
    assert (summary['time_lost_with_s'], summary['time_lost_timeout_s']) == (8.0, 15.0)
    assert summary['times_real_time'] == 2.0
    assert 'drop' in table(summary)


def test_a_benchmark_that_was_broken_off_goes_on(tmp_path: Path) -> None:
    path = tmp_path / 'runs.jsonl'
    Runs(path).add(run('with', 'drop', done_s=18.0))
    with path.open('a') as file:
        file.write('{"task": "bin_pi')
    known = Runs(path).get(Case(TASK, 'drop', 0), 'with')
    assert known is not None and known.done_s == 18.0


def test_a_case_over_dds_is_saved_by_the_supervisor(tmp_path: Path) -> None:
    pytest.importorskip('rclpy')
    command = [sys.executable, '-m', 'progress_monitor_lab.bench', 'recovery', '--seeds', '1']
    command += ['--tasks', TASK, '--faults', 'freeze_robot', '--out', str(tmp_path)]
    command += ['--monitor', f'{ROOT / "tests" / "demo_oracle.py"} true']
    environment = {
        **os.environ,
        'OMP_NUM_THREADS': '1',
        'PYTHONPATH': os.pathsep.join([str(ROOT / 'tests'), os.environ.get('PYTHONPATH', '')]),
    }
    ran = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr
    summary = json.loads((tmp_path / 'recovery.json').read_text())
    assert summary['recovered_with'] == 1.0
    assert summary['recovered_without'] == 0.0
    assert summary['needless_recoveries'] == 0
    assert summary['median_seconds_to_recover'] < summary['median_seconds_to_recover_timeout']
