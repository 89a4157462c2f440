"""Pictures of a recording from which a demonstration is chosen, few enough to be held."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from progress_monitor.resize import shrink

MOST = 256
_THUMBNAIL = 48
# A change of less than that share of a lively moment's is the sensor's noise or a codec's.
_LIVELY = 90.0
_MOVES = 0.2
_LEAST = 4.0


@dataclass(frozen=True, eq=False)
class Keyframe:
    """One picture: ``seconds`` since the first, and its pixels as PNG."""

    seconds: float
    png: bytes
    thumbnail: NDArray[np.float32]

    def image(self) -> NDArray[np.uint8]:
        """(height, width, 3) uint8 RGB."""
        return np.asarray(Image.open(io.BytesIO(self.png)).convert('RGB'), np.uint8)


class Keyframes:
    """Holds at most ``MOST`` pictures of a recording of any length, evenly spaced.

    Whenever there are more, every other one is given up, and from then on only every other one of
    those that come is taken.
    """

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._kept: list[Keyframe] = []
        self._every = 1
        self._seen = 0
        self._first_ns: int | None = None

    def add(self, stamp_ns: int, image: NDArray[np.uint8]) -> None:
        """Take in the next picture, (height, width, 3) uint8 RGB."""
        if self._first_ns is None:
            self._first_ns = stamp_ns
        self._seen += 1
        if (self._seen - 1) % self._every:
            return
        small = shrink(image, self._max_pixels)
        coded = io.BytesIO()
        Image.fromarray(small).save(coded, 'PNG', compress_level=1)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        thumbnail = cv2.resize(grey, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA)
        seconds = (stamp_ns - self._first_ns) * 1e-9
        self._kept.append(Keyframe(seconds, coded.getvalue(), thumbnail.astype(np.float32)))
        if len(self._kept) > MOST:
            self._kept = self._kept[::2]
            self._every *= 2

    @property
    def pictures(self) -> Sequence[Keyframe]:
        """What is held, oldest first."""
        return self._kept

    def at(self, seconds: float) -> Keyframe:
        """The picture nearest to a time; there must be one."""
        return min(self._kept, key=lambda frame: abs(frame.seconds - seconds))

    def movement(self) -> tuple[float, float] | None:
        """When the scene begins to move and when it comes to rest, s; None if nothing moves.

        A robot that waits before its task and rests after it makes no progress meanwhile.
        """
        pairs = zip(self._kept, self._kept[1:], strict=False)
        change = np.array([_change(a, b) for a, b in pairs])
        liveliest = float(np.percentile(change, _LIVELY)) if change.size else 0.0
        moving = np.flatnonzero(change >= max(_MOVES * liveliest, _LEAST))
        if not moving.size:
            return None
        return self._kept[int(moving[0])].seconds, self._kept[int(moving[-1]) + 1].seconds


def _change(a: Keyframe, b: Keyframe) -> float:
    """How much of a picture has changed: the largest change of a cell, so that a small arm counts
    as much as a large one.
    """
    return float(np.abs(a.thumbnail - b.thumbnail).max())
