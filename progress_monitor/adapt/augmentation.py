"""The same demonstration under other light, from a camera a little elsewhere, at another pace."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Look:
    """How a camera sees one whole run: aim, light and noise stay the same from first to last.

    ``warp`` (2, 3) maps a picture's places, in shares of its width, to those in the varied one.
    """

    warp: NDArray[np.float64]
    gain: NDArray[np.float64]
    offset: float
    noise: float

    @classmethod
    def plain(cls) -> Look:
        """The recording as it is."""
        return cls(np.eye(2, 3), np.ones(3), 0.0, 0.0)

    @classmethod
    def draw(cls, rng: np.random.Generator, strength: float = 1.0) -> Look:
        """Another look; ``strength`` 1 shifts by up to 4 % of the width, zooms by 4 %."""
        angle = np.deg2rad(rng.uniform(-2.0, 2.0) * strength)
        zoom = 1.0 + rng.uniform(-0.04, 0.04) * strength
        turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        centre = np.array((0.5, 0.5))
        shift = rng.uniform(-0.04, 0.04, 2) * strength + centre - turn @ centre
        return cls(
            np.column_stack([turn, shift]),
            1.0 + (rng.uniform(-0.15, 0.15) + rng.uniform(-0.05, 0.05, 3)) * strength,
            float(rng.uniform(-12.0, 12.0)) * strength,
            float(rng.uniform(0.0, 3.0)) * strength,
        )

    def apply(self, image: Picture, rng: np.random.Generator) -> Picture:
        """``image``, (height, width, 3) uint8, as this camera sees it."""
        height, width = image.shape[:2]
        scale = np.array((width, height), np.float64)
        warp = self.warp.copy()
        warp[:, :2] *= scale[:, None] / scale[None, :]
        warp[:, 2] *= scale
        moved = image
        if not np.allclose(self.warp, np.eye(2, 3)):
            moved = np.asarray(
                cv2.warpAffine(
                    image, warp, (width, height), flags=cv2.INTER_LINEAR,
                    borderMode=cv2.BORDER_REPLICATE,
                ),
                np.uint8,
            )  # fmt: skip
        lit = moved * self.gain + self.offset
        if self.noise:
            lit = lit + rng.normal(0.0, self.noise, image.shape)
        return np.clip(np.rint(lit), 0, 255).astype(np.uint8)


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
