"""Requests with plain pictures, to warm a model up and to time it."""

from __future__ import annotations

import numpy as np

from progress_monitor.types import Frame, Generate, Request, Score
from progress_monitor.vlm.loading import VLM

_TEXT = 'Estimate the progress.'


def sample_request(vlm: VLM, max_pixels: int, count: int, max_new_tokens: int = 0) -> Request:
    """A request with ``count`` plain frames of the largest square size within ``max_pixels``."""
    side = max(int(max_pixels**0.5) // vlm.images.multiple, 1) * vlm.images.multiple
    frames = (
        Frame(-2 - index, 'sample', index, np.full((side, side, 3), 16 * index % 256, np.uint8))
        for index in range(count)
    )
    want = Generate((), max_new_tokens)
    return Request(0, 'sample', (*frames, _TEXT), want, task=vlm.adapters.sample_task)


def sample_score(vlm: VLM) -> Request:
    """A small request with a picture of two by three cells and the ten digits to score."""
    size = (2 * vlm.images.multiple, 3 * vlm.images.multiple, 3)
    image = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    parts = (Frame(-1, 'sample', 0, image), _TEXT)
    want = Score(tuple('0123456789'))
    return Request(0, 'sample', parts, want, task=vlm.adapters.sample_task)
