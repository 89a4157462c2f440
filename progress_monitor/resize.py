"""Pictures to smaller sizes: for the way through the monitor, and for the model."""

from __future__ import annotations

import functools
import math
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

P = TypeVar('P', np.uint8, np.uint16)


def shrink(image: NDArray[P], max_pixels: int) -> NDArray[P]:
    """Return ``image`` with at most ``max_pixels`` pixels, the aspect kept.

    ``image`` is (height, width) or (height, width, channels), uint8 or uint16. Each new pixel
    is the mean of the area that it covers. Nothing is enlarged: an image that is small enough is
    returned as it is.

    :raises ValueError: if ``max_pixels`` is below 1.
    """
    height, width = image.shape[:2]
    size = shrunk_size(height, width, max_pixels)
    if size == (height, width):
        return image
    resized = cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, image.dtype)


def shrunk_size(height: int, width: int, max_pixels: int) -> tuple[int, int]:
    """Return the height and width that ``shrink`` gives to a picture of this size.

    :raises ValueError: if ``max_pixels`` is below 1.
    """
    if max_pixels < 1:
        raise ValueError(f'max_pixels: {max_pixels} is below 1')
    if height * width <= max_pixels:
        return height, width
    scale = math.sqrt(max_pixels / (height * width))
    rows = min(max(1, math.floor(height * scale)), max_pixels)
    columns = min(max(1, math.floor(width * scale)), max_pixels // rows)
    return min(rows, max_pixels // columns), columns


def fit(image: NDArray[np.uint8], max_pixels: int, multiple: int) -> NDArray[np.uint8]:
    """Bring ``image``, (height, width, 3) uint8, to a size that the model takes without padding.

    Both sides become multiples of ``multiple`` with at most ``max_pixels`` pixels together, the
    aspect kept as near as possible; nothing is enlarged beyond the next multiple. An image that
    already has such a size is returned as it is.

    :raises ValueError: if ``max_pixels`` is below one cell of ``multiple`` squared, or the image is
        empty.
    """
    height, width = image.shape[:2]
    rows, columns = fitted_size(height, width, max_pixels, multiple)
    if (rows, columns) == (height, width):
        return image
    # Bicubic, as the model was trained with, leaves pixels out where the picture becomes smaller.
    smaller = rows * columns < 0.8 * height * width
    method = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (columns, rows), interpolation=method), np.uint8)


@functools.lru_cache(maxsize=64)
def fitted_size(height: int, width: int, max_pixels: int, multiple: int) -> tuple[int, int]:
    """Return the height and width that ``fit`` gives to a picture of this size.

    :raises ValueError: as ``fit``.
    """
    if height < 1 or width < 1:
        raise ValueError(f'an image of {width} x {height} pixels cannot be shown to the model')
    cell = multiple * multiple
    budget = max_pixels // cell
    if budget < 1:
        raise ValueError(f'max_pixels: {max_pixels} is below {cell}, one cell of the model')
    best, lowest = (1, 1), math.inf
    for rows in range(1, min(math.ceil(height / multiple), budget) + 1):
        for columns in range(1, min(math.ceil(width / multiple), budget // rows) + 1):
            distortion = abs(math.log(columns * height / (rows * width)))
            # A quarter of the area is worth giving up for a distortion of about 7 %.
            cost = distortion - 0.25 * math.log(rows * columns)
            if cost < lowest - 1e-9:
                best, lowest = (rows, columns), cost
    return best[0] * multiple, best[1] * multiple
