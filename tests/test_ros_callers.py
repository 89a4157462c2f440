"""What asks the robot's servers, within this process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

rclpy = pytest.importorskip('rclpy')

from rclpy.action import ActionServer  # noqa: E402
from rclpy.task import Future  # noqa: E402
from ros_helpers import Probe, fresh_domain  # noqa: E402

from progress_monitor.action import MonitorTask  # noqa: E402
from progress_monitor.parameters import ParameterError  # noqa: E402
from progress_monitor.recovery.policy import Target  # noqa: E402
from progress_monitor.recovery.recovery import StallEvent  # noqa: E402
from progress_monitor.ros import callers, sent_goal  # noqa: E402


@pytest.fixture
def probe() -> Iterator[Probe]:
    made = Probe(fresh_domain())
    yield made
    made.close()


def test_an_action_server_that_was_started_anew_has_lost_its_goal(
    probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sent_goal, 'ASK_AGAIN_S', 0.1)
    begun: list[Any] = []

    async def work(handle: Any) -> MonitorTask.Result:
        begun.append(handle)
        await Future(executor=probe.executor)
        return MonitorTask.Result()

    def start() -> ActionServer:
        return ActionServer(probe.node, MonitorTask, '/arm/home', work)

    target = Target('action', '/arm/home', 'progress_monitor/action/MonitorTask', {'task': 'home'})
    caller = callers.make_caller(probe.node, 'home', target)
    server = start()
    probe.wait(caller.ready, what='the server')
    caller.start(StallEvent('task', 'a'))
    probe.wait(lambda: caller.poll() or begun, what='the goal')
    asked = 0

    def asked_again() -> bool:
        nonlocal asked
        asked += 1
        assert caller.poll() is None
        return asked > 20

    probe.wait(asked_again, what='more than one question')
    server.destroy()
    server = start()
    outcome = probe.wait(caller.poll, what='that the goal is lost')
    assert outcome.lost and not outcome.ok
    assert '/arm/home knows nothing of the goal' in outcome.message
    assert len(begun) == 1
    server.destroy()


@pytest.mark.parametrize('kind', ['service', 'topic', 'action'])
def test_what_is_no_name_in_ros_is_named(probe: Probe, kind: str) -> None:
    target = Target(kind, '/roboter/zurück', 'progress_monitor/action/MonitorTask')
    with pytest.raises(ParameterError, match=rf"actions\.home\.{kind}: '/roboter/zurück': .*char"):
        callers.make_caller(probe.node, 'home', target)
