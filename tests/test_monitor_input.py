"""What the monitor makes of cameras and clocks, with a model that answers from a script."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from judging import (
    TASK,
    ScriptedBackend,
    calls,
    config,
    frame,
    live,
    ns,
    play,
    ramp,
    watch,
)

from progress_monitor.monitor import ProgressMonitor
from progress_monitor.types import (
    Evidence,
    State,
)


@pytest.mark.parametrize(
    ('lens', 'kind'),
    [('frozen', Evidence.FROZEN), ('black', Evidence.BLACK), ('silent', Evidence.TOO_OLD)],
)
def test_a_camera_that_fails_is_stale_and_never_a_stall_or_success(lens, kind):
    frames = live(5.0)
    for item in live(20.0, start=5.1):
        if lens == 'frozen':
            frames.append(dataclasses.replace(item, image=frames[-1].image))
        elif lens == 'black':
            frames.append(dataclasses.replace(item, image=np.zeros_like(item.image)))
    _, _, updates = watch(lambda t: ramp(min(t, 4.0)), 20.0, frames)
    assert updates[-1].state is State.STALE
    assert updates[-1].evidence is kind
    assert calls(updates) == []
    assert not [update for update in updates if update.successes]


def test_a_stall_that_stands_outlives_a_camera_failure():
    frames = [item for item in live(30.0) if not ns(12.0) < item.stamp_ns < ns(18.0)]
    _, _, updates = watch(lambda t: ramp(min(t, 4.0)), 30.0, frames)
    assert updates[170].state is State.STALE
    assert updates[-1].state is State.STALLED
    assert len(calls(updates)) == 1


def test_no_frames_at_all_is_said():
    _, _, updates = watch(ramp, 3.0, frames=[])
    assert updates[5].state is State.OBSERVING
    assert updates[-1].state is State.STALE
    assert updates[-1].evidence is Evidence.NO_FRAMES


def test_a_second_camera_that_is_missing_is_said_and_the_first_is_enough():
    _, backend, updates = watch(ramp, 8.0, live_as('left', 8.0), ('left', 'right'))
    assert updates[-1].state is State.PROGRESSING
    assert 'right' in updates[-1].message
    assert {item.camera for item in backend.requests[-1].frames} == {'left'}


def test_two_cameras_of_different_size_are_shown_together():
    small = [
        dataclasses.replace(item, image=np.ascontiguousarray(item.image[:64, :96]))
        for item in live_as('right', 8.0)
    ]
    _, backend, updates = watch(ramp, 8.0, live_as('left', 8.0) + small, ('left', 'right'))
    assert updates[-1].state is State.PROGRESSING
    assert [item.camera for item in backend.requests[-1].frames][:2] == ['left', 'right']


def live_as(camera, until):
    return [frame(item.stamp_ns * 1e-9, camera=camera) for item in live(until)]


def test_what_ros_knows_about_the_input_holds_until_a_frame_comes():
    monitor, _, _ = watch(ramp, 3.0)
    monitor.note_input(Evidence.UNREADABLE, 'encoding 16UC1 is no colour image')
    update = monitor.tick(ns(3.1))
    assert update.state is State.STALE
    assert update.evidence is Evidence.UNREADABLE
    assert '16UC1' in update.message
    monitor.observe(frame(3.2))
    assert monitor.tick(ns(3.2)).evidence is Evidence.GOOD


def test_a_clock_that_goes_back_makes_no_call_and_watching_goes_on():
    backend = ScriptedBackend(ramp)
    monitor = ProgressMonitor(config(), backend)
    monitor.set_task(TASK, ns(100.0))
    backend.script = lambda t: ramp(t - 100.0)
    first = play(monitor, live(106.0, start=100.0), 106.0, start=100.0)
    backend.script = lambda t: ramp(t - 44.0)
    second = play(monitor, live(60.0, start=50.0), 60.0, start=50.0)
    assert calls(first + second) == []
    assert second[-1].state is State.SUCCEEDED


def textured(stamp: float, moved: bool):
    """A frame of a wall before which something passes, from a camera that is knocked or not."""
    image = cv2.resize(_WALL, (240, 240), interpolation=cv2.INTER_CUBIC)
    image[:, int(30 + 8 * stamp) : int(60 + 8 * stamp)] = (30, 40, 200)
    if moved:
        knock = cv2.getRotationMatrix2D((120, 120), 6.0, 1.0)
        knock[:, 2] += (30.0, 20.0)
        image = cv2.warpAffine(image, knock, (240, 240), borderMode=cv2.BORDER_REFLECT_101)
    noise = np.random.default_rng(round(10 * stamp)).normal(0.0, 1.5, image.shape)
    return dataclasses.replace(frame(stamp), image=np.clip(image + noise, 0, 255).astype(np.uint8))


_WALL = np.random.default_rng(3).integers(0, 256, (40, 40, 3)).astype(np.uint8)


@pytest.mark.parametrize('stabilise', [True, False])
def test_after_a_knock_the_model_is_shown_the_view_of_before_and_nothing_of_between(stabilise):
    knocked = 7.95
    frames = [textured(t / 10, t / 10 > knocked) for t in range(140)]
    _, _, updates = watch(ramp, 13.9, frames, **{'camera.stabilise': stabilise})
    assert any(update.state is State.UNSURE for update in updates)
    shown = updates[-1].window or next(u.window for u in reversed(updates) if u.window)
    late = [item for item in shown if item.stamp_ns > ns(knocked)]
    early = [item for item in shown if item.stamp_ns <= ns(knocked)]
    assert late and early
    middle = slice(60, 180)
    for item in late:
        stamp = item.stamp_ns * 1e-9
        was = textured(stamp, False).image[middle, middle].astype(int)
        difference = float(np.abs(item.image[middle, middle] - was).mean())
        assert (difference < 12.0) is stabilise


def test_a_camera_that_has_not_delivered_since_its_parameters_changed_is_no_fault():
    backend = ScriptedBackend(ramp)
    monitor = ProgressMonitor(config(), backend, ('left', 'right'))
    monitor.set_task(TASK, 0)
    for stamp in (0.0, 0.1):
        for camera in ('left', 'right'):
            monitor.observe(dataclasses.replace(frame(stamp), camera=camera))
        monitor.tick(ns(stamp))
    monitor.apply(config(evidence__settle=3.0), ns(0.2))
    for index in range(12):
        stamp = 0.3 + 0.1 * index
        monitor.observe(dataclasses.replace(frame(stamp), camera='left'))
        monitor.tick(ns(stamp))
    assert {item.camera for item in backend.requests[-1].frames} >= {'left'}
