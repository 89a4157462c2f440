"""Pictures of a source played to the monitor, exactly as cameras would show them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from progress_monitor.monitor import ProgressMonitor
from progress_monitor.offline.sources import Picture
from progress_monitor.resize import shrink
from progress_monitor.types import (
    NAN,
    Estimate,
    Frame,
    Generated,
    MonitorUpdate,
    Scored,
    State,
    Task,
    new_uid,
)

# How far behind, and in how many pictures on end, stamps are those of a clock that was set back.
_SET_BACK_NS = 10_000_000_000
_SET_BACK_PICTURES = 10


@dataclass(frozen=True, eq=False)
class Played:
    """One picture of the source and what the monitor made of it.

    ``index`` counts the pictures of all cameras from 0, ``seconds`` is the time since the first
    one's stamp. ``estimate`` is the newest one so far, or None; ``update.estimate`` is set when
    this picture's tick brought it; ``window`` holds the indices of the frames that it speaks of.
    """

    index: int
    camera: str
    stamp_ns: int
    seconds: float
    image: NDArray[np.uint8]
    update: MonitorUpdate
    estimate: Estimate | None
    window: tuple[int, ...] = ()


def play(
    pictures: Iterable[Picture],
    monitor: ProgressMonitor,
    task: str,
    max_pixels: int,
) -> Iterator[Played]:
    """Show ``pictures`` to ``monitor`` and tick after each.

    The backend must answer inside ``submit``: then the result depends on the pictures alone.

    :raises ValueError: if the task cannot be watched.
    """
    estimate: Estimate | None = None
    first_ns: int | None = None
    clock = _Clock()
    indices: dict[int, int] = {}
    for index, picture in enumerate(pictures):
        if first_ns is None:
            first_ns = picture.stamp_ns
            monitor.set_task(Task('offline', task), first_ns)
        now_ns = clock.at(picture)
        image = shrink(picture.image, max_pixels)
        # Unique over all recordings: a model that watched another one has kept its frames.
        uid = new_uid()
        indices[uid] = index
        monitor.observe(Frame(uid, picture.camera, picture.stamp_ns, image))
        update = monitor.tick(now_ns)
        estimate = update.estimate or estimate
        seconds = (picture.stamp_ns - first_ns) * 1e-9
        yield Played(
            index,
            picture.camera,
            picture.stamp_ns,
            seconds,
            picture.image,
            update,
            estimate,
            tuple(indices[frame.uid] for frame in update.window),
        )


class _Clock:
    """The time at which a recording is watched: the newest stamp of any camera.

    Cameras are recorded in the order in which they arrived, which is not that of the stamps. Only
    one whose stamps stay far behind its own has had its clock set back.
    """

    def __init__(self) -> None:
        self._newest_ns: dict[str, int] = {}
        self._behind: dict[str, int] = {}

    def at(self, picture: Picture) -> int:
        """The time when ``picture`` has arrived, ns."""
        camera, stamp_ns = picture.camera, picture.stamp_ns
        newest_ns = self._newest_ns.get(camera, stamp_ns)
        far = newest_ns - stamp_ns > _SET_BACK_NS
        self._behind[camera] = self._behind.get(camera, 0) + 1 if far else 0
        if stamp_ns > newest_ns or self._behind[camera] >= _SET_BACK_PICTURES:
            newest_ns = stamp_ns
        self._newest_ns[camera] = newest_ns
        return max(self._newest_ns.values())


def row(played: Played, source: str, task: str, sample: int) -> dict[str, Any]:
    """One line of JSON for a tick, with the fields of ProcVLM's video tool (arXiv 2605.08774).

    Percent, 0..100. Unlike that tool, which repeats the last value when the answer holds no
    number, an unknown progress is null here. What follows ``model_output`` is this monitor's own:
    shares are 0..1, null where unknown.
    """
    update = played.update
    estimate = update.estimate
    assert estimate is not None
    known = _known(estimate.progress)
    percent = None if known is None else round(known * 100.0, 4)
    stall = next((item for item in reversed(update.stalls)), None)
    return {
        'video_path': source,
        'task': task,
        'sample_index': sample,
        'frame_index': played.index,
        'timestamp_sec': round(played.seconds, 4),
        'window_frame_indices': list(played.window),
        'progress': percent,
        'parsed_progress': percent,
        'progress_source': 'unknown' if percent is None else 'model',
        'reasoning': estimate.reasoning,
        'model_output': update.answer.text if isinstance(update.answer, Generated) else '',
        'camera': played.camera,
        'state': State(update.state).name,
        'evidence': estimate.evidence.name,
        'verdict': estimate.verdict.name,
        'filtered_progress': _known(update.progress),
        'rate': _known(update.rate),
        'spread': _known(estimate.spread),
        'noise': _known(update.noise),
        'confidence': _known(update.confidence),
        'log_probabilities': list(update.answer.log_probabilities)
        if isinstance(update.answer, Scored)
        else None,
        'success_probability': _known(estimate.success_probability),
        'remaining_steps': None
        if estimate.remaining_steps is None
        else list(estimate.remaining_steps),
        'stall': None if stall is None else {'stalled': stall.stalled, 'cause': stall.cause.name},
        'finish': update.finish,
        'inference_ms': None if update.answer is None else _known(update.answer.stats.total_ms),
        'model': update.backend.model,
        'adapter': update.adapter,
        'model_revision': update.model_revision,
        'prompt_hash': update.prompt_hash,
    }


def spread_of(played: Played) -> float:
    """Standard deviation of the newest estimate, 0..1; NaN: unknown."""
    return played.estimate.spread if played.estimate else NAN


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
