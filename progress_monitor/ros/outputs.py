"""Everything that the monitor node publishes, and when."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Float32, String
from visualization_msgs.msg import MarkerArray

from progress_monitor.msg import MonitorStatus, Progress, Stall, Success
from progress_monitor.node_config import NodeConfig
from progress_monitor.overlay import Overlay, draw_overlay
from progress_monitor.ros.cameras import Camera
from progress_monitor.ros.diagnostics import diagnostics
from progress_monitor.ros.messages import (
    image_message,
    marker_messages,
    overlay_text,
    progress_message,
    stall_message,
    status_message,
    success_message,
)
from progress_monitor.types import (
    NAN,
    Estimate,
    Evidence,
    Frame,
    Generated,
    MonitorUpdate,
    RecoveryHint,
    Scored,
    StallCause,
    StallReport,
    State,
)

LATCHED = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
_STATUS_PERIOD_S = 0.5
_DIAGNOSTICS_PERIOD_S = 1.0
_OVERLAY_PERIOD_S = 0.2


class Outputs:
    """The publishers. They exist from the node's start to its end, so that the status can always
    say what is wrong; everything but status and diagnostics speaks only while the node is active.
    """

    def __init__(self, node: Node) -> None:
        self._name = node.get_fully_qualified_name().lstrip('/')
        create = node.create_publisher
        self._progress = create(Progress, '~/progress', 10)
        self._stall = create(Stall, '~/stall', LATCHED)
        self._success = create(Success, '~/success', LATCHED)
        self._status = create(MonitorStatus, '~/status', LATCHED)
        self._value = create(Float32, '~/progress_value', 10)
        self._text = create(String, '~/overlay/text', LATCHED)
        self._image = create(Image, '~/overlay/image', 1)
        self._markers = create(MarkerArray, '~/markers', 1)
        self._diagnostics = create(DiagnosticArray, '/diagnostics', 10)
        self._answer: Generated | Scored | None = None
        self._estimate: Estimate | None = None
        self._stall_report: StallReport | None = None
        self._stall_task = ''
        self._said: tuple[object, ...] = ()
        self._said_text = ''
        self._status_due = self._diagnostics_due = self._overlay_due = 0.0

    @property
    def stall(self) -> StallReport | None:
        """The stall that goes on; None: none does."""
        report = self._stall_report
        return report if report is not None and report.stalled else None

    def publish(
        self,
        update: MonitorUpdate,
        config: NodeConfig | None,
        cameras: Sequence[Camera],
        newest: Frame | None,
    ) -> None:
        """Publish what is due after ``update``. ``config`` is None while unconfigured."""
        frame_id = cameras[0].frame_id if cameras else ''
        if not cameras:
            self._release('The node is not active.')
        if update.estimate is not None:
            self._publish_tick(update, update.estimate, frame_id)
        task_id = update.task.task_id if update.task else ''
        for report in update.stalls:
            self._publish_stall(report, report.task_id, frame_id)
        for success in update.successes:
            self._success.publish(success_message(success, success.task_id, frame_id))
        now = time.monotonic()
        said = (update.state, update.evidence, task_id, update.backend.state)
        if said != self._said or now >= self._status_due:
            self._said, self._status_due = said, now + _STATUS_PERIOD_S
            model = config.model.path if config else ''
            self._status.publish(status_message(update, model, self._inference_ms()))
        if now >= self._diagnostics_due:
            self._diagnostics_due = now + _DIAGNOSTICS_PERIOD_S
            deadline = config.model.deadline_s if config else NAN
            self._diagnostics.publish(
                diagnostics(self._name, update, self._answer, cameras, deadline)
            )
        if cameras and config is not None:
            self._publish_overlay(update, config, newest, frame_id, now)

    def _inference_ms(self) -> float:
        return self._answer.stats.total_ms if self._answer else NAN

    def _publish_tick(self, update: MonitorUpdate, estimate: Estimate, frame_id: str) -> None:
        self._estimate = estimate
        if update.answer is not None:
            self._answer = update.answer
        self._progress.publish(progress_message(update, estimate, frame_id))
        self._value.publish(Float32(data=float(estimate.progress)))

    def _publish_stall(self, report: StallReport, task_id: str, frame_id: str) -> None:
        """Publish a change; a release is published once, and under the task of its stall."""
        known = self._stall_report
        if known is not None and known.event_id == report.event_id:
            if known.stalled == report.stalled:
                return
            task_id = self._stall_task
        self._stall_report, self._stall_task = report, task_id
        self._stall.publish(stall_message(report, task_id, frame_id))

    def _release(self, why: str) -> None:
        stall = self.stall
        if stall is not None:
            released = dataclasses.replace(
                stall,
                stalled=False,
                cause=StallCause.NONE,
                hint=RecoveryHint.NONE,
                explanation=why,
            )
            self._publish_stall(released, self._stall_task, '')

    def _publish_overlay(
        self,
        update: MonitorUpdate,
        config: NodeConfig,
        newest: Frame | None,
        frame_id: str,
        now: float,
    ) -> None:
        if now < self._overlay_due:
            return
        self._overlay_due = now + _OVERLAY_PERIOD_S
        overlay = self._overlay(update)
        text = overlay_text(overlay)
        if text != self._said_text:
            self._said_text = text
            self._text.publish(String(data=text))
        marker_frame = config.marker_frame or frame_id
        if marker_frame and self._markers.get_subscription_count():
            self._markers.publish(marker_messages(overlay, update.now_ns, marker_frame))
        if newest is not None and self._image.get_subscription_count():
            picture = draw_overlay(newest.image, overlay)
            self._image.publish(image_message(picture, newest.stamp_ns, frame_id))

    def _overlay(self, update: MonitorUpdate) -> Overlay:
        estimate = self._estimate if update.ticks else None
        note = update.message if update.evidence is not Evidence.GOOD else ''
        if self.stall is not None:
            note = self.stall.explanation
        elif update.state in (State.LOADING, State.ERROR):
            note = update.message
        footer = f'tick {update.ticks}'
        if self._answer is not None:
            footer += f'   {self._answer.stats.total_ms:.0f} ms'
        return Overlay(
            task=update.task.text if update.task else '',
            state=update.state,
            progress=update.progress,
            spread=estimate.spread if estimate else NAN,
            plan=update.plan,
            reasoning=estimate.reasoning if estimate else '',
            note=note,
            footer=footer,
        )
