"""How far the model's numbers scatter, how they hang together, and what the window does to them."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HALF = 8
LEAST_RESIDUALS = 12
KEPT = 300
LARGEST_CORRELATION = 0.9
LEAST_STEP_BACK = 3.0
_SMALLEST_CHANGE = 1e-4
GRAINS = (0.25, 0.2, 0.1, 0.05, 0.02, 0.01)
ON_GRID = 0.9
GRAINS_BACK = 1.5
LEAST_CHANGES = 8
CHANCE = 1.0 / 4000.0
"""Of numbers of whole points to lie on a coarser grid that nobody rounded them to."""
LEAST_DISTINCT = 3
"""Different numbers on a grid from which it is taken for the model's own."""
PRIOR_CORRELATION = 0.6
FIRST_CORRELATION = 0.5
DOUBTED_CORRELATION = 0.7
"""What successive numbers may hang together by, before that is known."""
PRIOR_TICKS = 30
"""Before they are seen, successive numbers are taken to hang together, by so many ticks' weight."""
SPREAD_TICKS = 2
"""Weight of the decoder's own spread, in ticks, until the scatter is known from the numbers."""
REPEATED = 0.12
"""Difference, in units of what is asked of the numbers, up to which they are the same."""
FINE = 0.4
"""Grid, in the same units, up to which numbers that scatter do not fall together."""
MOST = 0.6
FEW = 16
TICKS_PER_MISREADING = 8
TRIMMED = 0.15
_GRID = np.linspace(0.0, 0.95, 96)


def _moments() -> tuple[Floats, Floats]:
    """Variance and lag-1 correlation of a line's residuals for unit AR(1) noise over ``_GRID``."""
    count = 2 * HALF + 1
    # The slope has no part in the residual of the middle.
    weights = np.full(count, -1.0 / count)
    weights[HALF] += 1.0
    lags = np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
    next_lags = np.abs(np.subtract.outer(np.arange(count), np.arange(count) + 1))
    variance = np.array([weights @ rho**lags @ weights for rho in _GRID])
    following = np.array([weights @ rho**next_lags @ weights for rho in _GRID])
    return variance, following / variance


_VARIANCE, _CORRELATION = _moments()


def _jitter(correlation: float) -> float:
    """Jitter of AR(1) noise of unit scatter."""
    return math.sqrt((1.5 + 0.5 * correlation**2 - 2.0 * correlation) / 1.5)


_LEAST_JITTER = _jitter(LARGEST_CORRELATION)


class NoiseModel:
    """Scatter and lag-1 correlation of the numbers, from residuals against a local straight line.

    The line runs through the eight ticks on either side, so that neither steady progress nor a
    bend counts as noise. It swallows part of correlated noise; how much is known (the moments of
    the residuals of AR(1) noise are tabulated) and put right. Residuals beyond three robust
    standard deviations are cut to that. Until there are enough of them, the scatter is that of
    neighbouring ticks, or the decoder's own spread where that is larger.

    A number that grows with the frames shown and falls when the window drops back is a known
    influence: its slope is found by regressing the residuals on those of the frame count.

    ``scatter`` is the standard deviation of the numbers, ``jitter`` that of a number about the
    line between its neighbours (the same for white noise, less for correlated noise and for real
    swings), ``correlation`` that of successive numbers, ``per_frame`` the influence of a frame.
    """

    def __init__(self) -> None:
        self._residuals: deque[float] = deque(maxlen=KEPT)
        self._frames: deque[float] = deque(maxlen=KEPT)
        self._near: deque[float] = deque(maxlen=KEPT)
        self._known: deque[float] = deque(maxlen=2 * HALF)
        self._steps_back: deque[float] = deque(maxlen=KEPT)
        self._spreads: deque[float] = deque(maxlen=2 * HALF)
        self._typical_frames = 0.0
        self.grid = Grid()
        self.scatter = 0.0
        self.jitter = 0.0
        self.correlation = 0.0
        self.per_frame = 0.0

    @property
    def known(self) -> bool:
        """Whether the scatter is known from the numbers' residuals."""
        return len(self._residuals) >= LEAST_RESIDUALS

    @property
    def scatter_before(self) -> float:
        """The scatter as it was known before the last ticks: a sudden fall adds to it at first.

        Where less is found in spite of that, little was known before.
        """
        return min(self._known[0], self.scatter) if self._known else 0.0

    @property
    def behind(self) -> tuple[float, float]:
        """Scatter and correlation that may be behind the numbers, also while little is known."""
        if not self.known:
            return self.scatter / _jitter(DOUBTED_CORRELATION), DOUBTED_CORRELATION
        return self.scatter, self.correlation

    @property
    def long_run(self) -> float:
        """Standard deviation of white noise that blurs an average over many ticks as much."""
        rho = self.correlation
        return self.scatter * math.sqrt((1.0 + rho) / (1.0 - rho))

    def of_mean(self, ticks: int) -> float:
        """Standard deviation of the mean of so many successive ticks."""
        rho, n = self.correlation, max(ticks, 1)
        factor = (1.0 + rho) / (1.0 - rho) - 2.0 * rho * (1.0 - rho**n) / (n * (1.0 - rho) ** 2)
        return self.scatter * math.sqrt(max(factor, 0.0) / n)

    def influence(self, frames: Floats) -> Floats:
        """What the number of frames shown adds to the number; 0 for a count of 0."""
        known = frames > 0.0
        return np.where(known, self.per_frame * (frames - self._typical_frames), 0.0)

    def add(self, times: Floats, values: Floats, frames: Floats, spread: float) -> None:
        """Learn from the series up to its newest tick.

        :param times: observed time, s, oldest first; :param values: numbers as the model named
            them, 0..1; :param frames: frames shown; :param spread: the decoder's own, or NaN.
        """
        if math.isfinite(spread):
            self._spreads.append(spread)
        if len(times) >= 3:
            self._near.append(_off_the_neighbours(times[-3:], values[-3:]))
        if len(times) >= 2 and frames[-2] - frames[-1] >= LEAST_STEP_BACK and frames[-1] > 0.0:
            usual = np.diff(values[-HALF:-1])
            change = float(values[-1] - values[-2]) - (quantile(usual, 0.5) if usual.size else 0)
            self._steps_back.append(change / float(frames[-1] - frames[-2]))
        self.grid.add(float(values[-1]))
        count = 2 * HALF + 1
        if len(times) >= count:
            self._residuals.append(_middle_residual(times[-count:], values[-count:]))
            self._frames.append(_middle_residual(times[-count:], frames[-count:]))
        self._learn(frames)
        self._known.append(self.scatter)

    def _learn(self, frames: Floats) -> None:
        self.jitter = _robust_rms(np.array(self._near)) if self._near else 0.0
        if not self.known:
            self.correlation = FIRST_CORRELATION
            self.scatter = self._first_scatter()
            return
        residuals = np.array(self._residuals)
        shown = np.array(self._frames)
        self._learn_influence(residuals, shown, frames)
        cut = _cut_less(residuals - self.per_frame * shown)
        variance = float(cut @ cut) / cut.size
        if variance < 1e-12:
            self.scatter = self.correlation = 0.0
            return
        lag = float(cut[1:] @ cut[:-1]) / (cut.size - 1) / variance
        prior = float(np.interp(PRIOR_CORRELATION, _GRID, _CORRELATION))
        lag += (prior - lag) * PRIOR_TICKS / (PRIOR_TICKS + cut.size)
        self.correlation = min(float(np.interp(lag, _CORRELATION, _GRID)), LARGEST_CORRELATION)
        kept = float(np.interp(self.correlation, _GRID, _VARIANCE))
        # A bend leaves residuals as well, but hardly a number that is off its neighbours.
        most = math.hypot(self.jitter, self.grid.grain / math.sqrt(12.0)) / _LEAST_JITTER
        self.scatter = min(math.sqrt(variance / kept), most)

    def _first_scatter(self) -> float:
        """That of neighbouring ticks, with the decoder's spread as the prior."""
        if not self._spreads:
            return self.jitter
        spread = quantile(np.array(self._spreads), 0.5)
        seen = len(self._near)
        power = seen * self.jitter**2 + SPREAD_TICKS * spread**2
        return math.sqrt(power / (seen + SPREAD_TICKS))

    def _learn_influence(self, residuals: Floats, shown: Floats, frames: Floats) -> None:
        """The slope, where it explains the residuals beyond doubt; else none."""
        self.per_frame = 0.0
        weight = float(shown @ shown)
        if len(self._steps_back) < 2 or weight < 1e-9:
            return
        slope = float(_cut(residuals) @ shown) / weight
        left = _cut(residuals - slope * shown)
        error = math.sqrt(float(left @ left) / left.size / weight)
        if abs(slope) <= 4.0 * error or slope == 0.0:
            return
        # Where the window drops back the number must too: a fall of the task is no influence.
        seen = np.array(self._steps_back)
        doubt = 4.5 * self.jitter / LEAST_STEP_BACK
        shares = seen / slope
        if shares.mean() >= 0.5 and shares.min() >= 0.5 - doubt / abs(slope):
            self.per_frame = slope
            recent = frames[-KEPT:]
            self._typical_frames = float(recent[recent > 0.0].mean())


class Grid:
    """What a model's numbers are rounded to: the coarsest usual grid on which nearly all lie."""

    def __init__(self) -> None:
        self._seen = 0
        self._last = math.nan
        self._on = dict.fromkeys(GRAINS, 0)
        self._distinct: dict[float, set[int]] = {grain: set() for grain in GRAINS}

    def add(self, number: float) -> None:
        """Take in a number as the model named it; one that is repeated says nothing new."""
        if number == self._last:
            return
        self._last = number
        self._seen += 1
        for grain in GRAINS:
            step = round(number / grain)
            if abs(number - step * grain) < _SMALLEST_CHANGE:
                self._on[grain] += 1
                self._distinct[grain].add(step)

    @property
    def coarsest(self) -> float:
        """The coarsest grid that the numbers so far allow, 0..1; 0 for none."""
        wanted = ON_GRID * self._seen
        return next((grain for grain in GRAINS if self._on[grain] >= wanted > 0.0), 0.0)

    @property
    def grain(self) -> float:
        """The same, or 0 where too few different numbers were seen to tell."""
        grain = self.coarsest
        return grain if grain and len(self._distinct[grain]) >= LEAST_DISTINCT else 0.0

    @property
    def proven(self) -> float:
        """The coarsest grid, or 0 before so many changes of the number that chance made none."""
        if self._seen < LEAST_CHANGES:
            return 0.0
        grain, finest = self.coarsest, GRAINS[-1]
        by_chance = grain > finest and (finest / grain) ** self._seen > CHANCE
        return finest if by_chance else grain

    @property
    def back(self) -> float:
        """By how much a number that is rounded may go back for nothing, 0..1."""
        return GRAINS_BACK * self.coarsest


def scatter_now(values: Floats) -> float:
    """Standard deviation of numbers about the line between their neighbours, 0..1.

    The largest deviations, those of a single step or a wild answer, are left out.
    """
    off = np.sort(np.abs(values[1:-1] - 0.5 * (values[2:] + values[:-2])))
    kept = off[: len(off) - math.ceil(TRIMMED * len(off))]
    return math.sqrt(float(kept @ kept) / len(kept) / 1.5) if len(kept) else 0.0


def stand_still(values: Floats, asked: float, grid: float) -> bool:
    """Whether numbers are one and the same: most of many in either half, nearly all of a few.

    Noise does not do that: of numbers that scatter by a minimum gain or more, hardly one in ten is
    the same as their median. A model that now and then misreads a picture at rest does. Numbers
    that are rounded more coarsely than what is asked of them fall together anyhow.

    :param values: (ticks,) progress 0..1, oldest first; :param asked: the difference that is asked
        of them, 0..1; :param grid: what they are rounded to, or may be, 0..1.
    """
    half = len(values) // 2
    if not half or grid > FINE * asked:
        return False
    same = np.abs(values - quantile(values, 0.5)) <= REPEATED * asked
    if len(values) < FEW:
        return int(np.count_nonzero(~same)) <= len(values) // TICKS_PER_MISREADING
    return bool(min(same[:half].mean(), same[half:].mean()) >= MOST)


def within_a_step(values: Floats, asked: float, grid: float) -> bool:
    """Whether numbers are no more than one step of their grid apart.

    A number between two steps is rounded to either in turn, or goes from one to the next.

    :param values: (ticks,) progress 0..1, some; :param asked: the difference that is asked of them,
        0..1; :param grid: what they are rounded to, or may be, 0..1; 0 for none.
    """
    if not grid or grid > FINE * asked:
        return False
    return bool(np.ptp(values) <= grid + _SMALLEST_CHANGE)


def _middle_residual(times: Floats, values: Floats) -> float:
    x = times - times.mean()
    square = float(x @ x)
    level = float(values.mean())
    slope = float(x @ values) / square if square > 1e-18 else 0.0
    return float(values[HALF]) - level - slope * float(x[HALF])


def _off_the_neighbours(times: Floats, values: Floats) -> float:
    """The middle of three ticks against the line between the others, in units of one tick."""
    span = float(times[2] - times[0])
    share = float(times[1] - times[0]) / span if span > 1e-9 else 0.5
    off = float(values[1]) - (1.0 - share) * float(values[0]) - share * float(values[2])
    return off / math.sqrt(1.0 + share**2 + (1.0 - share) ** 2)


def quantile(values: Floats, share: float) -> float:
    """As NumPy's, which takes ten times as long for so few values."""
    ordered = np.sort(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return float(ordered[below] + (place - below) * (ordered[above] - ordered[below]))


def _cut(values: Floats) -> Floats:
    """Cut to three robust standard deviations, so that wild answers and bends weigh little."""
    limit = max(3.0 * 1.4826 * quantile(np.abs(values), 0.5), 1e-6)
    return np.minimum(np.maximum(values, -limit), limit)


def _cut_less(values: Floats) -> Floats:
    """The same by the 80 % quantile: where half of the numbers repeat, the other half counts."""
    limit = max(3.0 * 0.7803 * quantile(np.abs(values), 0.8), 1e-6)
    return np.minimum(np.maximum(values, -limit), limit)


def _robust_rms(values: Floats) -> float:
    cut = _cut_less(values)
    return math.sqrt(float(cut @ cut) / cut.size)
