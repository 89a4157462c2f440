from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import ns
from numpy.typing import NDArray

from progress_monitor.config import EvidenceConfig
from progress_monitor.evidence.camera import CameraWatch
from progress_monitor.evidence.registration import Picture, mean_way, refine, register
from progress_monitor.evidence.stabiliser import Stabiliser
from progress_monitor.evidence.thumbnail import grey_thumbnail
from progress_monitor.evidence.view import Mounting, ViewChange

Image = NDArray[np.uint8]
SIZE = 180
PERIOD_S = 0.1
SAMPLE = 5
_rng = np.random.default_rng(11)


def _texture(seed: int, size: int) -> Image:
    rng = np.random.default_rng(seed)
    coarse = cv2.GaussianBlur(rng.integers(0, 256, (size, size, 3)).astype(np.float32), (0, 0), 3.0)
    return np.clip((coarse - 127.0) * 5.0 + 120.0, 0, 255).astype(np.uint8)


WORLD = _texture(1, SIZE)


def scene(seconds: float) -> Image:
    """A wall before which a plain arm sweeps up and down."""
    image = WORLD.copy()
    top = round(0.4 * SIZE + 0.3 * SIZE * np.sin(seconds))
    cv2.rectangle(image, (SIZE // 2, top), (SIZE // 2 + 50, SIZE), (40, 60, 200), -1)
    return image


def seen_from(image: Image, degrees: float, right: float, down: float, zoom: float) -> Image:
    matrix = cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), degrees, zoom)
    matrix[:, 2] += (right * SIZE, down * SIZE)
    moved = cv2.warpAffine(image, matrix, (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT_101)
    noise = _rng.normal(0.0, 1.5, image.shape)
    return np.clip(moved + noise, 0, 255).astype(np.uint8)


Pose = Callable[[float], tuple[float, float, float, float]]


def standing(_: float) -> tuple[float, float, float, float]:
    return 0.0, 0.0, 0.0, 1.0


def swaying(seconds: float) -> tuple[float, float, float, float]:
    swing = np.sin(2.0 * np.pi * seconds / np.array([2.3, 3.1, 1.9]) + np.array([0.0, 1.0, 2.0]))
    return 3.0 * swing[0], 0.04 * swing[1], 0.04 * swing[2], 1.0


def played(
    pose: Pose, seconds: float, camera: CameraWatch | None = None
) -> Iterator[tuple[float, Image, Image]]:
    """(time, picture, what the model is shown) of each sample."""
    camera = camera or CameraWatch(EvidenceConfig(), 'mast')
    for index in range(round(seconds / PERIOD_S)):
        now = index * PERIOD_S
        image = seen_from(scene(now), *pose(now))
        camera.observe(ns(now), image)
        if index % SAMPLE == 0:
            yield now, image, camera.shown(image)


def unlike(a: Image, b: Image) -> float:
    """Mean difference of the inner part of two pictures, grey levels."""
    middle = slice(SIZE // 6, -SIZE // 6)
    return float(np.abs(a[middle, middle].astype(int) - b[middle, middle].astype(int)).mean())


def wall(samples: list[Image]) -> list[Image]:
    """The samples without the side on which the arm moves."""
    return [np.where(np.arange(SIZE)[:, None] < SIZE // 2 - 20, image, 0) for image in samples]


def test_pictures_of_a_camera_that_stands_are_shown_as_they_are() -> None:
    for _, image, shown in played(standing, 8.0):
        assert shown is image


def test_a_swaying_camera_is_shown_as_if_it_stood() -> None:
    late = [(image, shown) for now, image, shown in played(swaying, 14.0) if now >= 8.0]
    taken, shown = wall([pair[0] for pair in late]), wall([pair[1] for pair in late])
    moved = np.mean([unlike(a, taken[0]) for a in taken[1:]])
    held = np.mean([unlike(a, shown[0]) for a in shown[1:]])
    assert held < 0.35 * moved


def test_the_view_that_is_held_is_the_middle_of_those_of_a_swaying_camera() -> None:
    *_, (now, _, shown) = played(lambda seconds: swaying(seconds + 0.6), 20.0)
    first = seen_from(scene(now), *swaying(0.6))
    centre = seen_from(scene(now), *standing(now))
    assert unlike(shown, centre) < 0.5 * unlike(shown, first)


@settings(max_examples=6, deadline=None)
@given(
    degrees=st.floats(-9.0, 9.0),
    right=st.sampled_from((-0.15, -0.1, 0.1, 0.15)),
    down=st.floats(-0.12, 0.12),
    zoom=st.floats(0.92, 1.1),
)
def test_after_a_knock_the_view_is_shown_as_it_was(
    degrees: float, right: float, down: float, zoom: float
) -> None:
    knock = degrees, right, down, zoom
    samples = list(played(lambda now: knock if now >= 4.0 else (0.0, 0.0, 0.0, 1.0), 9.0))
    for now, image, shown in samples[-4:]:
        before = seen_from(scene(now), *standing(now))
        assert unlike(shown, before) < 0.5 * unlike(image, before)


def test_a_knocked_camera_that_is_put_back_is_shown_as_it_is() -> None:
    def pose(now: float) -> tuple[float, float, float, float]:
        return (5.0, 0.12, 0.0, 1.0) if 4.0 <= now < 9.0 else standing(now)

    samples = list(played(pose, 15.0))
    assert any(shown is not image for _, image, shown in samples)
    _, image, shown = samples[-1]
    assert unlike(shown, image) < 3.0


def knocked_twice(first: float, second: float) -> Pose:
    """Knocked by these shares of the picture to the right, after 4 and after 9 s."""

    def pose(now: float) -> tuple[float, float, float, float]:
        return 0.0, first * (now >= 4.0) + second * (now >= 9.0), 0.0, 1.0

    return pose


def test_after_a_second_knock_the_view_is_shown_as_it_was_before_the_first() -> None:
    *_, (now, image, shown) = played(knocked_twice(0.12, 0.1), 14.0)
    before = seen_from(scene(now), *standing(now))
    assert unlike(shown, before) < 0.5 * unlike(image, before)


def test_where_little_of_the_view_is_left_the_picture_is_shown_as_it_is() -> None:
    *_, (_, image, shown) = played(knocked_twice(0.2, 0.2), 14.0)
    assert shown is image


def test_the_view_is_found_again_although_the_lens_was_hidden_while_it_was_knocked() -> None:
    camera = CameraWatch(EvidenceConfig(), 'mast')
    list(played(standing, 4.0, camera))
    for index in range(6):
        camera.observe(ns(4.0 + index * PERIOD_S), seen_from(_texture(5, SIZE), *standing(0.0)))
    knock = 4.0, 0.1, 0.0, 1.0
    for index in range(46, 70):
        now = index * PERIOD_S
        image = seen_from(scene(now), *knock)
        camera.observe(ns(now), image)
        shown = camera.shown(image)
    before = seen_from(scene(now), *standing(now))
    assert unlike(shown, before) < 0.5 * unlike(image, before)


def test_a_swaying_camera_is_followed_while_all_that_it_sees_is_replaced() -> None:
    other, tile = _texture(9, SIZE), SIZE // 6
    camera = CameraWatch(EvidenceConfig(), 'mast')
    for index in range(240):
        now = index * PERIOD_S
        image = WORLD.copy()
        for place in range(max(0, index - 40) // 4):
            row, column = divmod(7 * place % 36, 6)
            area = np.s_[row * tile : (row + 1) * tile, column * tile : (column + 1) * tile]
            image[area] = other[area]
        taken = seen_from(image, *swaying(now))
        camera.observe(ns(now), taken)
        if index % SAMPLE == 0:
            shown = camera.shown(taken)
            still = seen_from(image, *standing(now))
            worst = unlike(shown, still) / unlike(taken, still)
    assert index and worst < 0.6


def test_a_cut_to_another_view_is_shown_as_it_is() -> None:
    camera = CameraWatch(EvidenceConfig(), 'mast')
    list(played(standing, 4.0, camera))
    for index in range(40):
        image = seen_from(_texture(5, SIZE), *standing(0.0))
        camera.observe(ns(4.0 + index * PERIOD_S), image)
        assert camera.shown(image) is image


def test_a_camera_that_travels_is_shown_as_it_is() -> None:
    wide = _texture(3, 6 * SIZE)
    camera = CameraWatch(EvidenceConfig(), 'wrist')
    altered = []
    for index in range(200):
        # Away, and back to where it began.
        start = 9 * min(index, 100, 200 - index)
        image = np.ascontiguousarray(wide[start : start + SIZE, start : start + SIZE])
        camera.observe(ns(index * PERIOD_S), image)
        if index % SAMPLE == 0:
            altered.append(camera.shown(image) is not image)
    assert not any(altered[6:])


def test_what_is_left_of_a_motion_is_found() -> None:
    before = Picture(grey_thumbnail(WORLD))
    moved = seen_from(WORLD, 4.0, 0.06, -0.05, 1.03)
    now = Picture(grey_thumbnail(moved))
    corners = np.ones(len(before.corners[0]), np.bool_)
    rough = register(before, now, corners, far=True)
    assert rough is not None
    matrix = rough[0].matrix + np.array([[0.0, 0.0, 1.5], [0.0, 0.0, -1.0]])
    found = refine(before, now, corners, replace(rough[0], matrix=matrix))
    side = before.grey.shape[0]
    truth = np.eye(3)
    truth[:2] = cv2.getRotationMatrix2D((side / 2, side / 2), 4.0, 1.03)
    truth[:2, 2] += (0.06 * side, -0.05 * side)
    left = np.linalg.inv(truth) @ np.vstack((found.matrix, (0.0, 0.0, 1.0)))
    assert side * mean_way(left / np.array([[1, 1, side], [1, 1, side], [1, 1, 1]])) < 0.2


@pytest.mark.parametrize('pose', [swaying, lambda now: (5.0, 0.12, 0.0, 1.0)])
def test_it_can_be_switched_off(pose: Pose) -> None:
    camera = CameraWatch(EvidenceConfig(), 'mast', stabilise=False)
    list(played(standing, 3.0, camera))
    for _, image, shown in played(pose, 3.0, camera):
        assert shown is image


def test_a_new_task_begins_with_the_view_of_then() -> None:
    camera = CameraWatch(EvidenceConfig(), 'mast')
    knock = 5.0, 0.12, 0.0, 1.0
    list(played(lambda now: knock if now >= 4.0 else standing(now), 8.0, camera))
    camera.restart()
    image = seen_from(scene(8.0), *knock)
    camera.observe(ns(8.0), image)
    assert camera.shown(image) is image


def test_that_motion_is_taken_out_is_said() -> None:
    camera = CameraWatch(EvidenceConfig(), 'mast')
    *_, (now, _, _) = played(swaying, 10.0, camera)
    assert 'taken out' in camera.verdict(ns(now + 0.4))[1]


def told(right: float, stood_s: float = 5.0) -> ViewChange:
    """The word that a camera was moved by this share of the picture."""
    matrix = np.eye(3)
    matrix[0, 2] = right
    return ViewChange(abs(right), 0.0, 1.0, matrix, 0, stood_s)


def begun() -> Stabiliser:
    stabiliser = Stabiliser()
    stabiliser.show(seen_from(WORLD, *standing(0.0)), Mounting.UNKNOWN)
    return stabiliser


def test_motions_that_are_told_add_up() -> None:
    stabiliser = begun()
    stabiliser.follow(told(0.1))
    stabiliser.follow(told(0.08))
    moved = seen_from(WORLD, 0.0, 0.18, 0.0, 1.0)
    shown = stabiliser.show(moved, Mounting.FIXED)
    assert unlike(shown, WORLD) < 0.5 * unlike(moved, WORLD)
    stabiliser.follow(told(-0.18))
    assert stabiliser.show(WORLD, Mounting.FIXED) is WORLD


def test_motions_that_leave_little_of_the_view_begin_a_new_one() -> None:
    stabiliser = begun()
    stabiliser.follow(told(0.2))
    stabiliser.follow(told(0.2))
    moved = seen_from(WORLD, 0.0, 0.4, 0.0, 1.0)
    assert stabiliser.show(moved, Mounting.FIXED) is moved
    stabiliser.follow(told(0.1))
    again = stabiliser.show(seen_from(WORLD, 0.0, 0.5, 0.0, 1.0), Mounting.FIXED)
    assert unlike(again, moved) < 8.0


def test_after_a_change_that_no_motion_explains_the_old_view_is_looked_for() -> None:
    stabiliser = begun()
    stabiliser.follow(ViewChange())
    hidden = _texture(5, SIZE)
    assert stabiliser.show(hidden, Mounting.UNKNOWN) is hidden
    moved = seen_from(WORLD, 5.0, 0.1, 0.0, 1.0)
    for mounting in (Mounting.UNKNOWN, Mounting.FIXED):
        assert unlike(stabiliser.show(moved, mounting), WORLD) < 0.5 * unlike(moved, WORLD)


def test_where_the_old_view_is_not_found_a_new_one_begins() -> None:
    stabiliser = begun()
    stabiliser.follow(ViewChange())
    other = _texture(5, SIZE)
    for _ in range(6):
        assert stabiliser.show(other, Mounting.UNKNOWN) is other
    stabiliser.follow(told(0.1))
    moved = cv2.warpAffine(other, np.array([[1.0, 0.0, 0.1 * SIZE], [0.0, 1.0, 0.0]]), (SIZE, SIZE))
    shown = stabiliser.show(np.asarray(moved, np.uint8), Mounting.FIXED)
    assert unlike(shown, other) < 5.0


def test_a_camera_that_has_travelled_is_left_alone_also_where_it_began() -> None:
    stabiliser = begun()
    for place in range(4):
        stabiliser.show(_texture(20 + place, SIZE), Mounting.MOVING)
    for _ in range(2):
        for right in (0.05, -0.05):
            home = seen_from(WORLD, 3.0, right, 0.0, 1.0)
            assert stabiliser.show(home, Mounting.MOVING) is home
        stabiliser.restart()
        stabiliser.show(WORLD, Mounting.MOVING)


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('size', [(1, 1), (2, 3), (1, 900), (900, 2), (40, 40)])
def test_pictures_of_any_size_that_show_nothing_are_shown_as_they_are(
    size: tuple[int, int],
) -> None:
    stabiliser = Stabiliser()
    image = np.full((*size, 3), 90, np.uint8)
    for mounting in (Mounting.UNKNOWN, Mounting.MOVING, Mounting.FIXED):
        stabiliser.follow(ViewChange())
        assert stabiliser.show(image, mounting) is image
