"""Whether a picture that repeats itself means a frozen camera or a scene at rest.

A sensor's noise never repeats. A picture without noise (a simulator, a compressed video) does
whenever nothing moves. Which of the two a source is shows in the places where nothing moves:
between two different pictures of a sensor nearly all of them differ by a little, between two of a
simulator none does. Until that is known, repetition counts as frozen: a camera that hangs must
never look like a robot that does nothing.
"""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

# The picture is compared in cells, and in so many rows at most.
_CELLS = 16
_ROWS = 160
# Grey levels: a cell with a larger difference moves; its neighbours are left out with it.
_MOVES = 12
# Cells this dark or bright clip the noise.
_DARK, _BRIGHT = 8, 247
_FEWEST_CELLS = 0.1
# Share of the resting cells without any difference, at most with and at least without noise.
_NOISY_AT_MOST = 0.8
_FREE_AT_LEAST = 0.95
_REMEMBERED = 50
_FEWEST_PAIRS = 5
_AGREE = 0.7
_PERIOD_NS = 200_000_000


class RepetitionWatch:
    """Learns whether one camera's pictures carry noise.

    :param noise_free: yes or no state it, auto learns it.
    :param confirm: successive repeats that are more than a stream which shows each picture twice.
    """

    def __init__(self, noise_free: str, confirm: int) -> None:
        self._stated = {'yes': True, 'no': False}.get(noise_free)
        self._confirm = confirm
        self._learned: bool | None = None
        self._free: deque[bool] = deque(maxlen=_REMEMBERED)
        self._image: NDArray[np.uint8] | None = None
        self._compared_ns = 0
        self.changed_ns = 0
        self.repeats = 0

    @property
    def noise_free(self) -> bool | None:
        """Whether the source has no sensor noise; None: not known yet."""
        return self._learned if self._stated is None else self._stated

    def restart(self, stamp_ns: int) -> None:
        """Begin again at ``stamp_ns`` with what is known of the source."""
        self._image = None
        self.changed_ns = self._compared_ns = stamp_ns
        self.repeats = 0

    def observe(self, stamp_ns: int, image: NDArray[np.uint8]) -> bool:
        """Take in a picture, uint8 of any shape; whether it is the last one over again."""
        last = self._image
        if last is not None and np.array_equal(image, last):
            self.repeats += 1
            return True
        if last is not None and last.shape == image.shape and self._stated is None:
            repeated = self.repeats >= self._confirm
            if repeated or stamp_ns - self._compared_ns >= _PERIOD_NS:
                self._learn(last, image, repeated)
                self._compared_ns = stamp_ns
        self._image, self.changed_ns, self.repeats = image, stamp_ns, 0
        return False

    def _learn(self, last: NDArray[np.uint8], image: NDArray[np.uint8], repeated: bool) -> None:
        unchanged = _unchanged_share(last, image)
        if unchanged is None:
            return
        if repeated and unchanged >= _NOISY_AT_MOST and self._learned is None:
            # A video codec touches up a scene at rest now and then; a sensor that goes on is noisy.
            self._learned = True
        if _NOISY_AT_MOST <= unchanged < _FREE_AT_LEAST:
            return
        free = unchanged >= _FREE_AT_LEAST
        self._free.append(free)
        if len(self._free) >= _FEWEST_PAIRS:
            share = sum(self._free) / len(self._free)
            if share >= _AGREE or share <= 1.0 - _AGREE:
                self._learned = share >= _AGREE


def _unchanged_share(last: NDArray[np.uint8], image: NDArray[np.uint8]) -> float | None:
    """Share of the cells at rest in which not one value differs; None: too few are at rest."""
    height = image.shape[0]
    rows = slice(None, None, max(1, height // _ROWS))
    before = last[rows].reshape(len(last[rows]), -1)
    after = image[rows].reshape(before.shape)
    tall, wide = before.shape[0] // _CELLS, before.shape[1] // _CELLS
    if tall == 0 or wide == 0:
        return None
    before, after = (
        np.ascontiguousarray(part[: tall * _CELLS, : wide * _CELLS]) for part in (before, after)
    )
    difference = cv2.absdiff(before, after)
    largest = difference.reshape(_CELLS, tall, -1).max(axis=1)
    largest = largest.reshape(_CELLS, _CELLS, wide).max(axis=2)
    level = cv2.resize(after, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
    moves = cv2.dilate((largest > _MOVES).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    rests = ~moves & (level > _DARK) & (level < _BRIGHT)
    if rests.sum() < _FEWEST_CELLS * rests.size:
        return None
    return float((largest[rests] == 0).mean())
