"""A recorded run whose every frame can be looked at in any order, seen by one or more cameras."""

from __future__ import annotations

import bisect
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from progress_monitor.evidence.thumbnail import Grey
from progress_monitor.offline.video import frame_rate, read_video
from progress_monitor.resize import shrink

# Of each camera: 20 minutes at 30 a second.
MOST_FRAMES = 36_000
_MOST_PIXELS = 640 * 480
_QUALITY = 88
# Files round the times of their frames, to a millisecond in WebM.
_ROUNDED_S = 1e-3


@dataclass
class _Reel:
    """One camera's frames as JPEG, one after the other in ``file``; ``ends`` are their ends.

    ``times`` are those of the frames, s.
    """

    fps: float
    file: BinaryIO
    ends: list[int] = field(default_factory=lambda: [0])
    times: list[float] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)

    @property
    def lasts_s(self) -> float:
        return self.times[-1] + 1.0 / self.fps


class Recording:
    """The frames of one or more videos of the same run, which all start at time 0.

    Every frame is decoded once, in order, since few codecs can be sought exactly, and kept in a
    temporary file at no more than 640 by 480 pixels. ``fps`` is the rate of the first video, 1/s,
    by which frames are numbered from 0: frame n is what is shown at n / ``fps`` s, whatever the
    spacing of the file's own. ``frames`` is how many the longest video lasts.

    :param videos: video files.
    :param told: is called now and then with the number of frames decoded so far.
    :raises OSError: if one is missing, holds no video, or more than 36000 frames.
    """

    def __init__(
        self, videos: Sequence[Path], told: Callable[[int], None] = lambda count: None
    ) -> None:
        self.videos = tuple(videos)
        self._lock = threading.Lock()
        self._reels: list[_Reel] = []
        try:
            for video in self.videos:
                self._reels.append(_Reel(frame_rate(video), tempfile.TemporaryFile()))
                _fill(self._reels[-1], video, told)
        except BaseException:
            self.close()
            raise
        self.fps = self._reels[0].fps
        self.frames = max(round(reel.lasts_s * self.fps) for reel in self._reels)

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def duration_s(self) -> float:
        """Length in s."""
        return self.frames / self.fps

    @property
    def even(self) -> bool:
        """Whether the first video's own frames are those numbered here, but for one or two."""
        times = self._reels[0].times
        return all(abs(time - n / self.fps) < 2.5 / self.fps for n, time in enumerate(times))

    @property
    def cameras(self) -> tuple[str, ...]:
        """The videos' file names without their endings."""
        return tuple(video.stem for video in self.videos)

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Width and height of each camera's frames as kept, pixels."""
        return tuple(reel.size for reel in self._reels)

    def jpeg(self, camera: int, frame: int) -> bytes:
        """What ``camera`` saw at the time of ``frame``; its last picture, if it ended before.

        :raises IndexError: if there is no such camera or frame.
        """
        if not (0 <= camera < len(self._reels) and 0 <= frame < self.frames):
            raise IndexError(f'no frame {frame} of camera {camera}')
        reel = self._reels[camera]
        index = bisect.bisect_right(reel.times, frame / self.fps + _ROUNDED_S) - 1
        start, end = reel.ends[index : index + 2]
        with self._lock:
            reel.file.seek(start)
            return reel.file.read(end - start)

    def picture(self, camera: int, frame: int) -> NDArray[np.uint8]:
        """The same, (height, width, 3) uint8 RGB."""
        data = np.frombuffer(self.jpeg(camera, frame), np.uint8)
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
        return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)

    def greys(self, camera: int, every: int) -> Iterator[Grey]:
        """Each ``every``-th frame, (height, width) uint8, at a quarter of its size."""
        for frame in range(0, self.frames, every):
            data = np.frombuffer(self.jpeg(camera, frame), np.uint8)
            yield np.asarray(cv2.imdecode(data, cv2.IMREAD_REDUCED_GRAYSCALE_4), np.uint8)

    def close(self) -> None:
        """Give the temporary files back."""
        for reel in self._reels:
            reel.file.close()


def _fill(reel: _Reel, video: Path, told: Callable[[int], None]) -> None:
    for index, seconds, image in read_video(video):
        if index >= MOST_FRAMES:
            raise OSError(
                f'{video}: more than {MOST_FRAMES} frames; cut the demonstration out of it first'
            )
        small = np.ascontiguousarray(shrink(image, _MOST_PIXELS)[:, :, ::-1])
        reel.size = (small.shape[1], small.shape[0])
        done, data = cv2.imencode('.jpg', small, (cv2.IMWRITE_JPEG_QUALITY, _QUALITY))
        if not done:
            raise OSError(f'{video}: frame {index} cannot be kept as JPEG')
        reel.file.write(data.tobytes())
        reel.ends.append(reel.ends[-1] + data.size)
        reel.times.append(seconds)
        if index % 50 == 0:
            told(index)
    told(len(reel.times))
