"""A demonstration played to the monitor with the adapted model, as it is or edited."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from progress_monitor.adapt.augmentation import Look
from progress_monitor.adapt.demonstration import Demonstration
from progress_monitor.config import CameraConfig
from progress_monitor.monitor import ProgressMonitor
from progress_monitor.node_config import NodeConfig
from progress_monitor.offline.player import play
from progress_monitor.offline.sources import Picture
from progress_monitor.types import Backend, Evidence

START_NS = 1_000_000_000
_NOISE = 0.7


@dataclass(frozen=True, eq=False)
class Curve:
    """What the monitor made of one run, an entry an answer; all (n,).

    ``progress`` is NaN where the model refused, ``truth`` what the annotation says. ``successes``
    and ``stalls`` are the times, s, at which one was called; ``noise`` is the scatter that the
    monitor has measured at the end.
    """

    name: str
    seconds: NDArray[np.float64]
    progress: NDArray[np.float64]
    truth: NDArray[np.float64]
    finished: NDArray[np.bool_]
    successes: tuple[float, ...]
    stalls: tuple[float, ...]
    noise: float

    @property
    def refused(self) -> float:
        """Share of the answers without a number."""
        return float(np.mean(~np.isfinite(self.progress))) if len(self.progress) else 1.0


def run(
    name: str,
    demonstration: Demonstration,
    indices: Sequence[int],
    config: NodeConfig,
    backend: Backend,
    *,
    task: str = '',
    look: Look | None = None,
) -> Curve:
    """Play the samples of these ``indices``, ``period_s`` apart, and note what is answered.

    A sample shown again has a sensor's noise of its own: a camera that lives, before a robot that
    stands still.
    """
    quiet = replace(config, camera=CameraConfig(noise_free='yes'))
    cameras = tuple(f'camera{number}' for number in range(demonstration.cameras))
    monitor = ProgressMonitor(quiet, backend, cameras)
    pictures = _pictures(demonstration, indices, cameras, look)
    seconds, progress, shown = [], [], []
    successes: list[float] = []
    stalls: list[float] = []
    noise = float('nan')
    last = 0
    for played in play(pictures, monitor, task or demonstration.task, config.model.max_pixels):
        last = played.index // demonstration.cameras
        update = played.update
        noise = update.noise
        successes += [played.seconds for item in update.successes if item.succeeded]
        stalls += [played.seconds for item in update.stalls if item.stalled]
        if update.estimate is not None:
            good = update.estimate.evidence is Evidence.GOOD
            seconds.append(played.seconds)
            progress.append(update.estimate.progress if good else float('nan'))
            shown.append(indices[last])
    places = np.array(shown, np.int64)
    return Curve(
        name,
        np.array(seconds),
        np.array(progress, np.float64),
        demonstration.progress[places],
        np.array([demonstration.finished(place) for place in shown], bool),
        tuple(successes),
        tuple(stalls),
        noise,
    )


def _pictures(
    demonstration: Demonstration,
    indices: Sequence[int],
    cameras: Sequence[str],
    look: Look | None,
) -> Iterator[Picture]:
    rng = np.random.default_rng(0)
    before = -1
    for number, index in enumerate(indices):
        stamp_ns = START_NS + round(number * demonstration.period_s * 1e9)
        for camera, image in zip(cameras, demonstration.images[index], strict=True):
            seen = image if look is None else look.apply(image, rng)
            if index == before:
                noisy = seen + rng.normal(0.0, _NOISE, seen.shape)
                seen = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
            yield Picture(camera, stamp_ns, seen)
        before = index
