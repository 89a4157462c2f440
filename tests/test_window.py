from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judging import frame, ns

from progress_monitor.config import POLICIES, WindowConfig
from progress_monitor.parameters import ParameterError
from progress_monitor.window import FrameWindow, resize_for_model

ONE = ('cam',)
TINY = np.zeros((32, 32, 3), np.uint8)


def _lengths(policy: str, samples: int) -> tuple[list[int], FrameWindow]:
    window = FrameWindow(WindowConfig(policy=policy))
    lengths = []
    for index in range(samples):
        window.observe(frame(index * 0.5, TINY))
        assert window.due(ONE)
        lengths.append(len(window.sample(ONE)))
    return lengths, window


def test_growing_shows_one_then_five_to_seventeen_then_five_again():
    lengths, _ = _lengths('growing', 34)
    assert lengths == [1, 1, 1, 1, *range(5, 18), *range(5, 18), 5, 6, 7, 8]


def test_growing_windows_share_their_beginning():
    window = FrameWindow(WindowConfig())
    before: tuple[int, ...] = ()
    shared = 0
    for index in range(60):
        window.observe(frame(index * 0.5, TINY))
        now = tuple(item.uid for item in window.sample(ONE))
        shared += bool(before) and now[: len(before)] == before
        before = now
    assert shared >= 0.85 * 56


def test_sliding_shows_the_newest():
    lengths, window = _lengths('sliding', 30)
    assert lengths == [1, 1, 1, 1, *range(5, 18), *[17] * 13]
    window.observe(frame(15.0, TINY))
    stamps = [item.stamp_ns for item in window.sample(ONE)]
    assert stamps == [ns(7.0 + 0.5 * i) for i in range(17)]


def test_anchored_keeps_its_first_images_and_renews_them():
    window = FrameWindow(WindowConfig(policy='anchored'))
    anchors = []
    for index in range(40):
        window.observe(frame(index * 0.5, TINY))
        shown = window.sample(ONE)
        if index >= 4:
            assert len(shown) == 5
            assert shown[-1].stamp_ns == ns(index * 0.5)
            anchors.append(tuple(item.uid for item in shown[:-1]))
    assert len(set(anchors)) == 3
    assert anchors[0] == anchors[11]


@given(
    policy=st.sampled_from(POLICIES),
    steps=st.lists(
        st.tuples(st.integers(-3000, 3000), st.sampled_from(['a', 'b'])), min_size=1, max_size=60
    ),
)
def test_any_order_of_stamps_gives_bounded_windows_in_order_and_counts_every_frame(policy, steps):
    window = FrameWindow(WindowConfig(policy=policy))
    clock, shown = 10_000, set()
    for step, camera in steps:
        clock = max(clock + step, 0)
        window.observe(frame(clock / 1000.0, TINY, camera))
        if window.due(('a', 'b')):
            frames = window.sample(('a', 'b'))
            assert 1 <= len(frames) <= 17
            shown |= {item.uid for item in frames}
            for name in ('a', 'b'):
                stamps = [item.stamp_ns for item in frames if item.camera == name]
                assert stamps == sorted(stamps)
    assert window.frames_received == len(steps)
    waiting = 2 if len({camera for _, camera in steps}) == 2 else 1
    assert len(steps) - len(shown) - waiting <= window.frames_skipped <= len(steps) - len(shown)


def test_a_sample_waits_for_the_period():
    window = FrameWindow(WindowConfig(sample_period=0.5))
    window.observe(frame(0.0, TINY))
    window.sample(ONE)
    window.observe(frame(0.4, TINY))
    assert not window.due(ONE)
    window.observe(frame(0.5, TINY))
    assert window.due(ONE)
    window.sample(ONE)
    assert window.frames_skipped == 1


def test_several_cameras_stand_in_the_given_order_and_count_as_images():
    window = FrameWindow(WindowConfig(), ('left', 'right'))
    most = 0
    for index in range(30):
        window.observe(frame(index * 0.5, TINY, 'right'))
        window.observe(frame(index * 0.5 - 0.1, TINY, 'left'))
        frames = window.sample(('left', 'right'))
        most = max(most, len(frames))
        assert [item.camera for item in frames] == ['left', 'right'] * (len(frames) // 2)
    assert most == 16


def test_a_long_gap_starts_the_window_anew():
    _, window = _lengths('growing', 10)
    window.observe(frame(60.0, TINY))
    assert len(window.sample(ONE)) == 1


def test_bounds_that_contradict_each_other_are_named():
    with pytest.raises(ParameterError, match=r'window\.max_images'):
        FrameWindow(WindowConfig(min_images=9, max_images=5))


@given(height=st.integers(1, 3000), width=st.integers(1, 3000), cells=st.integers(1, 400))
def test_model_sizes_are_whole_cells_within_the_budget(height, width, cells):
    image = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (height, width, 3))
    resized = resize_for_model(np.ascontiguousarray(image[:1, :1].repeat(1, 0)), 1024)
    assert resized.shape == (32, 32, 3)
    from progress_monitor.window import _model_size

    rows, columns = _model_size(height, width, cells * 1024)
    assert rows % 32 == 0
    assert columns % 32 == 0
    assert rows * columns <= cells * 1024
    assert rows < height + 32
    assert columns < width + 32


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
def test_the_aspect_is_kept(shape, pixels, expected):
    image = np.zeros((*shape, 3), np.uint8)
    assert resize_for_model(image, pixels).shape[:2] == expected


def test_an_image_of_the_right_size_is_not_copied():
    image = np.zeros((128, 128, 3), np.uint8)
    assert resize_for_model(image, 128 * 128) is image
    with pytest.raises(ValueError, match='max_pixels'):
        resize_for_model(image, 100)
