"""The node ``supervisor``: answers stalls with a bounded number of replans, then asks a person."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.task import Future
from std_srvs.srv import Trigger

from progress_monitor.msg import RecoveryEvent, Stall, Success
from progress_monitor.parameters import ParameterError, parameter
from progress_monitor.recovery import Action, Kind, RecoveryConfig, RecoveryPolicy
from progress_monitor.ros import ros_parameters
from progress_monitor.ros.diagnostics import task as diagnostic_task
from progress_monitor.ros.messages import header, to_time
from progress_monitor.ros.running import run
from progress_monitor.srv import AcknowledgeRecovery
from progress_monitor.types import RecoveryHint

_PERIOD_S = 0.1
_DIAGNOSTICS_PERIOD_S = 1.0
_KEPT_EVENTS = 20


@dataclass(frozen=True)
class SupervisorConfig(RecoveryConfig):
    """Parameters of the node ``supervisor``."""

    monitor: str = parameter('progress_monitor', 'Name of the monitor node, with its namespace.')
    replan_service: str = parameter(
        'replan', 'std_srvs/Trigger service that makes the robot plan anew and carry on.'
    )
    reply_timeout_s: float = parameter(
        30.0, 'Wall time to wait for the replan service, s.', above=0.0, maximum=3600.0
    )
    suspend_s: float = parameter(
        0.0,
        'Time for which the monitor suspends judgement after a replan, s; 0: its grace_period.',
        minimum=0.0,
        maximum=3600.0,
    )


class SupervisorNode(Node):
    """Subscribes to the monitor's stall and success and carries out a ``RecoveryPolicy``.

    :raises ParameterError: naming the parameter that cannot be used.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__('supervisor', **arguments)
        ros_parameters.declare(
            self, SupervisorConfig, lambda name: 'can be set at start only', lambda values: None
        )
        self._config = config = ros_parameters.read(self, SupervisorConfig)
        for name in ('monitor', 'replan_service'):
            if not getattr(config, name).strip():
                raise ParameterError(f'{name}: empty; give a name')
        self._policy = RecoveryPolicy(config)
        self._call: Future[Any] | None = None
        self._call_deadline = 0.0
        self._diagnostics_due = 0.0
        self._last: Action | None = None
        latched = QoSProfile(
            depth=1,
            reliability=ReliabilityPolicy.RELIABLE,
            durability=DurabilityPolicy.TRANSIENT_LOCAL,
        )
        kept = QoSProfile(
            depth=_KEPT_EVENTS,
            reliability=ReliabilityPolicy.RELIABLE,
            durability=DurabilityPolicy.TRANSIENT_LOCAL,
        )
        self._events = self.create_publisher(RecoveryEvent, '~/events', kept)
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._replan_name = self.resolve_service_name(config.replan_service)
        self._replan = self.create_client(Trigger, config.replan_service)
        self._acknowledge = self.create_client(
            AcknowledgeRecovery, f'{config.monitor}/acknowledge_recovery'
        )
        self.create_subscription(Stall, f'{config.monitor}/stall', self._on_stall, latched)
        self.create_subscription(Success, f'{config.monitor}/success', self._on_success, latched)
        self.create_timer(_PERIOD_S, self._on_timer, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _on_stall(self, message: Stall) -> None:
        self._carry_out(
            self._policy.on_stall(
                self._now_ns(),
                task_id=message.task_id,
                event_id=message.event_id,
                stalled=message.stalled,
                hint=RecoveryHint(message.hint),
                explanation=message.explanation,
            )
        )

    def _on_success(self, message: Success) -> None:
        self._carry_out(
            self._policy.on_success(
                task_id=message.task_id,
                event_id=message.event_id,
                succeeded=message.succeeded,
            )
        )

    def _on_timer(self) -> None:
        now = time.monotonic()
        if self._call is not None and now >= self._call_deadline:
            self._call.cancel()
            self._call = None
            waited = self._config.reply_timeout_s
            self._carry_out(
                self._policy.replanned(
                    False, f'{self._replan_name} did not answer within {waited:g} s'
                )
            )
        self._carry_out(self._policy.due(self._now_ns()))
        if now >= self._diagnostics_due:
            self._diagnostics_due = now + _DIAGNOSTICS_PERIOD_S
            self._publish_diagnostics()

    def _carry_out(self, actions: list[Action]) -> None:
        for action in actions:
            self._say(action)
            if action.kind is Kind.REPLAN:
                self._start_replan()

    def _start_replan(self) -> None:
        if not self._replan.service_is_ready():
            self._carry_out(
                self._policy.replanned(
                    False, f'{self._replan_name} is not there; check replan_service'
                )
            )
            return
        call = self._replan.call_async(Trigger.Request())
        self._call, self._call_deadline = call, time.monotonic() + self._config.reply_timeout_s
        call.add_done_callback(self._on_reply)

    def _on_reply(self, call: Future[Any]) -> None:
        if self._call is None or call is not self._call:  # given up at its deadline
            return
        reply = self._call.result()
        self._call = None
        if reply.success:
            # The new baseline belongs to the new plan, so the monitor is told once it runs.
            self._acknowledge.call_async(
                AcknowledgeRecovery.Request(duration_s=self._config.suspend_s)
            )
        self._carry_out(self._policy.replanned(reply.success, reply.message))

    def _say(self, action: Action) -> None:
        self._last = action
        log = self.get_logger()
        text = f'{action.kind.name}: {action.message}'
        if action.kind is Kind.ASK_PERSON:
            log.error(text)
        elif action.kind is Kind.REPLAN_FAILED:
            log.warning(text)
        else:
            log.info(text)
        self._events.publish(
            RecoveryEvent(
                stamp=to_time(self._now_ns()),
                task_id=action.task_id,
                event_id=action.event_id,
                kind=int(action.kind),
                attempt=action.attempt,
                message=action.message,
            )
        )

    def _publish_diagnostics(self) -> None:
        level, message = DiagnosticStatus.OK, 'nothing to recover from'
        if self._policy.needs_person:
            level, message = DiagnosticStatus.ERROR, 'a person is needed'
        elif self._policy.busy:
            level, message = DiagnosticStatus.WARN, 'recovering'
        if self._last is not None and level != DiagnosticStatus.OK:
            message = self._last.message
        status = diagnostic_task(
            f'{self.get_fully_qualified_name().lstrip("/")}: recovery',
            level,
            message,
            attempts=self._policy.attempts,
        )
        self._diagnostics.publish(
            DiagnosticArray(header=header(self._now_ns(), ''), status=[status])
        )


def main(args: list[str] | None = None) -> int:
    """Entry point of ``supervisor_node``."""
    try:
        run(SupervisorNode, args)
    except ParameterError as error:
        print(f'supervisor: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
