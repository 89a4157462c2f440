"""Pictures made smaller: for the monitor as they come, and for the model to its own multiple."""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def shrink(image: Pixels, max_pixels: int) -> Pixels:
    """Bring ``image``, (height, width, 3) uint8, to at most ``max_pixels``, its aspect kept.

    One that is small enough is returned as it is; nothing is enlarged.
    """
    height, width = image.shape[:2]
    if height * width <= max_pixels:
        return image
    scale = math.sqrt(max_pixels / (height * width))
    size = max(math.floor(width * scale), 1), max(math.floor(height * scale), 1)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def fit(image: Pixels, max_pixels: int, multiple: int) -> Pixels:
    """Bring ``image``, (height, width, 3) uint8, to a size that the model takes without padding.

    Both sides become multiples of ``multiple`` with at most ``max_pixels`` pixels together, the
    aspect kept as near as possible; nothing is enlarged beyond the next multiple. An image that
    already has such a size is returned as it is.

    :raises ValueError: if ``max_pixels`` is below one cell of the model, or the image is empty.
    """
    height, width = image.shape[:2]
    size = _model_size(height, width, max_pixels, multiple)
    if size == (height, width):
        return image
    shrinks = size[0] * size[1] < 0.8 * height * width
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (size[1], size[0]), interpolation=how), np.uint8)


@functools.lru_cache(maxsize=64)
def _model_size(height: int, width: int, max_pixels: int, multiple: int) -> tuple[int, int]:
    if height < 1 or width < 1:
        raise ValueError(f'an image of {width} x {height} pixels cannot be shown to the model')
    budget = max_pixels // (multiple * multiple)
    if budget < 1:
        raise ValueError(
            f'max_pixels: {max_pixels} is below {multiple * multiple}, one cell of the model'
        )
    best, lowest = (1, 1), math.inf
    for rows in range(1, min(math.ceil(height / multiple), budget) + 1):
        for columns in range(1, min(math.ceil(width / multiple), budget // rows) + 1):
            distortion = abs(math.log(columns * height / (rows * width)))
            # A quarter of the area is worth giving up for a distortion of about 7 %.
            cost = distortion - 0.25 * math.log(rows * columns)
            if cost < lowest - 1e-9:
                best, lowest = (rows, columns), cost
    return best[0] * multiple, best[1] * multiple
