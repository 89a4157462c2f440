"""Conversion of camera messages, without DDS."""

from __future__ import annotations

from array import array

import cv2
import numpy as np
import pytest

pytest.importorskip('sensor_msgs')

from sensor_msgs.msg import CompressedImage, Image

from progress_monitor.ros.images import ImageError, to_rgb

COLOUR = (200, 100, 30)


def plain(height: int = 8, width: int = 10) -> np.ndarray:
    return np.full((height, width, 3), COLOUR, np.uint8)


def message(
    pixels: np.ndarray, encoding: str, width: int = 10, height: int = 8, padding: int = 0
) -> Image:
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(height, -1)
    rows = np.pad(rows, ((0, 0), (0, padding)))
    return Image(
        height=height,
        width=width,
        encoding=encoding,
        step=rows.shape[1],
        data=array('B', rows.tobytes()),
    )


def bayer(pattern: str) -> np.ndarray:
    values = dict(zip('rgb', COLOUR, strict=True))
    mosaic = np.zeros((8, 10), np.uint8)
    for index, channel in enumerate(pattern):
        mosaic[index // 2 :: 2, index % 2 :: 2] = values[channel]
    return mosaic


def yuv(order: str) -> np.ndarray:
    weights = [(0.257, 0.504, 0.098), (-0.148, -0.291, 0.439), (0.439, -0.368, -0.071)]
    y, u, v = np.round(np.dot(weights, COLOUR) + np.array([16, 128, 128])).astype(int)  # BT.601
    pair = {'uyvy': [u, y, v, y], 'yuyv': [y, u, y, v]}[order]
    return np.tile(np.array(pair, np.uint8), (8, 5))


CASES = {
    'rgb8': plain(),
    'bgr8': plain()[..., ::-1],
    'rgba8': np.dstack([plain(), np.zeros((8, 10), np.uint8)]),
    'bgra8': np.dstack([plain()[..., ::-1], np.zeros((8, 10), np.uint8)]),
    'bayer_rggb8': bayer('rggb'),
    'bayer_bggr8': bayer('bggr'),
    'bayer_gbrg8': bayer('gbrg'),
    'bayer_grbg8': bayer('grbg'),
    'yuv422': yuv('uyvy'),
    'uyvy': yuv('uyvy'),
    'yuv422_yuy2': yuv('yuyv'),
    'yuyv': yuv('yuyv'),
}


@pytest.mark.parametrize('encoding', CASES)
@pytest.mark.parametrize('padding', [0, 6])
def test_colour_encodings_become_rgb(encoding: str, padding: int) -> None:
    image = to_rgb(message(CASES[encoding], encoding, padding=padding))
    assert image.shape == (8, 10, 3)
    assert image.dtype == np.uint8
    tolerance = 3 if 'yu' in encoding or 'uy' in encoding else 0
    assert np.abs(image[4, 4].astype(int) - COLOUR).max() <= tolerance


def test_a_grey_camera_is_shown_in_three_equal_channels() -> None:
    grey = np.arange(80, dtype=np.uint8).reshape(8, 10)
    image = to_rgb(message(grey, 'mono8'))
    assert (image == grey[..., None]).all()


@pytest.mark.parametrize('encoding', ['16UC1', '32FC1', 'mono16'])
def test_depth_images_are_refused_by_name(encoding: str) -> None:
    with pytest.raises(ImageError, match=f'encoding {encoding} is a depth'):
        to_rgb(message(np.zeros((8, 10), np.uint32), encoding))


@pytest.mark.parametrize('encoding', ['', '8UC3', 'rgb16', 'nonsense'])
def test_unknown_encodings_are_refused_by_name(encoding: str) -> None:
    with pytest.raises(ImageError, match=f"encoding '{encoding}' is not known"):
        to_rgb(message(plain(), encoding))


@pytest.mark.parametrize(
    ('damage', 'reason'),
    [
        ({'width': 0}, 'its size is 0x8'),
        ({'height': 0}, 'its size is 10x0'),
        ({'step': 7}, 'step 7 is below width 10 x 3'),
        ({'data': array('B', b'123')}, '3 bytes of data'),
        ({'data': array('B', bytes(1000))}, '1000 bytes of data'),
        ({'height': 9}, '240 bytes of data'),
    ],
)
def test_damaged_messages_are_refused(damage: dict[str, object], reason: str) -> None:
    damaged = message(plain(), 'rgb8')
    for field, value in damage.items():
        setattr(damaged, field, value)
    with pytest.raises(ImageError, match=reason):
        to_rgb(damaged)


def compressed(data: bytes, kind: str) -> CompressedImage:
    return CompressedImage(format=kind, data=array('B', data))


def test_compressed_pictures_become_rgb() -> None:
    png = cv2.imencode('.png', plain()[..., ::-1])[1].tobytes()
    assert (to_rgb(compressed(png, 'rgb8; png compressed bgr8')) == COLOUR).all()


@pytest.mark.parametrize(
    ('data', 'kind', 'reason'),
    [
        (b'', 'jpeg', 'cannot be decoded'),
        (b'no picture', 'jpeg', 'cannot be decoded'),
        (b'x', '16UC1; compressedDepth png', 'is a depth'),
        (b'x', '32FC1; png compressed', 'is a depth'),
    ],
)
def test_compressed_trouble_is_refused(data: bytes, kind: str, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        to_rgb(compressed(data, kind))
