"""Clips as other cameras show them."""

from __future__ import annotations

import numpy as np
import pytest

from progress_monitor_lab.bench.footage_variants import VARIANTS


@pytest.mark.parametrize('name', VARIANTS)
def test_a_variant_is_a_stream_of_pictures_of_one_size(name: str) -> None:
    rng = np.random.default_rng(0)
    clip = [rng.integers(0, 256, (120, 160, 3), dtype=np.uint8) for _ in range(12)]
    images, rate = VARIANTS[name](clip, 10.0)
    assert images
    assert {(image.shape, image.dtype.name) for image in images} == {(images[0].shape, 'uint8')}
    seconds, played = len(clip) / 10.0, len(images) / rate
    expected = {'half the speed': 2.0, 'twice the speed': 0.5, 'four times the speed': 0.25}
    assert played == pytest.approx(seconds * expected.get(name, 1.0))
