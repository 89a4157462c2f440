"""A video played to the monitor, exactly as a camera would be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from progress_monitor.monitor import ProgressMonitor
from progress_monitor.resize import shrink
from progress_monitor.types import NAN, Estimate, Frame, Generated, MonitorUpdate, State, Task

CAMERA = 'video'
# Stamps start here: to a monitor, time 0 is a clock that has not started.
_START_NS = 1_000_000_000


@dataclass(frozen=True, eq=False)
class Played:
    """One frame of the video and what the monitor made of it.

    ``estimate`` is the newest one so far, or None; ``update.estimate`` is set when this frame's
    tick brought it.
    """

    index: int
    seconds: float
    image: NDArray[np.uint8]
    update: MonitorUpdate
    estimate: Estimate | None


def play(
    frames: Iterable[tuple[int, float, NDArray[np.uint8]]],
    monitor: ProgressMonitor,
    task: str,
    max_pixels: int,
) -> Iterator[Played]:
    """Show ``frames`` (index, time in s, RGB picture) to ``monitor`` and tick after each.

    The backend must answer inside ``submit``: then the result depends on the video alone.
    """
    estimate: Estimate | None = None
    monitor.set_task(Task('video', task), _START_NS)
    for index, seconds, image in frames:
        now_ns = _START_NS + round(seconds * 1e9)
        monitor.observe(Frame(index, CAMERA, now_ns, shrink(image, max_pixels)))
        update = monitor.tick(now_ns)
        estimate = update.estimate or estimate
        yield Played(index, seconds, image, update, estimate)


def row(played: Played, video: str, task: str, sample: int) -> dict[str, Any]:
    """One line of JSON for a tick, with the fields of ProcVLM's video tool (arXiv 2605.08774).

    Percent, 0..100. Unlike that tool, which repeats the last value when the answer holds no
    number, an unknown progress is null here. ``state`` and ``evidence`` are this monitor's own.
    """
    update = played.update
    assert update.estimate is not None
    progress = update.estimate.progress
    percent = None if progress != progress else round(progress * 100.0, 4)
    return {
        'video_path': video,
        'task': task,
        'sample_index': sample,
        'frame_index': played.index,
        'timestamp_sec': round(played.seconds, 4),
        'window_frame_indices': [frame.uid for frame in update.window],
        'progress': percent,
        'parsed_progress': percent,
        'progress_source': 'unknown' if percent is None else 'model',
        'reasoning': update.estimate.reasoning,
        'model_output': update.answer.text if isinstance(update.answer, Generated) else '',
        'state': State(update.state).name,
        'evidence': update.estimate.evidence.name,
    }


def spread_of(played: Played) -> float:
    """Standard deviation of the newest estimate, 0..1; NaN: unknown."""
    return played.estimate.spread if played.estimate else NAN
