"""Behaviours for a tree of one's own: ``IsStalled``, ``IsSucceeded``, ``MonitorTask``, ``Replan``,
``Acknowledge``.

They are plain py_trees and take the rclpy node as py_trees_ros hands it over, in
``setup(node=...)``. None of them waits: spin the node beside the tree.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from action_msgs.msg import GoalStatus
from py_trees.behaviour import Behaviour
from py_trees.blackboard import Client
from py_trees.common import Access, Status
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.task import Future
from std_srvs.srv import Trigger

from progress_monitor import action, msg, srv
from progress_monitor.ros.sent_goal import SentGoal
from progress_monitor.types import StallCause

MONITOR = 'progress_monitor'
# Event of the stall that IsStalled found last, and that Acknowledge answers; on the blackboard.
EVENT_KEY = '/progress_monitor/event_id'
_STATUS_TIMEOUT_S = 3.0
_ACKNOWLEDGE_AGAIN_S = 2.0
_GONE_AFTER_S = 3.0
_BLIND = (
    msg.MonitorStatus.STATE_UNKNOWN,
    msg.MonitorStatus.STATE_IDLE,
    msg.MonitorStatus.STATE_LOADING,
    msg.MonitorStatus.STATE_UNSURE,
    msg.MonitorStatus.STATE_STALE,
    msg.MonitorStatus.STATE_ERROR,
)
_STALLED = (msg.MonitorStatus.STATE_STALLED, msg.MonitorStatus.STATE_REGRESSING)
_LATCHED = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


class _RosBehaviour(Behaviour):
    """A behaviour with a node.

    :param monitor: name of the monitor node, with its namespace.
    """

    def __init__(self, name: str, monitor: str = MONITOR) -> None:
        super().__init__(name)
        self.monitor = monitor

    def setup(self, **kwargs: Any) -> None:
        """Make what speaks to ROS.

        :raises KeyError: if no ``node`` is handed over.
        """
        try:
            node = kwargs['node']
        except KeyError as error:
            text = f'{self.name}: setup needs the rclpy node; call tree.setup(node=...)'
            raise KeyError(text) from error
        self.connect(node)

    def connect(self, node: Node) -> None:
        raise NotImplementedError


class _Presence:
    """Whether a server is gone: it was not there whenever one has looked for some seconds."""

    def __init__(self, is_ready: Callable[[], bool]) -> None:
        self._is_ready = is_ready
        self._missed: float | None = None

    def is_gone(self) -> bool:
        """Look; call it regularly while something is awaited."""
        if self._is_ready():
            self._missed = None
        elif self._missed is None:
            self._missed = time.monotonic()
        return self._missed is not None and time.monotonic() - self._missed > _GONE_AFTER_S


class _Watching(_RosBehaviour):
    """Hears the status: what the monitor has said counts while it still stands by it."""

    def connect(self, node: Node) -> None:
        self._status: msg.MonitorStatus | None = None
        self._heard = 0.0
        node.create_subscription(
            msg.MonitorStatus, f'{self.monitor}/status', self._on_status, _LATCHED
        )

    def _on_status(self, message: msg.MonitorStatus) -> None:
        self._status, self._heard = message, time.monotonic()

    def stands_by(self, task_id: str, *states: int) -> bool:
        """Whether the monitor finds this task in one of ``states`` now; says why not as feedback.

        One that was started anew knows nothing of what its predecessor called.
        """
        status = self._status
        if status is None or time.monotonic() - self._heard > _STATUS_TIMEOUT_S:
            self.feedback_message = 'the monitor is silent'
        elif status.state in _BLIND:
            self.feedback_message = status.message
        elif status.task_id != task_id:
            self.feedback_message = 'the monitor watches another task'
        elif status.state not in states:
            self.feedback_message = f'the monitor says otherwise now: {status.message}'
        else:
            return True
        return False


class IsStalled(_Watching):
    """SUCCESS while the monitor sees the task stall, FAILURE where it does not or cannot tell.

    The stall's event is written to the blackboard under ``EVENT_KEY``.

    :param causes: names of ``StallCause``; empty: any.
    """

    def __init__(
        self, name: str = 'is stalled', monitor: str = MONITOR, causes: Sequence[str] = ()
    ) -> None:
        super().__init__(name, monitor)
        self._causes = {int(StallCause[cause]) for cause in causes}
        self._board = Client(name=name)
        self._board.register_key(EVENT_KEY, access=Access.WRITE)

    def connect(self, node: Node) -> None:
        super().connect(node)
        self._stall: msg.Stall | None = None
        node.create_subscription(msg.Stall, f'{self.monitor}/stall', self._on_stall, _LATCHED)

    def _on_stall(self, message: msg.Stall) -> None:
        self._stall = message

    def update(self) -> Status:
        stall = self._stall
        self.feedback_message = ''
        if stall is None or not stall.stalled or not self.stands_by(stall.task_id, *_STALLED):
            return Status.FAILURE
        if self._causes and stall.cause not in self._causes:
            return Status.FAILURE
        self.feedback_message = stall.explanation
        self._board.set(EVENT_KEY, stall.event_id)
        return Status.SUCCESS


class IsSucceeded(_Watching):
    """SUCCESS once the monitor sees that its present task has succeeded, FAILURE otherwise."""

    def __init__(self, name: str = 'is succeeded', monitor: str = MONITOR) -> None:
        super().__init__(name, monitor)

    def connect(self, node: Node) -> None:
        super().connect(node)
        self._success: msg.Success | None = None
        node.create_subscription(msg.Success, f'{self.monitor}/success', self._on_success, _LATCHED)

    def _on_success(self, message: msg.Success) -> None:
        self._success = message

    def update(self) -> Status:
        success = self._success
        self.feedback_message = ''
        if success is None or not success.succeeded:
            return Status.FAILURE
        done = self.stands_by(success.task_id, msg.MonitorStatus.STATE_SUCCEEDED)
        return Status.SUCCESS if done else Status.FAILURE


class MonitorTask(_RosBehaviour):
    """Sends a goal to ``~/monitor_task``: RUNNING while it is watched, then how it ended.

    Interrupted, it cancels its goal. A monitor that is gone, or was started anew and knows nothing
    of the goal, is a FAILURE.

    :param goal: fields of the goal: ``task``, ``timeout_s``, ``stop_on_stall``, ...
    """

    def __init__(self, name: str, monitor: str = MONITOR, **goal: Any) -> None:
        super().__init__(name, monitor)
        self._goal = action.MonitorTask.Goal(**goal)
        self._sent: SentGoal | None = None
        self.result: action.MonitorTask.Result | None = None

    def connect(self, node: Node) -> None:
        self._client = ActionClient(node, action.MonitorTask, f'{self.monitor}/monitor_task')
        self._presence = _Presence(self._client.server_is_ready)

    def initialise(self) -> None:
        self._sent = self.result = None

    def update(self) -> Status:
        if self._sent is None:
            if self._client.server_is_ready():
                self._sent = SentGoal(
                    self._client, action.MonitorTask, self._goal, self._on_feedback
                )
            else:
                self.feedback_message = 'waits for the monitor'
            return Status.RUNNING
        if self._sent.refused:
            return self._fail('the monitor refused the goal')
        answer = self._sent.ended()
        if answer is None:
            if self._presence.is_gone():
                self._sent.cancel()  # it may only be out of reach
                return self._fail('the monitor is gone')
            return Status.RUNNING
        if answer.status == GoalStatus.STATUS_UNKNOWN:
            return self._fail('the monitor knows nothing of the goal any more')
        self._sent = None
        self.result = answer.result
        self.feedback_message = answer.result.error_msg
        succeeded = answer.status == GoalStatus.STATUS_SUCCEEDED
        return Status.SUCCESS if succeeded else Status.FAILURE

    def terminate(self, new_status: Status) -> None:
        if new_status is Status.INVALID and self._sent is not None:
            self._sent.cancel()
            self._sent = None

    def _fail(self, why: str) -> Status:
        self._sent = None
        self.feedback_message = why
        return Status.FAILURE

    def _on_feedback(self, message: Any) -> None:
        feedback = message.feedback
        self.feedback_message = f'{feedback.progress:.0%} {feedback.step}'


class Replan(_RosBehaviour):
    """Calls a ``std_srvs/Trigger`` service: RUNNING until it answers, then what it says.

    It waits for the service to appear; one that is gone before it has answered is a FAILURE. A
    call that was interrupted is still under way, and is awaited the next time instead of being made
    again.
    """

    def __init__(self, name: str = 'replan', service: str = 'replan') -> None:
        super().__init__(name)
        self._service = service
        self._call: Future[Any] | None = None

    def connect(self, node: Node) -> None:
        self._client = node.create_client(Trigger, self._service)
        self._presence = _Presence(self._client.service_is_ready)

    def update(self) -> Status:
        if self._call is None:
            if self._client.service_is_ready():
                self._call = self._client.call_async(Trigger.Request())
            else:
                self.feedback_message = f'waits for {self._service}'
            return Status.RUNNING
        if not self._call.done():
            if not self._presence.is_gone():
                return Status.RUNNING
            self._client.remove_pending_request(self._call)
            self._call = None
            self.feedback_message = f'{self._service} is gone and has not answered'
            return Status.FAILURE
        reply, self._call = self._call.result(), None
        if reply is None:
            return Status.FAILURE
        self.feedback_message = reply.message
        return Status.SUCCESS if reply.success else Status.FAILURE


class Acknowledge(_RosBehaviour):
    """Tells the monitor of a recovery from the stall that ``IsStalled`` found.

    RUNNING until the monitor has answered; an answer that does not come is asked for again, which
    changes nothing if the first request had arrived.

    :param suspend_s: for how long judgement is suspended, s; 0: the monitor's grace period.
    """

    def __init__(
        self, name: str = 'acknowledge', monitor: str = MONITOR, suspend_s: float = 0.0
    ) -> None:
        super().__init__(name, monitor)
        self._suspend_s = suspend_s
        self._call: Future[Any] | None = None
        self._due = 0.0
        self._board = Client(name=name)
        self._board.register_key(EVENT_KEY, access=Access.READ)

    def connect(self, node: Node) -> None:
        self._client = node.create_client(
            srv.AcknowledgeRecovery, f'{self.monitor}/acknowledge_recovery'
        )

    def initialise(self) -> None:
        self._forget()

    def update(self) -> Status:
        if self._call is not None and self._call.done():
            reply = self._call.result()
            self._call = None
            if reply is not None:
                self.feedback_message = reply.message
                return Status.SUCCESS if reply.success else Status.FAILURE
        if time.monotonic() >= self._due and self._client.service_is_ready():
            self._forget()
            self._due = time.monotonic() + _ACKNOWLEDGE_AGAIN_S
            event_id = self._board.get(EVENT_KEY) if self._board.exists(EVENT_KEY) else ''
            self._call = self._client.call_async(
                srv.AcknowledgeRecovery.Request(event_id=event_id, duration_s=self._suspend_s)
            )
        return Status.RUNNING

    def _forget(self) -> None:
        if self._call is not None:
            self._client.remove_pending_request(self._call)
            self._call = None
        self._due = 0.0
