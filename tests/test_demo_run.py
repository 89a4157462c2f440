"""The demo from end to end over DDS, with a model that knows the truth."""

from __future__ import annotations

import io
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy')
pytest.importorskip('metaworld')

from rich.console import Console

from progress_monitor.offline.video import read_video
from progress_monitor_lab.demo.run import DemoError, DemoOptions, play

ORACLE = str(Path(__file__).parent / 'demo_oracle.py')


def options(tmp_path: Path, **changes: Any) -> DemoOptions:
    values: dict[str, Any] = {
        'task': 'pick_place',
        'fault': 'drop',
        'seed': 1,
        'out': tmp_path / 'demo',
        'model': tmp_path,
        'monitor': (ORACLE, 'true'),
        'time_limit_s': 120.0,
    }
    return DemoOptions(**{**values, **changes})


def console() -> Console:
    return Console(file=io.StringIO())


def processes_of(folder: Path) -> list[int]:
    """Processes whose logs lie in ``folder``: the demo's children and theirs."""
    found = []
    for entry in Path('/proc').iterdir():
        if not entry.name.isdigit():
            continue
        try:
            target = os.readlink(entry / 'fd' / '1')
        except OSError:
            continue
        if target.startswith(str(folder)):
            found.append(int(entry.name))
    return found


def test_a_dropped_object_is_called_and_the_robot_tries_again(tmp_path: Path) -> None:
    said = console()
    summary = play(options(tmp_path), said)
    out = tmp_path / 'demo'
    assert summary == json.loads((out / 'summary.json').read_text())
    assert summary['story_happened'], summary['missing']
    assert summary['outcome'] == 'succeeded'
    assert summary['stall_detected_s'] > 0.0
    assert summary['replans'] >= 1
    assert summary['mae'] < 3.0
    assert 'fault injected: drop' in said.file.getvalue()  # type: ignore[attr-defined]
    film = list(read_video(out / 'overlay.mp4'))
    assert abs(len(film) - summary['frames']) <= 0.1 * summary['frames']
    for name in ('timeline.png', 'demo.png'):
        assert (out / name).stat().st_size > 10_000
    assert processes_of(out) == []


def test_a_success_that_is_not_true_is_no_story(tmp_path: Path) -> None:
    eager = options(tmp_path, fault='none', monitor=(ORACLE, 'eager'), film=False)
    summary = play(eager, console())
    assert not summary['story_happened']
    assert 'before the task was done' in summary['missing']
    assert not (tmp_path / 'demo' / 'overlay.mp4').exists()


def test_a_process_that_ends_stops_the_demo_with_its_last_words(tmp_path: Path) -> None:
    broken = options(tmp_path, monitor=('-c', 'raise SystemExit("no such engine")'))
    with pytest.raises(DemoError, match=r'(?s)monitor ended with code 1.*no such engine'):
        play(broken, console())
    assert processes_of(tmp_path / 'demo') == []


def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / 'config.json').write_text('{}')
    out = tmp_path / 'demo'
    command = [sys.executable, '-m', 'progress_monitor_lab.demo', '--model', str(tmp_path)]
    child = subprocess.Popen([*command, '--out', str(out)], stdout=subprocess.PIPE, text=True)
    while not (out / 'logs' / 'cell.log').exists():
        assert child.poll() is None
        select.select([], [], [], 0.05)
    assert processes_of(out)
    child.terminate()
    said, _ = child.communicate(timeout=120)
    assert child.returncode == 130
    assert 'Interrupted' in said
    # A child of a child may end a moment later.
    deadline = time.monotonic() + 10.0
    while processes_of(out) and time.monotonic() < deadline:
        select.select([], [], [], 0.05)
    assert processes_of(out) == []
