"""The demo's film: every camera frame, beside it what the monitor said at that moment."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from progress_monitor.offline.video import write_video
from progress_monitor.overlay import Overlay, draw_overlay
from progress_monitor.types import NAN, State
from progress_monitor_lab.demo.recording import FrameRow, Recording, events

_EVENT_SHOWN_NS = 2_500_000_000
_USUAL_FPS = 10.0
T = TypeVar('T')


def write_film(recording: Recording, path: Path) -> None:
    """Write the annotated camera pictures as a video, at the pace at which they were taken.

    :raises OSError: if it cannot be written.
    """
    frames = recording.frames
    fps = _USUAL_FPS
    if len(frames) > 1 and frames[-1].stamp_ns > frames[0].stamp_ns:
        fps = (len(frames) - 1) * 1e9 / (frames[-1].stamp_ns - frames[0].stamp_ns)
    write_video((annotate(recording, row) for row in frames), path, fps)


def annotate(recording: Recording, frame: FrameRow) -> NDArray[np.uint8]:
    """One camera picture with what was known when it was taken, RGB."""
    at_ns = frame.stamp_ns
    tick = _latest(recording.ticks, at_ns, lambda row: row.at_ns)
    status = _latest(recording.statuses, at_ns, lambda row: row.at_ns)
    truth = _latest(recording.truths, at_ns, lambda row: row.stamp_ns)
    footer = f'{recording.seconds(at_ns):.1f} s'
    if truth is not None:
        footer += f'   truth {truth.progress * 100:.0f}%'
    if tick is not None:
        footer += f'   model {tick.inference_ms:.0f} ms'
    overlay = Overlay(
        task=recording.instruction,
        state=status.state if status else State.LOADING,
        progress=status.progress if status else NAN,
        spread=tick.spread if tick else NAN,
        plan=tick.plan if tick else (),
        reasoning=tick.reasoning if tick else '',
        note=_note(recording, at_ns),
        footer=footer,
    )
    return draw_overlay(decode(frame), overlay)


def decode(frame: FrameRow) -> NDArray[np.uint8]:
    """The picture of a row, (height, width, 3) uint8 RGB."""
    coded = np.frombuffer(frame.jpeg, np.uint8)
    picture = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def _note(recording: Recording, at_ns: int) -> str:
    """Why the task hangs, as long as it does; else what has just happened."""
    stall = _latest(recording.stalls, at_ns, lambda row: row.at_ns)
    if stall is not None and stall.stalled:
        return stall.explanation
    said = [item for item in events(recording) if item.at_ns <= at_ns]
    return said[-1].text if said and at_ns - said[-1].at_ns < _EVENT_SHOWN_NS else ''


def _latest(rows: Sequence[T], at_ns: int, key: Callable[[T], int]) -> T | None:
    index = bisect.bisect_right(rows, at_ns, key=key)
    return rows[index - 1] if index else None
