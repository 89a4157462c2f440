"""Whether the numbers show that nothing is gained: a sequential test over all recent windows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LENGTHS = np.array([1.0, 1.15, 1.3, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 10.0])
"""Windows that are tried, in allowances."""
PRIOR_TICKS = 1.0
"""Ticks of a window's own scatter that what is known of the scatter weighs as much as."""
CLEAR_DEVIATIONS = 3.0


@dataclass(frozen=True)
class GainTest:
    """Outcome for the newest tick.

    ``odds`` are the log-odds (nats) of no gain against twice the minimum gain per allowance over
    the window that shows it most clearly; ``start`` is that window's first index; ``gain`` is what
    it gained per allowance; ``gained`` says that some window shows a gain beyond doubt.
    """

    odds: float
    start: int
    gain: float
    gained: bool


NOTHING = GainTest(-math.inf, 0, math.nan, False)


def no_gain(
    times: Floats,
    values: Floats,
    allowance: float,
    minimum_gain: float,
    scatter: float,
    correlation: float,
    grain: float = 0.0,
) -> GainTest:
    """Test the windows that end with the newest tick.

    The window-limited generalised likelihood ratio for an onset that is not known (Willsky and
    Jones 1976; Lai 1998, IEEE Trans. Inf. Theory 44): a straight line is fitted to each window,
    whitened by the correlation of successive numbers, and the likelihoods of "no gain" and of
    "twice the minimum gain in every allowance" are compared. The scatter is the window's own, of
    which what is known of it is the prior: numbers that repeat themselves do not scatter now,
    whatever they did before. A window with a clear fall in it says nothing of what came after.

    :param scatter: standard deviation of the numbers as known so far, 0..1; :param correlation: of
        successive numbers, 0..1; :param grain: what the numbers are rounded to, 0..1.
    """
    ages = (times[-1] - times) / allowance
    starts = np.searchsorted(times, times[-1] - allowance * LENGTHS + 1e-6, side='right') - 1
    starts = np.unique(starts[starts >= 0])
    if not starts.size:
        return NOTHING
    first = int(starts[0])
    gain, precision, left, ticks = _lines(
        -ages[first:], values[first:], starts - first, correlation
    )
    known = PRIOR_TICKS * scatter**2 * (1.0 - correlation**2)
    left = left + known + ticks * (grain**2 / 12.0 + 1e-10)
    freedom = PRIOR_TICKS + np.maximum(ticks - 2, 1)
    error = np.sqrt(left / freedom / precision)
    none = left + precision * np.maximum(gain, 0.0) ** 2
    twice = left + precision * np.maximum(2.0 * minimum_gain - gain, 0.0) ** 2
    odds = 0.5 * freedom * np.log(twice / none)
    fallen = -gain * ages[starts] > minimum_gain
    odds[(gain >= 0.5 * minimum_gain) | (fallen & (gain < -CLEAR_DEVIATIONS * error))] = -math.inf
    best = int(np.argmax(odds))
    gained = bool(np.any((gain > CLEAR_DEVIATIONS * error) & (gain >= 0.5 * minimum_gain)))
    return GainTest(float(odds[best]), int(starts[best]), float(gain[best]), gained)


def _lines(
    x: Floats, y: Floats, starts: NDArray[np.intp], rho: float
) -> tuple[Floats, Floats, Floats, NDArray[np.intp]]:
    """Straight lines through the numbers from each start on, by generalised least squares.

    :returns: slope, its precision in units of the innovations' variance, the innovations' sum of
        squares about the line, and the number of ticks, each (starts,).
    """
    one = 1.0 - rho
    x_new, y_new = x[1:] - rho * x[:-1], y[1:] - rho * y[:-1]
    products = np.stack((x_new, x_new * x_new, y_new, y_new * y_new, x_new * y_new))
    sums = np.zeros((5, len(x)))
    sums[:, :-1] = np.cumsum(products[:, ::-1], axis=1)[:, ::-1]
    sx, sxx, sy, syy, sxy = sums[:, starts]
    ticks = len(x) - starts
    # The first number of a window has no other before it to be told from.
    head, x0, y0 = 1.0 - rho * rho, x[starts], y[starts]
    s1 = one * one * (ticks - 1) + head
    sx, sy = one * sx + head * x0, one * sy + head * y0
    sxx, syy, sxy = sxx + head * x0 * x0, syy + head * y0 * y0, sxy + head * x0 * y0
    precision = np.maximum(sxx - sx * sx / s1, 1e-12)
    slope = (sxy - sx * sy / s1) / precision
    left = np.maximum(syy - sy * sy / s1 - slope * slope * precision, 0.0)
    return slope, precision, left, ticks
