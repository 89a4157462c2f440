"""A recorded demonstration as it is learnt from: pictures at an even pace, and what is true."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from progress_monitor.adapt.annotation import Annotation, AnnotationError
from progress_monitor.adapt.targets import FINISHED, stage_progress, visual_change
from progress_monitor.config import CameraConfig, EvidenceConfig
from progress_monitor.evidence.camera import CameraWatch
from progress_monitor.offline.sources import Picture as Shown
from progress_monitor.offline.sources import SourceOptions, open_source
from progress_monitor.resize import fit

Picture = NDArray[np.uint8]
LONGEST = 4096


@dataclass(frozen=True, eq=False)
class Demonstration:
    """Samples ``period_s`` apart, of n.

    ``images`` holds a picture of each camera for every sample, all of the size that the model is
    shown; ``progress`` (n,) is 0..1, and ``stage`` (n,) the index of the running one of ``steps``,
    or ``len(steps)`` after the last.
    """

    task: str
    steps: tuple[str, ...]
    images: tuple[tuple[Picture, ...], ...]
    progress: NDArray[np.float64]
    stage: NDArray[np.int64]
    period_s: float
    done: bool
    reason: str = ''

    @property
    def cameras(self) -> int:
        """Pictures of a sample."""
        return len(self.images[0])

    @property
    def end(self) -> int:
        """The first sample that shows as much progress as the last."""
        return int(np.argmax(self.progress >= self.progress[-1]))

    def finished(self, index: int) -> bool:
        """Whether the task is done in a sample."""
        return self.done and bool(self.stage[index] == len(self.steps))


def load(
    annotation: Annotation,
    period_s: float,
    max_pixels: int,
    multiple: int,
    known: CameraConfig | None = None,
) -> Demonstration:
    """Read the recordings of a demonstration, as the monitor will show such a camera.

    What comes before the first stage belongs to no step and is left out; so is what comes after
    the last one of a demonstration that is not done.

    :param multiple: of pixels, that the sides of the model's pictures are.
    :param known: what the monitor will know of the cameras; None: what it knows by default.
    :raises OSError: if a recording cannot be read.
    :raises AnnotationError: if its stages do not fit the recording.
    """
    tracks = [
        track
        for video in annotation.videos
        for track in _tracks(video, period_s, max_pixels, multiple, known or CameraConfig())
    ]
    count = min(len(track) for track in tracks)
    times = np.arange(count) * period_s
    stage = np.full(count, -2, np.int64)
    for number, item in enumerate(annotation.stages):
        # A picture that is due at a stage's start shows it.
        stage[(times >= item.start_s - 1e-6) & (times < item.end_s - 1e-6)] = number
    end = annotation.stages[-1].end_s
    if annotation.done:
        stage[times >= end - 1e-6] = FINISHED
        # A recording that ends with its last stage shows the finished task in its last picture.
        stage[-1] = FINISHED
    kept = np.flatnonzero(stage != -2)
    missing = set(range(len(annotation.stages))) - set(stage.tolist())
    if missing:
        number = min(missing)
        raise AnnotationError(
            f'{annotation.videos[0]}: no picture belongs to stage {number + 1} '
            f'({annotation.stages[number].start_s:g} to {annotation.stages[number].end_s:g} s); '
            f'the recording has {count * period_s:.1f} s'
        )
    images = tuple(tuple(track[index] for track in tracks) for index in kept)
    change = visual_change([sample[0] for sample in images])
    progress = stage_progress(stage[kept], change, annotation.done)
    steps = tuple(item.text for item in annotation.stages)
    running = np.where(stage[kept] == FINISHED, len(steps), stage[kept])
    return Demonstration(
        annotation.task,
        steps,
        images,
        progress,
        running,
        period_s,
        annotation.done,
        annotation.reason,
    )


def _tracks(
    path: Path, period_s: float, max_pixels: int, multiple: int, known: CameraConfig
) -> list[list[Picture]]:
    """Pictures of every camera of a recording, the newest at each multiple of ``period_s``."""
    source = open_source(path, SourceOptions())
    found: dict[str, list[Picture]] = {camera: [] for camera in source.cameras}
    watches = {
        camera: CameraWatch(EvidenceConfig(), camera, known.noise_free, known.stabilise)
        for camera in source.cameras
    }
    for camera, seconds, image in _timed(source.pictures()):
        watches[camera].observe(round(seconds * 1e9), image)
        track = found[camera]
        if seconds >= len(track) * period_s - 1e-6 and len(track) < LONGEST:
            picture = fit(watches[camera].shown(image), max_pixels, multiple)
            # A recording that pauses shows its last picture until the next one comes.
            while len(track) * period_s <= seconds - period_s and track and len(track) < LONGEST:
                track.append(track[-1])
            track.append(picture)
    silent = [camera for camera, track in found.items() if not track]
    if silent:
        raise OSError(f'{path}: no picture of {silent[0]} can be read')
    return list(found.values())


def _timed(pictures: Iterator[Shown]) -> Iterator[tuple[str, float, Picture]]:
    first: int | None = None
    for item in pictures:
        first = item.stamp_ns if first is None else first
        yield item.camera, (item.stamp_ns - first) * 1e-9, item.image
