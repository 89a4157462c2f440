from __future__ import annotations

import cv2
import numpy as np
import pytest
from judging import ns

from progress_monitor.config import EvidenceConfig
from progress_monitor.evidence.camera import CameraWatch
from progress_monitor.evidence.registration import Picture
from progress_monitor.types import Evidence

rng = np.random.default_rng(7)
SCENE = cv2.GaussianBlur(rng.integers(0, 256, (256, 256, 3)).astype(np.uint8), (0, 0), 3.0)
SCENE = np.clip((SCENE.astype(np.float32) - 127.0) * 5.0 + 120.0, 0, 255).astype(np.uint8)


def noisy(image, levels=1.0):
    noise = rng.normal(0.0, levels, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def watch(images, start=0.0, period=0.1, camera=None):
    camera = camera or CameraWatch(EvidenceConfig(), 'wrist')
    now = start
    for index, image in enumerate(images):
        now = start + index * period
        camera.observe(ns(now), image)
    return camera, now


def verdict(camera, now):
    return camera.verdict(ns(now))[0]


def test_a_live_camera_before_a_scene_at_rest_is_good_evidence():
    camera, now = watch(noisy(SCENE) for _ in range(50))
    assert verdict(camera, now) is Evidence.GOOD


def test_a_camera_whose_noise_is_a_twentieth_of_a_grey_level_is_not_taken_for_frozen():
    """A stalled robot's frames in the simulated cell differ by 0.04 grey levels in the mean."""

    def flicker():
        image = SCENE.copy()
        spots = rng.integers(0, 256, (2, 2600))
        image[spots[0], spots[1], 0] ^= 1
        return image

    camera, now = watch(flicker() for _ in range(50))
    assert verdict(camera, now) is Evidence.GOOD


def test_a_camera_that_repeats_itself_is_named_and_forgiven_when_it_goes_on():
    camera, now = watch([noisy(SCENE)] * 30)
    kind, said = camera.verdict(ns(now))
    assert kind is Evidence.FROZEN
    assert 'wrist' in said
    camera, now = watch([noisy(SCENE)], start=now + 0.1, camera=camera)
    assert verdict(camera, now) is Evidence.GOOD


def test_repeated_pictures_are_no_new_evidence_from_the_first_on():
    camera = CameraWatch(EvidenceConfig(), 'cam')
    image = noisy(SCENE)
    assert camera.observe(ns(0.0), image)
    assert not camera.observe(ns(0.1), image.copy())
    assert verdict(camera, 0.1) is Evidence.GOOD


def test_a_video_that_shows_each_picture_twice_is_live():
    images = [image for _ in range(25) for image in [noisy(SCENE)] * 2]
    camera, now = watch(images, period=1.0 / 30.0)
    assert verdict(camera, now) is Evidence.GOOD


def test_stamps_that_stand_still_are_a_frozen_camera():
    camera = CameraWatch(EvidenceConfig(), 'cam')
    for _ in range(20):
        camera.observe(ns(5.0), noisy(SCENE))
    assert verdict(camera, 7.0) is Evidence.FROZEN


def test_silence_is_too_old():
    camera, now = watch(noisy(SCENE) for _ in range(5))
    assert verdict(camera, now + 0.9) is Evidence.GOOD
    assert verdict(camera, now + 1.1) is Evidence.TOO_OLD
    assert verdict(CameraWatch(EvidenceConfig(), 'cam'), 1.0) is Evidence.NO_FRAMES


@pytest.mark.parametrize('age', [86400.0, 1.8e9])
def test_stamps_of_another_time_are_told_from_a_late_camera(age):
    """A recording without its clock, and a driver that stamps by the time since the boot."""
    camera, now = watch(noisy(SCENE) for _ in range(5))
    kind, said = camera.verdict(ns(now + age))
    assert kind is Evidence.TOO_OLD
    assert 'use_sim_time' in said and 'driver' in said
    assert 'use_sim_time' not in camera.verdict(ns(now + 5.0))[1]


@pytest.mark.parametrize(
    ('spoil', 'kind'),
    [
        (lambda image: image // 40, Evidence.BLACK),
        (lambda image: image // 40 + 249, Evidence.OVEREXPOSED),
        (lambda image: cv2.GaussianBlur(image, (0, 0), 25.0), Evidence.COVERED),
        (lambda image: image // 60 + 90, Evidence.COVERED),
    ],
)
def test_what_shows_nothing_is_named_and_not_shown_to_the_model(spoil, kind):
    camera, now = watch(noisy(SCENE) for _ in range(20))
    bad = [noisy(spoil(SCENE)) for _ in range(5)]
    assert not camera.observe(ns(now + 0.1), bad[0])
    assert verdict(camera, now + 0.1) is Evidence.GOOD
    camera, now = watch(bad[1:], start=now + 0.2, camera=camera)
    assert verdict(camera, now) is kind
    camera, now = watch([noisy(SCENE)], start=now + 0.1, camera=camera)
    assert verdict(camera, now) is Evidence.GOOD


def test_a_brighter_or_darker_scene_is_no_change_of_view():
    camera, now = watch(noisy(SCENE) for _ in range(20))
    darker = (SCENE * 0.6).astype(np.uint8)
    camera, now = watch([noisy(darker) for _ in range(10)], start=now + 0.1, camera=camera)
    assert verdict(camera, now) is Evidence.GOOD


def test_a_moved_camera_is_named_until_it_has_settled():
    camera, now = watch(noisy(SCENE) for _ in range(20))
    moved = SCENE[::-1, ::-1]
    camera, now = watch([noisy(moved) for _ in range(5)], start=now + 0.1, camera=camera)
    assert verdict(camera, now) is Evidence.VIEW_CHANGED
    camera, now = watch([noisy(moved) for _ in range(30)], start=now + 0.1, camera=camera)
    assert verdict(camera, now) is Evidence.GOOD


def test_something_large_that_moves_through_is_no_change_of_view():
    def at(column):
        image = SCENE.copy()
        image[60:200, column : column + 70] = 200
        return noisy(image)

    camera, now = watch(at(column) for column in range(0, 180, 6))
    assert verdict(camera, now) is Evidence.GOOD


def test_a_slow_motion_adds_up_and_rest_does_not():
    def at(column):
        image = SCENE.copy()
        image[100:140, column : column + 40] = 220
        return noisy(image)

    camera, now = watch([at(50 + index // 8) for index in range(80)])
    assert now - camera.resting_since_ns * 1e-9 < 2.0
    start = now + 0.1
    camera, now = watch([at(60) for _ in range(60)], start=start, camera=camera)
    assert camera.resting_since_ns <= ns(start)
    camera, now = watch([noisy(SCENE * 0.8) for _ in range(2)], start=now + 0.1, camera=camera)
    assert camera.resting_since_ns >= ns(start + 5.9)


def test_stamps_from_the_future_are_a_jump_and_do_not_shut_out_what_follows():
    camera, now = watch(noisy(SCENE) for _ in range(10))
    camera.observe(ns(900.0), noisy(SCENE))
    assert camera.check_ahead(ns(now + 0.1))
    assert verdict(camera, now + 0.1) is Evidence.STAMP_JUMP
    assert camera.observe(ns(now + 0.2), noisy(SCENE))
    assert verdict(camera, now + 0.2) is Evidence.GOOD


def test_a_stream_that_starts_again_earlier_is_taken_up_after_a_few_frames():
    camera, _ = watch((noisy(SCENE) for _ in range(10)), start=100.0)
    camera, now = watch((noisy(SCENE) for _ in range(10)), start=3.0, camera=camera)
    assert verdict(camera, now) is Evidence.GOOD


def test_frames_out_of_order_are_left_out_and_harm_nothing():
    camera, now = watch(noisy(SCENE) for _ in range(10))
    assert not camera.observe(ns(now - 0.15), noisy(SCENE))
    assert camera.observe(ns(now + 0.1), noisy(SCENE))
    assert verdict(camera, now + 0.1) is Evidence.GOOD


def test_a_compressed_video_at_rest_is_not_frozen_although_its_codec_touches_it_up():
    def touched_up(times):
        """As a key frame changes a scene at rest: an eighth of it."""
        image = SCENE.copy()
        image[:32] = np.clip(image[:32].astype(np.int16) + times, 0, 255).astype(np.uint8)
        return image

    images = [touched_up(index // 5) for index in range(60)]
    camera, now = watch([*images, *([images[-1]] * 30)])
    assert verdict(camera, now) is Evidence.GOOD
    assert camera.noise_free


def test_a_camera_with_noise_that_hangs_after_a_hiccup_is_frozen():
    images = [noisy(SCENE) for _ in range(10)]
    images += [images[-1]] * 5 + [noisy(SCENE) for _ in range(3)]
    camera, now = watch([*images, *([images[-1]] * 30)])
    assert verdict(camera, now) is Evidence.FROZEN


def corners(image):
    return Picture(cv2.cvtColor(cv2.resize(image, (160, 160)), cv2.COLOR_RGB2GRAY)).corners


def test_black_bars_give_no_corners_that_stay_when_the_camera_moves():
    image = SCENE.copy()
    image[:64] = image[192:] = 0
    rows, _ = corners(image)
    assert len(rows) > 20
    assert rows.min() > 45 and rows.max() < 115


def test_somebody_in_a_pattern_has_not_most_of_the_corners():
    image = cv2.addWeighted(SCENE, 0.2, np.full_like(SCENE, 100), 0.8, 0.0)
    image[:, :85] = np.kron(rng.integers(0, 200, (32, 11)), np.ones((8, 8)))[:, :85, None]
    _, columns = corners(image)
    assert (columns < 60).mean() < 0.5
