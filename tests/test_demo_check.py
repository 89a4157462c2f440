"""The check of the demo: which runs, what is counted, and going on after an interruption."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from progress_monitor_lab.demo import check
from progress_monitor_lab.demo.__main__ import main as demo_main
from progress_monitor_lab.sim.cell import applicable


def row(fault: str, **changes: Any) -> dict[str, Any]:
    values = {
        'task': 'push',
        'fault': fault,
        'seed': 1,
        'story_happened': True,
        'missing': '',
        'false_alarm': False,
        'stall_detected_s': None if fault == 'none' else 4.0,
        'mae': 3.0,
    }
    return {**values, **changes}


def test_ten_seeds_and_four_faults_over_every_task_that_fits() -> None:
    runs = list(check.plan(10))
    assert len(set(runs)) == len(runs) == 40
    assert Counter(fault for _, fault, _ in runs) == {
        'none': 10,
        'freeze_robot': 10,
        'drop': 10,
        'missed_grasp': 10,
    }
    assert all(applicable(task, fault) for task, fault, _ in runs)
    assert len({task for task, fault, _ in runs if fault == 'none'}) == 10


def test_counting() -> None:
    rows = [
        row('none'),
        row('none', story_happened=False, false_alarm=True),
        row('drop'),
        row('drop', story_happened=False),
        row('drop', story_happened=False, stall_detected_s=None),
        {'task': 'push', 'fault': 'drop', 'seed': 4, 'story_happened': False, 'missing': 'x'},
    ]
    counted = check.count(rows)
    assert {name: value for name, value in counted.items() if name != 'rows'} == {
        'runs': 6,
        'faulty_runs': 4,
        'detected': 2,
        'false_alarms': 1,
        'recovered': 1,
        'succeeded': 1,
    }
    assert counted['rows'] == rows


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / 'model'
    folder.mkdir()
    (folder / 'config.json').write_text('{}')
    return folder


def test_an_interrupted_check_goes_on_where_it_stopped(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played: list[tuple[str, str, int]] = []

    def play(task: str, fault: str, seed: int, out: Path, model: Path) -> dict[str, Any]:
        if len(played) == 3:
            raise KeyboardInterrupt
        played.append((task, fault, seed))
        return row(fault, task=task, seed=seed)

    monkeypatch.setattr(check, 'run_one', play)
    arguments = ['--seeds', '1', '--out', str(tmp_path / 'out'), '--model', str(model)]
    assert check.main(arguments) == 130
    first = list(played)
    played.clear()
    assert check.main(arguments) == 0
    assert first + played == list(check.plan(1))
    report = json.loads((tmp_path / 'out' / 'check_demo.json').read_text())
    assert (report['runs'], report['faulty_runs'], report['detected']) == (4, 3, 3)
    # Another checkpoint is another check.
    (model / 'config.json').write_text('{"changed": true}')
    played.clear()
    assert check.main(arguments) == 130
    assert len(played) == 3


def test_a_run_that_goes_wrong_fails_the_check(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        check,
        'run_one',
        lambda task, fault, seed, out, model: row(fault, story_happened=fault != 'drop'),
    )
    arguments = ['--seeds', '1', '--out', str(tmp_path / 'out'), '--model', str(model)]
    assert check.main(arguments) == 1


def test_a_demo_that_cannot_be_played_is_a_row_with_its_reason(tmp_path: Path) -> None:
    found = check.run_one('push', 'none', 0, tmp_path, tmp_path / 'nothing')
    assert found['story_happened'] is False
    assert 'no checkpoint lies there' in found['missing']


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['--task', 'door_open', '--fault', 'drop'], 'drop cannot happen in --task door_open'),
        (['--model', '/no/such/model'], '/no/such/model: no checkpoint lies there'),
    ],
)
def test_the_demo_says_what_it_lacks(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo_main(arguments) == 2
    assert said in ' '.join(capsys.readouterr().out.split())


@pytest.mark.parametrize('arguments', [['--fault', 'explode'], ['--task', 'fly'], ['--seed', '-1']])
def test_the_demo_refuses_what_it_does_not_know(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        demo_main(arguments)
    assert ended.value.code == 2
    assert arguments[0] in capsys.readouterr().err
