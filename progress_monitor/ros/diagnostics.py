"""Five diagnostic tasks (REP-107): camera, inference, model, memory, messages.

A task of the robot that hangs is no fault of this component: a stall is never an ERROR here.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from progress_monitor.printable import printable
from progress_monitor.ros.cameras import Camera
from progress_monitor.ros.messages import header
from progress_monitor.types import (
    BackendState,
    BackendStatus,
    DecodeStats,
    Evidence,
    MonitorUpdate,
)

OK = DiagnosticStatus.OK
WARN = DiagnosticStatus.WARN
ERROR = DiagnosticStatus.ERROR
STALE = DiagnosticStatus.STALE

_INPUT = range(Evidence.NO_PUBLISHER, Evidence.UNREADABLE + 1)


def diagnostics(
    node: str,
    update: MonitorUpdate,
    stats: DecodeStats | None,
    cameras: Collection[Camera],
    deadline_s: float,
    tick_ms: float,
    messages: DiagnosticStatus,
) -> DiagnosticArray:
    """The five tasks of ``node`` as one message.

    :param stats: of the last answer.
    :param tick_ms: cost of a window, as measured when the model was loaded; NaN: unknown.
    :param messages: the task of what could not be handled.
    """
    status = [
        _camera(update, cameras),
        _inference(update, stats, deadline_s, tick_ms),
        _model(update.backend, update.adapter),
        _memory(update.backend),
        messages,
    ]
    for item in status:
        item.name = f'{node}: {item.name}'
        item.hardware_id = update.backend.device
    return DiagnosticArray(header=header(update.now_ns, ''), status=status)


def task(name: str, level: bytes, message: str, **values: object) -> DiagnosticStatus:
    """One diagnostic task."""
    pairs = [KeyValue(key=key, value=_text(value)) for key, value in values.items()]
    return DiagnosticStatus(name=name, level=level, message=printable(message), values=pairs)


def _camera(update: MonitorUpdate, cameras: Collection[Camera]) -> DiagnosticStatus:
    if not cameras:
        return task('camera', STALE, 'not active')
    ages = {
        f'{camera.name} age_s': (update.now_ns - camera.stamp_ns) / 1e9
        if camera.stamp_ns
        else math.nan
        for camera in cameras
    }
    counts = {f'{camera.name} received': camera.received for camera in cameras}
    level, message = OK, 'frames arrive'
    if update.evidence in _INPUT:
        silent = update.evidence in (Evidence.NO_PUBLISHER, Evidence.NO_FRAMES)
        level = ERROR if silent or update.evidence is Evidence.UNREADABLE else WARN
        message = update.message
    return task('camera', level, message, **ages, **counts)


def _inference(
    update: MonitorUpdate, stats: DecodeStats | None, deadline_s: float, tick_ms: float
) -> DiagnosticStatus:
    late = update.evidence is Evidence.MODEL_LATE
    level = WARN if late else OK
    message = update.message if late else 'in time'
    if stats is None:
        level, message = STALE, 'no tick yet'
    return task(
        'inference',
        level,
        message,
        last_ms=stats.total_ms if stats else math.nan,
        deadline_ms=deadline_s * 1e3,
        measured_at_load_ms=tick_ms,
        finish=update.finish,
        ticks=update.ticks,
        frames_received=update.frames_received,
        frames_skipped=update.frames_skipped,
        forwards=stats.forwards if stats else '',
        frames_encoded=stats.frames_encoded if stats else '',
    )


def _model(backend: BackendStatus, adapter: str) -> DiagnosticStatus:
    level = {
        BackendState.STOPPED: STALE,
        BackendState.DOWNLOADING: WARN,
        BackendState.LOADING: WARN,
        BackendState.READY: OK,
        BackendState.BUSY: OK,
        BackendState.FAILED: ERROR,
    }[backend.state]
    return task(
        'model',
        level,
        backend.message or backend.state.value,
        model=backend.model,
        revision=backend.revision,
        adapter=adapter,
        profile=backend.profile,
        quantization=backend.quantization,
        device=backend.device,
        restarts=backend.restarts,
    )


def _memory(backend: BackendStatus) -> DiagnosticStatus:
    running = backend.state is not BackendState.STOPPED
    return task(
        'memory',
        OK if running else STALE,
        'held by the model and by this process' if running else 'no model is loaded',
        model_mb=backend.memory_mb,
        node_mb=_resident_mb(),
    )


def _resident_mb() -> float:
    try:
        pages = int(Path('/proc/self/statm').read_text(encoding='ascii').split()[1])
    except (OSError, IndexError, ValueError):
        return math.nan
    return pages * os.sysconf('SC_PAGE_SIZE') / 1e6


def _text(value: object) -> str:
    return f'{value:.3f}' if isinstance(value, float) else str(value)
