"""Compressed pictures to RGB, at no more than the size that is wanted."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from progress_monitor.pictures.brightness import BitDepth
from progress_monitor.pictures.encodings import DEPTH, bayer_to_rgb
from progress_monitor.pictures.errors import ImageError, check_size, quoted
from progress_monitor.pictures.header import Header, read_header
from progress_monitor.resize import shrink

_REDUCED = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
}
_READ_FORMAT = 200
# Hardware encoders send their streams as messages of compressed pictures too.
_VIDEO = ('h264', 'h.264', 'avc', 'h265', 'h.265', 'hevc', 'av1', 'vp8', 'vp9', 'mpeg', 'theora')


def source_encoding(form: str) -> str:
    """Return the encoding before compression as ``format`` tells it, in lower case, or ''.

    image_transport writes ``bgr8; jpeg compressed bgr8``, drivers write ``jpeg``.

    :raises ImageError: if it is a depth image.
    """
    lower = form[:_READ_FORMAT].lower()
    source = lower.split(';')[0].strip()
    if 'compresseddepth' in lower or source in DEPTH:
        raise ImageError(f'format {quoted(form)} is a depth image, not colour')
    return source


def checked_header(data: memoryview, form: str, max_image_pixels: int) -> Header:
    """Return the header of ``data`` if the picture may be decoded.

    :raises ImageError: if it may not; the text says why.
    """
    source_encoding(form)
    try:
        header = read_header(data)
    except ImageError as error:
        if any(codec in form[:_READ_FORMAT].lower() for codec in _VIDEO):
            raise ImageError(
                f'format {quoted(form)} is a video, of which no message is a picture by itself; '
                'send JPEG or PNG'
            ) from None
        raise ImageError(f'format {quoted(form)}: {error}') from None
    check_size(header.width, header.height, max_image_pixels, f'{header.kind} picture')
    if header.pixels > max_image_pixels:
        raise ImageError(
            f'{header.kind} picture of {header.width}x{header.height} pixels wants room for '
            f'{header.pixels}, above max_image_pixels ({max_image_pixels})'
        )
    return header


def is_plain(header: Header, form: str, max_pixels: int) -> bool:
    """Whether any decoder will do: 8 bits, no mosaic, and not to be reduced by the decoder."""
    mosaic = source_encoding(form).startswith('bayer_')
    return header.bits == 8 and not mosaic and _reduction(header, max_pixels) == 1


def decode(
    data: memoryview, form: str, header: Header, max_pixels: int, depth: BitDepth
) -> NDArray[np.uint8]:
    """Return the picture as (height, width, 3) uint8 RGB of at most ``max_pixels`` pixels.

    Of several pages or an animation it is the first. Values of 16 bits are scaled by ``depth``.

    :param header: what ``checked_header`` returned for ``data``.
    :raises ImageError: if the data is damaged, or a depth image.
    """
    source = source_encoding(form)
    if source.startswith('bayer_'):
        decoded = _decoded(data, form, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
        if decoded.ndim == 2:
            return depth.to_8_bits(shrink(bayer_to_rgb(decoded, source), max_pixels))
    else:
        factor = _reduction(header, max_pixels)
        flags = _REDUCED.get(factor, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        decoded = _decoded(data, form, flags)
    return to_rgb(decoded, max_pixels, depth)


def to_rgb(decoded: NDArray[Any], max_pixels: int, depth: BitDepth) -> NDArray[np.uint8]:
    """Return what OpenCV decoded, grey, BGR or BGRA, as RGB of at most ``max_pixels`` pixels."""
    small = depth.to_8_bits(shrink(decoded, max_pixels))
    channels = 1 if small.ndim == 2 else small.shape[2]
    conversion = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}[channels]
    return np.asarray(cv2.cvtColor(small, conversion), np.uint8)


def _reduction(header: Header, max_pixels: int) -> int:
    """By how much the decoder may shrink both sides and still leave ``max_pixels``; 1: not."""
    if header.kind != 'JPEG':
        return 1
    for factor in _REDUCED:
        if -(-header.width // factor) * -(-header.height // factor) >= max_pixels:
            return factor
    return 1


def _decoded(data: memoryview, form: str, flags: int) -> NDArray[Any]:
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except (cv2.error, MemoryError):
        decoded = None
    if decoded is None:
        raise ImageError(
            f'the message is damaged: {len(data)} bytes of format {quoted(form)} cannot be decoded'
        )
    if decoded.dtype not in (np.uint8, np.uint16):
        raise ImageError(f'a picture of {decoded.dtype} values is not a colour image')
    return np.asarray(decoded)
