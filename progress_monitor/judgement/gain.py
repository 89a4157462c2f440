"""Whether the numbers show that nothing is gained: a sequential test over all recent windows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LENGTHS = np.array([1.0, 1.15, 1.3, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 10.0])
"""Windows that are tried, in allowances."""


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
    times: Floats, values: Floats, allowance: float, minimum_gain: float, noise: float
) -> GainTest:
    """Test the windows that end with the newest tick.

    The window-limited generalised likelihood ratio for an onset that is not known (Willsky and
    Jones 1976; Lai 1998, IEEE Trans. Inf. Theory 44): each window is fitted with a straight line,
    whose slope has a known error, and the likelihoods of "no gain" and of "twice the minimum gain
    in every allowance" are compared. A loss counts as no gain and no more, so that a call needs
    windows long enough for their error, whatever the numbers; a window with a clear fall in it
    says nothing of what came after.

    :param noise: standard deviation of white noise that blurs averages as much, 0..1.
    """
    ages = times[-1] - times
    starts = np.searchsorted(times, times[-1] - allowance * LENGTHS + 1e-6, side='right') - 1
    starts = starts[starts >= 0]
    if not starts.size:
        return NOTHING
    first = int(starts[-1])
    x, y = ages[first:][::-1], values[first:][::-1]
    count = len(values) - starts
    at = count - 1
    sx, sxx = np.cumsum(x)[at], np.cumsum(x * x)[at]
    sy, sxy = np.cumsum(y)[at], np.cumsum(x * y)[at]
    square = np.maximum(sxx - sx * sx / count, 1e-12)
    gain = -(sxy - sx * sy / count) / square * allowance
    error = np.maximum(noise, 1e-6) * allowance / np.sqrt(square)
    seen = np.maximum(gain, 0.0)
    odds = 2.0 * minimum_gain * (minimum_gain - seen) / error**2
    odds[(gain >= 0.5 * minimum_gain) | (gain < -3.0 * error)] = -math.inf
    best = int(np.argmax(odds))
    gained = bool(np.any((gain > 3.0 * error) & (gain >= 0.5 * minimum_gain)))
    return GainTest(float(odds[best]), int(starts[best]), float(gain[best]), gained)
