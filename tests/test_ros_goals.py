"""The action of the monitor node, over DDS."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy')

from action_msgs.msg import GoalStatus, GoalStatusArray
from builtin_interfaces.msg import Time
from lifecycle_msgs.msg import Transition
from ros_helpers import (
    ACTIVE,
    LATCHED,
    MONITOR,
    Probe,
    fresh_domain,
    image_message,
    monitor_command,
    picture,
    running,
)
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from progress_monitor.action import MonitorTask
from progress_monitor.msg import MonitorStatus
from progress_monitor.srv import AcknowledgeRecovery, SetTask

Result = MonitorTask.Result


class Goal:
    """One goal, sent and accepted."""

    def __init__(self, probe: Probe, **request: Any) -> None:
        self.probe = probe
        self.feedback: list[Any] = []
        self.handle = probe.send_goal(
            lambda message: self.feedback.append(message.feedback), **request
        )
        self._result = self.handle.get_result_async()

    def result(self) -> tuple[int, Any]:
        """Status and result, once the goal has ended."""
        self.probe.wait(self._result.done, what='the result')
        answer = self._result.result()
        return answer.status, answer.result

    @property
    def done(self) -> bool:
        return bool(self._result.done())


@pytest.fixture(scope='module')
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probe]:
    folder, command = tmp_path_factory.mktemp('node'), monitor_command(goal_patience_s=20.0)
    with running(folder, fresh_domain(), command) as (started, _):
        yield started


@pytest.fixture
def probe(node: Probe) -> Probe:
    """The running node, active and without a task, whatever the test before has left."""
    node.show = 0.2
    if node.lifecycle() != ACTIVE:
        assert node.transition(Transition.TRANSITION_ACTIVATE)
    assert node.call(SetTask, f'{MONITOR}/set_task', SetTask.Request()).success
    return node


@pytest.fixture
def send(probe: Probe) -> Any:
    return lambda **request: Goal(probe, **request)


def stall_of(probe: Probe, task_id: str) -> str:
    """The event of a task's stall, once it stalls."""

    def stalled() -> bool:
        last = probe.stalls[-1] if probe.stalls else None
        return last is not None and last.stalled and last.task_id == task_id

    probe.wait(stalled, what=f'a stall of {task_id}')
    return str(probe.stalls[-1].event_id)


def test_a_goal_feeds_back_and_ends_in_success(probe: Probe, send: Any) -> None:
    goal = send(task='Lift the block.', task_id='lift')
    probe.wait(lambda: len(goal.feedback) >= 3, what='feedback')
    assert goal.feedback[-1].progress == pytest.approx(0.2, abs=0.02)
    assert goal.feedback[-1].step == 'Grasp the block.'
    probe.wait(lambda: probe.status[-1].task_id == 'lift', what='its status')
    probe.show = 1.0
    status, result = goal.result()
    assert status == GoalStatus.STATUS_SUCCEEDED
    assert result.succeeded
    assert result.outcome == Result.OUTCOME_SUCCEEDED
    assert result.error_code == Result.NONE
    assert result.progress == pytest.approx(1.0)


@pytest.mark.parametrize(
    ('request_', 'word'),
    [
        ({'task': ''}, 'task'),
        ({'task': ' \t'}, 'task'),
        ({'task': 'Lift.', 'stall_allowance_s': -1.0}, 'stall_allowance_s'),
        ({'task': 'Lift.', 'timeout_s': math.nan}, 'timeout_s'),
        ({'task': 'Lift.', 'task_id': 'x' * 1_000_000}, 'task_id: 1000000 characters'),
        ({'task': 'Lift.', 'task_id': 'a\nb'}, 'task_id'),
    ],
)
def test_an_invalid_goal_says_what_is_wrong(send: Any, request_: Any, word: str) -> None:
    status, result = send(**request_).result()
    assert status == GoalStatus.STATUS_ABORTED
    assert result.error_code == Result.INVALID_GOAL
    assert result.outcome == Result.OUTCOME_REFUSED
    assert word in result.error_msg


def test_a_stall_ends_a_goal_that_asks_for_it(probe: Probe, send: Any) -> None:
    status, result = send(task='Lift the block.', stop_on_stall=True).result()
    assert status == GoalStatus.STATUS_ABORTED
    assert result.error_code == Result.STALLED
    assert result.outcome == Result.OUTCOME_STALLED
    assert result.step == 'Grasp the block.'
    assert result.error_msg
    assert result.progress == pytest.approx(0.2, abs=0.02)
    probe.wait_state(MonitorStatus.STATE_IDLE)


def test_a_stall_does_not_end_another_goal_and_a_timeout_does(probe: Probe, send: Any) -> None:
    goal = send(task='Lift the block.', task_id='watched')
    stall_of(probe, 'watched')
    count = len(goal.feedback)
    probe.wait(lambda: len(goal.feedback) > count, what='feedback after the stall')
    assert not goal.done
    timed = send(task='Push the block.', timeout_s=0.5)
    assert timed.result()[1].error_code == Result.TIMEOUT


def test_a_goals_own_allowance_counts(probe: Probe, send: Any) -> None:
    goal = send(task='Lift the block.', stall_allowance_s=60.0, stop_on_stall=True)
    probe.wait(lambda: len(goal.feedback) >= 25, what='ticks beyond the parameter')
    assert not goal.done
    probe.show = 1.0
    assert goal.result()[1].succeeded


def test_a_goal_can_be_cancelled(probe: Probe, send: Any) -> None:
    goal = send(task='Lift the block.')
    probe.wait(lambda: goal.feedback, what='feedback')
    goal.handle.cancel_goal_async()
    status, result = goal.result()
    assert status == GoalStatus.STATUS_CANCELED
    assert not result.succeeded
    assert result.outcome == Result.OUTCOME_CANCELLED
    assert result.error_code == Result.NONE
    probe.wait_state(MonitorStatus.STATE_IDLE)


@pytest.mark.parametrize('by', ['goal', 'service'])
def test_another_task_preempts_a_goal(probe: Probe, send: Any, by: str) -> None:
    first = send(task='Lift the block.')
    if by == 'goal':
        second = send(task='Push the block.')
    else:
        request = SetTask.Request(task='Push the block.')
        assert probe.call(SetTask, f'{MONITOR}/set_task', request).success
    assert first.result()[1].error_code == Result.PREEMPTED
    probe.wait(lambda: probe.status[-1].task == 'Push the block.', what='the other task')
    if by == 'goal':
        assert not second.done


def test_an_accepted_goal_is_executing_until_it_ends(probe: Probe, send: Any) -> None:
    heard: dict[bytes, list[int]] = {}

    def note(message: GoalStatusArray) -> None:
        for item in message.status_list:
            heard.setdefault(bytes(item.goal_info.goal_id.uuid), []).append(item.status)

    topic = f'{MONITOR}/monitor_task/_action/status'
    listener = probe.node.create_subscription(GoalStatusArray, topic, note, LATCHED)
    goal = send(task='Lift the block.')
    own = bytes(goal.handle.goal_id.uuid)
    probe.wait(lambda: len(goal.feedback) >= 3, what='feedback')
    probe.wait(lambda: heard.get(own, [0])[-1] == GoalStatus.STATUS_EXECUTING, what='its status')
    probe.show = 1.0
    goal.result()
    probe.wait(lambda: heard[own][-1] == GoalStatus.STATUS_SUCCEEDED, what='the end')
    probe.node.destroy_subscription(listener)


def test_a_goal_that_preempts_a_stalled_one_is_judged_afresh(probe: Probe, send: Any) -> None:
    send(task='Lift the block.', task_id='first')
    stall_of(probe, 'first')
    sent = probe.node.get_clock().now()
    second = send(task='Push the block.', stop_on_stall=True)
    _, result = second.result()
    assert result.error_code == Result.STALLED
    waited = (probe.node.get_clock().now() - sent).nanoseconds / 1e9
    assert waited > 0.9  # its own allowance, and not the end of another's


def test_a_storm_of_goals_ends_each_and_leaves_the_last(probe: Probe, send: Any) -> None:
    goals = [send(task='Lift the block.', task_id=f'goal{number}') for number in range(12)]
    for goal in goals[:-1]:
        status, result = goal.result()
        assert status == GoalStatus.STATUS_ABORTED
        assert result.error_code == Result.PREEMPTED
        assert result.outcome == Result.OUTCOME_PREEMPTED
    probe.wait(lambda: goals[-1].feedback, what='feedback of the last')
    probe.wait(lambda: probe.status[-1].task_id == 'goal11', what='its status')
    probe.show = 1.0
    assert goals[-1].result()[1].succeeded


def test_an_acknowledgement_is_checked_and_can_be_repeated(probe: Probe, send: Any) -> None:
    name = f'{MONITOR}/acknowledge_recovery'

    def acknowledge(event_id: str, **more: Any) -> Any:
        request = AcknowledgeRecovery.Request(event_id=event_id, **more)
        return probe.call(AcknowledgeRecovery, name, request)

    send(task='Lift the block.', task_id='acknowledged')
    event_id = stall_of(probe, 'acknowledged')
    unknown = acknowledge('nothing')
    assert not unknown.success and 'nothing' in unknown.message
    assert not acknowledge(event_id, mode=77).success
    first = acknowledge(event_id, mode=AcknowledgeRecovery.Request.UNTIL_RELEASED)
    assert first.success and not first.repeated
    assert first.event_id == event_id
    again = acknowledge(event_id)
    assert again.success and again.repeated
    probe.wait(lambda: not probe.stalls[-1].stalled, what='the release')
    stalls = len(probe.stalls)
    probe.wait_on(2.0)  # far beyond the allowance
    assert not any(item.stalled for item in probe.stalls[stalls:])
    assert acknowledge(event_id, mode=AcknowledgeRecovery.Request.RELEASE).success
    probe.wait(lambda: len(probe.stalls) > stalls and probe.stalls[-1].stalled, what='a stall')
    assert probe.stalls[-1].event_id != event_id
    assert acknowledge(event_id, mode=AcknowledgeRecovery.Request.RELEASE).repeated


def test_missing_images_end_a_goal_after_a_while(probe: Probe, send: Any) -> None:
    goal = send(task='Lift the block.')
    probe.wait(lambda: goal.feedback, what='feedback')
    hasty = {'goal_patience_s': 0.5, 'evidence.frame_timeout': 0.5}
    patient = {name: probe.get_parameter(name).double_value for name in hasty}
    try:
        for name, value in hasty.items():
            assert probe.set_parameter(name, value).successful
        probe.show = None
        _, result = goal.result()
    finally:
        for name, value in patient.items():
            probe.set_parameter(name, value)
    assert result.error_code == Result.INPUT_FAILED
    assert '/cell/image' in result.error_msg


def test_a_goals_time_starts_with_the_clock(tmp_path: Path) -> None:
    """As where a bag is played after the goal was sent: its clock starts at the time of day."""
    command = monitor_command(use_sim_time=True, goal_patience_s=20.0)
    with running(tmp_path, fresh_domain(), command) as (probe, _):
        goal = Goal(probe, task='Lift the block.', timeout_s=60.0)
        probe.wait_state(MonitorStatus.STATE_STALE)
        clock = probe.node.create_publisher(Clock, '/clock', 10)
        began = time.monotonic() - 1.7e9

        def stamped(stamp: Any) -> Image:
            seconds = time.monotonic() - began
            now = Time(sec=int(seconds), nanosec=int(seconds % 1 * 1e9))
            clock.publish(Clock(clock=now))
            return image_message(picture(0.3, seed=now.nanosec), now)

        probe.next_message, probe.show = stamped, 0.3
        probe.wait(lambda: goal.done or len(goal.feedback) > 2, what='feedback')
        assert not goal.done


def test_a_goal_ends_with_the_nodes_activity(probe: Probe, send: Any) -> None:
    goal = send(task='Lift the block.')
    assert probe.transition(Transition.TRANSITION_DEACTIVATE)
    assert goal.result()[1].error_code == Result.NOT_ACTIVE
    assert send(task='Lift the block.').result()[1].error_code == Result.NOT_ACTIVE
    assert probe.transition(Transition.TRANSITION_ACTIVATE)


def test_a_goal_waits_for_the_model_or_is_refused_as_it_asks(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp('loading')
    monkeypatch.setenv('ROS_FAKE_CONTROL', str(folder / 'control'))
    gate = folder / 'gate'
    monkeypatch.setenv('ROS_FAKE_GATE', str(gate))
    command = monitor_command('ros_fake_engine:make_late', goal_patience_s=1.0)
    with running(folder, fresh_domain(), command) as (probe, _):
        probe.show = 0.3
        probe.wait_state(MonitorStatus.STATE_LOADING)
        status, result = Goal(probe, task='Lift the block.', refuse_unless_ready=True).result()
        assert status == GoalStatus.STATUS_ABORTED
        assert result.error_code == Result.NOT_READY
        assert result.outcome == Result.OUTCOME_REFUSED
        waiting = Goal(probe, task='Lift the block.')
        probe.wait_on(1.5)  # beyond goal_patience_s
        assert not waiting.done
        gate.touch()
        probe.wait(lambda: waiting.feedback, what='feedback once the model is there')
