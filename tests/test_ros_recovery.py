"""Monitor and supervisor together, both the real nodes, over DDS."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy')

from ros_fake_robot import EVENTS
from ros_helpers import (
    MONITOR,
    Probe,
    Process,
    arguments,
    fresh_domain,
    monitor_command,
    running,
)
from std_srvs.srv import Trigger

from progress_monitor.msg import MonitorStatus, RecoveryEvent
from progress_monitor.srv import SetTask


class World:
    """A domain with a camera, a robot that can replan, a monitor and a supervisor."""

    def __init__(self, probe: Probe, folder: Path, domain: int) -> None:
        self.probe = probe
        self.replans = 0
        self.events: list[RecoveryEvent] = []
        self._folder, self._domain = folder, domain
        self._processes: list[Process] = []
        probe.node.create_service(Trigger, '/robot/replan', self._replan)
        probe.node.create_subscription(
            RecoveryEvent, '/supervisor/events', self.events.append, EVENTS
        )

    def start(self, command: list[str]) -> Process:
        log = self._folder / f'process{len(self._processes)}.log'
        self._processes.append(Process(self._domain, command, log))
        return self._processes[-1]

    def supervise(self) -> Process:
        given = {
            'replan_service': '/robot/replan',
            'max_attempts': 1,
            'cool_down_s': 0.0,
            'wait_s': 0.0,
            'state_file': str(self._folder / 'record.json'),
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

    def close(self) -> None:
        for process in self._processes:
            process.stop()
            print(process.output())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    domain = fresh_domain()
    with running(tmp_path, domain) as (probe, _):
        made = World(probe, tmp_path, domain)
        try:
            yield made
        finally:
            made.close()


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
