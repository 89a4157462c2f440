"""The small grey picture that all but the freshness of a stream is judged by."""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Grey: TypeAlias = NDArray[np.uint8]

# Longest side, pixels.
LONGEST = 160


def grey_thumbnail(image: NDArray[np.uint8]) -> Grey:
    """``image``, (height, width), (height, width, 1) or (height, width, 3) uint8, reduced to grey.

    The aspect is kept; the longest side is 160 pixels, or the picture's own if that is less.
    """
    if image.ndim == 3:
        if image.shape[2] == 3:
            image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)  # type: ignore[assignment]
        else:
            image = image[:, :, 0]
    height, width = image.shape
    scale = min(1.0, LONGEST / max(height, width))
    if scale == 1.0:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small: Grey = cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return small


def enlarged(grey: Grey) -> Grey:
    """A thumbnail of a small picture at the size of others, so that corners are as far apart."""
    if max(grey.shape) >= LONGEST:
        return grey
    scale = LONGEST / max(grey.shape)
    return np.asarray(cv2.resize(grey, None, fx=scale, fy=scale), np.uint8)
