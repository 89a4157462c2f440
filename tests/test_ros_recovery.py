"""Monitor and supervisor together, both the real nodes, over DDS."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy')

import ros_helpers
from ros_fake_robot import EVENTS
from ros_helpers import (
    MONITOR,
    Probe,
    Process,
    arguments,
    monitor_command,
    world_of,
)
from std_srvs.srv import Trigger

from progress_monitor.msg import MonitorStatus, RecoveryEvent
from progress_monitor.srv import SetTask


class World(ros_helpers.World):
    """A domain with a camera, a robot that can replan, a monitor and a supervisor."""

    def __init__(self, probe: Probe, folder: Path, domain: int) -> None:
        super().__init__(probe, folder, domain)
        self.replans = 0
        self.events: list[RecoveryEvent] = []
        probe.node.create_service(Trigger, '/robot/replan', self._replan)
        probe.node.create_subscription(
            RecoveryEvent, '/supervisor/events', self.events.append, EVENTS
        )

    def supervise(self) -> Process:
        given = {
            'replan_service': '/robot/replan',
            'max_attempts': 1,
            'cool_down_s': 0.0,
            'wait_s': 0.0,
            'state_file': str(self.folder / 'record.json'),
        }
        return self.start(['-m', 'progress_monitor.ros.supervisor_node', *arguments(given)])

    def watch(self) -> None:
        # A server that was killed stays matched for a while, and what is asked of it is lost.
        client = self.probe.node.create_client(SetTask, f'{MONITOR}/set_task')
        due = 0.0

        def watched() -> bool:
            nonlocal due
            if client.service_is_ready() and time.monotonic() >= due:
                due = time.monotonic() + 1.0
                client.call_async(SetTask.Request(task='Put the block away.', task_id='shelf'))
            return any(status.task_id == 'shelf' for status in self.probe.status)

        self.probe.wait(watched, what='the task')

    def wait_kind(self, kind: int) -> RecoveryEvent:
        self.probe.wait(lambda: kind in self.kinds(), what=f'event {kind}')
        return self.events[self.kinds().index(kind)]

    def kinds(self) -> list[int]:
        return [event.kind for event in self.events]

    def _replan(self, request: Any, response: Any) -> Any:
        self.replans += 1
        response.success = True
        return response


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with world_of(World, tmp_path) as made:
        yield made


def test_a_monitor_that_dies_in_a_stall_and_comes_back_costs_no_second_replan(
    world: World,
) -> None:
    probe = world.probe
    probe.show = 0.3
    first = world.start(monitor_command())
    world.supervise()
    world.watch()
    replanned = world.wait_kind(RecoveryEvent.KIND_REPLANNED)
    probe.wait_state(MonitorStatus.STATE_STALLED)
    first.child.kill()
    first.child.wait()
    asked = len(world.events)
    probe.status.clear()
    world.start(monitor_command())
    world.watch()
    world.wait_kind(RecoveryEvent.KIND_ASK_PERSON)
    assert world.replans == 1
    later = {event.event_id for event in world.events[asked:]}
    assert replanned.event_id not in later


def test_a_success_of_the_real_monitor_ends_the_recovery(world: World) -> None:
    probe = world.probe
    probe.show = 0.3
    world.start(monitor_command())
    world.supervise()
    world.watch()
    world.wait_kind(RecoveryEvent.KIND_REPLANNED)
    probe.show = 1.0
    said = world.wait_kind(RecoveryEvent.KIND_SUCCEEDED)
    assert (said.task_id, world.replans) == ('shelf', 1)
