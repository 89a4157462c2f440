"""The node ``supervisor``: carries a recovery policy out, alone among those of its kind."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from progress_monitor.msg import (
    MonitorStatus,
    RecoveryEvent,
    Stall,
    Success,
    SupervisorLease,
)
from progress_monitor.parameters import ParameterError, parameter
from progress_monitor.printable import printable
from progress_monitor.recovery.lease import Election, new_instance
from progress_monitor.recovery.policy import Policy, RecoveryConfig, from_parameters, load
from progress_monitor.recovery.record import Record, RecordError, RecordFile
from progress_monitor.recovery.recovery import Action, Kind, Limits, Recovery, StallEvent
from progress_monitor.recovery.tree import make_tree
from progress_monitor.ros import ros_parameters
from progress_monitor.ros.acknowledger import Acknowledger
from progress_monitor.ros.callers import make_caller
from progress_monitor.ros.diagnostics import task as diagnostic_task
from progress_monitor.ros.messages import header, to_time
from progress_monitor.ros.names import full_name
from progress_monitor.ros.publishers import Publishers
from progress_monitor.ros.running import run
from progress_monitor.ros.tolerant import TolerantNode
from progress_monitor.types import StallCause

_PERIOD_S = 0.1
_HEARTBEAT_S = 0.5
_DIAGNOSTICS_PERIOD_S = 1.0
_STATUS_TIMEOUT_S = 3.0
# The status of another task is the last word on a stall only if it is not about to change.
_FORGET_AFTER_S = 3.0
_KEPT_EVENTS = 20
# Attempts of a session that ended so long ago say nothing of a task of the same name.
_ATTEMPTS_KEPT_S = 3600.0
_BLIND = {
    MonitorStatus.STATE_IDLE: 'the monitor watches no task',
    MonitorStatus.STATE_LOADING: 'the monitor loads its model',
    MonitorStatus.STATE_UNSURE: 'the monitor is unsure',
    MonitorStatus.STATE_STALE: 'the monitor sees nothing new',
    MonitorStatus.STATE_ERROR: 'the monitor is in error',
    # A stall that is still open then was called before, and its release is on its way.
    MonitorStatus.STATE_SUCCEEDED: 'the monitor sees the task done',
}
_WORTH_A_WORD = (
    MonitorStatus.STATE_UNSURE,
    MonitorStatus.STATE_STALE,
    MonitorStatus.STATE_ERROR,
)
_JUDGING = (
    MonitorStatus.STATE_OBSERVING,
    MonitorStatus.STATE_PROGRESSING,
    MonitorStatus.STATE_STALLED,
    MonitorStatus.STATE_REGRESSING,
)
_UPHOLDING = (MonitorStatus.STATE_STALLED, MonitorStatus.STATE_REGRESSING)


@dataclass(frozen=True)
class SupervisorConfig(RecoveryConfig):
    """Parameters of the node ``supervisor``."""

    monitor: str = parameter('progress_monitor', 'Name of the monitor node, with its namespace.')
    policy_file: str = parameter(
        '',
        'YAML file with the recovery policy. Empty: replan_service, bounded by max_attempts, '
        'cool_down_s and wait_s.',
    )
    replan_service: str = parameter(
        'replan', 'std_srvs/Trigger service that makes the robot plan anew and carry on.'
    )
    reply_timeout_s: float = parameter(
        30.0,
        'Wall time after which an unanswered call is reported, s. It is awaited further, and not '
        'repeated.',
        above=0.0,
        maximum=3600.0,
    )
    abandon_s: float = parameter(
        600.0,
        'Wall time after which an unanswered call counts as lost, s: a person is asked, and other '
        'recoveries may start.',
        above=0.0,
        maximum=86400.0,
    )
    suspend_s: float = parameter(
        0.0,
        'Time for which the monitor suspends judgement after a recovery, s; 0: its grace_period.',
        minimum=0.0,
        maximum=3600.0,
    )
    state_file: str = parameter(
        '',
        'File that keeps what was done over a restart. Empty: one in ROS_HOME per domain and '
        'monitor, or none with use_sim_time, whose stamps come again. Supervisors on one machine '
        'that share it never act both.',
    )


class SupervisorNode(TolerantNode):
    """Hears the monitor, ticks the tree of its policy and speaks to the robot.

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
        full_name(self, 'replan_service', config.replan_service, service=True)
        self._monitor = monitor = full_name(self, 'monitor', config.monitor)
        policy = self._policy(config)
        self._file = self._open_record(monitor)
        self._recovery = Recovery(
            policy,
            {do: make_caller(self, do, target) for do, target in policy.targets.items()},
            self._say,
            self._save,
            Limits(config.reply_timeout_s, max(config.abandon_s, config.reply_timeout_s)),
        )
        self._recovery.leads = False
        self._tree = make_tree(self._recovery)
        self._tree.setup_with_descendants()
        self._election = Election(new_instance(), time.monotonic())
        self._last: Action | None = None
        self._status: MonitorStatus | None = None
        self._monitors = Publishers()
        self._status_at = self._mismatch_since = 0.0
        self._acknowledger = Acknowledger(self, monitor, config.suspend_s)
        self._heartbeat_due = self._diagnostics_due = 0.0
        latched = _latched(1)
        self._events = self.create_publisher(RecoveryEvent, '~/events', _latched(_KEPT_EVENTS))
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._leases = self.create_publisher(
            SupervisorLease, f'{monitor}/supervisor_lease', latched
        )
        listen = self.create_subscription
        listen(SupervisorLease, f'{monitor}/supervisor_lease', self._on_lease, _latched(10))
        listen(MonitorStatus, f'{monitor}/status', self._on_status, latched)
        listen(Stall, f'{monitor}/stall', self._on_stall, latched)
        listen(Success, f'{monitor}/success', self._on_success, latched)
        self.create_timer(_PERIOD_S, self._on_timer, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def close(self) -> None:
        """Give the record to another and destroy the node."""
        self._file.close()
        self.destroy_node()

    def _policy(self, config: SupervisorConfig) -> Policy:
        if config.policy_file.strip():
            return load(Path(os.path.expanduser(config.policy_file.strip())))
        return from_parameters(config, config.replan_service)

    def _open_record(self, monitor: str) -> RecordFile:
        named = self._config.state_file.strip()
        path: Path | None = None
        if named:
            path = Path(named)
        elif not self.get_parameter('use_sim_time').value:
            home = Path(os.environ.get('ROS_HOME') or '~/.ros')
            domain = self.context.get_domain_id()
            name = monitor.strip('/').replace('/', '.')
            path = home / 'progress_monitor' / f'supervisor.{domain}.{name}.json'
        try:
            return RecordFile(path.expanduser() if path is not None else None)
        except (OSError, RuntimeError) as error:  # the latter where there is no such home
            reason = getattr(error, 'strerror', None) or error
            if named:
                raise ParameterError(f'state_file: {path}: {reason}') from error
            self.get_logger().warning(f'{path}: {reason}; what is done is not kept over a restart')
            return RecordFile(None)

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _on_lease(self, message: SupervisorLease) -> None:
        if message.instance == self._election.instance:
            return
        self._election.hear(message.instance, message.leads, time.monotonic())
        if not message.leads:
            return
        try:
            record = Record.from_json(message.record)
        except RecordError as error:
            self.get_logger().warning(printable(f'{message.supervisor}: {error}'), once=True)
            return
        if self._recovery.leads:
            self._recovery.merge(record)
        else:
            self._recovery.adopt(record)

    def _on_status(self, message: MonitorStatus, info: Mapping[str, Any]) -> None:
        self._monitors.hear(info.get('publication_sequence_number'))
        self._status, self._status_at = message, time.monotonic()

    def _on_stall(self, message: Stall) -> None:
        if not message.stalled:
            self._recovery.on_release(message.event_id, message.task_id)
            return
        # A cause or hint that a newer monitor adds is one that no rule names.
        known = {int(cause): cause.name for cause in StallCause}
        self._recovery.on_stall(
            StallEvent(
                message.task_id,
                message.event_id,
                known.get(message.cause, 'UNKNOWN'),
                message.step,
                message.explanation,
                wait=message.hint == Stall.HINT_WAIT,
            )
        )

    def _on_success(self, message: Success) -> None:
        if message.succeeded:
            self._recovery.on_success(message.task_id, message.event_id)

    def _on_timer(self) -> None:
        now = time.monotonic()
        self._elect(now)
        self._recovery.at(self._now_ns(), now)
        self._judge_the_monitor(now)
        self._tree.tick_once()
        record = self._recovery.record
        if self._recovery.leads and self._acknowledger.settled(record.owed, now):
            self._recovery.acknowledged()
        if now >= self._heartbeat_due:
            self._send_lease()
        if now >= self._diagnostics_due:
            self._diagnostics_due = now + _DIAGNOSTICS_PERIOD_S
            self._publish_diagnostics()

    def _elect(self, now: float) -> None:
        held = self._file.acquire()
        leads = self._election.decide(now, held)
        if leads == self._recovery.leads:
            return
        if leads:
            try:
                kept = self._file.read()
            except RecordError as error:
                kept = None
                self.get_logger().error(printable(f'state_file: {error}; it starts empty'))
            # The leader that is gone may have led on another machine, and told of it.
            if kept is not None and kept.written_ns > self._recovery.record.written_ns:
                if time.time_ns() - kept.written_ns > _ATTEMPTS_KEPT_S * 1e9:
                    kept.tasks.clear()
                self._recovery.adopt(kept)
        self._recovery.leads = leads
        self.get_logger().info('leads' if leads else 'stands by: another supervisor leads')
        self._send_lease()

    def _judge_the_monitor(self, now: float) -> None:
        """Old news are no reason to act: ask whether the monitor still stands by its stall."""
        status, recovery = self._status, self._recovery
        if status is None:
            recovery.on_judging('nothing was heard from the monitor yet', '', False)
            return
        trouble = ''
        silent = now - self._status_at > _STATUS_TIMEOUT_S
        several = self._monitors.several
        if silent:
            trouble = 'the monitor is silent'
        elif several:
            trouble = (
                f'several monitors are named {self._monitor}; stop all but one, or '
                'give each a namespace'
            )
        elif status.state in _BLIND:
            trouble = _BLIND[status.state]
            if status.message and status.state in _WORTH_A_WORD:
                trouble = printable(f'{trouble}: {status.message}')
        elif status.state not in _JUDGING:
            trouble = f'the monitor is in the state {status.state}, which is not known here'
        worth_a_word = silent or several or status.state in _WORTH_A_WORD
        watches = bool(status.task_id) and worth_a_word
        stall = recovery.open
        elsewhere = stall is not None and stall.task_id != status.task_id and not silent
        # One that was started anew knows nothing of the stall that its predecessor called.
        called = stall is not None or bool(recovery.record.asked)
        upheld = status.state in _UPHOLDING or not called
        gets_on = not trouble and status.state == MonitorStatus.STATE_PROGRESSING and not upheld
        if not elsewhere and not gets_on:
            self._mismatch_since = now
        elif now - self._mismatch_since > _FORGET_AFTER_S:
            recovery.forget(
                'the monitor watches this task no longer'
                if elsewhere
                else 'the monitor sees the task get on',
                status.task_id,
            )
        if not trouble and elsewhere:
            trouble = 'the monitor watches another task'
        elif not trouble and stall is not None and not upheld:
            trouble = 'the monitor sees no stall now'
        recovery.on_judging(trouble, status.task_id, watches)

    def _save(self, record: Record) -> None:
        record.written_ns = time.time_ns()
        try:
            self._file.write(record)
        except OSError as error:
            self.get_logger().error(
                f'state_file: cannot be written: {error}; a restart will not know what was done',
                throttle_duration_sec=60.0,
            )
        self._send_lease()

    def _send_lease(self) -> None:
        self._heartbeat_due = time.monotonic() + _HEARTBEAT_S
        leads = self._recovery.leads
        self._leases.publish(
            SupervisorLease(
                supervisor=self.get_fully_qualified_name(),
                instance=self._election.instance,
                leads=leads,
                record=self._recovery.record.to_json() if leads else '',
            )
        )

    def _say(self, action: Action) -> None:
        self._last = action
        log = self.get_logger()
        text = printable(f'{action.kind.name}: {action.message}')
        if action.kind is Kind.ASK_PERSON:
            log.error(text)
        elif action.kind in (Kind.REPLAN_FAILED, Kind.FAILED, Kind.OVERDUE, Kind.NO_SERVER):
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
                target=action.target,
                message=action.message,
            )
        )

    def _publish_diagnostics(self) -> None:
        recovery = self._recovery
        level, message = DiagnosticStatus.OK, 'nothing to recover from'
        if not recovery.leads:
            leader = self._election.leader
            message = 'stands by: another supervisor leads' if leader else 'waits to lead'
        elif recovery.record.asked:
            level, message = DiagnosticStatus.ERROR, 'a person is needed'
        elif recovery.busy:
            level, message = DiagnosticStatus.WARN, 'recovering'
        if self._last is not None and level != DiagnosticStatus.OK:
            message = self._last.message
        if recovery.not_judged and level != DiagnosticStatus.ERROR and recovery.leads:
            message = recovery.not_judged
        name = self.get_fully_qualified_name().lstrip('/')
        messages = self.messages
        messages.name = f'{name}: {messages.name}'
        status = diagnostic_task(
            f'{name}: recovery',
            level,
            printable(message),
            attempts=recovery.attempts,
            leads=recovery.leads,
            acknowledgement_owed=recovery.record.owed,
        )
        self._diagnostics.publish(
            DiagnosticArray(header=header(self._now_ns(), ''), status=[messages, status])
        )


def _latched(depth: int) -> QoSProfile:
    return QoSProfile(
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )


def main(args: list[str] | None = None) -> int:
    """Entry point of ``supervisor_node``."""
    make: Callable[[], SupervisorNode] = SupervisorNode
    try:
        run(make, args, SupervisorNode.close)
    except ParameterError as error:
        print(printable(f'supervisor: {error}'), file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
