"""A monitor and a robot that only speak: the test tells them what to say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_srvs.srv import Trigger

from progress_monitor.msg import MonitorStatus, RecoveryEvent, Stall, Success
from progress_monitor.srv import AcknowledgeRecovery

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
EVENTS = QoSProfile(depth=20, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class FakeRobot:
    """Counts replans and acknowledgements; ``agree`` is the replan service's answer.

    ``on_replan`` and ``on_acknowledge`` are called before the reply, and hold it back by waiting.
    """

    def __init__(
        self,
        node: Node,
        monitor: str = '/progress_monitor',
        supervisor: str = '/supervisor',
        replan: str = '/robot/replan',
    ) -> None:
        self.agree = True
        self.on_replan: Callable[[], object] = lambda: None
        self.on_acknowledge: Callable[[], object] = lambda: None
        self.replans = 0
        self.acknowledged: list[float] = []
        self.acknowledged_events: list[str] = []
        self.events: list[RecoveryEvent] = []
        self._node = node
        self._monitor = monitor
        self._replan_name = replan
        self._replan_service: Any = None
        self._said: MonitorStatus | None = None
        self._status_follows = True
        node.create_timer(0.5, self._repeat_status)
        self.speak()
        self.offer_acknowledgement()
        node.create_subscription(RecoveryEvent, f'{supervisor}/events', self.events.append, EVENTS)

    def speak(self) -> None:
        """Begin, or begin anew as a monitor does that was started again."""
        make = self._node.create_publisher
        self._stall = make(Stall, f'{self._monitor}/stall', LATCHED)
        self._success = make(Success, f'{self._monitor}/success', LATCHED)
        self._status = make(MonitorStatus, f'{self._monitor}/status', LATCHED)

    def fall_silent(self) -> None:
        """As a monitor that has died."""
        self._said = None
        for publisher in (self._stall, self._success, self._status):
            self._node.destroy_publisher(publisher)

    def offer_acknowledgement(self) -> None:
        self._acknowledgement = self._node.create_service(
            AcknowledgeRecovery, f'{self._monitor}/acknowledge_recovery', self._acknowledge
        )

    def withdraw_acknowledgement(self) -> None:
        self._node.destroy_service(self._acknowledgement)

    def offer_replan(self) -> None:
        self._replan_service = self._node.create_service(Trigger, self._replan_name, self._replan)

    def kinds(self) -> list[int]:
        return [event.kind for event in self.events]

    def stall(
        self, event_id: str, stalled: bool = True, task_id: str = 'task', **more: Any
    ) -> None:
        """Publish a stall; its status goes with it until the test says one of its own."""
        if self._status_follows:
            self._say(MonitorStatus(state=MonitorStatus.STATE_STALLED, task_id=task_id))
        given = {'hint': Stall.HINT_REPLAN, 'cause': Stall.CAUSE_NO_CHANGE, **more}
        self._stall.publish(
            Stall(
                task_id=task_id,
                event_id=event_id,
                stalled=stalled,
                explanation='it hangs',
                **given,
            )
        )

    def status(self, state: int, task_id: str = 'task', message: str = '') -> None:
        """From now on, as often as the monitor says it."""
        self._status_follows = False
        self._say(MonitorStatus(state=state, task_id=task_id, message=message))

    def _say(self, status: MonitorStatus) -> None:
        self._said = status
        self._status.publish(status)

    def say_no_status(self) -> None:
        """Take back what was said, for those that come later too."""
        self._said = None
        self._node.destroy_publisher(self._status)
        self._status = self._node.create_publisher(
            MonitorStatus, f'{self._monitor}/status', LATCHED
        )

    def _repeat_status(self) -> None:
        if self._said is not None:
            self._status.publish(self._said)

    def succeed(self) -> None:
        self._success.publish(Success(task_id='task', event_id='done', succeeded=True))

    def _replan(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.replans += 1
        self.on_replan()
        response.success = self.agree
        response.message = 'agreed' if self.agree else 'no way'
        return response

    def _acknowledge(self, request: Any, response: Any) -> Any:
        self.acknowledged.append(request.duration_s)
        self.acknowledged_events.append(request.event_id)
        self.on_acknowledge()
        response.success = True
        return response
