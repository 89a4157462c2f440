"""Video files through OpenCV: read at a pace, and written."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from progress_monitor.offline.library_words import LibraryWords

_USUAL_FPS = 30.0
# Above it what a file calls its rate may be the unit of its times: 1000 in WebM, 60000 in DV.
_LIKELY_FPS = 240.0
_MEASURED_FRAMES = 100
# FFmpeg 8 says so, and OpenCV then shows what was in memory before.
_UNCONVERTED = b'Cannot convert interlaced'
# OpenCV's only word of a frame that does not fit on the disk.
_UNWRITTEN = b'Failed to write frame'


def frame_count(path: Path) -> int:
    """Frames that the file says it has; 0 where it does not say."""
    capture = cv2.VideoCapture(_name(path))
    try:
        count = float(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    finally:
        capture.release()
    return int(count) if math.isfinite(count) and count > 0 else 0


def frame_rate(path: Path) -> float:
    """Frames per second that the file names, or where that is unlikely has; 30 where it names none.

    :raises OSError: if it holds no video, or its name cannot be given to OpenCV.
    """
    capture = cv2.VideoCapture(_name(path))
    try:
        if not capture.isOpened():
            raise OSError(f'{path}: no picture can be read; give a video file')
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        if fps > _LIKELY_FPS:
            fps = _measured_rate(capture) or fps
    finally:
        capture.release()
    return fps if math.isfinite(fps) and fps > 0.0 else _USUAL_FPS


def _measured_rate(capture: cv2.VideoCapture) -> float:
    """Frames per second by the times of the first frames; 0 where they do not move on."""
    times: list[float] = []
    while len(times) < _MEASURED_FRAMES and capture.grab():
        times.append(float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000.0)
    lasted = times[-1] - times[0] if times else 0.0
    return (len(times) - 1) / lasted if lasted > 0.0 else 0.0


def read_video(path: Path) -> Iterator[tuple[int, float, NDArray[np.uint8]]]:
    """Yield frame index, time in s and picture, (height, width, 3) uint8 RGB.

    The time is that of the file, counted from its first picture; where it has none that moves on,
    a picture comes one period of the frame rate after the last.

    :raises OSError: if the file is missing or holds no video, or one that OpenCV cannot convert.
    """
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file')
    fps = frame_rate(path)
    capture = cv2.VideoCapture(_name(path))
    words = LibraryWords()
    try:
        index, seconds, start = 0, 0.0, 0.0
        while True:
            with words:
                found, picture = capture.read()
            if _UNCONVERTED in words.said:
                raise OSError(
                    f'{path}: OpenCV {cv2.__version__} cannot convert interlaced pictures; write '
                    f'them whole first: ffmpeg -i {path.name} -vf yadif NEW.mp4'
                )
            words.show()
            if not found:
                break
            position = float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000.0
            if index == 0:
                start = position
            elif math.isfinite(position) and position - start > seconds:
                seconds = position - start
            else:
                seconds += 1.0 / fps
            yield index, seconds, np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
            index += 1
        if index == 0:
            raise OSError(f'{path}: no picture can be read; give a video file')
    finally:
        capture.release()
        words.close()


def _name(path: Path) -> str:
    """The name as OpenCV takes it: one that is no UTF-8 makes it end the process.

    It is absolute, as FFmpeg takes what stands before a colon for a protocol.

    :raises OSError: if it is none.
    """
    name = os.path.abspath(path)
    try:
        name.encode()
    except UnicodeEncodeError:
        raise OSError(f'{path}: OpenCV needs a name in UTF-8; rename it') from None
    return name


class VideoWriter:
    """Writes RGB pictures as MPEG-4 Part 2, which OpenCV writes everywhere.

    The first one's size is that of the video; one of another size is drawn into it.

    :raises OSError: if the path cannot be given to OpenCV.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self._path = _name(path)
        self._fps = fps
        self._size = (0, 0)
        self._writer: cv2.VideoWriter | None = None
        self._words = LibraryWords()

    def write(self, picture: NDArray[np.uint8]) -> None:
        """Append a picture, (height, width, 3) uint8.

        :raises OSError: if the file cannot be written.
        """
        if self._writer is None:
            self._size = (picture.shape[0], picture.shape[1])
            code = cv2.VideoWriter.fourcc(*'mp4v')
            with self._words:
                self._writer = cv2.VideoWriter(self._path, code, self._fps, self._size[::-1])
            self._words.show()
            if not self._writer.isOpened():
                raise OSError(f'{self._path}: OpenCV cannot write this video')
        with self._words:
            self._writer.write(cv2.cvtColor(_inside(picture, self._size), cv2.COLOR_RGB2BGR))
        if _UNWRITTEN in self._words.said:
            raise OSError(f'{self._path}: a frame cannot be written; is the disk full?')
        self._words.show()

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.release()
        self._words.close()


def _inside(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """``picture`` as large as fits into ``size``, height and width, before black."""
    height, width = picture.shape[:2]
    if (height, width) == size:
        return picture
    scale = min(size[0] / height, size[1] / width)
    rows, columns = max(1, int(height * scale)), max(1, int(width * scale))
    canvas = np.zeros((*size, 3), np.uint8)
    canvas[:rows, :columns] = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA)
    return canvas


def write_video(pictures: Iterable[NDArray[np.uint8]], path: Path, fps: float) -> None:
    """Write all pictures.

    :raises OSError: if the file cannot be written.
    """
    writer = VideoWriter(path, fps)
    try:
        for picture in pictures:
            writer.write(picture)
    finally:
        writer.close()
