"""cv_bridge where it is there and works.

Its builds differ: one breaks with NumPy 2, one with OpenCV 5, one does not know YUV, and padded
rows come out skewed. So it is tried once before it is trusted, and whoever calls it has an own way
for what it does not know.
"""

from __future__ import annotations

import functools
import logging
from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

_log = logging.getLogger(__name__)
_CHANNELS = {'rgb8': 3, 'bgr8': 3, 'rgba8': 4, 'bgra8': 4, 'mono8': 1}
_CHANNELS |= {f'bayer_{pattern}8': 1 for pattern in ('rggb', 'bggr', 'gbrg', 'grbg')}
_CHANNELS |= {'yuv422': 2, 'yuv422_yuy2': 2}


@functools.lru_cache(maxsize=1)
def bridge() -> Any | None:
    """Return a CvBridge that works, or None and one line in the log that says why not."""
    try:
        from cv_bridge import CvBridge

        found = CvBridge()
        red = Image(height=1, width=1, encoding='bgr8', step=3, data=array('B', [0, 0, 255]))
        seen = np.asarray(found.imgmsg_to_cv2(red, 'rgb8')).tolist()
        if seen != [[[255, 0, 0]]]:
            raise RuntimeError(f'it reads red as {seen}')
    except Exception as error:  # a binary of another NumPy raises whatever it likes
        reason = ' '.join(str(error).split())[:200]
        _log.warning('cv_bridge is not used (%s: %s)', type(error).__name__, reason)
        return None
    return found


def bridged(message: Image) -> NDArray[np.uint8] | None:
    """Return an undamaged ``message`` as (height, width, 3) RGB by cv_bridge.

    None where cv_bridge does not know the encoding or the layout.
    """
    channels = _CHANNELS.get(message.encoding)
    known = bridge()
    if known is None or channels is None or message.step != message.width * channels:
        return None
    try:
        return _rgb(known.imgmsg_to_cv2(message, 'rgb8'))
    except Exception:  # each build has its own way to say that it does not know an encoding
        return None


def bridged_bgr(message: CompressedImage) -> NDArray[np.uint8] | None:
    """Return a compressed picture of 8 bits as OpenCV decodes it, by cv_bridge; None: it cannot."""
    known = bridge()
    if known is None:
        return None
    try:
        decoded = known.compressed_imgmsg_to_cv2(message)
    except Exception:  # OpenCV's errors on damaged data among them
        return None
    return decoded if isinstance(decoded, np.ndarray) and decoded.dtype == np.uint8 else None


def _rgb(pixels: Any) -> NDArray[np.uint8] | None:
    right = isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.ndim == 3
    return pixels if right and pixels.shape[2] == 3 else None
