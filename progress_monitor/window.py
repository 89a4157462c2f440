"""The frames that the model is shown: sampled in time, bounded, oldest first.

ProcVLM was trained on windows of 1 or of 5 to 17 consecutive true frames, never padded
(arXiv 2605.08774), so one frame is shown until ``min_images`` are there.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from progress_monitor.config import WindowConfig
from progress_monitor.parameters import ParameterError
from progress_monitor.resize import fit, fitted_size
from progress_monitor.types import Frame

CELL = 32
GAP_SAMPLES = 4.0
GAP_NS = 2_000_000_000


def resize_for_model(image: NDArray[np.uint8], max_pixels: int) -> NDArray[np.uint8]:
    """``resize.fit`` for models whose frames are made of cells of 32 x 32 pixels."""
    return fit(image, max_pixels, CELL)


def _model_size(height: int, width: int, max_pixels: int) -> tuple[int, int]:
    return fitted_size(height, width, max_pixels, CELL)


class FrameWindow:
    """Keeps the newest frame of each camera and the samples that the policy shows.

    :param cameras: names in the order in which their frames stand in a sample; cameras that are
        not named follow in the order of their first frame.
    :raises ParameterError: if the bounds contradict each other.
    """

    def __init__(self, config: WindowConfig, cameras: Sequence[str] = ()) -> None:
        if config.max_images < config.min_images:
            raise ParameterError(
                f'window.max_images: {config.max_images} is below window.min_images '
                f'({config.min_images})'
            )
        self._config = config
        self._expected = tuple(cameras)
        self._period_ns = round(config.sample_period * 1e9)
        self.clear()

    def clear(self) -> None:
        """Forget all frames and start counting again."""
        self._cameras = list(self._expected)
        self._received = 0
        self._shown_total = 0
        self._shown: set[int] = set()
        self.restart()

    def restart(self) -> None:
        """Forget all frames but keep counting."""
        self._newest: dict[str, Frame] = {}
        self._samples: deque[tuple[Frame, ...]] = deque(maxlen=self._config.max_images)
        self._start_anew()

    def _start_anew(self) -> None:
        self._samples.clear()
        self._length = 0
        self._anchors: list[tuple[Frame, ...]] = []
        self._anchor_age = 0

    @property
    def frames_received(self) -> int:
        """Frames received since the window was made or cleared."""
        return self._received

    @property
    def frames_skipped(self) -> int:
        """Frames received that were not, and will not be, shown."""
        waiting = sum(frame.uid not in self._shown for frame in self._newest.values())
        return self._received - self._shown_total - waiting

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest sample, or None before the first."""
        if not self._samples:
            return None
        return max(frame.stamp_ns for frame in self._samples[-1])

    def count(self) -> None:
        """Count a frame that is received but not worth showing."""
        self._received += 1

    def observe(self, frame: Frame) -> None:
        """Take in a frame; one that is not newer than its camera's newest is only counted."""
        self._received += 1
        newest = self._newest.get(frame.camera)
        if newest is not None and frame.stamp_ns <= newest.stamp_ns:
            return
        if frame.camera not in self._cameras:
            self._cameras.append(frame.camera)
        self._newest[frame.camera] = frame

    def drop(self, camera: str) -> None:
        """Give up a camera's newest frame, so that older stamps are taken again."""
        self._newest.pop(camera, None)

    def due(self, cameras: Collection[str]) -> bool:
        """Whether the newest frames of ``cameras`` make a new sample."""
        sample = self._candidate(cameras)
        if not sample:
            return False
        last = self.newest_ns
        return last is None or max(frame.stamp_ns for frame in sample) - last >= self._period_ns

    def sample(self, cameras: Collection[str]) -> tuple[Frame, ...]:
        """Add the newest frames of ``cameras`` as a sample and return the window, oldest first.

        Call it only when ``due``. After a gap of several periods the window starts anew: the model
        knows no windows of frames that far apart.
        """
        sample = self._candidate(cameras)
        last = self.newest_ns
        if last is not None:
            gap_ns = max(frame.stamp_ns for frame in sample) - last
            if gap_ns > max(GAP_SAMPLES * self._period_ns, GAP_NS):
                self._start_anew()
        self._samples.append(sample)
        self._shown_total += sum(frame.uid not in self._shown for frame in sample)
        self._shown = {frame.uid for frame in sample}
        return tuple(frame for group in self._show() for frame in group)

    def _candidate(self, cameras: Collection[str]) -> tuple[Frame, ...]:
        return tuple(
            self._newest[name] for name in self._cameras if name in cameras and name in self._newest
        )

    def _show(self) -> list[tuple[Frame, ...]]:
        samples = list(self._samples)
        per_sample = max(len(sample) for sample in samples)
        fewest = max(math.ceil(self._config.min_images / per_sample), 2)
        most = max(self._config.max_images // per_sample, fewest)
        if len(samples) < fewest:
            return samples[-1:]
        if self._config.policy == 'sliding':
            return samples[-most:]
        if self._config.policy == 'growing':
            self._length = max(self._length + 1, fewest)
            if self._length > min(most, len(samples)):
                self._length = fewest
            return samples[-self._length :]
        self._anchor_age += 1
        if not self._anchors or self._anchor_age > most - fewest:
            self._anchors = samples[-fewest:-1]
            self._anchor_age = 0
        return [*self._anchors, samples[-1]]
