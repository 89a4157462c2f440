"""Pictures that are not of the cell: whatever is asked about them, the answer is a refusal.

Without them a small model refuses tasks that do not fit and never scenes that it has not seen. They
are made of noise, of gradients and shapes, of simple rooms of boxes rendered by MuJoCo, and of the
cell's own pictures taken apart.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

SIDE = 128
ROOMS_OF_A_MODEL = 24


def noise(rng: np.random.Generator) -> Picture:
    """Noise of any grain, in colour or grey."""
    grain = int(2 ** rng.uniform(0, 5.5))
    small = rng.normal(rng.uniform(40, 210), rng.uniform(8, 70), (SIDE // grain + 1,) * 2 + (3,))
    if rng.random() < 0.3:
        small[:] = small.mean(-1, keepdims=True)
    image = cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return _clipped(image + rng.normal(0.0, rng.uniform(0.0, 6.0), image.shape))


def shapes(rng: np.random.Generator) -> Picture:
    """A gradient with lines, boxes and discs on it."""
    ends = rng.uniform(0, 255, (2, 3))
    share = np.linspace(0.0, 1.0, SIDE)[:, None, None]
    image = _clipped(np.broadcast_to(ends[0] * (1 - share) + ends[1] * share, (SIDE, SIDE, 3)))
    image = np.ascontiguousarray(np.rot90(image, int(rng.integers(4))))
    for _ in range(int(rng.integers(1, 14))):
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        a, b = (tuple(int(value) for value in rng.integers(-20, SIDE + 20, 2)) for _ in range(2))
        kind = rng.integers(3)
        if kind == 0:
            cv2.line(image, a, b, colour, int(rng.integers(1, 12)))
        elif kind == 1:
            cv2.rectangle(image, a, b, colour, -1)
        else:
            cv2.circle(image, a, int(rng.integers(3, 45)), colour, -1)
    return _clipped(image + rng.normal(0.0, rng.uniform(0.0, 5.0), image.shape))


def taken_apart(cell: Picture, rng: np.random.Generator) -> Picture:
    """A picture of the cell whose tiles are mixed, or that is turned over, or in wrong colours."""
    kind = rng.integers(4)
    if kind == 0:
        count = int(rng.choice((2, 4, 8)))
        side = SIDE // count
        tiles = cell.reshape(count, side, count, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
        mixed = tiles[rng.permutation(len(tiles))]
        grid = mixed.reshape(count, count, side, side, 3).swapaxes(1, 2)
        return np.ascontiguousarray(grid.reshape(SIDE, SIDE, 3))
    if kind == 1:
        return np.ascontiguousarray(np.rot90(cell, int(rng.integers(1, 4))))
    if kind == 2:
        return np.ascontiguousarray(255 - cell)
    top, left = rng.integers(0, SIDE - 20, 2)
    side = int(rng.integers(12, min(40, SIDE - top, SIDE - left)))
    crop = cell[top : top + side, left : left + side]
    return np.asarray(cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), np.uint8)


def rooms(rng: np.random.Generator, count: int) -> list[Picture]:
    """Rooms of boxes, balls and cylinders on a table, each seen from several places."""
    images: list[Picture] = []
    while len(images) < count:
        images += _room(rng, min(ROOMS_OF_A_MODEL, count - len(images)))
    return images


def _room(rng: np.random.Generator, views: int) -> list[Picture]:
    import mujoco

    things = []
    for _ in range(int(rng.integers(2, 12))):
        kind = str(rng.choice(('box', 'sphere', 'cylinder', 'capsule')))
        size = ' '.join(f'{value:.3f}' for value in rng.uniform(0.02, 0.2, 3))
        place = ' '.join(f'{value:.3f}' for value in rng.uniform((-0.6, -0.6, 0), (0.6, 0.6, 0.5)))
        colour = ' '.join(f'{value:.2f}' for value in rng.uniform(0, 1, 3))
        things.append(f'<geom type="{kind}" size="{size}" pos="{place}" rgba="{colour} 1"/>')
    floor = ' '.join(f'{value:.2f}' for value in rng.uniform(0, 1, 3))
    model = mujoco.MjModel.from_xml_string(
        f'<mujoco><visual><global offwidth="{SIDE}" offheight="{SIDE}"/></visual><worldbody>'
        f'<light pos="0 0 3" dir="0 0 -1"/><geom type="plane" size="3 3 .1" rgba="{floor} 1"/>'
        f'{"".join(things)}</worldbody></mujoco>'
    )
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    renderer = mujoco.Renderer(model, SIDE, SIDE)
    view = mujoco.MjvCamera()
    images = []
    try:
        for _ in range(views):
            view.lookat[:] = rng.uniform((-0.2, -0.2, 0.0), (0.2, 0.2, 0.3))
            view.distance = rng.uniform(0.6, 2.5)
            view.azimuth, view.elevation = rng.uniform(0, 360), rng.uniform(-85, -5)
            renderer.update_scene(data, view)
            image = renderer.render().astype(np.float32) * rng.uniform(0.7, 1.3)
            images.append(_clipped(image + rng.normal(0.0, 1.5, image.shape)))
    finally:
        renderer.close()
    return images


def foreign(cell: NDArray[np.uint8], count: int, seed: int) -> NDArray[np.uint8]:
    """``count`` pictures, (count, 128, 128, 3) uint8, a quarter of each kind.

    :param cell: (frames, 128, 128, 3) uint8 pictures of the cell, to be taken apart.
    """
    rng = np.random.default_rng(seed)
    makers: tuple[Callable[[np.random.Generator], Picture], ...] = (
        noise,
        shapes,
        lambda rng: taken_apart(cell[int(rng.integers(len(cell)))], rng),
    )
    share = count // 4
    images = [maker(rng) for maker in makers for _ in range(share)]
    return np.stack([*images, *rooms(rng, count - len(images))])


def _clipped(image: NDArray[np.floating]) -> Picture:
    return np.clip(image, 0, 255).astype(np.uint8)
