"""The same demonstration under other light, from a camera a little elsewhere, at another pace."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
SHIFT, ZOOM, TURN = 0.06, 0.072, 3.0
"""Most that a look is aimed aside, in shares of the picture, is zoomed and is turned, degrees."""
BEND, BEND_PLACES = 0.06, 2
"""Most that a place of the bent grid moves, in shares of the picture, and its places a side."""


@dataclass(frozen=True, eq=False)
class Look:
    """How a camera sees one whole run: aim, places, light and noise stay the same throughout.

    ``aim`` (2, 3) maps places of the varied picture, in shares of its sides, to those of the
    recording. ``bend`` (n, n, 2) moves the places of a grid over the inner part of the picture by
    such shares, and what lies between smoothly with them: as if things stood elsewhere.
    """

    aim: Floats
    bend: Floats
    gain: Floats
    offset: float
    noise: float

    @classmethod
    def plain(cls) -> Look:
        """The recording as it is."""
        return cls(np.eye(2, 3), np.zeros((1, 1, 2)), np.ones(3), 0.0, 0.0)

    @classmethod
    def draw(cls, rng: np.random.Generator, strength: float = 1.0) -> Look:
        """Another look; aimed aside by up to ``strength`` times ``SHIFT`` of the picture's sides.

        So it is with the zoom, the turn and the bend; the light does not depend on it.
        """
        angle = np.deg2rad(rng.uniform(-TURN, TURN) * strength)
        zoom = 1.0 + rng.uniform(-ZOOM, ZOOM) * strength
        turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        centre = np.array((0.5, 0.5))
        shift = rng.uniform(-SHIFT, SHIFT, 2) * strength + centre - turn @ centre
        return cls(
            np.column_stack([turn, shift]),
            rng.uniform(-BEND, BEND, (BEND_PLACES, BEND_PLACES, 2)) * strength,
            1.0 + rng.uniform(-0.15, 0.15) + rng.uniform(-0.05, 0.05, 3),
            float(rng.uniform(-12.0, 12.0)),
            float(rng.uniform(0.0, 3.0)),
        )

    def apply(self, image: Picture, rng: np.random.Generator) -> Picture:
        """``image``, (height, width, 3) uint8, as this camera sees it."""
        height, width = image.shape[:2]
        moved = image
        if self.bend.any() or not np.allclose(self.aim, np.eye(2, 3)):
            across, down = self._seen(height, width)
            moved = np.asarray(
                cv2.remap(
                    image, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
                ),
                np.uint8,
            )  # fmt: skip
        lit = moved * self.gain + self.offset
        if self.noise:
            lit = lit + rng.normal(0.0, self.noise, image.shape)
        return np.clip(np.rint(lit), 0, 255).astype(np.uint8)

    def _seen(self, height: int, width: int) -> tuple[Singles, Singles]:
        """Column and row of the recording, each (height, width), that every pixel shows."""
        size = np.array((width, height))
        rows, columns = np.mgrid[0:height, 0:width]
        places = (np.stack([columns, rows], axis=-1) + 0.5) / size
        # The border stays, so that the picture is filled.
        grid = np.pad(self.bend, ((1, 1), (1, 1), (0, 0)))
        bent = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        seen = (places @ self.aim[:, :2].T + self.aim[:, 2] + bent) * size - 0.5
        return seen[..., 0].astype(np.float32), seen[..., 1].astype(np.float32)


def window(last: int, count: int, stride: float, rng: np.random.Generator) -> Ints:
    """Indices of ``count`` samples that end at ``last``, about ``stride`` apart: (count,).

    Every step is warped by up to a third, so that the pace tells nothing. A window that would
    reach back before the beginning shows the robot waiting there.
    """
    steps = stride * rng.uniform(0.67, 1.33, max(count - 1, 0))
    ages = np.concatenate([np.cumsum(steps)[::-1], [0.0]])
    return np.maximum(np.rint(last - ages), 0).astype(np.int64)


def pause(indices: Ints, rng: np.random.Generator) -> Ints:
    """The robot stops within the window, at its newest sample, for a part of it or all."""
    rest = int(rng.integers(1, len(indices) + 1))
    moved = np.concatenate([indices[rest - 1 :], np.full(rest - 1, indices[-1])])
    return np.asarray(moved, np.int64)


def reverse(indices: Ints, longest: int, rng: np.random.Generator) -> Ints:
    """The work is undone: what led to the newest sample comes from later ones, up to ``longest``.

    The newest sample, and with it what is true, stays what it was.
    """
    turn = int(rng.integers(0, max(len(indices) - 1, 1)))
    back = indices.copy()
    back[turn:] = np.minimum(2 * indices[-1] - indices[turn:], longest)
    back[:turn] = np.maximum(back[turn] - (indices[turn] - indices[:turn]), 0)
    return back
