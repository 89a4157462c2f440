"""Pictures made smaller for the monitor, and brought to the model's multiple."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from progress_monitor.resize import fit, shrink


@given(
    height=st.integers(1, 400),
    width=st.integers(1, 400),
    cells=st.integers(1, 100),
    multiple=st.sampled_from([28, 32]),
)
def test_model_sizes_are_whole_cells_within_the_budget(height, width, cells, multiple):
    image = np.zeros((height, width, 3), np.uint8)
    rows, columns = fit(image, cells * multiple**2, multiple).shape[:2]
    assert rows % multiple == columns % multiple == 0
    assert 0 < rows * columns <= cells * multiple**2
    assert rows < height + multiple
    assert columns < width + multiple


@pytest.mark.parametrize(
    ('shape', 'pixels', 'expected'),
    [
        ((256, 256), 128 * 128, (128, 128)),
        ((480, 640), 256 * 256, (224, 288)),
        ((480, 640), 640 * 480, (480, 640)),
        ((720, 1280), 256 * 256, (192, 320)),
        ((100, 100), 256 * 256, (128, 128)),
    ],
)
def test_the_aspect_is_kept_also_when_the_picture_was_shrunk_before(shape, pixels, expected):
    image = np.zeros((*shape, 3), np.uint8)
    assert fit(image, pixels, 32).shape[:2] == expected
    assert fit(shrink(image, pixels), pixels, 32).shape[:2] == expected


@given(height=st.integers(1, 500), width=st.integers(1, 500), pixels=st.integers(1, 50_000))
def test_shrinking_keeps_within_the_bound_and_never_enlarges(height, width, pixels):
    rows, columns = shrink(np.zeros((height, width, 3), np.uint8), pixels).shape[:2]
    assert rows <= height
    assert columns <= width
    assert rows * columns <= max(pixels, height, width)


def test_an_image_of_the_right_size_is_not_copied():
    image = np.zeros((128, 128, 3), np.uint8)
    assert fit(image, 128 * 128, 32) is image
    assert shrink(image, 128 * 128) is image
    with pytest.raises(ValueError, match='max_pixels'):
        fit(image, 100, 32)
