"""Camera messages to RGB arrays, straight over NumPy and OpenCV.

cv_bridge is not used: its Debian build breaks with NumPy 2, its PyPI build does not know YUV 4:2:2.
Encodings as in ``sensor_msgs/image_encodings.hpp`` (REP-118 for depth).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

Pixels = NDArray[np.uint8]

# encoding: (bytes a pixel, OpenCV conversion to RGB; None: it is RGB already)
_PACKED: dict[str, tuple[int, int | None]] = {
    'rgb8': (3, None),
    'bgr8': (3, cv2.COLOR_BGR2RGB),
    'rgba8': (4, cv2.COLOR_RGBA2RGB),
    'bgra8': (4, cv2.COLOR_BGRA2RGB),
    # A grey camera shows a scene too: its one channel is repeated three times.
    'mono8': (1, cv2.COLOR_GRAY2RGB),
    '8UC1': (1, cv2.COLOR_GRAY2RGB),
    # OpenCV names a Bayer pattern by its second row, ROS by its first.
    'bayer_rggb8': (1, cv2.COLOR_BayerBG2RGB),
    'bayer_bggr8': (1, cv2.COLOR_BayerRG2RGB),
    'bayer_gbrg8': (1, cv2.COLOR_BayerGR2RGB),
    'bayer_grbg8': (1, cv2.COLOR_BayerGB2RGB),
    'uyvy': (2, cv2.COLOR_YUV2RGB_UYVY),
    'yuv422': (2, cv2.COLOR_YUV2RGB_UYVY),
    'yuyv': (2, cv2.COLOR_YUV2RGB_YUY2),
    'yuv422_yuy2': (2, cv2.COLOR_YUV2RGB_YUY2),
}
_DEPTH = ('16UC1', '32FC1', 'mono16')


class ImageError(ValueError):
    """The message holds no colour image that can be read. The text says why."""


def to_rgb(message: Image | CompressedImage) -> Pixels:
    """Return the picture as (height, width, 3) uint8 RGB.

    The result may share memory with the message, which nothing writes to after it arrived.

    :raises ImageError: for depth images, unknown encodings and damaged messages.
    """
    if isinstance(message, CompressedImage):
        return _decompress(message)
    encoding = message.encoding
    if encoding in _DEPTH:
        raise ImageError(f'encoding {encoding} is a depth or 16-bit image, not colour')
    if encoding not in _PACKED:
        raise ImageError(
            f'encoding {encoding!r} is not known as a colour image; known: {", ".join(_PACKED)}'
        )
    channels, conversion = _PACKED[encoding]
    rows = _rows(message, channels)
    if conversion is None:
        return rows
    if channels == 2 and message.width % 2:
        raise ImageError(f'encoding {encoding} with an odd width of {message.width}')
    if encoding.startswith('bayer') and min(message.width, message.height) < 2:
        raise ImageError(f'{message.width}x{message.height} is too small for {encoding}')
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(rows), conversion), np.uint8)


def _rows(message: Image, channels: int) -> Pixels:
    width, height, step = message.width, message.height, message.step
    if width == 0 or height == 0:
        raise ImageError(f'the message is damaged: its size is {width}x{height}')
    if step < width * channels:
        raise ImageError(
            f'the message is damaged: step {step} is below width {width} x {channels} bytes'
        )
    if len(message.data) != step * height:
        raise ImageError(
            f'the message is damaged: {len(message.data)} bytes of data, '
            f'but step {step} x height {height} is {step * height}'
        )
    flat = np.frombuffer(message.data, np.uint8)
    return flat.reshape(height, step)[:, : width * channels].reshape(height, width, channels)


def _decompress(message: CompressedImage) -> Pixels:
    kind = message.format
    source = kind.split(';')[0].strip()
    if 'compressedDepth' in kind or source in _DEPTH:
        raise ImageError(f'format {kind!r} is a depth or 16-bit image, not colour')
    data = np.frombuffer(message.data, np.uint8)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if decoded is None:
        raise ImageError(
            f'the message is damaged: {data.size} bytes of format {kind!r} cannot be decoded'
        )
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)
