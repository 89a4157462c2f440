"""Other footage made from clips: another camera, another pace, another light, another codec.

A variant takes pictures, (height, width, 3) uint8 RGB, with their rate, and gives pictures of one
size with a rate of their own. The camera of the clip stands or moves in it as it did before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from progress_monitor_lab.bench.footage_changes import Image

Shown = tuple[Sequence[Image], float]
Variant = Callable[[Sequence[Image], float], Shown]
Drawn = Callable[[Image, float], NDArray[np.generic]]


def _each(draw: Drawn) -> Variant:
    """A variant that draws each picture anew from its seconds."""

    def make(images: Sequence[Image], rate: float) -> Shown:
        drawn = [np.ascontiguousarray(draw(image, i / rate)) for i, image in enumerate(images)]
        return [np.clip(image, 0, 255).astype(np.uint8) for image in drawn], rate

    return make


def _thinned(every: int, faster: bool) -> Variant:
    """One of so many pictures, at the same rate (a faster scene) or as seldom as they are left."""
    return lambda images, rate: (images[::every], rate if faster else rate / every)


def _slower(images: Sequence[Image], rate: float) -> Shown:
    return images, rate / 2.0


def _repeated(images: Sequence[Image], rate: float) -> Shown:
    """At 60 pictures a second, each of them several times."""
    times = max(1, round(60.0 / rate))
    return [image for image in images for _ in range(times)], rate * times


def _resized(image: Image, width: int, height: int) -> Image:
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _crop(image: Image, seconds: float) -> Image:
    height, width = image.shape[:2]
    return image[height // 6 : -(height // 6), width // 6 : -(width // 6)]


def _letterbox(image: Image, seconds: float) -> Image:
    bar = image.shape[0] // 4
    return np.asarray(cv2.copyMakeBorder(image, bar, bar, 0, 0, cv2.BORDER_CONSTANT), np.uint8)


def _upright(image: Image, seconds: float) -> Image:
    height, width = image.shape[:2]
    part = round(height * 9 / 16)
    first = (width - part) // 2
    return _resized(image[:, first : first + part], 360, 640)


def _jpeg(quality: int) -> Drawn:
    def draw(image: Image, seconds: float) -> NDArray[np.generic]:
        _, coded = cv2.imencode('.jpg', image, (cv2.IMWRITE_JPEG_QUALITY, quality))
        return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)

    return draw


def _gamma(image: Image, seconds: float) -> NDArray[np.generic]:
    power = 1.0 + 0.4 * math.sin(2.0 * math.pi * seconds / 8.0)
    return 255.0 * (image / 255.0) ** power


def _exposure(image: Image, seconds: float) -> NDArray[np.generic]:
    return image * (1.0, 1.35, 0.9, 0.65)[int(seconds / 2.0) % 4]


def _bands(image: Image, seconds: float) -> NDArray[np.generic]:
    rows = np.arange(image.shape[0]) / image.shape[0]
    wave = np.sin(2.0 * np.pi * (2.0 * rows + 0.7 * seconds))
    return image * (1.0 + 0.12 * wave[:, None, None])


def _shadow(image: Image, seconds: float) -> NDArray[np.generic]:
    height, width = image.shape[:2]
    middle = width * (0.5 + 0.7 * math.sin(2.0 * math.pi * seconds / 6.0))
    ys, xs = np.mgrid[:height, :width]
    inside = np.abs(xs + 0.3 * ys - middle) < 0.2 * width
    return image * (1.0 - 0.5 * cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 4.0))[..., None]


def _patterned(height: int, width: int, seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(20, 220, (max(height // 14, 2), max(width // 14, 2), 3)).astype(
        np.float32
    )
    return np.asarray(cv2.resize(coarse, (width, height)), np.float32)


def _person(image: Image, seconds: float) -> NDArray[np.generic]:
    """Somebody in patterned clothes, a third of the picture wide, crosses it in four seconds."""
    height, width = image.shape[:2]
    body = _patterned(height, width // 3, 1)
    share = (seconds % 8.0) / 4.0
    left = round(share * 4 / 3 * width) - width // 3
    drawn = image.astype(np.float32)
    first, last = max(left, 0), min(left + width // 3, width)
    if first < last:
        drawn[:, first:last] = body[:, first - left : last - left]
    return drawn


def _gripper(image: Image, seconds: float) -> NDArray[np.generic]:
    """A gripper that fills the lower 60 % and trembles a little."""
    height, width = image.shape[:2]
    drawn = image.astype(np.float32)
    top = round(0.4 * height)
    hand = _patterned(height - top, width, 2)
    drawn[top:] = np.roll(hand, round(math.sin(9.0 * seconds)), axis=1)
    return drawn


def _displaced(image: Image, right: float, down: float) -> NDArray[np.generic]:
    matrix = np.array([[1.0, 0.0, right], [0.0, 1.0, down]])
    height, width = image.shape[:2]
    return cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)


def _shake(image: Image, seconds: float) -> NDArray[np.generic]:
    """A camera held by hand: one per cent of the picture to either side."""
    reach = 0.01 * max(image.shape[:2])
    right = math.sin(7.1 * seconds) + math.sin(11.3 * seconds + 1.0)
    down = math.sin(6.3 * seconds + 2.0) + math.sin(12.7 * seconds)
    return _displaced(image, reach * right / 2.0, reach * down / 2.0)


def _pan(image: Image, seconds: float) -> NDArray[np.generic]:
    """To and fro by a quarter of the width, in sixteen seconds."""
    reach = 0.125 * image.shape[1]
    return _displaced(image, reach * math.sin(2.0 * math.pi * seconds / 16.0), 0.0)


VARIANTS: dict[str, Variant] = {
    'as it is': lambda images, rate: (images, rate),
    'cropped': _each(_crop),
    'half the speed': _slower,
    'twice the speed': _thinned(2, faster=True),
    'four times the speed': _thinned(4, faster=True),
    '5 a second': _thinned(2, faster=False),
    '60 a second, repeated': _repeated,
    'JPEG 10': _each(_jpeg(10)),
    'JPEG 30': _each(_jpeg(30)),
    'gamma': _each(_gamma),
    'exposure steps': _each(_exposure),
    'rolling bands': _each(_bands),
    'letterbox': _each(_letterbox),
    'upright': _each(_upright),
    'grey': _each(lambda image, seconds: cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)),
    '1080p': _each(lambda image, seconds: _resized(image, 1920, 1080)),
    '96 x 96': _each(lambda image, seconds: _resized(image, 96, 96)),
    'shadow': _each(_shadow),
    'person': _each(_person),
    'gripper': _each(_gripper),
    'shake': _each(_shake),
    'pan': _each(_pan),
}
