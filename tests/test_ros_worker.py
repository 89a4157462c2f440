"""The monitor node and its worker process, over DDS: what the worker does to the node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip('rclpy')

from lifecycle_msgs.msg import Transition
from ros_helpers import (
    MONITOR,
    QUICK,
    Probe,
    Process,
    fresh_domain,
    monitor_command,
    running,
)
from std_srvs.srv import Trigger

from progress_monitor.action import MonitorTask
from progress_monitor.msg import MonitorStatus

ENGINE = 'ros_fake_engine:make'
FAILURES = ['kill', 'memory', 'rubbish'] * 3 + ['hang']


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / 'order'
    monkeypatch.setenv('ROS_FAKE_CONTROL', str(path))
    return path


@pytest.fixture
def started(
    tmp_path: Path, control: Path, request: pytest.FixtureRequest
) -> Iterator[tuple[Probe, Process]]:
    command = monitor_command(
        ENGINE,
        task='Lift the block.',
        model__deadline_s=getattr(request, 'param', 60.0),
        model__quantization='none',
    )
    with running(tmp_path, fresh_domain(), command) as (probe, processes):
        probe.show = 0.2
        probe.wait(lambda: probe.progress, what='the first tick')
        yield probe, processes[0]


def workers(process: Process) -> list[int]:
    """Process ids of the node's children."""
    found = []
    for entry in Path('/proc').iterdir():
        try:
            parent = int((entry / 'stat').read_text().rsplit(')', 1)[1].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        if parent == process.child.pid:
            found.append(int(entry.name))
    return found


@pytest.mark.parametrize('started', [5.0], indirect=True, ids=['deadline'])
def test_ten_failures_in_a_row_of_runs_leave_the_node_at_work(
    started: tuple[Probe, Process], control: Path
) -> None:
    """The task advances all the while, so any stall or success would come from the failures."""
    probe, process = started
    for number, order in enumerate(FAILURES):
        probe.show = 0.05 * (number + 1)
        probe.status.clear()
        probe.progress.clear()
        control.write_text(order)
        probe.wait(
            lambda: any(item.state == MonitorStatus.STATE_ERROR for item in probe.status),
            what=f'ERROR after {order}',
        )
        error = next(item for item in probe.status if item.state == MonitorStatus.STATE_ERROR)
        assert error.message
        probe.progress.clear()
        probe.wait(lambda: probe.progress, what=f'a tick after {order}')
        restarts = number + 1
        probe.wait(
            lambda restarts=restarts: probe.status[-1].model_restarts == restarts,
            what=f'{restarts} restarts',
        )
        states = [item.state for item in probe.status]
        assert MonitorStatus.STATE_LOADING in states[states.index(MonitorStatus.STATE_ERROR) :]
    assert not any(stall.stalled for stall in probe.stalls)
    assert not any(success.succeeded for success in probe.successes)
    assert process.child.poll() is None
    assert 'Traceback' not in process.output()


def test_calls_are_answered_while_the_model_thinks(
    started: tuple[Probe, Process], control: Path
) -> None:
    probe, _ = started
    thinking = control.with_suffix('.thinking')
    control.write_text('think')
    probe.wait(thinking.exists, what='a tick that lasts')
    count = probe.status[-1].frames_received
    probe.wait(lambda: probe.status[-1].frames_received > count + 5, what='frames meanwhile')
    assert probe.get_parameter('stall.allowance').double_value == QUICK['stall.allowance']
    assert probe.set_parameter('stall.minimum_gain', 0.01).successful
    assert probe.call(Trigger, f'{MONITOR}/reset', Trigger.Request()).success
    assert thinking.exists()
    probe.progress.clear()
    control.unlink()
    probe.wait(lambda: probe.progress, what='a tick')


def test_cleanup_ends_the_worker_and_configure_starts_another(
    started: tuple[Probe, Process],
) -> None:
    probe, process = started
    first = workers(process)
    assert len(first) == 1
    assert probe.transition(Transition.TRANSITION_DEACTIVATE)
    assert workers(process) == first
    assert probe.transition(Transition.TRANSITION_CLEANUP)
    assert workers(process) == []
    assert probe.transition(Transition.TRANSITION_CONFIGURE)
    assert probe.transition(Transition.TRANSITION_ACTIVATE)
    probe.progress.clear()
    probe.wait(lambda: probe.progress, what='a tick of the new worker')
    assert len(workers(process)) == 1
    assert workers(process) != first


def test_the_worker_ends_with_the_node_even_when_that_is_killed(
    started: tuple[Probe, Process],
) -> None:
    probe, process = started
    (worker,) = workers(process)
    process.child.kill()
    process.child.wait()
    probe.wait(lambda: not Path(f'/proc/{worker}/exe').exists(), what='the end of the worker')


def test_the_node_ends_its_worker_when_interrupted(started: tuple[Probe, Process]) -> None:
    _, process = started
    (worker,) = workers(process)
    assert process.stop() == 0
    assert not Path(f'/proc/{worker}').exists()
    assert 'Traceback' not in process.output()


def test_an_unknown_model_is_named_and_a_goal_fails_for_it(tmp_path: Path) -> None:
    command = monitor_command(
        'ros_fake_engine:missing', model__path='/nowhere/model', goal_patience_s=0.5
    )
    with running(tmp_path, fresh_domain(), command) as (probe, processes):
        probe.show = 0.2
        probe.wait(
            lambda: any(
                item.state == MonitorStatus.STATE_ERROR and '/nowhere/model' in item.message
                for item in probe.status
            ),
            what='ERROR that names the folder, with no task yet',
        )
        result = probe.send_goal(task='Lift the block.').get_result_async()
        probe.wait(result.done, what='the result')
        assert result.result().result.error_code == MonitorTask.Result.MODEL_FAILED
        output = processes[0].output()
    assert 'there is no folder /nowhere/model' in output
    assert 'Traceback' not in output
