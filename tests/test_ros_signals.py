"""Ctrl-C and kill: what the nodes do when a signal comes at any time, and again."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy')

from ros_helpers import (
    LATCHED,
    MONITOR,
    TESTS,
    Probe,
    Process,
    fresh_domain,
    monitor_command,
    running,
)

from progress_monitor.action import MonitorTask
from progress_monitor.msg import SupervisorLease
from progress_monitor.ros.start import ending

# What ``ros2 launch`` does: the terminal interrupts the whole group, itself among it, and it then
# interrupts every child once more, and terminates it a little later.
LAUNCH = """
import json, signal, subprocess, sys, time

came = []
signal.signal(signal.SIGINT, lambda *_: came.append(1))
commands = json.loads(sys.argv[1])
children = [subprocess.Popen([sys.executable, *command]) for command in commands]
print('pids', json.dumps([child.pid for child in children]), flush=True)
while not came:
    time.sleep(0.01)
for wait, number in ((0.0, signal.SIGINT), (0.05, signal.SIGTERM), (0.05, signal.SIGINT)):
    time.sleep(wait)
    for child in children:
        if child.poll() is None:
            child.send_signal(number)
codes = [child.wait(60) for child in children]
print('codes', json.dumps(codes), flush=True)
"""
SUPERVISOR = [
    '-c',
    'from progress_monitor.ros.start import start as s; s("progress_monitor.ros.supervisor_node")',
]


class Launch(Process):
    """The launcher and its children, in a process group of their own."""

    def __init__(self, domain: int, log: Path, *commands: list[str]) -> None:
        self.log = log
        environment = {
            **os.environ,
            'ROS_DOMAIN_ID': str(domain),
            'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
            'OMP_NUM_THREADS': '1',
            'PYTHONPATH': os.pathsep.join([str(TESTS), os.environ.get('PYTHONPATH', '')]),
        }
        with log.open('wb') as output:
            self.child = subprocess.Popen(
                [sys.executable, '-c', LAUNCH, json.dumps(commands)],
                env=environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def interrupt(self) -> None:
        os.killpg(self.child.pid, signal.SIGINT)

    def said(self, word: str) -> Any:
        """What the launcher wrote after ``word``; None: nothing yet."""
        for line in self.output().splitlines():
            if line.startswith(f'{word} '):
                return json.loads(line.removeprefix(f'{word} '))
        return None

    def close(self) -> None:
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait()


def children_of(pid: int) -> list[int]:
    listed = Path(f'/proc/{pid}/task/{pid}/children')
    return [int(item) for item in listed.read_text().split()] if listed.exists() else []


def gone(pid: int) -> bool:
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] == 'Z'
    except OSError:
        return True


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('ROS_FAKE_CONTROL', str(tmp_path / 'order'))


def interrupted_goal(folder: Path, engine: str) -> None:
    """One launch with a goal that runs, interrupted as a terminal does it; asserts a clean end."""
    domain = fresh_domain()
    launch = Launch(domain, folder / 'log', monitor_command(engine), SUPERVISOR)
    probe = Probe(domain)
    try:
        probe.show = 0.2
        result = probe.send_goal(task='Lift the block.').get_result_async()
        probe.wait(lambda: probe.progress, what='a tick')
        pids = launch.said('pids')
        workers = [worker for pid in pids for worker in children_of(pid)]
        assert len(workers) == (engine != 'picture')
        # Out of the terminal's reach: the node ends it, and it never writes a traceback.
        assert all(os.getsid(worker) == worker for worker in workers)
        launch.interrupt()
        probe.wait(result.done, what='the result of the goal')
        assert result.result().result.error_code == MonitorTask.Result.NOT_ACTIVE
        assert probe.wait(lambda: launch.said('codes'), what='the end of the nodes') == [0, 0]
        probe.wait(lambda: all(map(gone, [*pids, *workers])), what='the end of all processes')
        assert 'Traceback' not in launch.output()
    finally:
        probe.close()
        launch.close()
        print(launch.output())


@pytest.fixture(autouse=True)
def heard_hangup() -> Iterator[None]:
    """Nodes hear of a lost terminal, though the suite may have been started to ignore it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize('repetition', range(2))
@pytest.mark.parametrize('engine', ['picture', 'ros_fake_engine:make'])
def test_ctrl_c_under_launch_answers_the_goal_and_leaves_nothing(
    engine: str, repetition: int, tmp_path: Path, control: None
) -> None:
    interrupted_goal(tmp_path, engine)


def test_a_lost_terminal_ends_the_node_in_good_order_unless_that_is_to_be_ignored(
    tmp_path: Path,
) -> None:
    domain = fresh_domain()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        kept = Process(domain, SUPERVISOR, tmp_path / 'kept')
    finally:
        signal.signal(signal.SIGHUP, before)
    with running(tmp_path, domain, monitor_command()) as (probe, (monitor,)):
        result = probe.send_goal(task='Lift the block.').get_result_async()
        probe.wait(lambda: 'leads' in kept.output(), what='the supervisor')
        for child in (kept.child, monitor.child):
            child.send_signal(signal.SIGHUP)
        probe.wait(result.done, what='the result of the goal')
        assert result.result().result.error_code == MonitorTask.Result.NOT_ACTIVE
        assert monitor.child.wait(60) == 0
        assert kept.child.poll() is None
        assert kept.stop() == 0


def test_a_node_that_inherits_many_descriptors_starts_and_ends(tmp_path: Path) -> None:
    leak = (
        'import os, resource as r, sys; most = r.getrlimit(r.RLIMIT_NOFILE)[1]; '
        'r.setrlimit(r.RLIMIT_NOFILE, (2048, most)); '
        'held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]; '
        '[os.set_inheritable(item, True) for item in held]; os.execv(sys.argv[1], sys.argv[1:])'
    )
    domain = fresh_domain()
    node = Process(domain, SUPERVISOR, tmp_path / 'log', [sys.executable, '-c', leak])
    with running(tmp_path, domain) as (probe, _):
        probe.wait(lambda: 'leads' in node.output() or node.child.poll() is not None, 60, 'a start')
        assert node.stop() == 0, node.output()


def test_a_node_without_standard_streams_is_not_ended_by_its_own_log(tmp_path: Path) -> None:
    """Its descriptors would get their numbers, and a line of the log look like a signal."""
    domain = fresh_domain()
    node = Process(domain, SUPERVISOR, tmp_path / 'log', ['sh', '-c', 'exec "$@" >&- 2>&-', 'sh'])
    with running(tmp_path, domain) as (probe, _):
        leases: list[SupervisorLease] = []
        topic = f'{MONITOR}/supervisor_lease'
        probe.node.create_subscription(SupervisorLease, topic, leases.append, LATCHED)
        # It says in the log that it leads, and goes on.
        probe.wait(lambda: sum(lease.leads for lease in leases) > 2, 60, 'a leader that goes on')
        assert node.child.poll() is None
        assert node.stop() == 0


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize('script', ['monitor_node', 'supervisor_node'])
def test_a_signal_during_the_start_ends_with_0(
    script: str, number: signal.Signals, tmp_path: Path
) -> None:
    """At several moments between the first line and the first spin."""
    environment = {
        **os.environ,
        'ROS_DOMAIN_ID': str(fresh_domain()),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
    }
    command = [sys.executable, str(TESTS.parent / 'scripts' / script)]
    draw = random.Random(f'{script}{number}')
    for moment in (0.15, 0.4, draw.uniform(0.5, 1.0), draw.uniform(1.0, 2.0)):
        log = tmp_path / 'log'
        with log.open('wb') as output:
            child = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        begin = time.monotonic()
        while not hears(child.pid) or time.monotonic() - begin < moment:
            assert child.poll() is None, log.read_text()
            time.sleep(0.002)
        child.send_signal(number)
        child.send_signal(number)
        assert child.wait(60) == 0, (moment, log.read_text())
        assert 'Traceback' not in log.read_text()


def hears(pid: int) -> bool:
    """Whether the process has taken the signals over."""
    status = Path(f'/proc/{pid}/status').read_text()
    caught = int(
        next(line for line in status.splitlines() if line.startswith('SigCgt')).split()[1], 16
    )
    return all(caught >> (number - 1) & 1 for number in ending())


@pytest.mark.parametrize(
    ('given', 'environment', 'said'),
    [
        (['--ros-args', '-p', b'monitor:=zur\xfcck'], {}, 'they are no text in UTF-8; set LANG'),
        (['--ros-args', '--colour'], {}, "there are none such: ['--colour']"),
        ([], {'HOME': None, 'ROS_HOME': None, 'ROS_LOG_DIR': None}, 'set HOME, ROS_HOME or'),
        ([], {'ROS_LOG_DIR': '/proc/log'}, 'set HOME, ROS_HOME or ROS_LOG_DIR to a folder that'),
    ],
)
def test_what_keeps_ros_from_starting_is_said_in_a_sentence(
    given: list[str | bytes], environment: dict[str, str | None], said: str
) -> None:
    changed = {**os.environ, **environment}
    ran = subprocess.run(
        [sys.executable, TESTS.parent / 'scripts' / 'supervisor_node', *given],
        env={name: value for name, value in changed.items() if value is not None},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 2
    assert ran.stderr.splitlines()[-1].startswith('ROS arguments: ')
    assert said in ran.stderr
    assert 'Traceback' not in ran.stderr
