"""The supervisor node, over DDS, in processes of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy')

import ros_helpers
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from ros_fake_robot import FakeRobot
from ros_helpers import Probe, Process, arguments, fresh_domain, running, world_of
from rosgraph_msgs.msg import Clock
from std_msgs.msg import String

from progress_monitor.msg import MonitorStatus, Stall
from progress_monitor.msg import RecoveryEvent as Event

MODULE = ['-m', 'progress_monitor.ros.supervisor_node']
PARAMETERS = {
    'replan_service': '/robot/replan',
    'max_attempts': 2,
    'cool_down_s': 0.5,
    'suspend_s': 2.5,
}


def command(state: Path, **values: Any) -> list[str]:
    given = {**PARAMETERS, 'state_file': str(state / 'record.json'), **values}
    return [*MODULE, *arguments(given)]


class World(ros_helpers.World):
    """A domain with a robot, a monitor and supervisors that come and go."""

    def __init__(self, probe: Probe, folder: Path, domain: int) -> None:
        super().__init__(probe, folder, domain)
        self.robot = FakeRobot(probe.node)
        self.diagnostics: list[DiagnosticStatus] = []
        probe.node.create_subscription(
            DiagnosticArray,
            '/diagnostics',
            lambda message: self.diagnostics.extend(message.status),
            10,
        )

    def supervise(self, *more: str, **values: Any) -> Process:
        return self.start([*command(self.folder, **values), *more])

    def wait_kind(self, kind: int, times: int = 1) -> None:
        self.probe.wait(
            lambda: self.robot.kinds().count(kind) >= times, what=f'{times} of kind {kind}'
        )

    def wait_diagnostics(self, text: str) -> DiagnosticStatus:
        self.diagnostics.clear()
        self.probe.wait(lambda: any(text in item.message for item in self.diagnostics), what=text)
        return next(item for item in self.diagnostics if text in item.message)


def wait_said(process: Process, words: str) -> None:
    """Wait for words in the log without spinning, so that meanwhile the robot does not answer."""
    end = time.monotonic() + 180.0
    while words not in process.output():
        assert time.monotonic() < end, f'nothing of {words}: {process.output()}'
        time.sleep(0.01)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with world_of(World, tmp_path) as made:
        yield made


def test_each_event_is_replanned_for_once_and_acknowledged(world: World) -> None:
    probe, robot = world.probe, world.robot
    robot.offer_replan()
    robot.stall('a')  # latched: the supervisor may come later
    world.supervise()
    probe.wait(lambda: robot.acknowledged, what='acknowledgement')
    assert set(robot.acknowledged) == {2.5}
    for _ in range(3):
        robot.stall('a')
    robot.stall('a', stalled=False)
    robot.stall('b', hint=Stall.HINT_ASK_PERSON)  # the supervisor alone counts
    probe.wait(lambda: robot.replans == 2, what='the replan for the second stall')
    probe.wait(lambda: 'b' in robot.acknowledged_events, what='the second acknowledgement')
    assert set(robot.acknowledged_events) == {'a', 'b'}
    robot.succeed()
    world.wait_kind(Event.KIND_SUCCEEDED)
    assert robot.replans == 2
    replanned = [event for event in robot.events if event.kind == Event.KIND_REPLANNED]
    assert [event.event_id for event in replanned] == ['a', 'b']
    assert [event.attempt for event in replanned] == [1, 2]
    assert {event.target for event in replanned} == {'/robot/replan'}


def test_after_the_last_attempt_a_person_is_asked_until_the_stall_ends(world: World) -> None:
    probe, robot = world.probe, world.robot
    robot.offer_replan()
    robot.agree = False
    robot.stall('a')
    world.supervise()
    world.wait_kind(Event.KIND_ASK_PERSON)
    assert robot.replans == 2
    assert robot.kinds().count(Event.KIND_REPLAN_FAILED) == 2
    assert not robot.acknowledged
    failed = next(event for event in robot.events if event.kind == Event.KIND_REPLAN_FAILED)
    assert 'no way' in failed.message
    probe.wait(
        lambda: world.diagnostics and world.diagnostics[-1].level == DiagnosticStatus.ERROR,
        what='the diagnostics',
    )
    robot.stall('a', stalled=False)
    probe.wait(lambda: world.diagnostics[-1].level == DiagnosticStatus.OK, what='the diagnostics')


def test_a_missing_service_is_named_and_waited_for_without_an_attempt(world: World) -> None:
    robot = world.robot
    robot.stall('a')
    world.supervise(max_attempts=1)
    world.wait_kind(Event.KIND_NO_SERVER)
    assert '/robot/replan is not there' in robot.events[0].message
    robot.offer_replan()
    world.wait_kind(Event.KIND_REPLANNED)
    assert [event.attempt for event in robot.events] == [0, 1, 1]


def test_its_own_restart_repeats_nothing(world: World) -> None:
    probe, robot = world.probe, world.robot
    robot.offer_replan()
    robot.stall('a')
    first = world.supervise(max_attempts=1)
    probe.wait(lambda: robot.acknowledged, what='acknowledgement')
    first.child.kill()
    first.child.wait()
    world.supervise(max_attempts=1)
    world.wait_diagnostics('nothing to recover from')
    robot.stall('b')
    world.wait_kind(Event.KIND_ASK_PERSON)
    assert robot.replans == 1


def test_a_restart_during_a_call_does_not_call_again(world: World, tmp_path: Path) -> None:
    probe, robot = world.probe, world.robot
    robot.offer_replan()
    known: list[str] = []

    def die() -> None:
        known.append(json.loads((tmp_path / 'record.json').read_text())['call']['event_id'])
        first.child.kill()
        first.child.wait()

    robot.on_replan = die
    robot.stall('a')
    first = world.supervise()
    probe.wait(lambda: robot.replans, what='the replan')
    assert known == ['a']
    world.supervise()
    world.wait_kind(Event.KIND_ASK_PERSON)
    assert robot.replans == 1
    assert any('not repeated' in event.message for event in robot.events)


def test_a_monitor_that_restarts_is_not_answered_again(world: World) -> None:
    probe, robot = world.probe, world.robot
    robot.offer_replan()
    robot.status(MonitorStatus.STATE_STALLED)
    robot.stall('a')
    world.supervise()
    probe.wait(lambda: robot.acknowledged, what='acknowledgement')
    robot.fall_silent()
    world.wait_diagnostics('silent')
    robot.speak()
    robot.status(MonitorStatus.STATE_STALLED)
    robot.stall('a')
    world.wait_diagnostics('nothing to recover from')
    assert robot.replans == 1


def test_of_two_supervisors_one_acts_and_the_other_takes_over(world: World) -> None:
    probe, robot = world.probe, world.robot
    robot.offer_replan()
    robot.stall('a')
    supervisors = [world.supervise(), world.supervise()]
    world.wait_diagnostics('stands by')
    probe.wait(lambda: robot.acknowledged, what='acknowledgement')
    leading = next(item for item in supervisors if '] [supervisor]: leads' in item.output())
    leading.child.kill()
    leading.child.wait()
    robot.stall('b')
    probe.wait(lambda: 'b' in robot.acknowledged_events, what='acknowledgement by the other')
    # Killed before it had the monitor's reply, the first leaves one acknowledgement to repeat.
    assert set(robot.acknowledged_events) == {'a', 'b'}
    assert robot.replans == 2


def test_two_supervisors_that_share_no_file_agree_over_dds(world: World, tmp_path: Path) -> None:
    probe, robot = world.probe, world.robot
    robot.offer_replan()
    supervisors = [world.supervise(state_file=str(tmp_path / name)) for name in ('one', 'two')]
    world.wait_diagnostics('stands by')
    robot.stall('a')
    probe.wait(lambda: robot.acknowledged, what='acknowledgement')
    leading = next(item for item in supervisors if '] [supervisor]: leads' in item.output())
    leading.child.kill()
    leading.child.wait()
    world.wait_diagnostics('nothing to recover from')
    assert robot.replans == 1
    robot.stall('b')
    probe.wait(lambda: robot.replans == 2, what='the replan by the other')


def test_a_replan_slower_than_its_limit_is_called_once_and_not_overtaken(world: World) -> None:
    probe, robot = world.probe, world.robot
    robot.offer_replan()

    def another() -> None:
        robot.on_replan = lambda: None
        robot.stall('b', task_id='other')
        wait_said(supervisor, 'OVERDUE')

    robot.on_replan = another
    robot.stall('a')
    supervisor = world.supervise(reply_timeout_s=0.5, cool_down_s=0.0)
    probe.wait(lambda: robot.replans == 2, what='both replans')
    world.wait_kind(Event.KIND_REPLANNED, 2)
    probe.wait(lambda: 'b' in robot.acknowledged_events, what='acknowledgement')
    assert robot.replans == 2
    assert [(event.event_id, event.kind) for event in robot.events][:4] == [
        ('a', Event.KIND_REPLAN),
        ('a', Event.KIND_OVERDUE),
        ('a', Event.KIND_REPLANNED),
        ('b', Event.KIND_REPLAN),
    ]


def test_a_lost_acknowledgement_is_sent_again_and_blocks_nothing(world: World) -> None:
    probe, robot = world.probe, world.robot
    robot.withdraw_acknowledgement()
    robot.offer_replan()
    robot.stall('a')
    world.supervise()
    world.wait_kind(Event.KIND_REPLANNED)
    robot.stall('b')
    world.wait_kind(Event.KIND_REPLANNED, 2)
    robot.offer_acknowledgement()
    probe.wait(lambda: robot.acknowledged, what='acknowledgement')
    assert set(robot.acknowledged_events) == {'b'}


def test_an_acknowledgement_whose_reply_is_lost_is_repeated(world: World) -> None:
    probe, robot = world.probe, world.robot
    robot.offer_replan()

    def hold() -> None:
        robot.on_acknowledge = lambda: None
        wait_said(supervisor, 'asks again')

    robot.on_acknowledge = hold
    robot.stall('a')
    supervisor = world.supervise()
    probe.wait(lambda: len(robot.acknowledged) > 1, what='the second request')
    world.wait_diagnostics('nothing to recover from')
    assert set(robot.acknowledged_events) == {'a'}
    assert robot.replans == 1


def test_a_replan_whose_reply_is_lost_asks_a_person_and_blocks_no_other(world: World) -> None:
    robot = world.robot
    robot.offer_replan()
    robot.on_replan = lambda: wait_said(supervisor, 'ASK_PERSON')
    robot.stall('a')
    supervisor = world.supervise(reply_timeout_s=1.0, abandon_s=3.0, cool_down_s=0.0)
    world.wait_kind(Event.KIND_ASK_PERSON)
    # The monitor of this test is in the robot's thread, and silent while that does not reply.
    assert [kind for kind in robot.kinds() if kind != Event.KIND_NOT_JUDGED] == [
        Event.KIND_REPLAN,
        Event.KIND_OVERDUE,
        Event.KIND_REPLAN_FAILED,
        Event.KIND_ASK_PERSON,
    ]
    assert robot.replans == 1
    robot.on_replan = lambda: None
    robot.stall('b')
    world.wait_kind(Event.KIND_REPLANNED)
    assert robot.replans == 2


def test_an_unsure_monitor_is_reported_and_not_acted_on(world: World) -> None:
    probe, robot = world.probe, world.robot
    robot.offer_replan()
    robot.status(MonitorStatus.STATE_STALE, message='camera /a: no frames')
    world.supervise()
    world.wait_diagnostics('sees nothing new')
    robot.stall('a')
    world.wait_kind(Event.KIND_NOT_JUDGED)
    assert 'camera /a' in robot.events[0].message
    world.wait_diagnostics('sees nothing new')
    assert robot.replans == 0
    robot.status(MonitorStatus.STATE_STALLED)
    probe.wait(lambda: robot.replans, what='the replan')


def test_a_latched_stall_is_not_acted_on_before_the_monitor_says_its_state(world: World) -> None:
    probe, robot = world.probe, world.robot
    robot.offer_replan()
    robot.stall('a')
    robot.say_no_status()
    world.supervise()
    world.wait_diagnostics('nothing was heard')
    world.wait_diagnostics('nothing was heard')
    assert robot.replans == 0
    robot.status(MonitorStatus.STATE_STALLED)
    probe.wait(lambda: robot.replans, what='the replan')


def test_a_stall_of_a_task_that_is_done_by_now_is_not_acted_on(world: World) -> None:
    probe, robot = world.probe, world.robot
    robot.offer_replan()
    robot.status(MonitorStatus.STATE_SUCCEEDED)
    robot.stall('a')
    world.supervise()
    world.wait_diagnostics('sees the task done')
    assert robot.replans == 0
    robot.status(MonitorStatus.STATE_STALLED)
    probe.wait(lambda: robot.replans, what='the replan')


def test_a_stall_of_before_the_monitor_was_started_anew_is_not_acted_on(world: World) -> None:
    probe, robot = world.probe, world.robot
    robot.offer_replan()
    robot.status(MonitorStatus.STATE_OBSERVING)
    robot.stall('a')
    world.supervise()
    world.wait_diagnostics('sees no stall now')
    robot.status(MonitorStatus.STATE_PROGRESSING)
    world.wait_kind(Event.KIND_RELEASED)
    assert 'sees the task get on' in robot.events[-1].message
    world.wait_diagnostics('nothing to recover from')
    assert robot.replans == 0
    robot.status(MonitorStatus.STATE_REGRESSING)
    robot.stall('b')
    probe.wait(lambda: robot.replans, what='the replan')


def test_a_person_is_needed_no_longer_once_a_monitor_started_anew_sees_progress(
    world: World,
) -> None:
    robot = world.robot
    robot.status(MonitorStatus.STATE_STALLED)
    robot.stall('a')
    world.supervise(max_attempts=0)
    world.wait_diagnostics('nothing is left to try')
    robot.fall_silent()
    robot.speak()
    robot.status(MonitorStatus.STATE_PROGRESSING, task_id='another')
    world.wait_diagnostics('nothing to recover from')
    assert robot.kinds() == [Event.KIND_ASK_PERSON, Event.KIND_RELEASED]


def test_values_of_a_newer_monitor_are_tolerated(world: World) -> None:
    probe, robot = world.probe, world.robot
    robot.offer_replan()
    robot.status(MonitorStatus.STATE_STALLED)
    robot.stall('a', hint=200, cause=201)
    supervisor = world.supervise()
    probe.wait(lambda: robot.acknowledged, what='acknowledgement')
    robot.status(222)
    world.wait_diagnostics('state 222')
    assert supervisor.child.poll() is None


def test_two_monitors_in_two_namespaces_have_each_its_supervisor(world: World) -> None:
    probe = world.probe
    robots = {}
    for name in ('left', 'right'):
        robots[name] = robot = FakeRobot(
            probe.node, f'/{name}/progress_monitor', f'/{name}/supervisor', f'/{name}/replan'
        )
        robot.offer_replan()
        world.supervise('-r', f'__ns:=/{name}', replan_service='replan', state_file='')
    robots['left'].stall('a')
    probe.wait(lambda: robots['left'].acknowledged, what='acknowledgement')
    robots['right'].stall('a')
    probe.wait(lambda: robots['right'].acknowledged, what='acknowledgement')
    assert [robot.replans for robot in robots.values()] == [1, 1]


def test_of_two_monitors_with_one_name_neither_is_acted_on(world: World) -> None:
    twin = FakeRobot(world.probe.node)
    world.robot.offer_replan()
    world.robot.status(MonitorStatus.STATE_PROGRESSING)
    twin.status(MonitorStatus.STATE_PROGRESSING)
    world.supervise(replan_service='/robot/replan')
    world.wait_kind(Event.KIND_NOT_JUDGED)
    assert 'several monitors are named /progress_monitor' in world.robot.events[-1].message
    world.robot.status(MonitorStatus.STATE_STALLED)
    world.robot.stall('a')
    world.wait_diagnostics('several monitors')
    assert not world.robot.replans
    twin.fall_silent()
    world.wait_kind(Event.KIND_REPLANNED)


def test_simulated_time_that_jumps_back_holds_nothing_up(world: World) -> None:
    probe, robot = world.probe, world.robot
    clock = probe.node.create_publisher(Clock, '/clock', 10)

    def at(seconds: int) -> None:
        message = Clock()
        message.clock.sec = seconds
        clock.publish(message)

    robot.offer_replan()
    world.supervise(use_sim_time=True, state_file='', cool_down_s=100.0)
    probe.wait(lambda: probe.node.count_subscribers('/clock'), what='the supervisor')
    at(1000)
    robot.stall('a')
    probe.wait(lambda: (at(1000), robot.acknowledged)[1], what='acknowledgement')
    at(5)
    robot.stall('b')
    probe.wait(lambda: (at(5), robot.replans == 2)[1], what='the replan after the jump')


def test_a_policy_file_with_a_topic_as_the_rung(world: World, tmp_path: Path) -> None:
    heard: list[dict[str, str]] = []
    world.probe.node.create_subscription(
        String, '/robot/requests', lambda message: heard.append(json.loads(message.data)), 10
    )
    policy = tmp_path / 'policy.yaml'
    policy.write_text('actions: {home: {topic: /robot/requests}}\nrules: [{ladder: [home]}]')
    world.robot.stall('a', step='Grasp.')
    world.supervise(policy_file=str(policy))
    world.wait_kind(Event.KIND_DONE)
    world.probe.wait(lambda: heard, what='the request')
    assert heard[0]['action'] == 'home'
    assert heard[0]['step'] == 'Grasp.'
    assert heard[0]['cause'] == 'NO_CHANGE'


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('replan_service', ' '),
        ('replan_service', 'my service'),
        ('monitor', '/progress_monitor/'),
        ('monitor', '{robot}/monitor'),
        ('cool_down_s', -1.0),
        ('monitor', ''),
        ('policy_file', '/nowhere/policy.yaml'),
        ('state_file', '/proc/no/record.json'),
        ('state_file', '/dev/null'),
        ('state_file', '~nobody_here/record.json'),
        ('policy_file', '~nobody_here/policy.yaml'),
    ],
)
def test_a_bad_parameter_ends_the_node_by_name(tmp_path: Path, name: str, value: object) -> None:
    with running(tmp_path, fresh_domain(), command(tmp_path, **{name: value})) as (
        probe,
        processes,
    ):
        probe.wait(lambda: processes[0].child.poll() is not None, what='its end')
        assert processes[0].child.returncode == 2
        assert f'supervisor: {name}' in processes[0].output()
        assert 'Traceback' not in processes[0].output()
