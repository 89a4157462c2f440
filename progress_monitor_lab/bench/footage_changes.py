"""Disturbances of real clips: views that change, lenses that are covered, cameras that hang."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Disturbance = Callable[[Sequence[Image]], list[Image]]

# What the picture shows where the moved camera would see more than the clip holds.
_BORDERS = (cv2.BORDER_CONSTANT, cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT)
_COVERED_SIGMA = 0.12


def _moved(matrix: NDArray[np.float64], border: int) -> Disturbance:
    def disturb(images: Sequence[Image]) -> list[Image]:
        height, width = images[0].shape[:2]
        return [
            np.asarray(cv2.warpAffine(image, matrix, (width, height), borderMode=border), np.uint8)
            for image in images
        ]

    return disturb


def shift(rng: np.random.Generator, size: tuple[int, int]) -> Disturbance:
    """By 10 to 35 % of (height, width), every other time by exactly 10 % along one side."""
    height, width = size
    matrix = np.eye(2, 3)
    if rng.random() < 0.5:
        side = int(rng.integers(0, 2))
        matrix[side, 2] = rng.choice([-0.1, 0.1]) * (width, height)[side]
    else:
        way, angle = rng.uniform(0.1, 0.35) * width, rng.uniform(0.0, 2.0 * math.pi)
        matrix[:, 2] = way * math.cos(angle), way * math.sin(angle)
    return _moved(matrix, int(rng.choice(_BORDERS)))


def rotation(rng: np.random.Generator, size: tuple[int, int]) -> Disturbance:
    """By 5 to 30 degrees about the middle, every other time by exactly 5."""
    angle = 5.0 if rng.random() < 0.5 else rng.uniform(5.0, 30.0)
    return _turned(rng, size, angle * rng.choice([-1.0, 1.0]), 1.0)


def zoom(rng: np.random.Generator, size: tuple[int, int]) -> Disturbance:
    """In by 1.15 to 1.6, or out by as much."""
    factor = rng.uniform(1.15, 1.6)
    return _turned(rng, size, 0.0, factor if rng.random() < 0.5 else 1.0 / factor)


def _turned(
    rng: np.random.Generator, size: tuple[int, int], degrees: float, scale: float
) -> Disturbance:
    height, width = size
    matrix = cv2.getRotationMatrix2D((width / 2.0, height / 2.0), degrees, scale)
    return _moved(np.asarray(matrix, np.float64), int(rng.choice(_BORDERS)))


def black(images: Sequence[Image]) -> list[Image]:
    """A lens cap: black with the noise that is left."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 5, image.shape).astype(np.uint8) for image in images]


def covered(images: Sequence[Image]) -> list[Image]:
    """A hand before the lens: no detail is left, light is."""
    sigma = _COVERED_SIGMA * max(images[0].shape[:2])
    return [np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8) for image in images]


def frozen(images: Sequence[Image]) -> list[Image]:
    """The first picture again and again."""
    return [images[0].copy() for _ in images]


MOVES: dict[str, Callable[[np.random.Generator, tuple[int, int]], Disturbance]] = {
    'shift': shift,
    'rotation': rotation,
    'zoom': zoom,
}
FAULTS: dict[str, Disturbance] = {'black': black, 'covered': covered, 'frozen': frozen}
