"""Real clips whose camera is made to sway or is knocked: how steady the model then sees them.

The measure is the share of the picture's corners that are in their place: from one sample to the
next where the camera sways, and against the clip as it was filmed where it was knocked. What moves
before the camera is in it as well, so the clip's own share says what can be reached.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from progress_monitor.config import EvidenceConfig
from progress_monitor.evidence.camera import CameraWatch
from progress_monitor.evidence.registration import Picture, same_places
from progress_monitor.evidence.thumbnail import enlarged, grey_thumbnail
from progress_monitor_lab.bench.footage_changes import Image
from progress_monitor_lab.sim.disturbance import Bump, Wrist

SAMPLE_S = 0.5
# From here on a view is compared: the sway is known, and the knock, at half of the clip, is over.
_LEARNT_S = 4.0
_SETTLED_S = 2.0


def steadied(images: Sequence[Image], rate: float, fixed: bool) -> dict[str, float]:
    """Shares for one clip; those of knocked and swaying cameras for a fixed one only.

    ``show_ms`` is the processor time of showing a sample of the swaying camera.
    """
    seconds = len(images) / rate
    as_filmed, shown, _ = _samples(images, rate)
    result = {'altered': _altered(as_filmed, shown)}
    if not fixed or seconds < 2.0 * _LEARNT_S:
        return result
    rng = np.random.default_rng([7, len(images)])
    for name, disturbance in (('sway', Wrist(rng)), ('knock', Bump(rng, seconds / 2.0))):
        moved = [disturbance(image, index / rate) for index, image in enumerate(images)]
        raw, held, cost = _samples(moved, rate)
        if name == 'sway':
            result['show_ms'] = 1e3 * cost
        compare = _successive if name == 'sway' else _against(as_filmed)
        first = _LEARNT_S if name == 'sway' else seconds / 2.0 + _SETTLED_S
        for kind, samples in (('filmed', as_filmed), ('raw', raw), ('held', held)):
            result[f'{name}_{kind}'] = compare(samples[round(first / SAMPLE_S) :])
    return result


def _samples(images: Sequence[Image], rate: float) -> tuple[list[Image], list[Image], float]:
    """Every ``SAMPLE_S`` the picture as it is, and as the model is shown it; its cost, s."""
    camera = CameraWatch(EvidenceConfig(), 'clip')
    stride = max(1, round(SAMPLE_S * rate))
    raw, shown = [], []
    spent = 0.0
    for index, image in enumerate(images):
        camera.observe(1_000_000_000 + round(index / rate * 1e9), image)
        if index % stride == 0:
            raw.append(image)
            start = time.process_time()
            shown.append(camera.shown(image))
            spent += time.process_time() - start
    return raw, shown, spent / max(len(raw), 1)


def _altered(raw: Sequence[Image], shown: Sequence[Image]) -> float:
    return float(np.mean([a is not b for a, b in zip(raw, shown, strict=True)]))


def _in_place(before: Image, now: Image) -> float:
    pictures = [Picture(enlarged(grey_thumbnail(image))) for image in (before, now)]
    same = same_places(*pictures)
    return float(same.mean()) if len(same) else 1.0


def _successive(samples: Sequence[Image]) -> float:
    return float(np.mean([_in_place(a, b) for a, b in pairwise(samples)]))


def _against(filmed: Sequence[Image]) -> Callable[[Sequence[Image]], float]:
    def compare(samples: Sequence[Image]) -> float:
        same = zip(filmed[len(filmed) - len(samples) :], samples, strict=True)
        return float(np.mean([_in_place(a, b) for a, b in same]))

    return compare


def summed(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Means over the clips that have each share."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}
