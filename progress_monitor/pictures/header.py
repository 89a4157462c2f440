"""The size of a compressed picture, read from its header: nothing is decoded or allocated."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

from progress_monitor.pictures.errors import ImageError

_SEGMENTS = 4096
_SCANS = 200
_JPEG_SIZE = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})


@dataclass(frozen=True)
class Header:
    """What a picture says of itself.

    ``pixels`` is what the decoder makes room for, at least ``width`` x ``height``; ``bits`` a
    channel, 0 where the header is not asked.
    """

    kind: str
    width: int
    height: int
    pixels: int
    bits: int = 0


def read_header(data: bytes | memoryview) -> Header:
    """Return what ``data`` says of itself before it is decoded.

    :raises ImageError: if the kind of picture is unknown or is not read here, or if the header is
        cut off or contradicts itself.
    """
    start = bytes(data[:16])
    for kind, is_kind in _REFUSED.items():
        if is_kind(start):
            raise ImageError(f'{kind} pictures are not read; send JPEG or PNG')
    for kind, (is_kind, read) in _READ.items():
        if is_kind(start):
            try:
                return read(kind, data)
            except (struct.error, IndexError, ValueError) as error:
                if isinstance(error, ImageError):
                    raise
                raise ImageError(f'the message is damaged: its {kind} header is cut off') from None
    raise ImageError(
        f'the message is damaged: its {len(data)} bytes cannot be decoded, they are none of '
        f'{", ".join(_READ)}'
    )


def _header(kind: str, width: int, height: int, bits: int = 0, room: int = 0) -> Header:
    return Header(kind, width, height, max(width * height, room), bits)


def _jpeg(kind: str, data: bytes | memoryview) -> Header:
    raw = bytes(data)
    at = 2
    for _ in range(_SEGMENTS):
        at = raw.index(b'\xff', at)
        while raw[at] == 0xFF:
            at += 1
        marker = raw[at]
        at += 1
        if marker == 0 or marker in _JPEG_BARE:
            continue
        if marker in _JPEG_SIZE:
            bits, height, width = struct.unpack_from('>BHH', raw, at + 2)
            # A small file may ask for a large picture to be gone over thousands of times.
            if raw.count(b'\xff\xda', at) > _SCANS:
                raise ImageError(f'JPEG picture of {width}x{height} has more than {_SCANS} scans')
            return _header(kind, width, height, bits)
        if marker in (0xD9, 0xDA):
            break
        (length,) = struct.unpack_from('>H', raw, at)
        if length < 2:
            break
        at += length
    raise ImageError('the message is damaged: its JPEG header holds no size')


def _png(kind: str, data: bytes | memoryview) -> Header:
    length, name, width, height, bits = struct.unpack_from('>I4sIIB', data, 8)
    if (length, name) != (13, b'IHDR'):
        raise ImageError('the message is damaged: its PNG header holds no size')
    return _header(kind, width, height, bits)


def _webp(kind: str, data: bytes | memoryview) -> Header:
    chunk = bytes(data[12:16])
    if chunk == b'VP8 ':
        code, width, height = struct.unpack_from('<3sHH', data, 23)
        if code != b'\x9d\x01\x2a':
            raise ImageError('the message is damaged: its WebP header holds no size')
        return _header(kind, width & 0x3FFF, height & 0x3FFF)
    if chunk == b'VP8L':
        mark, size = struct.unpack_from('<BI', data, 20)
        if mark != 0x2F:
            raise ImageError('the message is damaged: its WebP header holds no size')
        return _header(kind, (size & 0x3FFF) + 1, (size >> 14 & 0x3FFF) + 1)
    if chunk == b'VP8X':
        low_w, high_w, low_h, high_h = struct.unpack_from('<HBHB', data, 24)
        return _header(kind, (high_w << 16 | low_w) + 1, (high_h << 16 | low_h) + 1)
    raise ImageError('the message is damaged: its WebP header holds no size')


def _bmp(kind: str, data: bytes | memoryview) -> Header:
    (length,) = struct.unpack_from('<I', data, 14)
    layout = '<HH' if length == 12 else '<ii'
    width, height = struct.unpack_from(layout, data, 18)
    return _header(kind, abs(width), abs(height))


def _gif(kind: str, data: bytes | memoryview) -> Header:
    width, height = struct.unpack_from('<HH', data, 6)
    return _header(kind, width, height)


def _tiff(kind: str, data: bytes | memoryview) -> Header:
    end = '<' if bytes(data[:2]) == b'II' else '>'
    (version,) = struct.unpack_from(f'{end}H', data, 2)
    if version == 43:
        (at,) = struct.unpack_from(f'{end}Q', data, 8)
        (count,) = struct.unpack_from(f'{end}Q', data, at)
        at, step, value_at = at + 8, 20, 12
    else:
        (at,) = struct.unpack_from(f'{end}I', data, 4)
        (count,) = struct.unpack_from(f'{end}H', data, at)
        at, step, value_at = at + 2, 12, 8
    found: dict[int, int] = {}
    for index in range(min(count, _SEGMENTS)):
        entry = at + index * step
        tag, form = struct.unpack_from(f'{end}HH', data, entry)
        layout = {3: 'H', 4: 'I', 16: 'Q'}.get(form)
        if tag in (256, 257, 322, 323) and layout is not None:
            (value,) = struct.unpack_from(f'{end}{layout}', data, entry + value_at)
            found[tag] = max(found.get(tag, 0), value)
    if 256 not in found or 257 not in found:
        raise ImageError('the message is damaged: its TIFF header holds no size')
    tile = found.get(322, 0) * found.get(323, 0)
    return _header(kind, found[256], found[257], room=tile)


def _jpeg2000(kind: str, data: bytes | memoryview) -> Header:
    at = 0
    if bytes(data[:4]) != b'\xff\x4f\xff\x51':
        for _ in range(_SEGMENTS):
            length, name = struct.unpack_from('>I4s', data, at)
            head = 8
            if length == 1:
                (length,) = struct.unpack_from('>Q', data, at + 8)
                head = 16
            if name == b'jp2c':
                at += head
                break
            if length < head:
                raise ImageError('the message is damaged: its JPEG 2000 header holds no size')
            at += length
    mark, right, bottom, left, top, tile_w, tile_h = struct.unpack_from('>4s4x6I', data, at)
    (components,) = struct.unpack_from('>H', data, at + 40)
    if mark != b'\xff\x4f\xff\x51' or not 1 <= components <= 4:
        raise ImageError('the message is damaged: its JPEG 2000 header holds no size')
    width, height = right - left, bottom - top
    room = min(tile_w, right) * min(tile_h, bottom)
    return _header(kind, max(width, 0), max(height, 0), room=room)


def _pnm(kind: str, data: bytes | memoryview) -> Header:
    start = bytes(data[:4096])
    if start[:2] == b'P7':
        sizes = [re.search(rb'\n%s[ \t]+(\d{1,9})\s' % key, start) for key in (b'WIDTH', b'HEIGHT')]
    else:
        plain = re.sub(rb'#[^\n\r]*', b'', start)
        both = re.match(rb'P[1-6]\s+(\d{1,9})\s+(\d{1,9})\s', plain)
        sizes = [both, both]
    if sizes[0] is None or sizes[1] is None:
        raise ImageError('the message is damaged: its PNM header holds no size')
    width = sizes[0].group(1)
    height = sizes[1].group(1 if start[:2] == b'P7' else 2)
    return _header(kind, int(width), int(height))


_Test = Callable[[bytes], bool]

# The decoder knows these too; they hold no picture for the eye, or hide its size.
_REFUSED: dict[str, _Test] = {
    'AVIF': lambda start: start[4:12] in (b'ftypavif', b'ftypavis', b'ftypmif1'),
    'OpenEXR': lambda start: start.startswith(b'\x76\x2f\x31\x01'),
    'Radiance HDR': lambda start: start.startswith((b'#?RGBE', b'#?RADIANCE')),
    'PFM': lambda start: start.startswith((b'PF', b'Pf')),
    'Sun raster': lambda start: start.startswith(b'\x59\xa6\x6a\x95'),
}
_READ: dict[str, tuple[_Test, Callable[[str, bytes | memoryview], Header]]] = {
    'JPEG': (lambda start: start.startswith(b'\xff\xd8'), _jpeg),
    'PNG': (lambda start: start.startswith(b'\x89PNG\r\n\x1a\n'), _png),
    'WebP': (lambda start: start[:4] == b'RIFF' and start[8:12] == b'WEBP', _webp),
    'BMP': (lambda start: start.startswith(b'BM'), _bmp),
    'TIFF': (
        lambda start: start.startswith((b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')),
        _tiff,
    ),
    'JPEG 2000': (
        lambda start: start.startswith((b'\0\0\0\x0cjP  \r\n\x87\n', b'\xff\x4f\xff\x51')),
        _jpeg2000,
    ),
    'PNM': (lambda start: re.match(rb'P[1-7]\s', start) is not None, _pnm),
    'GIF': (lambda start: start.startswith((b'GIF87a', b'GIF89a')), _gif),
}
