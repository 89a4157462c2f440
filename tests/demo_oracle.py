"""The real monitor node around a model that knows the truth of the simulated cell.

With it the demo's story can be tested without a trained checkpoint. ``eager`` as the first argument
makes it call everything done; any other tells the truth.
"""

from __future__ import annotations

import sys
from typing import ClassVar

from synchronous import Said, SynchronousBackend, generated

from progress_monitor.msg import GroundTruth
from progress_monitor.ros.messages import to_ns
from progress_monitor.ros.monitor_node import MonitorNode, started
from progress_monitor.ros.running import run
from progress_monitor.types import Request
from progress_monitor.vlm.config import ModelConfig


class OracleBackend(SynchronousBackend):
    """Answers from the truth that belongs to the newest frame."""

    truths: ClassVar[dict[int, GroundTruth]] = {}
    mode = 'true'
    model = 'oracle'

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self._last: GroundTruth | None = None

    def answer(self, request: Request) -> Said:
        newest = max(frame.stamp_ns for frame in request.frames)
        self._last = self.truths.get(newest, self._last)
        return generated(self._answer(), percent=self._percent())

    def _percent(self) -> float | None:
        if self._last is None:
            return None
        return 100.0 if self.mode == 'eager' else self._last.progress * 100

    def _answer(self) -> str:
        truth = self._last
        if truth is None:
            return 'Nothing is known yet.'
        percent = round(truth.progress * 100)
        if self.mode == 'eager' or percent >= 100:
            return 'No further steps are required: <progress>100%</progress>'
        listed = '\n'.join(f'{n}. {step}.' for n, step in enumerate(truth.remaining_steps, 1))
        return (
            f'The following steps are required:\n{listed}\n'
            f'Therefore, the estimated progress is <progress>{percent:02d}%</progress>'
        )


def make() -> MonitorNode:
    node = MonitorNode(OracleBackend)

    def learn(message: GroundTruth) -> None:
        OracleBackend.truths[to_ns(message.stamp)] = message

    node.create_subscription(GroundTruth, '/cell/ground_truth', learn, 50)
    return started(node)


if __name__ == '__main__':
    OracleBackend.mode = sys.argv[1]
    run(make, sys.argv, MonitorNode.close)
