"""What disturbs a camera that films the cell: drawn over its pictures, each from a seed.

A disturbance is made for one stream and called for its pictures in order. Pictures are
(height, width, 3) uint8 RGB of one size.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Disturbance = Callable[[Picture, float], Picture]


class Passers:
    """People and things that pass in the background, each with its shadow on the table."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._until = 0.0
        self._next(0.0)

    def _next(self, now: float) -> None:
        rng = self._rng
        self._from = now + float(rng.uniform(0.0, 2.0))
        self._until = self._from + float(rng.uniform(2.0, 6.0))
        self._colour = rng.integers(10, 200, 3)
        self._width = float(rng.uniform(0.08, 0.2))
        self._foot = float(rng.uniform(0.12, 0.26))
        self._leftward = bool(rng.random() < 0.5)

    def __call__(self, image: Picture, seconds: float) -> Picture:
        if seconds >= self._until:
            self._next(seconds)
        if seconds < self._from:
            return image
        height, width = image.shape[:2]
        share = (seconds - self._from) / (self._until - self._from)
        x = round(((1.0 - share) if self._leftward else share) * 1.4 * width - 0.2 * width)
        half, foot = round(self._width * width / 2), round(self._foot * height)
        sway = round(0.01 * height * np.sin(9.0 * seconds))
        drawn = image.copy()
        colour = tuple(int(value) for value in self._colour)
        cv2.ellipse(drawn, (x, foot // 2 + sway), (half, foot // 2), 0, 0, 360, colour, -1)
        shade = np.zeros((height, width), np.float32)
        cv2.ellipse(shade, (x, foot + half), (2 * half, half), 0, 0, 360, 0.25, -1)
        shade = cv2.GaussianBlur(shade, (0, 0), max(half / 2, 1.0))
        # The cell's arm is red, and stands before whoever passes.
        arm = image[:, :, 0] > 1.6 * image[:, :, 1]
        drawn[arm] = image[arm]
        return np.asarray(drawn * (1.0 - shade[:, :, None]), np.uint8)


class ExposureDrift:
    """Automatic exposure and white balance that hunt slowly."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._periods = rng.uniform(3.0, 12.0, 3)
        self._phases = rng.uniform(0.0, 2.0 * np.pi, 3)
        self._depth = float(rng.uniform(0.15, 0.3))

    def __call__(self, image: Picture, seconds: float) -> Picture:
        swing = np.sin(2.0 * np.pi * seconds / self._periods + self._phases)
        gain = 1.0 + self._depth * swing[0]
        balance = np.array([1.0 + 0.06 * swing[1], 1.0, 1.0 + 0.06 * swing[2]])
        return np.asarray(np.clip(image * (gain * balance), 0, 255), np.uint8)


class Compression:
    """JPEG of low quality, and bands of noise that roll through the picture."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._quality = int(rng.integers(25, 60))
        self._speed = float(rng.uniform(0.2, 1.0))

    def __call__(self, image: Picture, seconds: float) -> Picture:
        rows = np.arange(image.shape[0]) / image.shape[0]
        band = 4.0 * np.sin(2.0 * np.pi * (3.0 * rows + self._speed * seconds))
        noisy = np.clip(image + band[:, None, None], 0, 255).astype(np.uint8)
        done, coded = cv2.imencode('.jpg', noisy, (cv2.IMWRITE_JPEG_QUALITY, self._quality))
        assert done
        return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)


class Bump:
    """The camera is knocked at ``at`` seconds and stays where it was knocked to."""

    def __init__(self, rng: np.random.Generator, at: float) -> None:
        self._at = at
        self._angle = float(rng.uniform(5.0, 9.0) * rng.choice((-1.0, 1.0)))
        self._shift = rng.uniform(0.1, 0.16, 2) * rng.choice((-1.0, 1.0), 2)

    def __call__(self, image: Picture, seconds: float) -> Picture:
        if seconds < self._at:
            return image
        return _moved(image, self._angle, self._shift[0], self._shift[1], 1.0)

    def undone(self, image: Picture) -> Picture:
        """What is left of ``image`` after the knock, where it was before; the rest is filled."""
        height, width = image.shape[:2]
        right, down = self._shift
        back = cv2.invertAffineTransform(_motion(image, self._angle, right, down, 1.0))
        knocked = self(image, self._at)
        return np.asarray(
            cv2.warpAffine(
                knocked,
                back,
                (width, height),
                flags=cv2.INTER_CUBIC,
                borderMode=cv2.BORDER_REPLICATE,
            ),
            np.uint8,
        )


class Wrist:
    """A camera that never stands still, as one on a wrist or a head."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._periods = rng.uniform(1.5, 4.0, 4)
        self._phases = rng.uniform(0.0, 2.0 * np.pi, 4)

    def __call__(self, image: Picture, seconds: float) -> Picture:
        swing = np.sin(2.0 * np.pi * seconds / self._periods + self._phases)
        zoom = 1.08 + 0.06 * swing[3]
        return _moved(image, 4.0 * swing[0], 0.05 * swing[1], 0.05 * swing[2], zoom)


class Steadied:
    """What is shown of a camera that sways or was knocked: another view, nearly still."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._angle = float(rng.uniform(-4.0, 4.0))
        self._shift = rng.uniform(-0.05, 0.05, 2)
        self._zoom = float(rng.uniform(1.0, 1.14))

    def __call__(self, image: Picture, seconds: float) -> Picture:
        right, down = self._shift + self._rng.normal(0.0, 0.003, 2)
        angle = self._angle + float(self._rng.normal(0.0, 0.2))
        return _moved(image, angle, right, down, self._zoom)


class Knocked:
    """What is shown of a camera that was knocked before the first picture."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._bump = Bump(rng, 0.0)

    def __call__(self, image: Picture, _seconds: float) -> Picture:
        return self._bump.undone(image)


def _moved(image: Picture, angle: float, right: float, down: float, zoom: float) -> Picture:
    """``image`` turned by degrees about its middle and moved by shares of its sides."""
    height, width = image.shape[:2]
    matrix = _motion(image, angle, right, down, zoom)
    return np.asarray(
        cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101), np.uint8
    )


def _motion(
    image: Picture, angle: float, right: float, down: float, zoom: float
) -> NDArray[np.float64]:
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, zoom)
    matrix[:, 2] += (right * width, down * height)
    return np.asarray(matrix, np.float64)


DISTURBANCES: dict[str, Callable[[np.random.Generator], Disturbance]] = {
    'distractor': Passers,
    'exposure_drift': ExposureDrift,
    'compression': Compression,
    'wrist_camera': Wrist,
}
