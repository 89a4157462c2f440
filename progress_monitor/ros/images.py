"""Camera messages to RGB arrays of at most the size that is wanted.

cv_bridge converts what it knows and what need not become smaller. Own code does the rest: the
decoder's own reduction, colour converted after shrinking, other encodings, padded rows, 16 bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from progress_monitor.pictures import compressed, encodings
from progress_monitor.pictures.brightness import BitDepth
from progress_monitor.pictures.errors import DEFAULT_MAX_IMAGE_PIXELS, ImageError
from progress_monitor.ros.bridge import bridged, bridged_bgr

__all__ = ['DEFAULT_MAX_IMAGE_PIXELS', 'ImageError', 'ImageReader', 'Pixels', 'to_rgb']

Pixels = NDArray[np.uint8]


class ImageReader:
    """Reads the messages of one camera. It learns how many of 16 bits the camera uses.

    :param max_pixels: pictures are shrunk to so many pixels, the aspect kept.
    :param max_image_pixels: pictures of more pixels are refused before they are decoded.
    """

    def __init__(self, max_pixels: int, max_image_pixels: int = DEFAULT_MAX_IMAGE_PIXELS) -> None:
        self._max_pixels = max_pixels
        self._max_image_pixels = max_image_pixels
        self._depth = BitDepth()

    def read(self, message: Image | CompressedImage) -> Pixels:
        """Return the picture as (height, width, 3) uint8 RGB.

        The result may share memory with the message, which nothing writes to after it arrived.

        :raises ImageError: for depth images, unknown encodings, pictures that are too large and
            damaged messages. Nothing else leaves it, whatever the message holds.
        """
        try:
            if isinstance(message, CompressedImage):
                return self._compressed(message)
            return self._raw(message)
        except ImageError:
            raise
        except Exception as error:  # a decoder's, on data that somebody made to break it
            reason = ' '.join(str(error).split())[:200]
            raise ImageError(f'the picture cannot be read: {reason}') from error

    def _raw(self, message: Image) -> Pixels:
        image = encodings.RawImage(
            message.encoding,
            message.width,
            message.height,
            message.step,
            bool(message.is_bigendian),
            message.data,
        )
        if message.width * message.height <= self._max_pixels and self._whole(image):
            found = bridged(message)
            if found is not None:
                return found
        return encodings.convert(image, self._max_pixels, self._max_image_pixels, self._depth)

    def _whole(self, image: encodings.RawImage) -> bool:
        """Whether the size and the data agree, which cv_bridge does not look at."""
        return min(image.width, image.height) > 1 and (len(image.data) == image.step * image.height)

    def _compressed(self, message: CompressedImage) -> Pixels:
        form, data = message.format, memoryview(message.data)
        header = compressed.checked_header(data, form, self._max_image_pixels)
        if compressed.is_plain(header, form, self._max_pixels):
            decoded = bridged_bgr(message)
            if decoded is not None:
                return compressed.to_rgb(decoded, self._max_pixels, self._depth)
        return compressed.decode(data, form, header, self._max_pixels, self._depth)


def to_rgb(message: Image | CompressedImage) -> Pixels:
    """Return a single picture at its own size as (height, width, 3) uint8 RGB.

    :raises ImageError: as ``ImageReader.read``.
    """
    return ImageReader(DEFAULT_MAX_IMAGE_PIXELS).read(message)
