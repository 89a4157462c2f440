"""Pictures made to break the one who reads them."""

from __future__ import annotations

import contextlib
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from progress_monitor.pictures import compressed
from progress_monitor.pictures.brightness import BitDepth
from progress_monitor.pictures.errors import ImageError
from progress_monitor.pictures.header import Header, read_header

LIMIT = 64_000_000
SCENE = cv2.resize(np.random.default_rng(3).integers(0, 255, (9, 12, 3), dtype=np.uint8), (61, 43))
KINDS = {
    'jpg': 'JPEG',
    'png': 'PNG',
    'webp': 'WebP',
    'bmp': 'BMP',
    'tiff': 'TIFF',
    'jp2': 'JPEG 2000',
    'ppm': 'PNM',
    'pam': 'PNM',
    'gif': 'GIF',
}


def picture(kind: str, *options: int) -> bytes:
    return cv2.imencode(f'.{kind}', SCENE, options)[1].tobytes()


def read(data: bytes, max_pixels: int = 10_000, limit: int = LIMIT) -> np.ndarray:
    view = memoryview(data)
    header = compressed.checked_header(view, 'any', limit)
    return compressed.decode(view, 'any', header, max_pixels, BitDepth())


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))


def png(width: int, height: int, rows: bytes = b'') -> bytes:
    head = chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 1, 0, 0, 0, 0))
    data = chunk(b'IDAT', zlib.compress(rows, 1))
    return b'\x89PNG\r\n\x1a\n' + head + data + chunk(b'IEND', b'')


def huge_jpeg() -> bytes:
    data = cv2.imencode('.jpg', np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    at = data.index(b'\xff\xc0') + 5
    return data[:at] + struct.pack('>HH', 65500, 65500) + data[at + 4 :]


def huge(kind: str) -> bytes:
    """A small file whose header says 40000 x 40000."""
    if kind == 'png':
        return png(40000, 40000)
    if kind == 'webp':
        canvas = (40000 - 1).to_bytes(3, 'little')
        return b'RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0' + canvas + canvas
    data = bytearray(picture(kind))
    if kind == 'bmp':
        struct.pack_into('<ii', data, 18, 40000, -40000)
    elif kind == 'gif':
        struct.pack_into('<HH', data, 6, 40000, 40000)
    elif kind == 'ppm':
        return bytes(data).replace(b'61 43', b'40000 40000')
    elif kind == 'pam':
        return bytes(data).replace(b'WIDTH 61', b'WIDTH 40000').replace(b'GHT 43', b'GHT 40000')
    elif kind == 'jp2':
        at = data.index(b'\xff\x4f\xff\x51') + 8
        struct.pack_into('>II', data, at, 40000, 40000)
    elif kind == 'tiff':
        (at,) = struct.unpack_from('<I', data, 4)
        (count,) = struct.unpack_from('<H', data, at)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            if struct.unpack_from('<H', data, entry)[0] in (256, 257):
                struct.pack_into('<HII', data, entry + 2, 4, 1, 40000)
    return bytes(data)


@pytest.fixture
def undecoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*arguments: Any) -> None:
        raise AssertionError('the picture was decoded')

    monkeypatch.setattr(cv2, 'imdecode', decode)


@pytest.mark.parametrize('kind', KINDS)
def test_the_header_tells_the_size_that_the_decoder_finds(kind: str) -> None:
    header = read_header(picture(kind))
    assert (header.kind, header.width, header.height) == (KINDS[kind], 61, 43)
    assert read(picture(kind)).shape == (43, 61, 3)


def test_every_layout_of_a_header_is_read() -> None:
    lossless = picture('webp', cv2.IMWRITE_WEBP_QUALITY, 101)
    progressive = picture('jpg', cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    commented = picture('ppm').replace(b'61 43', b'# 9 9\n61 # width\n43')
    restarted = picture('jpg').replace(b'\xff\xc0', b'\xff\xff\xff\xc0', 1)
    for data in (lossless, progressive, commented, restarted):
        header = read_header(data)
        assert (header.width, header.height) == (61, 43)
    grey = cv2.imencode('.tiff', SCENE.astype(np.uint16) * 200)[1].tobytes()
    assert read_header(grey).width == 61


@pytest.mark.parametrize('kind', sorted(set(KINDS) - {'jpg'}))
@pytest.mark.usefixtures('undecoded')
def test_a_small_file_of_a_huge_picture_is_refused_by_name(kind: str) -> None:
    data = huge(kind)
    assert len(data) < 20_000
    with pytest.raises(
        ImageError, match=rf'{KINDS[kind]} picture of 40000x40000 .* max_image_pixels \({LIMIT}\)'
    ):
        read(data)


@pytest.mark.usefixtures('undecoded')
def test_a_jpeg_of_some_hundred_bytes_and_65500_pixels_a_side_is_refused() -> None:
    assert len(huge_jpeg()) < 700
    with pytest.raises(ImageError, match='JPEG picture of 65500x65500 pixels is above'):
        read(huge_jpeg())


@pytest.mark.usefixtures('undecoded')
def test_a_whole_picture_above_the_bound_is_refused() -> None:
    data = png(12000, 12000, bytes(12000 * 1501))
    assert len(data) < 400_000
    with pytest.raises(ImageError, match='PNG picture of 12000x12000 pixels is above'):
        read(data)


def test_a_camera_of_48_megapixels_passes() -> None:
    header = compressed.checked_header(memoryview(png(8000, 6000)), 'png', LIMIT)
    assert header == Header('PNG', 8000, 6000, 48_000_000, 1)
    data = cv2.imencode('.jpg', np.full((6000, 8000), 90, np.uint8))[1].tobytes()
    assert abs(int(read(data).mean()) - 90) < 3


@pytest.mark.usefixtures('undecoded')
def test_a_jpeg_that_is_gone_over_thousands_of_times_is_refused() -> None:
    data = picture('jpg', cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    scans = data[data.index(b'\xff\xda') : -2]
    with pytest.raises(ImageError, match='more than 200 scans'):
        read(data[:-2] + scans * 100 + data[-2:])


@pytest.mark.usefixtures('undecoded')
def test_tiles_and_components_that_need_more_room_than_the_picture_are_refused() -> None:
    entries = [(256, 4, 61), (257, 4, 43), (322, 4, 40000), (323, 4, 40000)]
    tiff = b'II*\0\x08\0\0\0' + struct.pack('<H', len(entries))
    tiff += b''.join(struct.pack('<HHII', tag, form, 1, value) for tag, form, value in entries)
    with pytest.raises(ImageError, match='wants room for 1600000000'):
        read(tiff + bytes(4))
    many = bytearray(picture('jp2'))
    struct.pack_into('>H', many, many.index(b'\xff\x4f\xff\x51') + 40, 16384)
    with pytest.raises(ImageError, match='JPEG 2000'):
        read(bytes(many))


@pytest.mark.parametrize(
    ('name', 'data'),
    [
        ('AVIF', b'\0\0\0\x20ftypavif' + bytes(20)),
        ('OpenEXR', b'\x76\x2f\x31\x01' + bytes(20)),
        ('Radiance HDR', b'#?RADIANCE\n\n-Y 40000 +X 40000\n'),
        ('PFM', b'PF\n40000 40000\n-1.0\n'),
        ('Sun raster', b'\x59\xa6\x6a\x95' + bytes(28)),
    ],
)
@pytest.mark.usefixtures('undecoded')
def test_kinds_whose_size_is_not_read_are_refused_by_name(name: str, data: bytes) -> None:
    with pytest.raises(ImageError, match=f'{name} pictures are not read; send JPEG or PNG'):
        read(data)


@pytest.mark.parametrize('kind', KINDS)
def test_a_picture_that_is_cut_off_is_an_error_or_a_picture(kind: str) -> None:
    whole = picture(kind)
    for length in {*range(40), *range(40, len(whole), max(1, len(whole) // 40))}:
        with contextlib.suppress(ImageError):
            assert read(whole[:length]).shape == (43, 61, 3)


def test_of_many_pictures_the_first_is_shown() -> None:
    pages = [np.full((40, 60, 3), level, np.uint8) for level in (50, 150, 250)]
    tiff = cv2.imencodemulti('.tiff', pages)[1].tobytes()
    assert abs(int(read(tiff).mean()) - 50) < 3
    if not hasattr(cv2, 'imencodeanimation'):
        return
    for kind in ('png', 'webp', 'gif'):
        animation = cv2.Animation()
        animation.frames, animation.durations = pages, [100, 100, 100]
        data = cv2.imencodeanimation(f'.{kind}', animation)[1].tobytes()
        assert read_header(data).width == 60
        assert abs(int(read(data).mean()) - 50) < 6


@settings(max_examples=300)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    edits=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=12),
    length=st.integers(0, 3000),
)
def test_bytes_that_somebody_changed_are_an_error_or_a_picture(
    kind: str, edits: list[tuple[int, int]], length: int
) -> None:
    data = bytearray(picture(kind))
    for at, value in edits:
        data[at % min(len(data), 200 if value % 2 else len(data))] = value
    with contextlib.suppress(ImageError):
        image = read(bytes(data[: max(length, 200)]), limit=1_000_000)
        assert image.shape[0] * image.shape[1] <= 10_000


@settings(max_examples=200)
@given(data=st.binary(max_size=200), kind=st.sampled_from(sorted(KINDS)))
def test_any_bytes_behind_a_known_beginning_are_an_error_or_a_picture(
    data: bytes, kind: str
) -> None:
    with contextlib.suppress(ImageError):
        read(picture(kind)[:14] + data, limit=1_000_000)
