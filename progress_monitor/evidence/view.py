"""Whether a camera still looks where it looked.

The background is what stayed in place for a while. An arm that passes hides some of it and gives
it back; a camera that was moved takes all of it away at once, and then one motion explains most of
it (moved) or none does (cut). A camera on a wrist or a head goes on moving; that is how it is
known, and from then on its motion is no reason for doubt.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from progress_monitor.evidence.registration import (
    FEW_CORNERS,
    FEWEST_CORNERS,
    Motion,
    Picture,
    common_motion,
    refine,
    register,
    same_places,
)
from progress_monitor.evidence.thumbnail import Grey, enlarged

_CHECK_NS = 200_000_000
# Age at which the picture that is compared with gives way to the newest.
_KEEP_NS = 450_000_000
# Share of the background's corners in their place: above, the camera has not moved; below the
# second, hardly any edge is left where it was.
_CLEARLY = 0.8
_STANDS = 0.55
_FAR = 0.35
_GONE = 0.15
_ABRUPT = 0.2
# All of it gone from one check to the next: no arm and no wrist is that quick.
_NOTHING = 0.05
_AT_ONCE_NS = 300_000_000
# The same from one check to the next, over all corners, moving things among them.
_STEADY = 0.4
_UNSTEADY = 0.15
# Mean way, pixels of the thumbnail, below which the commonest motion is none.
_STILL = 1.0
# How much more a motion must explain than standing still, and how much at least.
_GAIN = 0.2
_SUPPORT = 0.4
# Mean way of a moved picture, share of its longest side; less is vibration.
_LEAST_WAY = 0.015
_UNDECIDED_NS = 1_500_000_000
# Motion without an end: an unknown camera is on a wrist after the first, one that was seen to
# stand after the second.
_UNKNOWN_NS = 350_000_000
_SWEEP_NS = 150_000_000
_BUMP_NS = 700_000_000
_WRIST_NS = 500_000_000
_FIXED_TO_WRIST_NS = 2_500_000_000
# Foreground seen to move before a standing background, s: what makes a camera a fixed one.
_FEWEST_FIXED = 0.35
_MOST_FIXED = 0.95
_FEWEST_AREAS = 5
# Mean way, pixels of the thumbnail, of a camera that stands, as far as can be measured.
_TREMOR = 0.3
_TREMOR_CORNERS = 80
_FIXED_S = 1.5
_WRIST_TO_FIXED_S = 10.0
_LONGEST_STEP_S = 1.0


class Mounting(Enum):
    """How a camera stands, as far as is known."""

    UNKNOWN = 'unknown'
    FIXED = 'fixed'
    MOVING = 'moving'


@dataclass(frozen=True, eq=False)
class ViewChange:
    """The view is no longer what it was.

    ``share`` is the mean way of the picture's points over its longest side, 0 upwards; ``degrees``
    the turn, ``zoom`` the scale. All three are None for a cut: nothing of the old view is found.
    ``matrix`` is the similarity, (3, 3) with lengths as such shares, that maps the view before onto
    that of now; None while the camera still moves. ``stood_ns`` is the stamp of the last picture in
    which the view was known to be the one before, ``stood_s`` for how long it had been, s.
    """

    share: float | None = None
    degrees: float | None = None
    zoom: float | None = None
    matrix: NDArray[np.float64] | None = None
    stood_ns: int = 0
    stood_s: float = 0.0


class ViewWatch:
    """Follows the background of one camera's pictures."""

    def __init__(self) -> None:
        self.mounting = Mounting.UNKNOWN
        self._base: Picture | None = None
        self._base_ns = 0
        self._background: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._last: Picture | None = None
        self._last_ns = 0
        self._since_ns = self._stood_ns = 0
        self._lost_ns: int | None = None
        self._unsteady_ns: int | None = None
        self._told = self._swept = self._cut = False
        self._changed_before = False
        self._fixed_s = 0.0

    def restart(self) -> None:
        """Forget the pictures, not how the camera stands."""
        self._base = self._last = None
        self._lost_ns = self._unsteady_ns = None

    def due(self, stamp_ns: int) -> bool:
        """Whether a picture of that stamp would be looked at."""
        return self._last is None or stamp_ns - self._last_ns >= _CHECK_NS

    def observe(self, stamp_ns: int, grey: Grey) -> ViewChange | None:
        """Look at a thumbnail, (height, width) uint8; a change of view once it is certain."""
        grey = enlarged(grey)
        now = Picture(grey)
        base, last, passed_ns = self._base, self._last, stamp_ns - self._last_ns
        self._last, self._last_ns = now, stamp_ns
        if base is None or last is None or base.grey.shape != grey.shape:
            self._take(now, stamp_ns, None)
            return None
        same = same_places(base, now)
        background = self._background
        if background.sum() < FEWEST_CORNERS:
            self._take(now, stamp_ns, base)
            return None
        stands = float(same[background].mean())
        if stands >= _CLEARLY or (stands >= _STANDS and self._explain(base, now, stands) is None):
            self._lost_ns = self._unsteady_ns = None
            self._stood_ns = stamp_ns
            self._learn_fixed(base, now, same, passed_ns * 1e-9)
            if stamp_ns - self._base_ns >= _KEEP_NS:
                self._take(now, stamp_ns, base)
            return None
        if self._lost_ns is None:
            self._lost_ns, self._told = stamp_ns, False
            self._swept = bool(same_places(last, now).mean() < _ABRUPT)
            self._cut = stands < _NOTHING and passed_ns <= _AT_ONCE_NS
            return None
        return self._look_closer(stamp_ns, base, last, now, stands)

    def _look_closer(
        self, stamp_ns: int, base: Picture, last: Picture, now: Picture, stands: float
    ) -> ViewChange | None:
        """The background is not where it was: a thing before it, a moved camera, a moving one?"""
        assert self._lost_ns is not None
        lost_ns = stamp_ns - self._lost_ns
        steady = _steady(last, now)
        if steady:
            self._unsteady_ns = None
        elif self._unsteady_ns is None:
            self._unsteady_ns = stamp_ns
        fixed = self.mounting is Mounting.FIXED
        if fixed and not self._swept and same_places(last, now).mean() < _ABRUPT:
            self._lost_ns, self._told, self._swept = stamp_ns, False, True
            return None
        if self.mounting is Mounting.MOVING:
            if steady or lost_ns >= _UNDECIDED_NS:
                self._take(now, stamp_ns, None)
            return None
        if self._unsteady_ns is not None:
            unsteady_ns = stamp_ns - self._unsteady_ns
            if unsteady_ns >= (_FIXED_TO_WRIST_NS if fixed else _WRIST_NS):
                self.mounting, self._fixed_s = Mounting.MOVING, 0.0
                self._take(now, stamp_ns, None)
                return None
            if self._told or not (self._cut or (fixed and unsteady_ns >= _SWEEP_NS)):
                return None
        elif self.mounting is Mounting.UNKNOWN and lost_ns < _UNKNOWN_NS:
            return None
        explained = self._explain(base, now, stands)
        if explained is None:
            if lost_ns >= _UNDECIDED_NS:
                if self.mounting is Mounting.UNKNOWN and stands < _GONE:
                    self.mounting, self._fixed_s = Mounting.MOVING, 0.0
                self._take(now, stamp_ns, None)
            return None
        self._told = True
        change, motion = explained
        matrix = None
        if steady and motion is not None:
            motion = refine(base, now, self._background, motion)
            matrix = motion.in_shares(base.grey.shape)
        change = replace(
            change,
            matrix=matrix,
            stood_ns=self._stood_ns,
            stood_s=(self._stood_ns - self._since_ns) * 1e-9,
        )
        if steady:
            self._take(now, stamp_ns, None)
        slow = lost_ns > _BUMP_NS
        if self.mounting is Mounting.UNKNOWN and (slow or self._changed_before):
            self.mounting, self._fixed_s = Mounting.MOVING, 0.0
            return None
        self.mounting, self._fixed_s, self._changed_before = Mounting.UNKNOWN, 0.0, True
        return change

    def _explain(
        self, base: Picture, now: Picture, stands: float
    ) -> tuple[ViewChange, Motion | None] | None:
        """What became of the view, and the motion if one explains it; None: nothing is certain."""
        motion, support = register(base, now, self._background, far=stands < _FAR) or (None, 0.0)
        if motion is not None and support >= max(_SUPPORT, stands + _GAIN):
            share = motion.pixels / max(base.grey.shape)
            if share < _LEAST_WAY:
                return None
            return ViewChange(share, motion.degrees, motion.zoom), motion
        return (ViewChange(), None) if stands < _GONE and self._swept else None

    def _learn_fixed(
        self, base: Picture, now: Picture, same: NDArray[np.bool_], passed_s: float
    ) -> None:
        """Something moves before a background that stands, all over the picture: a fixed camera."""
        if self.mounting is Mounting.FIXED or not _FEWEST_FIXED <= same.mean() <= _MOST_FIXED:
            return
        if _spread(base, same) < _FEWEST_AREAS:
            return
        motion = common_motion(base, now, np.ones_like(same), _TREMOR_CORNERS)
        if motion is None or motion.pixels > _TREMOR:
            return
        self._fixed_s += min(passed_s, _LONGEST_STEP_S)
        if self._fixed_s >= (_WRIST_TO_FIXED_S if self.mounting is Mounting.MOVING else _FIXED_S):
            self.mounting, self._changed_before = Mounting.FIXED, False

    def _take(self, now: Picture, stamp_ns: int, before: Picture | None) -> None:
        """Compare with ``now`` from here on; what also was in ``before`` is the background."""
        count = len(now.corners[0])
        self._background = np.ones(count, np.bool_)
        if before is not None and count:
            stayed = same_places(now, before)
            if stayed.sum() >= max(FEWEST_CORNERS, count // 4):
                self._background = stayed
        if before is None:
            self._since_ns = stamp_ns
        self._base, self._base_ns, self._stood_ns = now, stamp_ns, stamp_ns
        self._lost_ns = None


def _steady(last: Picture, now: Picture) -> bool:
    """Whether the camera stood still from one check to the next, whatever moved before it."""
    steps = same_places(last, now)
    if len(steps) < FEWEST_CORNERS:
        return True
    stayed = float(steps.mean())
    if not _UNSTEADY <= stayed < _STEADY:
        return stayed >= _STEADY
    motion = common_motion(last, now, np.ones_like(steps), FEW_CORNERS)
    return motion is not None and motion.pixels < _STILL


def _spread(picture: Picture, chosen: NDArray[np.bool_]) -> int:
    """How many ninths of the picture hold a chosen corner; a gripper that is always there few."""
    ys, xs = picture.corners
    height, width = picture.grey.shape
    return len(np.unique(3 * (3 * ys[chosen] // height) + 3 * xs[chosen] // width))
