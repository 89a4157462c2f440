"""Samples in time, and the windows that are selected from them."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judging import frame, ns

from progress_monitor.config import POLICIES, WindowConfig
from progress_monitor.history import FrameHistory
from progress_monitor.parameters import ParameterError
from progress_monitor.strategies.selection import WindowSelection, check_window

TINY = np.zeros((32, 32, 3), np.uint8)


def filled(seconds, period=0.5, cameras=(), **arguments):
    history = FrameHistory(period, 64, cameras, **arguments)
    for moment in seconds:
        history.observe(frame(moment, TINY))
    return history


def windows(policy, samples, every=1):
    """Windows of a model that is asked after every ``every`` samples."""
    history, selection = FrameHistory(0.5, 64), WindowSelection(WindowConfig(policy=policy))
    shown = []
    for index in range(samples):
        history.observe(frame(index * 0.5, TINY))
        if index % every == every - 1:
            shown.append(selection.select(history.samples))
    return shown


def test_growing_shows_one_then_five_to_seventeen_then_five_again():
    lengths = [len(shown) for shown in windows('growing', 34)]
    assert lengths == [1, 1, 1, 1, *range(5, 18), *range(5, 18), 5, 6, 7, 8]


def test_growing_windows_share_their_beginning():
    shown = windows('growing', 60)
    uids = [tuple(item.uid for item in window) for window in shown]
    shared = sum(now[: len(before)] == before for before, now in itertools.pairwise(uids))
    assert shared >= 0.85 * 56


@pytest.mark.parametrize('every', [1, 4, 10, 16])
def test_nothing_between_two_windows_of_a_slow_model_goes_unseen(every):
    for before, now in itertools.pairwise(windows('growing', 120, every)):
        assert now[0].stamp_ns <= before[-1].stamp_ns or len(now) == 1


@pytest.mark.parametrize('policy', POLICIES)
@pytest.mark.parametrize('every', [2, 4, 9, 30])
def test_a_slow_model_is_shown_as_many_frames_as_a_quick_one(policy, every):
    """However long an answer takes, windows are ones that the model was trained on."""
    shown = windows(policy, 120, every)[2:]
    assert all(5 <= len(window) <= 17 for window in shown)
    for window in shown:
        stamps = [item.stamp_ns for item in window]
        if policy != 'anchored':
            assert {b - a for a, b in itertools.pairwise(stamps)} == {ns(0.5)}
    newest = [window[-1].stamp_ns for window in shown]
    assert newest == sorted(set(newest))


def test_samples_are_taken_by_time_whether_or_not_anybody_looks():
    history = filled(np.arange(0.0, 20.0, 0.1))
    stamps = [sample[0].stamp_ns for sample in history.samples]
    assert stamps == [ns(0.5 * i) for i in range(40)]


def test_sliding_shows_the_newest():
    shown = windows('sliding', 31)
    assert [len(window) for window in shown] == [1, 1, 1, 1, *range(5, 18), *[17] * 14]
    assert [item.stamp_ns for item in shown[-1]] == [ns(7.0 + 0.5 * i) for i in range(17)]


def test_anchored_keeps_its_first_images_and_renews_them():
    anchors = []
    for index, shown in enumerate(windows('anchored', 40)):
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
    history, selection = FrameHistory(0.5, 64), WindowSelection(WindowConfig(policy=policy))
    clock, shown, last = 10_000, set(), None
    for step, camera in steps:
        clock = max(clock + step, 0)
        history.observe(frame(clock / 1000.0, TINY, camera))
        if history.newest_ns is None or history.newest_ns == last:
            continue
        last = history.newest_ns
        frames = selection.select(history.samples)
        history.mark_shown(frames)
        assert 1 <= len(frames) <= 17
        shown |= {item.uid for item in frames}
        for name in ('a', 'b'):
            stamps = [item.stamp_ns for item in frames if item.camera == name]
            assert stamps == sorted(stamps)
    assert history.received == len(steps)
    assert history.skipped == len(steps) - len(shown) - history.unshown
    assert history.skipped >= 0


def test_a_sample_waits_for_the_period():
    history = filled([0.0, 0.4])
    assert len(history.samples) == 1
    history.observe(frame(0.5, TINY))
    assert len(history.samples) == 2
    history.set_period(2.0)
    for moment in (1.0, 2.0, 2.5):
        history.observe(frame(moment, TINY))
    assert [sample[0].stamp_ns for sample in history.samples] == [0, ns(0.5), ns(2.5)]


def two_cameras(moments, lag=0.1, until=1e9):
    history = FrameHistory(0.5, 64, ('left', 'right'), silence_s=1.0)
    for moment in moments:
        history.observe(frame(moment, TINY, 'right'))
        if moment < until:
            history.observe(frame(moment - lag, TINY, 'left'))
    return history


def test_several_cameras_stand_in_the_given_order_and_count_as_images():
    history = two_cameras(np.arange(0.0, 15.0, 0.5))
    assert len(history.samples) == 30
    for sample in history.samples:
        assert [item.camera for item in sample] == ['left', 'right']
    selection = WindowSelection(WindowConfig())
    most = max(len(selection.select(list(history.samples)[: count + 1])) for count in range(30))
    assert most == 16


def test_a_camera_that_falls_silent_leaves_the_samples_and_the_other_goes_on():
    history = two_cameras(np.arange(0.0, 20.0, 0.1), until=10.0)
    last = history.samples[-1]
    assert [item.camera for item in last] == ['right']
    gaps = np.diff([max(item.stamp_ns for item in sample) for sample in history.samples])
    assert gaps.max() <= ns(0.8)
    assert np.median(gaps[-10:]) == ns(0.5)


def test_a_camera_that_never_comes_delays_the_first_sample_by_half_a_period_only():
    history = FrameHistory(0.5, 64, ('left', 'right'))
    for moment in np.arange(0.0, 2.0, 0.1):
        history.observe(frame(float(moment), TINY, 'left'))
    stamps = [sample[0].stamp_ns for sample in history.samples]
    assert stamps[0] == ns(0.3)
    assert set(np.diff(stamps)) == {ns(0.5)}


def test_a_long_gap_starts_the_window_anew():
    history = filled(np.arange(0.0, 5.0, 0.5))
    assert len(history.samples) == 10
    history.observe(frame(60.0, TINY))
    assert len(history.samples) == 1


def test_the_history_is_bounded_and_a_restart_keeps_the_counts():
    history = filled(np.arange(0.0, 100.0, 0.25))
    assert len(history.samples) == 64
    history.restart()
    assert len(history.samples) == 0
    assert history.received == 400
    history.clear()
    assert history.received == 0


@pytest.mark.parametrize(
    ('config', 'cameras', 'said'),
    [
        (WindowConfig(min_images=9, max_images=5), 1, r'window\.max_images'),
        (WindowConfig(min_images=64, max_images=64), 3, r'window\.min_images.*3 cameras.*66'),
        (WindowConfig(), 40, r'window\.min_images.*40 cameras'),
    ],
)
def test_bounds_that_cannot_be_kept_are_named(config, cameras, said):
    with pytest.raises(ParameterError, match=said):
        check_window(config, cameras)
    check_window(WindowConfig(min_images=64, max_images=64), 2)


def test_what_came_after_a_stamp_is_forgotten_and_sampled_anew():
    history = filled([0.0, 0.5, 1.0, 1.5])
    history.forget_after(ns(0.7))
    assert [sample[0].stamp_ns for sample in history.samples] == [0, ns(0.5)]
    history.observe(frame(1.6, TINY))
    assert [sample[0].stamp_ns for sample in history.samples] == [0, ns(0.5), ns(1.6)]
    assert history.received == 5


def test_a_sample_holds_its_frames_as_they_are_to_be_shown():
    history = FrameHistory(
        0.5, 64, shown=lambda item: dataclasses.replace(item, image=255 - item.image)
    )
    taken = frame(0.0, TINY)
    history.observe(taken)
    (sampled,) = history.samples[0]
    assert sampled.uid == taken.uid
    assert (sampled.image == 255 - TINY).all()
