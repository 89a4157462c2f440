"""Conversion of camera messages, without DDS: with cv_bridge and without it alike."""

from __future__ import annotations

import logging
import sys
from array import array
from collections.abc import Iterator
from types import ModuleType

import cv2
import numpy as np
import pytest

pytest.importorskip('sensor_msgs')

from footage import FOOTAGE, first_frame
from sensor_msgs.msg import CompressedImage, Image

from progress_monitor.ros import bridge
from progress_monitor.ros.images import ImageError, ImageReader, to_rgb

COLOUR = (200, 100, 30)
SCENE = cv2.resize(
    np.random.default_rng(3).integers(0, 255, (9, 12, 3), dtype=np.uint8),
    (640, 480),
    interpolation=cv2.INTER_CUBIC,
)


@pytest.fixture(params=['cv_bridge', 'own code'])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The same picture must come out of both."""
    bridge.bridge.cache_clear()
    if request.param == 'own code':
        monkeypatch.setitem(sys.modules, 'cv_bridge', None)
    elif bridge.bridge() is None:
        pytest.skip('cv_bridge does not work here')
    yield request.param
    bridge.bridge.cache_clear()


def plain(height: int = 8, width: int = 10) -> np.ndarray:
    return np.full((height, width, 3), COLOUR, np.uint8)


def message(pixels: np.ndarray, encoding: str, padding: int = 0, **fields: object) -> Image:
    """``pixels`` as (rows, ...) of the encoding's own type."""
    fields = {'height': pixels.shape[0], 'width': pixels.shape[1], **fields}
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(len(pixels), -1)
    rows = np.pad(rows, ((0, 0), (0, padding)))
    return Image(
        encoding=encoding,
        step=rows.shape[1],
        data=array('B', rows.tobytes()),
        **fields,
    )


def bayer(image: np.ndarray, pattern: str) -> np.ndarray:
    mosaic = np.zeros(image.shape[:2], image.dtype)
    for index, channel in enumerate(pattern):
        row, column = divmod(index, 2)
        mosaic[row::2, column::2] = image[row::2, column::2, 'rgb'.index(channel)]
    return mosaic


def yuv(image: np.ndarray) -> np.ndarray:
    """BT.601 in video range, a sample a pixel."""
    weights = [(0.257, 0.504, 0.098), (-0.148, -0.291, 0.439), (0.439, -0.368, -0.071)]
    return np.round(image @ np.array(weights).T + np.array([16, 128, 128])).astype(np.uint8)


def pairs(image: np.ndarray, order: str) -> np.ndarray:
    planes = yuv(image)
    packed = np.zeros((*image.shape[:2], 2), np.uint8)
    brightness, colour = (1, 0) if order == 'uyvy' else (0, 1)
    packed[..., brightness] = planes[..., 0]
    packed[:, 0::2, colour] = planes[:, 0::2, 1]
    packed[:, 1::2, colour] = planes[:, 0::2, 2]
    return packed


def planes(image: np.ndarray, encoding: str, padding: int) -> np.ndarray:
    y, u, v = np.moveaxis(np.pad(yuv(image), ((0, 0), (0, padding), (0, 0))), 2, 0)
    if encoding == 'nv24':
        return np.vstack([y, np.dstack([u, v]).reshape(2 * len(y), -1)])
    first, second = (u, v) if encoding == 'nv12' else (v, u)
    return np.vstack([y, np.dstack([first, second])[::2, ::2].reshape(len(y) // 2, -1)])


def encoded(image: np.ndarray, encoding: str, **fields: object) -> Image:
    """An RGB picture, uint8, as a driver would publish it."""
    name = encoding.lower()
    deep = image.astype(np.uint16) * 257 if name.endswith('16') else image
    kind = name.rstrip('0123456789')
    alpha = np.zeros(image.shape[:2], deep.dtype)
    if kind.startswith('bayer_'):
        return message(bayer(deep, kind.removeprefix('bayer_')), encoding, **fields)
    if name in ('uyvy', 'yuv422', 'yuyv', 'yuv422_yuy2'):
        order = 'uyvy' if name in ('uyvy', 'yuv422') else 'yuyv'
        return message(pairs(image, order), encoding, **fields)
    if name.startswith('nv'):
        padding = int(fields.pop('padding', 0))
        fields = {'height': len(image), 'width': image.shape[1], **fields}
        return message(planes(image, name, padding), encoding, **fields)
    reversed_ = deep[..., ::-1]
    pixels = {
        'rgb': deep,
        'bgr': reversed_,
        'rgba': np.dstack([deep, alpha]),
        'bgra': np.dstack([reversed_, alpha]),
        # cv_bridge calls an OpenCV picture so, and OpenCV's pictures are blue first.
        '8uc3': reversed_,
        '8uc4': np.dstack([reversed_, alpha]),
    }[name if name.startswith('8u') else kind]
    return message(pixels, encoding, **fields)


PATTERNS = [f'bayer_{pattern}' for pattern in ('rggb', 'bggr', 'gbrg', 'grbg')]
COLOURS = [
    *(f'{channels}{bits}' for channels in ('rgb', 'bgr', 'rgba', 'bgra') for bits in (8, 16)),
    *(f'{pattern}{bits}' for pattern in PATTERNS for bits in (8, 16)),
    *('8UC3', '8UC4', 'RGB8', 'Bgr8', 'BAYER_RGGB8'),
    *('uyvy', 'yuv422', 'yuyv', 'yuv422_yuy2', 'UYVY', 'nv12', 'nv21', 'nv24', 'NV12'),
]


@pytest.mark.parametrize('encoding', COLOURS)
@pytest.mark.parametrize('padding', [0, 6])
@pytest.mark.usefixtures('path')
def test_colour_encodings_become_rgb(encoding: str, padding: int) -> None:
    image = to_rgb(encoded(plain(), encoding, padding=padding))
    assert image.shape == (8, 10, 3)
    assert image.dtype == np.uint8
    lossy = encoding.lower().startswith(('uyvy', 'yu', 'nv'))
    assert np.abs(image[2:6, 2:8].astype(int) - COLOUR).max() <= (3 if lossy else 0)


@pytest.mark.parametrize('encoding', COLOURS)
@pytest.mark.parametrize('max_pixels', [640 * 480, 256 * 256, 64 * 48])
@pytest.mark.usefixtures('path')
def test_a_scene_looks_the_same_in_every_encoding_and_at_every_size(
    encoding: str, max_pixels: int
) -> None:
    image = ImageReader(max_pixels).read(encoded(SCENE, encoding))
    assert image.shape[0] * image.shape[1] <= max_pixels
    assert image.shape[1] / image.shape[0] == pytest.approx(4 / 3, rel=0.01)
    expected = cv2.resize(SCENE, image.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(image.astype(float) - expected).mean() < 2.0


def test_odd_sizes_are_read() -> None:
    odd = SCENE[:31, :33]
    for encoding in ('rgb8', 'bgra8', 'bayer_rggb8', 'nv24', '8UC3'):
        assert to_rgb(encoded(odd, encoding, padding=3)).shape[2] == 3
    for encoding in ('yuyv', 'nv12'):
        with pytest.raises(ImageError, match='odd'):
            to_rgb(message(np.zeros((32, 33), np.uint8), encoding))


@pytest.mark.skipif(not FOOTAGE, reason='no footage here')
@pytest.mark.parametrize('video', FOOTAGE[::6], ids=lambda video: video.stem)
@pytest.mark.usefixtures('path')
def test_real_pictures_look_the_same_in_every_encoding(video: object) -> None:
    frame = first_frame(video)
    frame = np.ascontiguousarray(frame[: len(frame) & ~1, : frame.shape[1] & ~1])
    reader = ImageReader(128 * 128)
    expected = reader.read(encoded(frame, 'rgb8')).astype(float)
    seen = [reader.read(encoded(frame, encoding, padding=8)) for encoding in COLOURS]
    for kind, quality in (('.png', 0), ('.jpg', 95), ('.webp', 95), ('.bmp', 0), ('.tiff', 0)):
        flags = {'.jpg': [cv2.IMWRITE_JPEG_QUALITY], '.webp': [cv2.IMWRITE_WEBP_QUALITY]}
        data = cv2.imencode(
            kind, frame[..., ::-1], [*flags[kind], quality] if kind in flags else []
        )[1]
        seen.append(reader.read(compressed(data.tobytes(), kind[1:])))
    assert max(np.abs(image - expected).mean() for image in seen) < 6.0


@pytest.mark.usefixtures('path')
def test_a_grey_camera_is_shown_in_three_equal_channels() -> None:
    grey = np.arange(80, dtype=np.uint8).reshape(8, 10)
    for encoding in ('mono8', '8UC1', 'MONO8'):
        assert (to_rgb(message(grey, encoding)) == grey[..., None]).all()


@pytest.mark.parametrize('big_endian', [False, True])
@pytest.mark.parametrize('bits', [10, 12, 16])
@pytest.mark.usefixtures('path')
def test_sixteen_bits_are_scaled_by_what_the_camera_uses(bits: int, big_endian: bool) -> None:
    grey = np.linspace(0, 2**bits - 1, 80).astype(np.uint16).reshape(8, 10)
    raw = grey.astype('>u2' if big_endian else '<u2')
    image = to_rgb(message(raw, 'mono16', is_bigendian=int(big_endian)))
    assert (image == (grey >> (bits - 8))[..., None]).all()
    png = cv2.imencode('.png', np.dstack([grey] * 3))[1].tobytes()
    assert (to_rgb(compressed(png, 'png')) == (grey >> (bits - 8))[..., None]).all()
    assert image.max() == 255


def test_brightness_of_sixteen_bits_does_not_follow_the_scene() -> None:
    reader = ImageReader(10_000)
    bright = message(np.full((8, 10), 4000, np.uint16), 'mono16')
    dark = message(np.full((8, 10), 160, np.uint16), 'mono16')
    assert reader.read(bright).max() == 250
    assert reader.read(dark).max() == 10
    assert reader.read(bright).max() == 250


@pytest.mark.parametrize('encoding', ['16UC1', '32FC1', '16uc1'])
def test_depth_images_are_refused_by_name(encoding: str) -> None:
    with pytest.raises(ImageError, match=f'encoding {encoding} is a depth'):
        to_rgb(message(np.zeros((8, 10), np.uint32), encoding))


@pytest.mark.parametrize('encoding', ['', 'nonsense', '64FC3', 'bayer_rggb12', 'yuv420'])
def test_unknown_encodings_are_refused_by_name(encoding: str) -> None:
    with pytest.raises(ImageError, match=f"encoding '{encoding}' is not known"):
        to_rgb(message(plain(), encoding))


@pytest.mark.parametrize('text', ['x' * 1_000_000, '\x1b[2J\x07rgb8\n', 'é' * 500])
def test_foreign_names_are_cut_and_printable(text: str) -> None:
    for broken in (message(plain(), text), compressed(b'\xff\xd8no picture', text)):
        with pytest.raises(ImageError) as caught:
            to_rgb(broken)
        assert len(str(caught.value)) < 1000
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ('damage', 'reason'),
    [
        ({'width': 0}, 'its size is 0x8'),
        ({'height': 0}, 'its size is 10x0'),
        ({'step': 7}, 'step 7 is below the 30 bytes that a width of 10'),
        ({'data': array('B', b'123')}, '3 bytes of data'),
        ({'data': array('B')}, '0 bytes of data'),
        ({'data': array('B', bytes(1000))}, '1000 bytes of data'),
        ({'height': 9}, '240 bytes of data'),
        ({'step': 2**32 - 1}, '240 bytes of data'),
        ({'width': 2**32 - 1, 'height': 2**32 - 1}, r'4294967295x4294967295 pixels is above'),
        ({'width': 12000, 'height': 12000}, r'12000x12000 pixels is above max_image_pixels'),
    ],
)
@pytest.mark.usefixtures('path')
def test_damaged_messages_are_refused(damage: dict[str, object], reason: str) -> None:
    damaged = message(plain(), 'rgb8')
    for field, value in damage.items():
        setattr(damaged, field, value)
    with pytest.raises(ImageError, match=reason):
        to_rgb(damaged)


def compressed(data: bytes, kind: str) -> CompressedImage:
    return CompressedImage(format=kind, data=array('B', data))


@pytest.mark.parametrize('kind', ['png', 'jpg', 'webp', 'bmp', 'tiff', 'ppm', 'jp2', 'gif'])
@pytest.mark.parametrize('max_pixels', [640 * 480, 128 * 96])
@pytest.mark.usefixtures('path')
def test_compressed_pictures_become_rgb(kind: str, max_pixels: int) -> None:
    data = cv2.imencode(f'.{kind}', SCENE[..., ::-1])[1].tobytes()
    image = ImageReader(max_pixels).read(compressed(data, f'rgb8; {kind} compressed bgr8'))
    assert image.shape[0] * image.shape[1] == max_pixels
    expected = cv2.resize(SCENE, image.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(image.astype(float) - expected).mean() < (20.0 if kind == 'gif' else 2.0)


@pytest.mark.usefixtures('path')
def test_grey_and_transparent_pictures_become_rgb() -> None:
    grey = cv2.cvtColor(SCENE, cv2.COLOR_RGB2GRAY)
    for kind in ('.png', '.jpg'):
        image = to_rgb(compressed(cv2.imencode(kind, grey)[1].tobytes(), 'mono8; compressed'))
        assert np.abs(image.astype(int) - grey[..., None]).max() < 12
    clear = np.dstack([SCENE[..., ::-1], np.full(SCENE.shape[:2], 255, np.uint8)])
    png = cv2.imencode('.png', clear)[1].tobytes()
    assert (to_rgb(compressed(png, 'png')) == SCENE).all()


@pytest.mark.parametrize('pattern', PATTERNS)
@pytest.mark.parametrize('kind', ['png', 'jpg'])
@pytest.mark.usefixtures('path')
def test_compressed_mosaics_become_rgb(pattern: str, kind: str) -> None:
    mosaic = bayer(np.tile(plain(), (8, 8, 1)), pattern.removeprefix('bayer_'))
    data = cv2.imencode(f'.{kind}', mosaic, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    for max_pixels in (10_000, 256):
        reader = ImageReader(max_pixels)
        image = reader.read(compressed(data, f'{pattern}8; {kind} compressed '))
        assert np.abs(image[2:-2, 2:-2].astype(float) - COLOUR).mean() < 6.0


def test_a_large_jpeg_is_decoded_at_reduced_size(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = []
    decode = cv2.imdecode
    monkeypatch.setattr(cv2, 'imdecode', lambda data, how: flags.append(how) or decode(data, how))
    data = cv2.imencode('.jpg', np.zeros((1080, 1920, 3), np.uint8))[1].tobytes()
    assert ImageReader(256 * 256).read(compressed(data, 'jpeg')).shape == (192, 341, 3)
    assert flags == [cv2.IMREAD_REDUCED_COLOR_4]


@pytest.mark.parametrize(
    ('data', 'kind', 'reason'),
    [
        (b'', 'jpeg', 'cannot be decoded'),
        (b'no picture', 'jpeg', 'cannot be decoded'),
        (b'x', '16UC1; compressedDepth png', 'is a depth'),
        (b'x', '32FC1; png compressed', 'is a depth'),
        (b'\0\0\0\x01\x67', 'h264', "format 'h264' is a video.*send JPEG or PNG"),
        (b'\0\0\0\x01\x67', '', "format '': .* none of JPEG, PNG"),
    ],
)
@pytest.mark.usefixtures('path')
def test_compressed_trouble_is_refused(data: bytes, kind: str, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        to_rgb(compressed(data, kind))


@pytest.mark.parametrize('fault', ['it raises', 'its colours are swapped', 'it lacks a name'])
def test_a_broken_cv_bridge_is_done_without_and_said_once(
    fault: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class CvBridge:
        def imgmsg_to_cv2(self, message: Image, wanted: str) -> np.ndarray:
            if fault == 'it raises':
                raise SystemError('initialization of cv_bridge_boost failed')
            return np.frombuffer(message.data, np.uint8).reshape(1, 1, 3)

    broken = ModuleType('cv_bridge')
    if fault != 'it lacks a name':
        broken.CvBridge = CvBridge  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, 'cv_bridge', broken)
    bridge.bridge.cache_clear()
    with caplog.at_level(logging.INFO, 'progress_monitor'):
        for _ in range(3):
            assert (to_rgb(encoded(plain(), 'bgr8')) == COLOUR).all()
    assert len([record for record in caplog.records if 'cv_bridge' in record.message]) == 1
    bridge.bridge.cache_clear()
