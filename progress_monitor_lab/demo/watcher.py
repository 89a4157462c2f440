"""The demo's ear: a node that records what cell, monitor and supervisor say."""

from __future__ import annotations

import cv2
import numpy as np
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from progress_monitor.msg import (
    GroundTruth,
    MonitorStatus,
    Progress,
    RecoveryEvent,
    Stall,
    Success,
)
from progress_monitor.recovery import Kind
from progress_monitor.ros.images import to_rgb
from progress_monitor.ros.messages import to_ns
from progress_monitor.types import Evidence, PlanStep, StallCause, State, StepStatus
from progress_monitor_lab.demo.recording import (
    FrameRow,
    Recording,
    RecoveryRow,
    StallRow,
    StatusRow,
    SuccessRow,
    TickRow,
    TruthRow,
)

MONITOR = '/progress_monitor'
SUPERVISOR = '/supervisor'
CELL = '/cell'
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95]
_DEPTH = 50


class Watcher(Node):
    """Fills a ``Recording`` with everything that arrives; pictures only if ``pictures``."""

    def __init__(self, recording: Recording, pictures: bool) -> None:
        super().__init__('demo')
        self.recording = recording
        latched = QoSProfile(
            depth=_DEPTH,
            reliability=ReliabilityPolicy.RELIABLE,
            durability=DurabilityPolicy.TRANSIENT_LOCAL,
        )
        listen = self.create_subscription
        listen(GroundTruth, f'{CELL}/ground_truth', self._on_truth, _DEPTH)
        listen(Progress, f'{MONITOR}/progress', self._on_progress, _DEPTH)
        listen(MonitorStatus, f'{MONITOR}/status', self._on_status, latched)
        listen(Stall, f'{MONITOR}/stall', self._on_stall, latched)
        listen(Success, f'{MONITOR}/success', self._on_success, latched)
        listen(RecoveryEvent, f'{SUPERVISOR}/events', self._on_recovery, latched)
        if pictures:
            listen(Image, f'{CELL}/image', self._on_image, _DEPTH)

    def now_ns(self) -> int:
        """The ROS time."""
        return int(self.get_clock().now().nanoseconds)

    def _on_truth(self, message: GroundTruth) -> None:
        self.recording.truths.append(
            TruthRow(
                stamp_ns=to_ns(message.stamp),
                progress=float(message.progress),
                stage=message.stage,
                done=message.done,
                fault=message.fault,
                replans=message.replans,
            )
        )

    def _on_progress(self, message: Progress) -> None:
        plan = tuple(
            PlanStep(
                step.text, StepStatus(step.status), to_ns(step.first_seen), to_ns(step.last_seen)
            )
            for step in message.plan
        )
        self.recording.ticks.append(
            TickRow(
                at_ns=self.now_ns(),
                stamp_ns=to_ns(message.header.stamp),
                state=State(message.state),
                progress=float(message.progress),
                spread=float(message.spread),
                remaining_steps=tuple(message.remaining_steps),
                plan=plan,
                reasoning=message.reasoning,
                inference_ms=float(message.inference_ms),
                age_s=float(message.age_s),
            )
        )

    def _on_status(self, message: MonitorStatus) -> None:
        self.recording.statuses.append(
            StatusRow(
                at_ns=self.now_ns(),
                state=State(message.state),
                evidence=Evidence(message.evidence),
                message=message.message,
                progress=float(message.progress),
                model=message.model,
                quantization=message.quantization,
                device=message.device,
            )
        )

    def _on_stall(self, message: Stall) -> None:
        self.recording.stalls.append(
            StallRow(
                at_ns=self.now_ns(),
                event_id=message.event_id,
                stalled=message.stalled,
                cause=StallCause(message.cause),
                step=message.step,
                explanation=message.explanation,
            )
        )

    def _on_success(self, message: Success) -> None:
        self.recording.successes.append(SuccessRow(self.now_ns(), message.succeeded))

    def _on_recovery(self, message: RecoveryEvent) -> None:
        self.recording.recoveries.append(
            RecoveryRow(self.now_ns(), Kind(message.kind), message.attempt, message.message)
        )

    def _on_image(self, message: Image) -> None:
        picture = cv2.cvtColor(to_rgb(message), cv2.COLOR_RGB2BGR)
        coded = cv2.imencode('.jpg', picture, _JPEG)[1]
        self.recording.frames.append(
            FrameRow(to_ns(message.header.stamp), np.asarray(coded).tobytes())
        )
