"""Everything that the monitor node publishes, and when."""

from __future__ import annotations

import time
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Float32, String
from visualization_msgs.msg import MarkerArray

from progress_monitor.msg import MonitorStatus, Progress, Stall, Success
from progress_monitor.node_config import NodeConfig
from progress_monitor.overlay import Overlay, draw_overlay
from progress_monitor.printable import printable
from progress_monitor.ros.camera_group import CameraGroup
from progress_monitor.ros.diagnostics import diagnostics
from progress_monitor.ros.latest import LatestWorker
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
    DecodeStats,
    Estimate,
    Evidence,
    Frame,
    MonitorUpdate,
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


@dataclass(frozen=True, eq=False)
class _Drawing:
    """What is to be drawn and published."""

    frame: Frame
    frame_id: str
    overlay: Overlay


class Outputs:
    """The publishers. They exist from the node's start to its end, so that the status can always
    say what is wrong; everything but status and diagnostics speaks only while the node is active.

    The picture is drawn on a thread of its own: a service is answered meanwhile.
    """

    def __init__(self, node: Node) -> None:
        self._name = node.get_fully_qualified_name().lstrip('/')
        self._log = node.get_logger()
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
        self._painter = LatestWorker('overlay', self._paint, self._paint_failed)
        self._stats: DecodeStats | None = None
        self._estimate: Estimate | None = None
        self._camera = ''
        self._said: tuple[object, ...] = ()
        self._said_text = ''
        self._status_due = self._diagnostics_due = self._overlay_due = 0.0

    def close(self) -> None:
        """End the drawing; call it before the node is destroyed."""
        self._painter.close()

    def publish(
        self,
        update: MonitorUpdate,
        config: NodeConfig | None,
        cameras: CameraGroup | None,
        stall: StallReport | None,
        tick_ms: float,
        messages: DiagnosticStatus,
    ) -> None:
        """Publish what is due after ``update``.

        :param config: None while unconfigured.
        :param cameras: None while not active.
        :param stall: the stall that goes on now; None: none does.
        :param tick_ms: cost of a window, as measured when the model was loaded; NaN: unknown.
        :param messages: the diagnostic task of what could not be handled.
        """
        self._publish_judgement(update, cameras)
        now = time.monotonic()
        task_id = update.task.task_id if update.task else ''
        said = (update.state, update.evidence, task_id, update.backend.state)
        if said != self._said or now >= self._status_due:
            self._said, self._status_due = said, now + _STATUS_PERIOD_S
            self._status.publish(status_message(update, config, self._inference_ms(), tick_ms))
        if now >= self._diagnostics_due:
            self._diagnostics_due = now + _DIAGNOSTICS_PERIOD_S
            deadline = config.model.deadline_s if config else NAN
            self._diagnostics.publish(
                diagnostics(
                    self._name,
                    update,
                    self._stats,
                    list(cameras) if cameras is not None else (),
                    deadline,
                    tick_ms,
                    messages,
                )
            )
        if cameras is not None and config is not None and now >= self._overlay_due:
            self._overlay_due = now + _OVERLAY_PERIOD_S
            self._publish_overlay(update, config, cameras, stall)

    def _inference_ms(self) -> float:
        return self._stats.total_ms if self._stats is not None else NAN

    def _publish_judgement(self, update: MonitorUpdate, cameras: CameraGroup | None) -> None:
        if update.estimate is not None:
            self._estimate, self._camera = update.estimate, update.camera
            if update.answer is not None:
                self._stats = update.answer.stats
        # What is judged was seen by the camera that the newest estimate speaks of.
        frame_id = cameras.frame_id(self._camera) if cameras is not None else ''
        if update.estimate is not None:
            self._progress.publish(progress_message(update, update.estimate, frame_id))
            self._value.publish(Float32(data=float(update.estimate.progress)))
        for stall in update.stalls:
            self._stall.publish(stall_message(stall, frame_id))
        for success in update.successes:
            self._success.publish(success_message(success, frame_id))

    def _publish_overlay(
        self,
        update: MonitorUpdate,
        config: NodeConfig,
        cameras: CameraGroup,
        stall: StallReport | None,
    ) -> None:
        overlay = self._overlay(update, stall)
        text = overlay_text(overlay)
        if text != self._said_text:
            self._said_text = text
            self._text.publish(String(data=text))
        frame = cameras.shown()
        marker_frame = config.marker_frame or cameras.frame_id(self._camera)
        if marker_frame and self._markers.get_subscription_count():
            self._markers.publish(marker_messages(overlay, update.now_ns, marker_frame))
        if frame is not None and self._image.get_subscription_count():
            self._painter.hand_over(_Drawing(frame, cameras.frame_id(frame.camera), overlay))

    def _paint(self, drawing: _Drawing) -> None:
        picture = draw_overlay(drawing.frame.image, drawing.overlay)
        self._image.publish(image_message(picture, drawing.frame.stamp_ns, drawing.frame_id))

    def _paint_failed(self, error: Exception) -> None:
        self._log.error(printable(f'the overlay cannot be drawn: {error!r}'), once=True)

    def _overlay(self, update: MonitorUpdate, stall: StallReport | None) -> Overlay:
        estimate = self._estimate if update.ticks else None
        note = update.message if update.evidence is not Evidence.GOOD else ''
        if stall is not None:
            note = stall.explanation
        elif update.state in (State.LOADING, State.ERROR):
            note = update.message
        footer = f'tick {update.ticks}'
        if self._stats is not None:
            footer += f', {self._stats.total_ms:.0f} ms'
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
