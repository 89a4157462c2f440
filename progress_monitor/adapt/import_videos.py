"""Pictures that came with stamps of their own, from a bag or live cameras, as video files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from progress_monitor.adapt.recording import MOST_FRAMES
from progress_monitor.offline.video import VideoWriter

_LOWEST_FPS, _HIGHEST_FPS = 1.0, 30.0


class Seen(Protocol):
    """A picture of a camera: its stamp in ns, and (height, width, 3) uint8 RGB."""

    @property
    def camera(self) -> str: ...

    @property
    def stamp_ns(self) -> int: ...

    @property
    def image(self) -> NDArray[np.uint8]: ...


class _Track:
    """One camera's video, with a frame at each multiple of the period since ``start_ns``."""

    def __init__(self, path: Path, fps: float, start_ns: int) -> None:
        self.path = path
        self._writer = VideoWriter(path, fps)
        self._fps = fps
        self._start_ns = start_ns
        self._written = 0
        self._newest: NDArray[np.uint8] | None = None

    def put(self, stamp_ns: int, image: NDArray[np.uint8]) -> None:
        """Show ``image`` from its stamp on; before a camera's first picture its first is shown."""
        if self._newest is None:
            self._newest = image
        self.fill(stamp_ns)
        if image.shape != self._newest.shape:
            height, width = self._newest.shape[:2]
            image = np.asarray(
                cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8
            )
        self._newest = image

    def fill(self, stamp_ns: int) -> None:
        """Repeat the newest picture up to before ``stamp_ns``."""
        assert self._newest is not None
        due = round((stamp_ns - self._start_ns) * 1e-9 * self._fps)
        if due > MOST_FRAMES:
            raise OSError(
                f'{self.path.name}: stamps reach over {due / self._fps:.0f} s, more than '
                f'{MOST_FRAMES} frames; cut the demonstration out of the recording first'
            )
        while self._written < due:
            self._writer.write(self._newest)
            self._written += 1

    def close(self) -> None:
        self._writer.close()


def write_videos(pictures: Iterable[Seen], fps: float, folder: Path, stem: str) -> tuple[Path, ...]:
    """Write one video for each camera, all starting at the first picture's stamp.

    :param fps: rate of the videos, 1/s; held between 1 and 30.
    :param stem: what the files' names start with; the camera's follows.
    :returns: the videos in the order of the cameras' first pictures.
    :raises OSError: if there is no picture, or a file cannot be written.
    """
    fps = min(max(fps, _LOWEST_FPS), _HIGHEST_FPS)
    tracks: dict[str, _Track] = {}
    start_ns = end_ns = 0
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for picture in pictures:
            if not tracks:
                start_ns = end_ns = picture.stamp_ns
            if picture.camera not in tracks:
                path = folder / f'{stem}_{_file_name(picture.camera)}.mp4'
                if any(track.path == path for track in tracks.values()):
                    path = path.with_stem(f'{path.stem}_{len(tracks)}')
                tracks[picture.camera] = _Track(path, fps, start_ns)
            tracks[picture.camera].put(picture.stamp_ns, picture.image)
            end_ns = max(end_ns, picture.stamp_ns)
        for track in tracks.values():
            track.fill(end_ns + round(1e9 / fps))
    finally:
        for track in tracks.values():
            track.close()
    if not tracks:
        raise OSError('not a single picture came')
    return tuple(track.path for track in tracks.values())


def _file_name(camera: str) -> str:
    return re.sub(r'[^A-Za-z0-9]+', '_', camera).strip('_')[:80] or 'camera'
