"""Raw pixel layouts to RGB. Names as in ``sensor_msgs/image_encodings.hpp``, in lower case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from progress_monitor.pictures.brightness import BitDepth
from progress_monitor.pictures.errors import ImageError, check_size, quoted
from progress_monitor.resize import shrink

# REP-118: distances, not brightness.
DEPTH = ('16uc1', '32fc1')

# encoding: (channels, bits a channel, conversion to RGB; None: it is RGB already).
_PACKED: dict[str, tuple[int, int, int | None]] = {
    'rgb8': (3, 8, None),
    'rgb16': (3, 16, None),
    'bgr8': (3, 8, cv2.COLOR_BGR2RGB),
    'bgr16': (3, 16, cv2.COLOR_BGR2RGB),
    'rgba8': (4, 8, cv2.COLOR_RGBA2RGB),
    'rgba16': (4, 16, cv2.COLOR_RGBA2RGB),
    'bgra8': (4, 8, cv2.COLOR_BGRA2RGB),
    'bgra16': (4, 16, cv2.COLOR_BGRA2RGB),
    # A grey camera shows a scene too: its one channel is repeated three times.
    'mono8': (1, 8, cv2.COLOR_GRAY2RGB),
    'mono16': (1, 16, cv2.COLOR_GRAY2RGB),
    '8uc1': (1, 8, cv2.COLOR_GRAY2RGB),
    # Channels that name no colour are an OpenCV picture passed on: blue, green, red.
    '8uc3': (3, 8, cv2.COLOR_BGR2RGB),
    '8uc4': (4, 8, cv2.COLOR_BGRA2RGB),
}
# OpenCV names a Bayer pattern by its second row, ROS by its first.
_BAYER = {
    'bayer_rggb': cv2.COLOR_BayerBG2RGB,
    'bayer_bggr': cv2.COLOR_BayerRG2RGB,
    'bayer_gbrg': cv2.COLOR_BayerGR2RGB,
    'bayer_grbg': cv2.COLOR_BayerGB2RGB,
}
# Two bytes a pixel, colour shared by two neighbours of a row.
_YUV_PAIRS = {
    'uyvy': cv2.COLOR_YUV2RGB_UYVY,
    'yuv422': cv2.COLOR_YUV2RGB_UYVY,
    'yuyv': cv2.COLOR_YUV2RGB_YUY2,
    'yuv422_yuy2': cv2.COLOR_YUV2RGB_YUY2,
}
# A plane of brightness and one of colour below it, which has so many bytes for 2 of the first.
_YUV_PLANES = {
    'nv12': (cv2.COLOR_YUV2RGB_NV12, 1),
    'nv21': (cv2.COLOR_YUV2RGB_NV21, 1),
    'nv24': (cv2.COLOR_YUV2RGB_NV12, 4),
}
KNOWN = (
    *_PACKED,
    *(f'{pattern}{bits}' for pattern in _BAYER for bits in (8, 16)),
    *_YUV_PAIRS,
    *_YUV_PLANES,
)


@dataclass(frozen=True)
class RawImage:
    """A picture as a driver lays it out: ``data`` in bytes, ``step`` of them a row."""

    encoding: str
    width: int
    height: int
    step: int
    big_endian: bool
    data: Any


def known_encoding(encoding: str) -> str:
    """Return the encoding as this module spells it.

    :raises ImageError: if it is a depth image or not known.
    """
    name = encoding[:32].lower() if len(encoding) <= 32 else ''
    if name in DEPTH:
        raise ImageError(f'encoding {encoding} is a depth image, not colour')
    if name not in KNOWN:
        raise ImageError(
            f'encoding {quoted(encoding)} is not known as a colour image; known: {", ".join(KNOWN)}'
        )
    return name


def convert(
    image: RawImage, max_pixels: int, max_image_pixels: int, depth: BitDepth
) -> NDArray[np.uint8]:
    """Return ``image`` as (height, width, 3) uint8 RGB of at most ``max_pixels`` pixels.

    The result may share memory with the data. Values of 16 bits are scaled by ``depth``.

    :raises ImageError: for depth images, unknown encodings, damaged data and pictures of more
        than ``max_image_pixels``.
    """
    name = known_encoding(image.encoding)
    check_size(image.width, image.height, max_image_pixels, f'{name} picture')
    if name in _YUV_PLANES:
        return _planes_to_rgb(image, name, max_pixels)
    if name in _YUV_PAIRS:
        if image.width % 2:
            raise ImageError(f'encoding {name} with an odd width of {image.width}')
        return shrink(_converted(_rows(image, 2, 8), _YUV_PAIRS[name]), max_pixels)
    if name not in _PACKED:
        mosaic = _rows(image, 1, 16 if name.endswith('16') else 8)
        return depth.to_8_bits(shrink(bayer_to_rgb(mosaic[..., 0], name), max_pixels))
    channels, bits, conversion = _PACKED[name]
    small = depth.to_8_bits(shrink(_rows(image, channels, bits), max_pixels))
    return small if conversion is None else _converted(small, conversion)


def bayer_to_rgb(mosaic: NDArray[Any], encoding: str) -> NDArray[Any]:
    """Return a Bayer mosaic, (height, width), as (height, width, 3) RGB of the same type.

    :raises ImageError: if ``encoding`` names no pattern or the mosaic holds no whole cell.
    """
    pattern = encoding.rstrip('0123456789')
    if pattern not in _BAYER:
        raise ImageError(f'encoding {quoted(encoding)} names no known Bayer pattern')
    height, width = mosaic.shape
    if min(height, width) < 2:
        raise ImageError(f'{width}x{height} is too small for {encoding}')
    return _converted(mosaic, _BAYER[pattern])


def _converted(pixels: NDArray[Any], conversion: int) -> NDArray[Any]:
    try:
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), conversion))
    except cv2.error as error:
        raise ImageError(f'the picture cannot be converted: {error.err}') from error


def _rows(image: RawImage, channels: int, bits: int) -> NDArray[Any]:
    """The pixels as (height, width, channels), without the padding of the rows, not copied."""
    item = bits // 8
    used = image.width * channels * item
    flat = _bytes(image, used, image.height)
    packed = flat.reshape(image.height, image.step)[:, :used]
    if bits == 16:
        order = '>u2' if image.big_endian else '<u2'
        packed = np.ascontiguousarray(packed).view(order).astype(np.uint16)
    return packed.reshape(image.height, image.width, channels)


def _bytes(image: RawImage, used: int, rows: int) -> NDArray[np.uint8]:
    """The data of so many rows, each with so many used bytes."""
    if image.step < used:
        raise ImageError(
            f'the message is damaged: step {image.step} is below the {used} bytes '
            f'that a width of {image.width} takes'
        )
    if len(image.data) != image.step * rows:
        raise ImageError(
            f'the message is damaged: {len(image.data)} bytes of data, '
            f'but step {image.step} x {rows} rows is {image.step * rows}'
        )
    return np.frombuffer(image.data, np.uint8)


def _planes_to_rgb(image: RawImage, name: str, max_pixels: int) -> NDArray[np.uint8]:
    conversion, share = _YUV_PLANES[name]
    width, height, step = image.width, image.height, image.step
    if share == 1 and (width % 2 or height % 2):
        raise ImageError(f'encoding {name} with an odd size of {width}x{height}')
    flat = _bytes(image, width, height + height * share // 2)
    brightness = flat[: height * step].reshape(height, step)[:, :width]
    colour = flat[height * step :]
    if share == 1:
        pairs = colour.reshape(height // 2, step)[:, :width].reshape(height // 2, width // 2, 2)
    else:
        whole = colour.reshape(height, 2 * step)[:, : 2 * width].reshape(height, width, 2)
        # The conversion takes colour at half the resolution only.
        width, height = max(width & ~1, 2), max(height & ~1, 2)
        brightness = cv2.resize(brightness, (width, height), interpolation=cv2.INTER_AREA)
        pairs = cv2.resize(whole, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    rgb = cv2.cvtColorTwoPlane(
        np.ascontiguousarray(brightness), np.ascontiguousarray(pairs), conversion
    )
    return shrink(np.asarray(rgb, np.uint8), max_pixels)
