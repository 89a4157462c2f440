"""No process of the demo outlives it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from progress_monitor_lab.demo.processes import Processes

# Starts a grandchild, says its number, and takes no notice of a polite request.
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])
print(child.pid, flush=True)
time.sleep(600)
"""


def wait_for_text(path: Path) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if path.is_file() and path.read_text().endswith('\n'):
            return path.read_text()
        select.select([], [], [], 0.02)
    raise AssertionError(f'nothing in {path}')


def gone(pid: int) -> bool:
    """Whether the process has ended, waiting for it a while."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            state = Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == 'Z':
            return True
        select.select([], [], [], 0.02)
    return False


def test_children_and_grandchildren_end_with_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        'progress_monitor_lab.demo.processes._PATIENCE_S',
        ((signal.SIGINT, 0.2), (signal.SIGTERM, 0.2), (signal.SIGKILL, 5.0)),
    )
    processes = Processes(tmp_path, os.environ)
    processes.start('stubborn', [sys.executable, '-c', STUBBORN])
    grandchild = int(wait_for_text(tmp_path / 'stubborn.log'))
    with pytest.raises(KeyboardInterrupt), processes:
        raise KeyboardInterrupt
    assert gone(grandchild)


def test_a_polite_child_may_tidy_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patience = 'progress_monitor_lab.demo.processes._PATIENCE_S'
    monkeypatch.setattr(patience, ((signal.SIGINT, 60.0),))
    code = (
        'import time\n'
        'try:\n    print("up", flush=True)\n    time.sleep(600)\n'
        'except KeyboardInterrupt:\n    print("tidied", flush=True)\n'
    )
    with Processes(tmp_path, os.environ) as processes:
        processes.start('polite', [sys.executable, '-c', code])
        wait_for_text(tmp_path / 'polite.log')
    assert 'tidied' in (tmp_path / 'polite.log').read_text()


def test_an_end_of_its_own_is_noticed_and_described(tmp_path: Path) -> None:
    with Processes(tmp_path, os.environ) as processes:
        processes.start(
            'brief', [sys.executable, '-c', 'print("why it ended"); raise SystemExit(3)']
        )
        deadline = time.monotonic() + 60
        while not processes.ended() and time.monotonic() < deadline:
            select.select([], [], [], 0.02)
        assert processes.ended() == 'brief'
        said = processes.describe('brief')
    assert 'code 3' in said
    assert 'why it ended' in said


@pytest.mark.skipif(not Path('/usr/bin/setpriv').exists(), reason='setpriv is not installed')
def test_children_end_when_the_demo_is_killed(tmp_path: Path) -> None:
    code = f"""
import os, sys, time
from pathlib import Path
from progress_monitor_lab.demo.processes import Processes
with Processes(Path({str(tmp_path)!r}), os.environ) as processes:
    processes.start('c', [sys.executable, '-c',
        'import os, time; print(os.getpid(), flush=True); time.sleep(600)'])
    time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, '-c', code])
    child = int(wait_for_text(tmp_path / 'c.log'))
    parent.kill()
    parent.wait()
    assert gone(child)
