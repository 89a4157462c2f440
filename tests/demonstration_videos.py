"""Small videos of a thing that moves, for tests of annotating."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from progress_monitor.offline.video import write_video

FPS = 10.0
TASK = 'put the block into the corner'
# Waits for 1 s, goes right for 2 s, waits for 0.8 s, goes down for 2 s, rests for 1 s.
WAYS = ((10, 0, 0), (20, 5, 0), (8, 0, 0), (20, 0, 3), (10, 0, 0))
FRAMES = sum(way[0] for way in WAYS)


def pictures(shade: int = 0) -> Iterator[NDArray[np.uint8]]:
    """A textured block on a textured table; frame n has the top left pixels n * 3 + ``shade``."""
    rng = np.random.default_rng(3)
    table = cv2.resize(rng.integers(60, 120, (12, 16, 3), np.uint8), (160, 120))
    block = cv2.resize(rng.integers(120, 255, (6, 6, 3), np.uint8), (30, 30))
    x, y, number = 8, 8, 0
    for count, right, down in WAYS:
        for _ in range(count):
            x, y = x + right, y + down
            image = np.asarray(table, np.uint8).copy()
            image[y : y + 30, x : x + 30] = block
            image[:8, :8] = number * 3 + shade
            number += 1
            yield image


def write_demonstration(path: Path, shade: int = 0) -> Path:
    """Write it as a video of 6.8 s."""
    write_video(pictures(shade), path, FPS)
    return path
