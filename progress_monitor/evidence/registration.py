"""How the camera of one picture stood against that of an earlier one.

Two questions, one cheap and one dear. *What stayed*: the share of the earlier picture's corners
that are still where they were, by the normalised cross-correlation of their surroundings, which
neither exposure nor white balance changes. *How it moved*: corners followed by pyramidal
Lucas-Kanade flow, or matched by ORB where they went too far, and the similarity that most of them
agree on (RANSAC); whatever moves before the background is outvoted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from progress_monitor.evidence.thumbnail import Grey

# Corners stand for themselves in both directions; along an edge a shift cannot be seen.
MOST_CORNERS = 120
FEWEST_CORNERS = 10
# A share of them for each area, or else somebody in a patterned shirt has most of them.
_ROWS, _COLUMNS = 3, 4
# Surroundings of a corner, pixels of the thumbnail.
_PATCH = (11, 11)
_APART = 7
_SAME = 0.8
# Pixels of the thumbnail from the frame's edge, and from a bar of at most so many grey levels.
_EDGE = 4
_BAR, _BAR_EDGE = 24.0, 9
# Grey levels of standard deviation: below it a patch holds little but noise.
_CONTRAST = 3.0
_FLOW = {'winSize': (15, 15), 'maxLevel': 3, 'criteria': (3, 15, 0.03)}
# Two corners make a similarity: so many find it where they need not outvote a large foreground.
FEW_CORNERS = 40
_TRIALS = 300
# Pixels of the thumbnail by which a corner may miss the common motion.
_MISS = 1.5
_MOST_ZOOM = 2.5
# Support from which nothing better is looked for.
_CLEAR = 0.6
_ORB = cv2.ORB_create(  # type: ignore[attr-defined]
    nfeatures=120, scaleFactor=1.3, nlevels=4, edgeThreshold=12, patchSize=19, fastThreshold=8
)


_AnyPicture = TypeVar('_AnyPicture', NDArray[np.uint8], NDArray[np.float32])


class Picture:
    """A grey thumbnail and what comparing needs of it.

    :param grey: (height, width) uint8, of any size.
    """

    def __init__(self, grey: Grey) -> None:
        self.grey = grey
        self.level = cv2.GaussianBlur(grey, (0, 0), 1.0).astype(np.float32)
        self.mean = cv2.blur(self.level, _PATCH)
        self.variance = cv2.blur(self.level * self.level, _PATCH) - self.mean * self.mean

    @cached_property
    def corners(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of the strongest corners, each (n,)."""
        return _corners(self.level, self.variance)

    @cached_property
    def features(self) -> tuple[Sequence[cv2.KeyPoint], NDArray[np.uint8] | None]:
        """ORB features: their places and their descriptors, (n, 32) uint8; None without any."""
        keys, words = _ORB.detectAndCompute(self.grey, None)
        return keys, words


@dataclass(frozen=True, eq=False)
class Motion:
    """A similarity that maps the earlier picture onto the later one.

    ``matrix`` is (2, 3) in pixels of the thumbnail, ``pixels`` the mean way of the picture's
    points, ``degrees`` the turn about the optical axis, ``zoom`` the scale.
    """

    matrix: NDArray[np.float64]
    pixels: float
    degrees: float
    zoom: float

    def in_shares(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """The similarity, (3, 3), with lengths as shares of the longest side of such pictures."""
        shares = np.eye(3)
        shares[:2] = self.matrix
        shares[:2, 2] /= max(shape)
        return shares


def mean_way(matrix: NDArray[np.float64]) -> float:
    """Mean way of the points of a square picture whose side is 1.

    :param matrix: (2, 3) or (3, 3), a similarity with lengths as shares of that side.
    """
    return _way(matrix, (1, 1))


def same_places(before: Picture, now: Picture) -> NDArray[np.bool_]:
    """Which corners of ``before`` are in their place ``now``; (n,) bool. Equal sizes only."""
    ys, xs = before.corners
    product = cv2.blur(before.level * now.level, _PATCH) - before.mean * now.mean
    spread = np.maximum(before.variance[ys, xs], 1.0) * np.maximum(now.variance[ys, xs], 1.0)
    same: NDArray[np.bool_] = product[ys, xs] > _SAME * np.sqrt(spread)
    return same


def common_motion(
    before: Picture, now: Picture, chosen: NDArray[np.bool_], most: int
) -> Motion | None:
    """The motion that most of the ``chosen`` corners of ``before`` follow; None: there is none.

    Motions of more than a fifth of the picture are not found.

    :param chosen: (n,) bool.
    :param most: corners that are followed at most.
    """
    points = _points(before, chosen)
    if len(points) < FEWEST_CORNERS:
        return None
    some = points[:: math.ceil(len(points) / most)].copy()
    return _agreed(before.grey.shape, *_follow(before, now, some))


def refine(before: Picture, now: Picture, chosen: NDArray[np.bool_], motion: Motion) -> Motion:
    """``motion`` found more exactly, by what is left of it once it has been taken back.

    :param chosen: (n,) bool, corners of ``before`` that follow it.
    """
    back = Picture(_taken_back(now.grey, motion.matrix))
    left = common_motion(before, back, chosen, MOST_CORNERS)
    if left is None:
        return motion
    turn = motion.matrix[:, :2]
    matrix = np.column_stack((turn @ left.matrix[:, :2], turn @ left.matrix[:, 2]))
    matrix[:, 2] += motion.matrix[:, 2]
    return _motion(matrix, before.grey.shape)


def register(
    before: Picture, now: Picture, chosen: NDArray[np.bool_], *, far: bool
) -> tuple[Motion, float] | None:
    """The motion that explains ``now`` best, and how well; None: there is none.

    How well is the share of the ``chosen`` corners of ``before`` which should still be in the
    picture that look the same where the motion puts them.

    :param chosen: (n,) bool, those corners that belong to the background as far as is known.
    :param far: whether to look for motions that the flow cannot follow, at twice the cost.
    """
    points = _points(before, chosen)
    if len(points) < FEWEST_CORNERS:
        return None
    best = None
    followed = common_motion(before, now, chosen, FEW_CORNERS)
    if followed is not None:
        best = followed, _support(before, now, points, followed.matrix)
        if best[1] >= _CLEAR:
            return best
    matched = _agreed(before.grey.shape, *_match(before, now)) if far else None
    if matched is not None:
        support = _support(before, now, points, matched.matrix)
        if best is None or support > best[1]:
            best = matched, support
    return best


def _points(picture: Picture, chosen: NDArray[np.bool_]) -> NDArray[np.float32]:
    ys, xs = picture.corners
    return np.stack([xs[chosen], ys[chosen]], axis=1).astype(np.float32)


def _corners(
    level: NDArray[np.float32], variance: NDArray[np.float32]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    height, width = level.shape
    strength = cv2.cornerMinEigenVal(level, 7, ksize=3)
    strength[variance < _CONTRAST * _CONTRAST] = 0.0
    peak = strength == cv2.dilate(strength, np.ones((_APART, _APART), np.uint8))
    peak &= strength > 0.0
    inside = np.zeros_like(peak)
    rows, columns = _seen(level.max(axis=1)), _seen(level.max(axis=0))
    inside[rows, columns] = True
    ys, xs = np.nonzero(peak & inside)
    order = np.argsort(-strength[ys, xs], kind='stable')
    ys, xs = ys[order], xs[order]
    kept = _first_of_each(_ROWS * ys // height * _COLUMNS + _COLUMNS * xs // width)
    return ys[kept], xs[kept]


def _seen(brightest: NDArray[np.float32]) -> slice:
    """Along one side: what is not the frame's edge, nor near a black bar, which moves with nothing.

    :param brightest: grey level of each row, or each column.
    """
    length = len(brightest)
    lit = np.flatnonzero(brightest > _BAR)
    first, last = (lit[0], lit[-1] + 1) if len(lit) else (0, length)
    edge = min(_EDGE, length // 8)
    return slice(
        first + _BAR_EDGE if first else edge, last - _BAR_EDGE if last < length else length - edge
    )


def _first_of_each(area: NDArray[np.intp]) -> NDArray[np.intp]:
    """Indices, in order, of the first few of each area."""
    grouped = np.argsort(area, kind='stable')
    starts = np.searchsorted(area[grouped], area[grouped])
    return np.sort(grouped[np.arange(len(area)) - starts < MOST_CORNERS // (_ROWS * _COLUMNS)])


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
    keys, words = before.features
    keys_now, words_now = now.features
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
    shape: tuple[int, ...], source: NDArray[np.float32], target: NDArray[np.float32]
) -> Motion | None:
    """The similarity that most pairs of places in pictures of that ``shape`` agree on."""
    if len(source) < FEWEST_CORNERS // 2:
        return None
    matrix, _ = cv2.estimateAffinePartial2D(
        source, target, method=cv2.RANSAC, ransacReprojThreshold=_MISS, maxIters=_TRIALS
    )
    if matrix is None:
        return None
    motion = _motion(np.asarray(matrix, np.float64), shape)
    return motion if 1.0 / _MOST_ZOOM < motion.zoom < _MOST_ZOOM else None


def _motion(matrix: NDArray[np.float64], shape: tuple[int, ...]) -> Motion:
    return Motion(
        matrix=matrix,
        pixels=_way(matrix, shape),
        degrees=math.degrees(math.atan2(matrix[1, 0], matrix[0, 0])),
        zoom=math.hypot(matrix[0, 0], matrix[1, 0]),
    )


def _taken_back(picture: _AnyPicture, matrix: NDArray[np.float64]) -> _AnyPicture:
    """What a picture, (height, width) of any dtype, shows where it was before the motion."""
    height, width = picture.shape
    back: _AnyPicture = cv2.warpAffine(  # type: ignore[assignment]
        picture,
        matrix,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return back


def _way(matrix: NDArray[np.float64], shape: tuple[int, ...]) -> float:
    places = _grid(shape)
    moved = places @ matrix[:2, :2].T + matrix[:2, 2]
    return float(np.linalg.norm(moved - places, axis=1).mean())


@lru_cache(maxsize=16)
def _grid(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Points all over a picture, (n, 2), x first."""
    height, width = shape
    rows, columns = np.linspace(0, height, 5), np.linspace(0, width, 5)
    return np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)


def _support(
    before: Picture, now: Picture, points: NDArray[np.float32], matrix: NDArray[np.float64]
) -> float:
    """Share of those ``points`` that should still be in the picture which look the same there."""
    height, width = before.grey.shape
    arrived = points @ matrix[:, :2].T + matrix[:, 2]
    inside = ((arrived >= 2) & (arrived < (width - 2, height - 2))).all(axis=1)
    if inside.sum() < FEWEST_CORNERS // 2:
        return 0.0
    back = _taken_back(now.level, matrix)
    mean = cv2.blur(back, _PATCH)
    variance = cv2.blur(back * back, _PATCH) - mean * mean
    product = cv2.blur(before.level * back, _PATCH) - before.mean * mean
    xs, ys = points[inside].astype(np.intp).T
    spread = np.maximum(before.variance[ys, xs], 1.0) * np.maximum(variance[ys, xs], 1.0)
    return float((product[ys, xs] > _SAME * np.sqrt(spread)).mean())
