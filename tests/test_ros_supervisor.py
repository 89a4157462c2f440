"""The supervisor node, over DDS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip('rclpy')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from ros_fake_robot import FakeRobot
from ros_helpers import Probe, arguments, fresh_domain, running

from progress_monitor.msg import RecoveryEvent as Event

MODULE = ['-m', 'progress_monitor.ros.supervisor_node']
PARAMETERS = {
    'replan_service': '/robot/replan',
    'max_attempts': 2,
    'cool_down_s': 0.5,
    'suspend_s': 2.5,
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[Probe, FakeRobot]]:
    with running(tmp_path, fresh_domain(), [*MODULE, *arguments(PARAMETERS)]) as (probe, _):
        yield probe, FakeRobot(probe.node)


def test_each_event_is_replanned_for_once_and_acknowledged(
    world: tuple[Probe, FakeRobot],
) -> None:
    probe, robot = world
    robot.offer_replan()
    robot.stall('a')  # latched: the supervisor may come later
    probe.wait(lambda: robot.acknowledged, what='acknowledgement')
    assert robot.acknowledged == [2.5]
    for _ in range(3):
        robot.stall('a')
    robot.stall('a', stalled=False)
    robot.stall('b')
    probe.wait(lambda: robot.replans == 2, what='the replan for the second stall')
    probe.wait(lambda: len(robot.acknowledged) == 2, what='the second acknowledgement')
    robot.succeed()
    probe.wait(lambda: Event.KIND_SUCCEEDED in robot.kinds(), what='the success')
    assert robot.replans == 2
    replanned = [event for event in robot.events if event.kind == Event.KIND_REPLANNED]
    assert [event.event_id for event in replanned] == ['a', 'b']
    assert [event.attempt for event in replanned] == [1, 2]


def test_after_the_last_attempt_a_person_is_asked_until_the_stall_ends(
    world: tuple[Probe, FakeRobot],
) -> None:
    probe, robot = world
    levels: list[bytes] = []
    probe.node.create_subscription(
        DiagnosticArray,
        '/diagnostics',
        lambda message: levels.append(message.status[0].level),
        10,
    )
    robot.offer_replan()
    robot.agree = False
    robot.stall('a')
    probe.wait(lambda: Event.KIND_ASK_PERSON in robot.kinds(), what='a call for a person')
    assert robot.replans == 2
    assert robot.kinds().count(Event.KIND_REPLAN_FAILED) == 2
    assert not robot.acknowledged
    assert 'no way' in robot.events[1].message
    probe.wait(lambda: levels and levels[-1] == DiagnosticStatus.ERROR, what='the diagnostics')
    robot.stall('a', stalled=False)
    probe.wait(lambda: levels[-1] == DiagnosticStatus.OK, what='the diagnostics')


def test_a_missing_replan_service_is_named_and_tried_again(
    world: tuple[Probe, FakeRobot],
) -> None:
    probe, robot = world
    robot.stall('a')
    probe.wait(lambda: Event.KIND_REPLAN_FAILED in robot.kinds(), what='a failed replan')
    failed = next(event for event in robot.events if event.kind == Event.KIND_REPLAN_FAILED)
    assert '/robot/replan is not there' in failed.message
    probe.wait(lambda: robot.kinds().count(Event.KIND_REPLAN) == 2, what='another try')


@pytest.mark.parametrize(
    ('name', 'value'), [('replan_service', ' '), ('cool_down_s', -1.0), ('monitor', '')]
)
def test_a_bad_parameter_ends_the_node_by_name(tmp_path: Path, name: str, value: object) -> None:
    command = [*MODULE, *arguments({name: value})]
    with running(tmp_path, fresh_domain(), command) as (probe, processes):
        probe.wait(lambda: processes[0].child.poll() is not None, what='its end')
        assert processes[0].child.returncode == 2
        assert f'supervisor: {name}' in processes[0].output()
        assert 'Traceback' not in processes[0].output()
