"""Whether the frames of a camera are worth judging by.

Cheap enough for every frame of the stream: one comparison with the last frame's buffer and a few
sums over a grey thumbnail.
"""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

from progress_monitor.config import EvidenceConfig
from progress_monitor.types import Evidence

THUMB = 64
COARSE = 32
LOOK_BACK_NS = 500_000_000
LEARNING_FRAMES = 5
LEARNING_RATE = 0.05

_SENTENCES = {
    Evidence.BLACK: 'the picture is black',
    Evidence.OVEREXPOSED: 'the picture is over-exposed',
    Evidence.COVERED: 'the lens is covered or out of focus',
}


class CameraWatch:
    """Follows one camera's stream."""

    def __init__(self, config: EvidenceConfig, camera: str) -> None:
        self._config = config
        self._camera = camera
        self._image: NDArray[np.uint8] | None = None
        self._stamp_ns: int | None = None
        self._changed_ns = 0
        self._repeats = 0
        self._still_stamps = 0
        self._backward = 0
        self._bad: Evidence | None = None
        self._bad_frames = 0
        self._detail: float | None = None
        self._detail_frames = 0
        self._views: deque[tuple[int, NDArray[np.float32]]] = deque(maxlen=64)
        self._view_changed_ns: int | None = None
        self._ahead = False
        self._resting_view: NDArray[np.float32] | None = None
        self._resting_since_ns = 0
        self._has_moved = False

    @property
    def resting_since_ns(self) -> int:
        """Stamp since which nothing has moved in the picture; a slow motion adds up."""
        return self._resting_since_ns

    @property
    def has_moved(self) -> bool:
        """Whether anything has moved in the picture since the first frame."""
        return self._has_moved

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest frame; None before the first."""
        return self._stamp_ns

    def observe(self, stamp_ns: int, image: NDArray[np.uint8]) -> bool:
        """Take in a frame, (height, width, 3) uint8; whether it shows something new and usable."""
        if not self._take_stamp(stamp_ns):
            return False
        if self._image is not None and np.array_equal(image, self._image):
            self._repeats += 1
            self._bad_frames += self._bad is not None
            return False
        self._image = image
        self._changed_ns, self._repeats = stamp_ns, 0
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        thumb = cv2.resize(grey, (THUMB, THUMB), interpolation=cv2.INTER_AREA)
        bad = self._look(thumb)
        self._bad_frames = self._bad_frames + 1 if bad is not None else 0
        self._bad = bad
        if bad is None:
            view = cv2.resize(thumb, (COARSE, COARSE), interpolation=cv2.INTER_AREA)
            self._compare_view(stamp_ns, view.astype(np.float32))
        return bad is None

    def verdict(self, now_ns: int) -> tuple[Evidence, str]:
        """What the stream is worth at ``now_ns`` of the ROS clock, and why, in one sentence."""
        name, config = self._camera, self._config
        if self._stamp_ns is None:
            return Evidence.NO_FRAMES, f'camera {name}: no frame yet'
        if self._ahead:
            return (
                Evidence.STAMP_JUMP,
                f'camera {name}: stamps lie ahead of the ROS clock or jump back; '
                'check use_sim_time and the clocks of the machines',
            )
        age = (now_ns - self._stamp_ns) * 1e-9
        same = (self._stamp_ns - self._changed_ns) * 1e-9
        if age > config.frame_timeout:
            if self._still_stamps >= config.confirm_frames:
                return Evidence.FROZEN, f'camera {name}: the stamps stand still for {age:.1f} s'
            return Evidence.TOO_OLD, f'camera {name}: the newest frame is {age:.1f} s old'
        if self._bad is not None and self._bad_frames >= config.confirm_frames:
            return self._bad, f'camera {name}: {_SENTENCES[self._bad]}'
        if self._repeats >= config.confirm_frames and same >= config.frozen_after:
            return Evidence.FROZEN, f'camera {name}: the same picture for {same:.1f} s'
        if self._view_changed_ns is not None:
            since = (now_ns - self._view_changed_ns) * 1e-9
            if 0.0 <= since < config.settle:
                return Evidence.VIEW_CHANGED, f'camera {name}: the view has changed'
            self._view_changed_ns = None
        return Evidence.GOOD, ''

    def check_ahead(self, now_ns: int) -> bool:
        """Whether the newest stamp lies too far ahead of the clock; it is then forgotten."""
        if self._stamp_ns is None:
            return False
        if (self._stamp_ns - now_ns) * 1e-9 > self._config.stamp_tolerance:
            self._ahead = True
            self._stamp_ns = self._changed_ns = now_ns
            return True
        return False

    def _take_stamp(self, stamp_ns: int) -> bool:
        """Whether the stamp moves on. Several in a row that went back are a new time base."""
        last = self._stamp_ns
        if last is None or stamp_ns > last:
            self._stamp_ns = stamp_ns
            self._still_stamps = self._backward = 0
            self._ahead = False
            return True
        if stamp_ns == last:
            self._still_stamps += 1
            return False
        self._backward += 1
        if self._backward > self._config.confirm_frames and (last - stamp_ns) * 1e-9 > (
            self._config.stamp_tolerance
        ):
            self._ahead = True
            self._stamp_ns = self._changed_ns = stamp_ns
            self._views.clear()
        return False

    def _look(self, thumb: NDArray[np.uint8]) -> Evidence | None:
        mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(thumb))
        if mean < self._config.black_below:
            return Evidence.BLACK
        if mean > self._config.overexposed_above:
            return Evidence.OVEREXPOSED
        edges = cv2.Laplacian(thumb, cv2.CV_16S)
        detail = float(cv2.norm(edges, cv2.NORM_L1)) / edges.size
        if deviation < self._config.uniform_below:
            return Evidence.COVERED
        if self._detail is None:
            self._detail = detail
        learned = self._detail_frames >= LEARNING_FRAMES
        if learned and detail < self._config.covered_detail * self._detail:
            return Evidence.COVERED
        rate = max(LEARNING_RATE, 1.0 / (self._detail_frames + 1))
        self._detail += rate * (detail - self._detail)
        self._detail_frames += 1
        return None

    def _compare_view(self, stamp_ns: int, view: NDArray[np.float32]) -> None:
        """Compare with the picture of half a second ago, with brightness and contrast matched."""
        self._look_for_motion(stamp_ns, view)
        while len(self._views) > 1 and stamp_ns - self._views[1][0] >= LOOK_BACK_NS:
            self._views.popleft()
        if self._views:
            before = self._views[0][1]
            scale = float(before.std()) / max(float(view.std()), 1.0)
            matched = (view - float(view.mean())) * scale + float(before.mean())
            changed = float((np.abs(matched - before) > self._config.changed_levels).mean())
            if changed > self._config.view_change:
                self._view_changed_ns = stamp_ns
                self._views.clear()
        self._views.append((stamp_ns, view))

    def _look_for_motion(self, stamp_ns: int, view: NDArray[np.float32]) -> None:
        """Compare with the picture since which nothing has moved, with brightness matched."""
        level = view - float(view.mean())
        if self._resting_view is not None:
            moved = int((np.abs(level - self._resting_view) > self._config.motion_levels).sum())
            if moved < self._config.motion_cells:
                return
            self._has_moved = True
        self._resting_view, self._resting_since_ns = level, stamp_ns
