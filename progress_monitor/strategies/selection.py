"""Which samples of the history the model is shown.

ProcVLM was trained on windows of 1 or of 5 to 17 consecutive true frames, never padded
(arXiv 2605.08774), so one sample is shown until ``min_images`` are there. Windows move on by
samples and not by answers: a slow model is shown several new samples at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from progress_monitor.config import WindowConfig
from progress_monitor.parameters import ParameterError
from progress_monitor.types import Frame

Sample = tuple[Frame, ...]


FRAMES_AT_ONCE = 64


def check_window(config: WindowConfig, cameras: int) -> None:
    """Check bounds against each other and against what can be shown at once.

    :raises ParameterError: if they contradict each other.
    """
    cameras = max(cameras, 1)
    fewest = _fewest(config, cameras) * cameras
    if fewest > FRAMES_AT_ONCE:
        raise ParameterError(
            f'window.min_images: {config.min_images} with {cameras} cameras makes windows of '
            f'{fewest} frames; at most {FRAMES_AT_ONCE} can be shown: lower it'
        )
    if config.max_images < config.min_images:
        raise ParameterError(
            f'window.max_images: {config.max_images} is below window.min_images '
            f'({config.min_images})'
        )


def described(config: WindowConfig) -> str:
    """The window that ``config`` makes, in words."""
    return (
        f'{config.policy} {config.min_images}..{config.max_images} every {config.sample_period:g} s'
    )


class WindowSelection:
    """Selects a window by the policy that ``config`` names; call it once per new sample or less."""

    def __init__(self, config: WindowConfig) -> None:
        self._config = config
        self.reset()

    def reset(self) -> None:
        """Let the next window start anew."""
        self._start: Sample | None = None
        self._shown: Sample | None = None
        self._anchors: tuple[Sample, ...] = ()

    def select(self, samples: Sequence[Sample]) -> tuple[Frame, ...]:
        """Frames of the window over ``samples`` (oldest first, not empty), in the order shown."""
        return tuple(frame for sample in self._window(list(samples)) for frame in sample)

    def _window(self, samples: list[Sample]) -> list[Sample]:
        shown, self._shown = self._shown, samples[-1]
        per_sample = max(len(sample) for sample in samples)
        fewest = _fewest(self._config, per_sample)
        most = max(self._config.max_images // per_sample, fewest)
        if len(samples) < fewest:
            return samples[-1:]
        if self._config.policy == 'sliding':
            return samples[-most:]
        if self._config.policy == 'growing':
            start = self._index(samples, self._start)
            if start is None or not fewest <= len(samples) - start <= most:
                # Of what a slow model has not seen, as much as may be shown is; nothing between
                # two windows goes unseen.
                last = self._index(samples, shown)
                unseen = fewest if last is None else len(samples) - last
                start = len(samples) - min(max(unseen, fewest), most)
            self._start = samples[start]
            return samples[start:]
        fixed = self._index(samples, self._anchors[-1]) if self._anchors else None
        if fixed is None or len(samples) - 1 - fixed > 1 + most - fewest:
            self._anchors = tuple(samples[-fewest:-1])
        return [*self._anchors, samples[-1]]

    @staticmethod
    def _index(samples: list[Sample], wanted: Sample | None) -> int | None:
        return next((i for i, sample in enumerate(samples) if sample is wanted), None)


def _fewest(config: WindowConfig, per_sample: int) -> int:
    """Samples of the shortest window."""
    return max(math.ceil(config.min_images / per_sample), 2)
