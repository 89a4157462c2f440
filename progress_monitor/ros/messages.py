"""The monitor's dataclasses as ROS messages."""

from __future__ import annotations

from array import array

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Vector3
from numpy.typing import NDArray
from sensor_msgs.msg import Image
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from progress_monitor.msg import MonitorStatus, Progress, Stall, Step, Success
from progress_monitor.node_config import NodeConfig
from progress_monitor.overlay import STATE_COLOURS, Overlay
from progress_monitor.printable import printable
from progress_monitor.types import (
    NAN,
    Estimate,
    Evidence,
    MonitorUpdate,
    PlanStep,
    Scored,
    StallReport,
    State,
    StepStatus,
    SuccessReport,
)

_BAR_LENGTH = 0.5
_UINT32 = 2**32 - 1
# Seconds have 31 bits in a message.
_LAST_NS = 2**31 * 1_000_000_000 - 1


def to_time(stamp_ns: int) -> Time:
    """A ROS time; 0 for what never was, and the last there is for what lies beyond."""
    seconds, nanoseconds = divmod(min(max(stamp_ns, 0), _LAST_NS), 1_000_000_000)
    return Time(sec=seconds, nanosec=nanoseconds)


def to_ns(stamp: Time) -> int:
    """Nanoseconds of a ROS time."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def header(stamp_ns: int, frame_id: str) -> Header:
    """A header with an acquisition stamp."""
    return Header(stamp=to_time(stamp_ns), frame_id=frame_id)


def step_message(step: PlanStep) -> Step:
    """One step of the plan."""
    return Step(
        text=step.text,
        status=int(step.status),
        first_seen=to_time(step.first_seen_ns),
        last_seen=to_time(step.last_seen_ns),
    )


def progress_message(update: MonitorUpdate, estimate: Estimate, frame_id: str) -> Progress:
    """The message of one tick."""
    task, answer = update.task, update.answer
    text = not isinstance(answer, Scored)
    return Progress(
        header=header(estimate.stamp_ns, frame_id),
        task_id=task.task_id if task else '',
        task=task.text if task else '',
        state=int(update.state),
        progress=estimate.progress,
        spread=estimate.spread,
        rate=update.rate,
        noise=update.noise,
        confidence=update.confidence,
        success_probability=estimate.success_probability,
        answerable=estimate.evidence is not Evidence.REFUSED,
        steps_known=estimate.remaining_steps is not None,
        remaining_steps=list(estimate.remaining_steps or ()),
        plan=[step_message(step) for step in update.plan],
        reasoning=estimate.reasoning,
        thought=update.thought,
        finish=update.finish if text else '',
        prompt_hash=update.prompt_hash,
        frames=len(update.window),
        inference_ms=answer.stats.total_ms if answer else NAN,
        age_s=(update.now_ns - estimate.stamp_ns) / 1e9,
    )


def stall_message(report: StallReport, frame_id: str) -> Stall:
    """The message of a stall that began or ended."""
    return Stall(
        header=header(report.evidence_last_ns, frame_id),
        task_id=report.task_id,
        event_id=report.event_id,
        stalled=report.stalled,
        cause=int(report.cause),
        since=to_time(report.since_ns),
        evidence_first=to_time(report.evidence_first_ns),
        evidence_last=to_time(report.evidence_last_ns),
        progress=report.progress,
        rate=report.rate,
        noise=report.noise,
        confidence=report.confidence,
        step=report.step,
        hint=int(report.hint),
        explanation=printable(report.explanation),
    )


def success_message(report: SuccessReport, frame_id: str) -> Success:
    """The message of a success, or of one that is taken back."""
    return Success(
        header=header(report.stamp_ns, frame_id),
        task_id=report.task_id,
        event_id=report.event_id,
        succeeded=report.succeeded,
        progress=report.progress,
        noise=report.noise,
        confidence=report.confidence,
    )


def status_message(
    update: MonitorUpdate, config: NodeConfig | None, inference_ms: float, tick_ms: float
) -> MonitorStatus:
    """What the monitor is doing.

    :param config: None while unconfigured.
    :param inference_ms: of the last tick.
    :param tick_ms: of a window, as measured when the model was loaded.
    """
    task, backend = update.task, update.backend
    model, strategy, max_pixels = '', '', 0
    if config is not None:
        # The backend's own word comes first: it may have had to adapt what was asked for.
        model, strategy = config.model.path, config.strategy
        max_pixels = backend.max_pixels or config.model.max_pixels
    return MonitorStatus(
        stamp=to_time(update.now_ns),
        state=int(update.state),
        evidence=int(update.evidence),
        message=printable(update.message),
        task_id=task.task_id if task else '',
        task=task.text if task else '',
        progress=update.progress,
        finish=update.finish,
        strategy=strategy,
        prompt_hash=update.prompt_hash,
        model=with_adapter(backend.model or model, update.adapter),
        model_revision=update.model_revision,
        profile=backend.profile,
        max_pixels=min(max_pixels, _UINT32),
        quantization=backend.quantization,
        device=backend.device,
        ticks=update.ticks,
        frames_received=update.frames_received,
        frames_skipped=max(update.frames_skipped, 0),
        inference_ms=inference_ms,
        tick_ms=tick_ms,
        model_memory_mb=backend.memory_mb,
        model_restarts=backend.restarts,
    )


def with_adapter(model: str, adapter: str) -> str:
    """The model's name, and the adapter by which it answered last."""
    return f'{model} with adapter {printable(adapter)}' if adapter else model


def step_in_progress(plan: tuple[PlanStep, ...]) -> str:
    """The step that the task is in: the one under way, else the first that is not done."""
    for step in plan:
        if step.status is StepStatus.IN_PROGRESS:
            return step.text
    return next((step.text for step in plan if step.status is not StepStatus.DONE), '')


def image_message(image: NDArray[np.uint8], stamp_ns: int, frame_id: str) -> Image:
    """An rgb8 image. ``image`` is (height, width, 3) uint8 RGB."""
    height, width = image.shape[:2]
    return Image(
        header=header(stamp_ns, frame_id),
        height=height,
        width=width,
        encoding='rgb8',
        is_bigendian=0,
        step=width * 3,
        # rclpy fills the field from an array at once, and from bytes one element at a time.
        data=array('B', np.ascontiguousarray(image).tobytes()),
    )


def marker_messages(overlay: Overlay, now_ns: int, frame_id: str) -> MarkerArray:
    """A progress bar and a line of text at the origin of ``frame_id``."""
    red, green, blue = (channel / 255 for channel in STATE_COLOURS[overlay.state])
    colour = ColorRGBA(r=red, g=green, b=blue, a=1.0)
    grey = ColorRGBA(r=0.3, g=0.3, b=0.3, a=0.6)
    known = overlay.progress == overlay.progress
    filled = _BAR_LENGTH * (min(max(overlay.progress, 0.0), 1.0) if known else 0.0)
    text = overlay_text(overlay)
    stamped = header(now_ns, frame_id)
    markers = [
        _bar(stamped, 0, 0.0, _BAR_LENGTH, 0.02, grey),
        _bar(stamped, 1, 0.0, max(filled, 1e-3), 0.03, colour),
        Marker(
            header=stamped,
            ns='progress',
            id=2,
            type=Marker.TEXT_VIEW_FACING,
            scale=Vector3(x=0.0, y=0.0, z=0.06),
            color=colour,
            text=text,
        ),
    ]
    markers[2].pose.position = Point(x=0.0, y=0.0, z=0.15)
    return MarkerArray(markers=markers)


def _bar(
    stamped: Header, number: int, start: float, length: float, width: float, colour: ColorRGBA
) -> Marker:
    marker = Marker(
        header=stamped,
        ns='progress',
        id=number,
        type=Marker.CUBE,
        scale=Vector3(x=length, y=width, z=width),
        color=colour,
    )
    marker.pose.position.x = start + length / 2 - _BAR_LENGTH / 2
    return marker


def overlay_text(overlay: Overlay) -> str:
    """State, progress and the reason in one or two lines."""
    known = overlay.progress == overlay.progress
    number = f'{overlay.progress * 100:.0f} %' if known else '-'
    line = f'{State(overlay.state).name} {number}'
    return f'{line}\n{printable(overlay.note)}' if overlay.note else line
