"""Since when nothing has moved in the picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from progress_monitor.config import EvidenceConfig
from progress_monitor.evidence.thumbnail import Grey

_SIDE = 32


class MotionWatch:
    """Compares with the picture since which nothing has moved, so that a slow motion adds up."""

    def __init__(self, config: EvidenceConfig) -> None:
        self._config = config
        self._resting: NDArray[np.float32] | None = None
        self.resting_since_ns = 0
        self.has_moved = False

    def observe(self, stamp_ns: int, grey: Grey) -> None:
        """Look at a thumbnail, (height, width) uint8, with its brightness matched."""
        view = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
        view -= view.mean()
        if self._resting is not None:
            moved = int((np.abs(view - self._resting) > self._config.motion_levels).sum())
            if moved < self._config.motion_cells:
                return
            self.has_moved = True
        self._resting, self.resting_since_ns = view, stamp_ns
