"""How the camera of one picture stood against that of an earlier one.

Two questions, one cheap and one dear. *What stayed*: the share of the earlier picture's corners
that are still where they were, by the normalised cross-correlation of their surroundings, which
neither exposure nor white balance changes. *How it moved*: corners followed by pyramidal
Lucas-Kanade flow, or matched by ORB where they went too far, and the similarity that most of them
agree on (RANSAC); whatever moves before the background is outvoted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from progress_monitor.evidence.thumbnail import Grey

# Corners stand for themselves in both directions; along an edge a shift cannot be seen.
MOST_CORNERS = 120
FEWEST_CORNERS = 10
# Surroundings of a corner, pixels of the thumbnail.
_PATCH = (11, 11)
_APART = 7
_SAME = 0.8
# Grey levels of standard deviation: below it a patch holds little but noise.
_CONTRAST = 3.0
_FLOW = {'winSize': (15, 15), 'maxLevel': 3, 'criteria': (3, 15, 0.03)}
# Pixels of the thumbnail by which a corner may miss the common motion.
_MISS = 1.5
_MOST_ZOOM = 2.5
# Support from which nothing better is looked for.
_CLEAR = 0.6
_ORB = cv2.ORB_create(nfeatures=200, edgeThreshold=12, patchSize=19, fastThreshold=8)  # type: ignore[attr-defined]


class Picture:
    """A grey thumbnail and what comparing needs of it.

    :param grey: (height, width) uint8, of any size.
    """

    def __init__(self, grey: Grey) -> None:
        self.grey = grey
        self.level = cv2.GaussianBlur(grey, (0, 0), 1.0).astype(np.float32)
        self.mean = cv2.blur(self.level, _PATCH)
        self.variance = cv2.blur(self.level * self.level, _PATCH) - self.mean * self.mean
        self.corners = _corners(self.level, self.variance)


@dataclass(frozen=True)
class Motion:
    """A similarity that maps the earlier picture onto the later one.

    ``pixels`` is the mean way of the picture's points in pixels of the thumbnail, ``degrees`` the
    turn about the optical axis, ``zoom`` the scale, ``support`` the share of the corners that
    should still be in the picture which look the same where it puts them.
    """

    pixels: float
    degrees: float
    zoom: float
    support: float


def same_places(before: Picture, now: Picture) -> NDArray[np.bool_]:
    """Which corners of ``before`` are in their place ``now``; (n,) bool. Equal sizes only."""
    ys, xs = before.corners
    product = cv2.blur(before.level * now.level, _PATCH) - before.mean * now.mean
    spread = np.maximum(before.variance[ys, xs], 1.0) * np.maximum(now.variance[ys, xs], 1.0)
    same: NDArray[np.bool_] = product[ys, xs] > _SAME * np.sqrt(spread)
    return same


def register(
    before: Picture, now: Picture, chosen: NDArray[np.bool_], *, far: bool
) -> Motion | None:
    """The motion that most of the ``chosen`` corners of ``before`` agree on; None: there is none.

    :param chosen: (n,) bool, those corners that belong to the background as far as is known.
    :param far: whether to look for motions that the flow cannot follow, at three times the cost.
    """
    ys, xs = before.corners
    points = np.stack([xs[chosen], ys[chosen]], axis=1).astype(np.float32)
    if len(points) < FEWEST_CORNERS:
        return None
    followed = _agreed(before, now, points, *_follow(before, now, points))
    if not far or (followed is not None and followed.support >= _CLEAR):
        return followed
    matched = _agreed(before, now, points, *_match(before, now))
    found = [motion for motion in (followed, matched) if motion is not None]
    return max(found, key=lambda motion: motion.support, default=None)


def _corners(
    level: NDArray[np.float32], variance: NDArray[np.float32]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    height, width = level.shape
    border = min(4, height // 8, width // 8)
    strength = cv2.cornerMinEigenVal(level, 7, ksize=3)
    strength[variance < _CONTRAST * _CONTRAST] = 0.0
    peak = strength == cv2.dilate(strength, np.ones((_APART, _APART), np.uint8))
    peak &= strength > 0.0
    inside = np.zeros_like(peak)
    inside[border : height - border, border : width - border] = True
    ys, xs = np.nonzero(peak & inside)
    order = np.argsort(-strength[ys, xs], kind='stable')[:MOST_CORNERS]
    return ys[order], xs[order]


def _follow(
    before: Picture, now: Picture, points: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Corners and where they went, those alone that flow there and back again."""
    there, ok, _ = cv2.calcOpticalFlowPyrLK(before.grey, now.grey, points, None, **_FLOW)  # type: ignore[call-overload]
    back, ok_back, _ = cv2.calcOpticalFlowPyrLK(now.grey, before.grey, there, None, **_FLOW)  # type: ignore[call-overload]
    kept = (ok[:, 0] == 1) & (ok_back[:, 0] == 1) & (np.abs(back - points).max(axis=1) < 1.0)
    return points[kept], there[kept]


def _match(before: Picture, now: Picture) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pairs of ORB features that are each other's best."""
    none = np.zeros((0, 2), np.float32)
    keys, words = _ORB.detectAndCompute(before.grey, None)
    keys_now, words_now = _ORB.detectAndCompute(now.grey, None)
    if words is None or words_now is None:
        return none, none
    pairs = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(words, words_now)
    close = [pair for pair in pairs if pair.distance <= 64]
    if not close:
        return none, none
    source = np.array([keys[pair.queryIdx].pt for pair in close], np.float32)
    target = np.array([keys_now[pair.trainIdx].pt for pair in close], np.float32)
    return source, target


def _agreed(
    before: Picture,
    now: Picture,
    points: NDArray[np.float32],
    source: NDArray[np.float32],
    target: NDArray[np.float32],
) -> Motion | None:
    """The similarity that most pairs agree on, and how many ``points`` look the same through it."""
    if len(source) < FEWEST_CORNERS // 2:
        return None
    matrix, _ = cv2.estimateAffinePartial2D(
        source, target, method=cv2.RANSAC, ransacReprojThreshold=_MISS, maxIters=300
    )
    if matrix is None:
        return None
    zoom = math.hypot(matrix[0, 0], matrix[1, 0])
    if not 1.0 / _MOST_ZOOM < zoom < _MOST_ZOOM:
        return None
    height, width = before.grey.shape
    places = np.stack(np.meshgrid(np.linspace(0, width, 5), np.linspace(0, height, 5)), axis=-1)
    places = places.reshape(-1, 2)
    way = np.linalg.norm(places @ matrix[:, :2].T + matrix[:, 2] - places, axis=1)
    return Motion(
        pixels=float(way.mean()),
        degrees=math.degrees(math.atan2(matrix[1, 0], matrix[0, 0])),
        zoom=zoom,
        support=_support(before, now, points, matrix),
    )


def _support(
    before: Picture, now: Picture, points: NDArray[np.float32], matrix: NDArray[np.float64]
) -> float:
    """Share of those ``points`` that should still be in the picture which look the same there."""
    height, width = before.grey.shape
    arrived = points @ matrix[:, :2].T + matrix[:, 2]
    inside = ((arrived >= 2) & (arrived < (width - 2, height - 2))).all(axis=1)
    if inside.sum() < FEWEST_CORNERS // 2:
        return 0.0
    back = cv2.warpAffine(
        now.level,
        matrix,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    mean = cv2.blur(back, _PATCH)
    variance = cv2.blur(back * back, _PATCH) - mean * mean
    product = cv2.blur(before.level * back, _PATCH) - before.mean * mean
    xs, ys = points[inside].astype(np.intp).T
    spread = np.maximum(before.variance[ys, xs], 1.0) * np.maximum(variance[ys, xs], 1.0)
    return float((product[ys, xs] > _SAME * np.sqrt(spread)).mean())
