"""A video file, at the pace that it names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from progress_monitor.offline.sources.source import (
    START_NS,
    Picture,
    SourceKind,
    SourceOptions,
)
from progress_monitor.offline.video import frame_count, frame_rate, read_video

CAMERA = 'video'


class VideoSource:
    """The pictures of one video file; see ``Source``."""

    def __init__(self, path: Path) -> None:
        self.cameras = (CAMERA,)
        self.fps = frame_rate(path)
        self.notes: list[str] = []
        # A codec repeats what does not move, whatever the sensor saw.
        self.noise_free = 'yes'
        self._path = path

    def pictures(self) -> Iterator[Picture]:
        """All pictures, their stamps by the file's frame rate."""
        read = 0
        for _, seconds, image in read_video(self._path):
            read += 1
            yield Picture(CAMERA, START_NS + round(seconds * 1e9), image)
        promised = frame_count(self._path)
        if read < promised:
            self.notes.append(
                f'{self._path}: ends after {read} of the {promised} frames that it names; it is '
                'cut short or damaged, or names a wrong number'
            )


def _open(path: Path, options: SourceOptions) -> VideoSource:
    return VideoSource(path)


VIDEO = SourceKind('a video', (), Path.is_file, _open)
