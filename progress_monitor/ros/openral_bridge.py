"""The node ``openral_bridge``: the monitor as one of OpenRAL's critics.

Each reading becomes a ``CriticScore`` on ``/openral/critic/score``; a stall and a success become a
``FailureTrigger`` each on ``/openral/failure/critic``, where OpenRAL tells the two apart by the
score in the evidence. It runs only where ``openral_msgs`` is installed.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from progress_monitor.msg import Progress, Stall, Success
from progress_monitor.parameters import ParameterError, parameter
from progress_monitor.ros import ros_parameters
from progress_monitor.ros.names import full_name
from progress_monitor.ros.running import run
from progress_monitor.ros.tolerant import TolerantNode

SCORE_TOPIC = '/openral/critic/score'
FAILURE_TOPIC = '/openral/failure/critic'
_LATCHED = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
_EVENTS = 100


@dataclass(frozen=True)
class BridgeConfig:
    """Parameters of the node ``openral_bridge``."""

    monitor: str = parameter('progress_monitor', 'Name of the monitor node, with its namespace.')
    critic_id: str = parameter('progress_monitor', 'Name of this critic in OpenRAL.')
    threshold: float = parameter(
        0.8, 'Score from which OpenRAL takes the task for done.', above=0.0, maximum=1.0
    )


class OpenRalBridge(TolerantNode):
    """Passes the monitor's readings on.

    :param messages: the module ``openral_msgs.msg``.
    :raises ParameterError: naming the parameter that cannot be used.
    """

    def __init__(self, messages: Any, **arguments: Any) -> None:
        super().__init__('openral_bridge', **arguments)
        ros_parameters.declare(
            self, BridgeConfig, lambda name: 'can be set at start only', lambda values: None
        )
        self._config = config = ros_parameters.read(self, BridgeConfig)
        full_name(self, 'monitor', config.monitor)
        self._messages = messages
        self._passed: list[str] = []
        self._scores = self.create_publisher(messages.CriticScore, SCORE_TOPIC, 10)
        self._failures = self.create_publisher(messages.FailureTrigger, FAILURE_TOPIC, 10)
        listen = self.create_subscription
        listen(Progress, f'{config.monitor}/progress', self._on_progress, 10)
        listen(Stall, f'{config.monitor}/stall', self._on_stall, _LATCHED)
        listen(Success, f'{config.monitor}/success', self._on_success, _LATCHED)

    def _on_progress(self, message: Progress) -> None:
        if math.isnan(message.progress):  # an unknown progress is no score
            return
        self._scores.publish(
            self._messages.CriticScore(
                header=message.header,
                critic_id=self._config.critic_id,
                score=float(message.progress),
                threshold=self._config.threshold,
            )
        )

    def _on_stall(self, message: Stall) -> None:
        if message.stalled:
            # A stall close to the end must not be read as a success.
            score = min(_known(message.progress), 0.99 * self._config.threshold)
            self._trigger(message, 'stalled', score, message.explanation)

    def _on_success(self, message: Success) -> None:
        if message.succeeded:
            score = max(_known(message.progress), self._config.threshold)
            self._trigger(message, 'succeeded', score, 'the task has succeeded')

    def _trigger(self, message: Any, what: str, score: float, reason: str) -> None:
        if message.event_id in self._passed:
            return
        self._passed = [*self._passed, message.event_id][-_EVENTS:]
        kind = self._messages.FailureTrigger
        evidence = {
            'critic_id': self._config.critic_id,
            'task_id': message.task_id,
            'event_id': message.event_id,
            what: True,
            'score': score,
            'threshold': self._config.threshold,
            'reason': reason,
        }
        self._failures.publish(
            kind(
                header=message.header,
                kind=kind.KIND_CRITIC,
                severity=kind.SEVERITY_FAIL,
                evidence_json=json.dumps(evidence),
            )
        )


def _known(progress: float) -> float:
    return 0.0 if math.isnan(progress) else float(progress)


def main(args: list[str] | None = None) -> int:
    """Entry point of ``openral_bridge``; 2 where it cannot run."""
    try:
        messages = import_module('openral_msgs.msg')
    except ImportError:
        print('openral_bridge: openral_msgs is not installed; build it first', file=sys.stderr)
        return 2
    try:
        run(lambda: OpenRalBridge(messages), args)
    except ParameterError as error:
        print(f'openral_bridge: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
