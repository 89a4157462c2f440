"""Pictures of a camera that sways or was knocked, shown as if it stood still.

What a model says of a task depends on the view. Where the camera's motion can be told from that of
what it looks at, it is taken out again, as a video stabiliser does that holds the view rather than
smoothing it. A camera that travels, as one on a wrist, has no view to hold and is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from progress_monitor.evidence.registration import (
    FEWEST_CORNERS,
    Picture,
    mean_way,
    refine,
    register,
    same_places,
)
from progress_monitor.evidence.thumbnail import enlarged, grey_thumbnail
from progress_monitor.evidence.view import Mounting, ViewChange

Matrix = NDArray[np.float64]

_UNMOVED = np.eye(3)
# Share of a picture's corners that the camera's motion must put in their place; the second where
# the motion is one of those that were seen before, for an arm may hide the rest.
_SUPPORT = 0.5
_SUPPORT_AGAIN = 0.3
# Corners in their place below which a motion is looked for that flow cannot follow.
_FAR = 0.35
# Mean way of the picture's points, share of its longest side: less is not worth blurring the
# picture for, and of more too little of the first view is left.
_LEAST_WAY = 0.004
_MOST_WAY = 0.3
# Time for which the view of a camera that does not sway has stood, s.
_STOOD_S = 1.5
# Samples from which the middle of a swaying camera's views is taken.
_MIDDLE = 20
# Samples in which the old view is looked for after a change that no motion explained.
_SEARCHED = 4
# So many more samples that show too little of the view than show enough: the camera travels.
_TRAVELS = 3


@dataclass(frozen=True, eq=False)
class _Seen:
    """A picture, and the similarity that maps the first view onto it, in shares of its side."""

    picture: Picture
    matrix: Matrix


class Stabiliser:
    """Holds the view that one camera has of a task.

    That is the view of the first picture, or, where a camera sways from the start, the middle of
    its first views, which leaves the least of the picture to be filled in.
    """

    def __init__(self) -> None:
        self._travels = False
        self.restart()

    def restart(self) -> None:
        """Hold the view of the next picture; whether the camera travels is not forgotten."""
        self._matrix = self._held = _UNMOVED
        self._stood = False
        self._found = 0
        self._farthest = 0.0
        self._reference: _Seen | None = None
        self._last: _Seen | None = None
        self._missed = self._searched = 0

    @property
    def active(self) -> bool:
        """Whether pictures are shown otherwise than they were taken."""
        return mean_way(self._away) >= _LEAST_WAY

    @property
    def _away(self) -> Matrix:
        """The similarity that maps the view that is held onto that of now."""
        return self._matrix @ np.linalg.inv(self._held)

    def follow(self, change: ViewChange) -> None:
        """Take in that a camera was moved; where nothing of the old view is found, begin anew."""
        self._stood |= change.stood_s >= _STOOD_S
        if change.share is None:
            self._searched = _SEARCHED
        elif change.matrix is not None:
            self._matrix = change.matrix @ self._matrix
            if mean_way(self._away) > _MOST_WAY:
                self.restart()

    def show(self, image: NDArray[np.uint8], mounting: Mounting) -> NDArray[np.uint8]:
        """``image``, (height, width, 3) uint8, as it would look from the view that is held.

        What the picture does not show of it is filled with the nearest that it does. The picture
        itself is returned where nothing is to be done.
        """
        self._stood |= mounting is Mounting.FIXED
        sways = mounting is Mounting.MOVING and not self._travels
        if sways or self._searched or self._reference is None:
            self._look(Picture(enlarged(grey_thumbnail(image))))
        away = self._away
        if mean_way(away) < _LEAST_WAY:
            return image
        height, width = image.shape[:2]
        matrix = away[:2]
        matrix[:, 2] *= max(height, width)
        return np.asarray(
            cv2.warpAffine(
                image,
                matrix,
                (width, height),
                flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            ),
            np.uint8,
        )

    def _look(self, now: Picture) -> None:
        """Find where the camera stands ``now``."""
        reference = self._reference
        if reference is None or reference.picture.grey.shape != now.grey.shape:
            self._begin(now)
            return
        matrix = self._moved(reference, now)
        if matrix is None and self._last is not None:
            # The scene has changed since the first picture; the newest that was found knows it.
            matrix = self._moved(self._last, now)
            if matrix is not None:
                self._reference = self._last
        if matrix is None:
            self._matrix = self._held
            self._miss(now)
            return
        self._matrix, self._last = matrix, _Seen(now, matrix)
        if self._searched:
            self._searched = 0
            return
        self._found += 1
        if not self._stood and self._found <= _MIDDLE:
            self._held = self._held + (matrix - self._held) / self._found
        self._farthest = max(self._farthest, mean_way(self._away))

    def _begin(self, now: Picture) -> None:
        self.restart()
        self._reference = _Seen(now, _UNMOVED)

    def _miss(self, now: Picture) -> None:
        if self._searched == 1:
            self._begin(now)
        elif self._searched:
            self._searched -= 1
        else:
            self._missed += 1
            self._travels = self._missed >= self._found + _TRAVELS

    def _moved(self, seen: _Seen, now: Picture) -> Matrix | None:
        """The similarity that maps the first view onto ``now``; None: not found, or too far."""
        same = same_places(seen.picture, now)
        if len(same) < FEWEST_CORNERS:
            return None
        corners = np.ones_like(same)
        found = register(seen.picture, now, corners, far=bool(same.mean() < _FAR))
        if found is None or found[1] < _SUPPORT_AGAIN:
            return None
        motion, support = found
        if support >= _SUPPORT:
            motion = refine(seen.picture, now, corners, motion)
        matrix: Matrix = motion.in_shares(seen.picture.grey.shape) @ seen.matrix
        way = mean_way(matrix @ np.linalg.inv(self._held))
        return matrix if way <= (_MOST_WAY if support >= _SUPPORT else self._farthest) else None
