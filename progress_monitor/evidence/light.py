"""Whether a picture shows anything: too dark, too bright, or a covered lens."""

from __future__ import annotations

import cv2

from progress_monitor.config import EvidenceConfig
from progress_monitor.evidence.thumbnail import Grey
from progress_monitor.types import Evidence

_SIDE = 64
_LEARNING_FRAMES = 5
_LEARNING_RATE = 0.05


class LightWatch:
    """Knows the usual fine detail of one camera's pictures."""

    def __init__(self, config: EvidenceConfig) -> None:
        self._config = config
        self._detail = 0.0
        self._frames = 0

    def judge(self, grey: Grey) -> Evidence | None:
        """BLACK, OVEREXPOSED or COVERED; None: the picture shows something.

        :param grey: thumbnail, (height, width) uint8.
        """
        thumb = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(thumb))
        if mean < self._config.black_below:
            return Evidence.BLACK
        if mean > self._config.overexposed_above:
            return Evidence.OVEREXPOSED
        if deviation < self._config.uniform_below:
            return Evidence.COVERED
        edges = cv2.Laplacian(thumb, cv2.CV_16S)
        detail = float(cv2.norm(edges, cv2.NORM_L1)) / edges.size
        known = self._frames >= _LEARNING_FRAMES
        if known and detail < self._config.covered_detail * self._detail:
            return Evidence.COVERED
        self._frames += 1
        self._detail += max(_LEARNING_RATE, 1.0 / self._frames) * (detail - self._detail)
        return None
