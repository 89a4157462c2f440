"""A monitor and a robot that only speak: the test tells them what to say."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_srvs.srv import Trigger

from progress_monitor.msg import RecoveryEvent, Stall, Success
from progress_monitor.srv import AcknowledgeRecovery

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
EVENTS = QoSProfile(depth=20, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class FakeRobot:
    """Counts replans and acknowledgements; ``agree`` is the replan service's answer."""

    def __init__(self, node: Node) -> None:
        self.agree = True
        self.replans = 0
        self.acknowledged: list[float] = []
        self.events: list[RecoveryEvent] = []
        self._stall = node.create_publisher(Stall, '/progress_monitor/stall', LATCHED)
        self._success = node.create_publisher(Success, '/progress_monitor/success', LATCHED)
        self._node = node
        self._replan_service: Any = None
        node.create_service(
            AcknowledgeRecovery, '/progress_monitor/acknowledge_recovery', self._acknowledge
        )
        node.create_subscription(RecoveryEvent, '/supervisor/events', self.events.append, EVENTS)

    def offer_replan(self) -> None:
        self._replan_service = self._node.create_service(Trigger, '/robot/replan', self._replan)

    def kinds(self) -> list[int]:
        return [event.kind for event in self.events]

    def stall(self, event_id: str, stalled: bool = True) -> None:
        self._stall.publish(
            Stall(
                task_id='task',
                event_id=event_id,
                stalled=stalled,
                hint=Stall.HINT_REPLAN,
                explanation='it hangs',
            )
        )

    def succeed(self) -> None:
        self._success.publish(Success(task_id='task', event_id='done', succeeded=True))

    def _replan(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.replans += 1
        response.success = self.agree
        response.message = 'agreed' if self.agree else 'no way'
        return response

    def _acknowledge(self, request: Any, response: Any) -> Any:
        self.acknowledged.append(request.duration_s)
        response.success = True
        return response
