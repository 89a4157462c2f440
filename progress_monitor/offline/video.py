"""Video files through OpenCV: read at a pace, and written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

_USUAL_FPS = 30.0


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


def write_video(pictures: Iterable[NDArray[np.uint8]], path: Path, fps: float) -> None:
    """Write RGB pictures of one size as MPEG-4 Part 2, which OpenCV writes everywhere.

    :raises OSError: if the file cannot be written.
    """
    writer: cv2.VideoWriter | None = None
    try:
        for picture in pictures:
            if writer is None:
                height, width = picture.shape[:2]
                code = cv2.VideoWriter.fourcc(*'mp4v')
                writer = cv2.VideoWriter(str(path), code, fps, (width, height))
                if not writer.isOpened():
                    raise OSError(f'{path}: OpenCV cannot write this video')
            writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    finally:
        if writer is not None:
            writer.release()
