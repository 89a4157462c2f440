"""Videos of real robots, where the tests are told of some."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_FOLDER = os.environ.get('PROGRESS_MONITOR_FOOTAGE', '')
FOOTAGE = sorted(Path(_FOLDER).glob('*.mp4')) if _FOLDER else []


def first_frame(video: Any) -> NDArray[np.uint8]:
    """The first picture, (height, width, 3) uint8 RGB."""
    found, frame = cv2.VideoCapture(str(video)).read()
    assert found, video
    return np.ascontiguousarray(frame[..., ::-1], np.uint8)
