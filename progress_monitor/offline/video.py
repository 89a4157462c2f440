"""Video files through OpenCV: read at a pace, and written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

_USUAL_FPS = 30.0


def frame_count(path: Path) -> int:
    """Frames that the file says it has; 0 where it does not say."""
    capture = cv2.VideoCapture(str(path))
    try:
        count = float(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    finally:
        capture.release()
    return int(count) if math.isfinite(count) and count > 0 else 0


def frame_rate(path: Path) -> float:
    """Frames per second that the file names; 30 where it names none."""
    capture = cv2.VideoCapture(str(path))
    try:
        fps = float(capture.get(cv2.CAP_PROP_FPS))
    finally:
        capture.release()
    return fps if math.isfinite(fps) and fps > 0.0 else _USUAL_FPS


def read_video(path: Path) -> Iterator[tuple[int, float, NDArray[np.uint8]]]:
    """Yield frame index, time in s and picture, (height, width, 3) uint8 RGB.

    The time is the index over the file's frame rate.

    :raises OSError: if the file is missing or holds no video.
    """
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file')
    fps = frame_rate(path)
    capture = cv2.VideoCapture(str(path))
    try:
        index = 0
        while True:
            found, picture = capture.read()
            if not found:
                break
            yield index, index / fps, np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
            index += 1
        if index == 0:
            raise OSError(f'{path}: no picture can be read; give a video file')
    finally:
        capture.release()


class VideoWriter:
    """Writes RGB pictures of one size as MPEG-4 Part 2, which OpenCV writes everywhere."""

    def __init__(self, path: Path, fps: float) -> None:
        self._path = path
        self._fps = fps
        self._writer: cv2.VideoWriter | None = None

    def write(self, picture: NDArray[np.uint8]) -> None:
        """Append a picture, (height, width, 3) uint8.

        :raises OSError: if the file cannot be written.
        """
        if self._writer is None:
            height, width = picture.shape[:2]
            code = cv2.VideoWriter.fourcc(*'mp4v')
            self._writer = cv2.VideoWriter(str(self._path), code, self._fps, (width, height))
            if not self._writer.isOpened():
                raise OSError(f'{self._path}: OpenCV cannot write this video')
        self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.release()


def write_video(pictures: Iterable[NDArray[np.uint8]], path: Path, fps: float) -> None:
    """Write all pictures of one size.

    :raises OSError: if the file cannot be written.
    """
    writer = VideoWriter(path, fps)
    try:
        for picture in pictures:
            writer.write(picture)
    finally:
        writer.close()
