"""The robot's servers that a recovery asks: a Trigger service, an action, or a topic."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.task import Future
from std_msgs.msg import String
from std_srvs.srv import Trigger

from progress_monitor.parameters import ParameterError
from progress_monitor.recovery.policy import Target
from progress_monitor.recovery.recovery import Caller, Outcome, StallEvent
from progress_monitor.ros.names import full_name
from progress_monitor.ros.sent_goal import SentGoal


def make_caller(node: Node, do: str, target: Target) -> Caller:
    """The caller for one action of a policy.

    :raises ParameterError: if what it asks has no name, or the action's type is not installed or
        has no such fields.
    """
    full_name(
        node,
        f'policy_file: actions.{do}.{target.kind}',
        target.name,
        service=target.kind != 'topic',
    )
    if target.kind == 'service':
        return TriggerCaller(node, target.name)
    if target.kind == 'topic':
        return TopicCaller(node, do, target.name)
    return ActionCaller(node, do, target)


class TriggerCaller:
    """Calls a ``std_srvs/Trigger`` service."""

    def __init__(self, node: Node, name: str) -> None:
        self.target = node.resolve_service_name(name)
        self._client = node.create_client(Trigger, name)
        self._call: Future[Any] | None = None

    def ready(self) -> bool:
        return bool(self._client.service_is_ready())

    def start(self, stall: StallEvent) -> None:
        self.abandon()  # a person is asked again although the last answer has not come
        self._call = self._client.call_async(Trigger.Request())

    def poll(self) -> Outcome | None:
        if self._call is None or not self._call.done():
            return None
        reply, self._call = self._call.result(), None
        if reply is None:
            return Outcome(False, f'{self.target} gave no answer')
        return Outcome(bool(reply.success), reply.message or f'{self.target} answered')

    def abandon(self) -> None:
        if self._call is not None:
            self._client.remove_pending_request(self._call)
            self._call = None


class TopicCaller:
    """Publishes a request as JSON in a ``std_msgs/String``; it is done once it is published.

    Its fields: ``action``, ``task_id``, ``event_id``, ``cause``, ``step``, ``explanation``.
    """

    def __init__(self, node: Node, do: str, name: str) -> None:
        self.target = node.resolve_topic_name(name)
        self._do = do
        self._publisher = node.create_publisher(String, name, 10)
        self._asked = False

    def ready(self) -> bool:
        return bool(self._publisher.get_subscription_count())

    def start(self, stall: StallEvent) -> None:
        request = {
            'action': self._do,
            'task_id': stall.task_id,
            'event_id': stall.event_id,
            'cause': stall.cause,
            'step': stall.step,
            'explanation': stall.explanation,
        }
        self._publisher.publish(String(data=json.dumps(request)))
        self._asked = True

    def poll(self) -> Outcome | None:
        asked, self._asked = self._asked, False
        return Outcome(True, f'published on {self.target}') if asked else None

    def abandon(self) -> None:
        self._asked = False


class ActionCaller:
    """Sends a goal to an action server; it is done when the goal has succeeded."""

    def __init__(self, node: Node, do: str, target: Target) -> None:
        self.target = node.resolve_service_name(target.name)
        self._type = _action_type(do, target.type)
        self._goal = self._type.Goal()
        try:
            fill(self._goal, target.goal)
        except (AttributeError, TypeError, ValueError, AssertionError) as error:
            raise ParameterError(
                f'policy_file: actions.{do}.goal: does not fit {target.type}: {error}'
            ) from error
        self._client = ActionClient(node, self._type, target.name)
        self._sent: SentGoal | None = None

    def ready(self) -> bool:
        return bool(self._client.server_is_ready())

    def start(self, stall: StallEvent) -> None:
        self._sent = SentGoal(self._client, self._type, self._goal)

    def poll(self) -> Outcome | None:
        if self._sent is None:
            return None
        if self._sent.refused:
            self._sent = None
            return Outcome(False, f'{self.target} refused the goal')
        answer = self._sent.ended()
        if answer is None:
            return None
        self._sent = None
        if answer.status == GoalStatus.STATUS_UNKNOWN:
            return Outcome(False, f'{self.target} knows nothing of the goal any more', lost=True)
        if answer.status != GoalStatus.STATUS_SUCCEEDED:
            return Outcome(False, f'{self.target} ended without success{_reason(answer)}')
        return Outcome(True, f'{self.target} succeeded')

    def abandon(self) -> None:
        self._sent = None


def fill(message: Any, values: Mapping[str, Any]) -> None:
    """Set fields of a message from nested mappings.

    :raises AttributeError: for a field that it does not have.
    :raises TypeError: for a value of another type.
    """
    for name, value in values.items():
        present = getattr(message, name)
        if isinstance(value, Mapping):
            fill(present, value)
        elif isinstance(present, float):
            setattr(message, name, float(value))
        elif isinstance(present, (bool, int, str)) and type(value) is not type(present):
            raise TypeError(f'{name}: expected {type(present).__name__}, got {value!r}')
        else:
            setattr(message, name, value)


def _action_type(do: str, name: str) -> Any:
    package, _, kind = name.split('/')
    try:
        return getattr(import_module(f'{package}.action'), kind)
    except (ImportError, AttributeError) as error:
        raise ParameterError(
            f'policy_file: actions.{do}.type: {name} is not installed: {error}'
        ) from error


def _reason(answer: Any) -> str:
    """What Nav2's, MoveIt's and our own results say, where they do."""
    result = getattr(answer, 'result', None)
    text = getattr(result, 'error_msg', '')
    return f': {text}' if isinstance(text, str) and text else ''
