"""Figures of the published progress benchmarks, and those of a monitor.

VOC, NSE, PRC, AFRR and UDA are as in ProgressLM (arXiv 2601.15224) and RoboValue, the accuracy of
the step interval as in recurrent reasoning (arXiv 2603.17312); an undefined rank correlation counts
as 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from progress_monitor.types import NAN

Floats = NDArray[np.float64]


def ranks(values: ArrayLike) -> Floats:
    """Ranks from 1, ties averaged."""
    data = np.asarray(values, np.float64)
    _, inverse, counts = np.unique(data, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2.0)[inverse]


def voc(prediction: ArrayLike, reference: ArrayLike) -> float:
    """Spearman rank correlation of a prediction with true progress or with time.

    Ticks whose prediction is NaN are left out. 0 where it is undefined: fewer than three ticks, or
    one of the two is constant.
    """
    predicted = np.asarray(prediction, np.float64)
    true = np.asarray(reference, np.float64)
    known = np.isfinite(predicted) & np.isfinite(true)
    if int(known.sum()) < 3:
        return 0.0
    a, b = ranks(predicted[known]), ranks(true[known])
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 0.0 else 0.0


def mae(prediction: ArrayLike, truth: ArrayLike) -> float:
    """Mean absolute error over the ticks with a prediction; NaN without any."""
    error = np.abs(np.asarray(prediction, np.float64) - np.asarray(truth, np.float64))
    known = error[np.isfinite(error)]
    return float(known.mean()) if known.size else NAN


def nse(prediction: ArrayLike, truth: ArrayLike) -> float:
    """Mean of |p - p*| / max(p*, 1 - p*) over the ticks with a prediction; NaN without any."""
    predicted, true = np.asarray(prediction, np.float64), np.asarray(truth, np.float64)
    error = np.abs(predicted - true) / np.maximum(true, 1.0 - true)
    known = error[np.isfinite(error)]
    return float(known.mean()) if known.size else NAN


def in_interval(prediction: ArrayLike, truth: ArrayLike, begins: ArrayLike) -> float:
    """Share of predictions in the step of the true progress; NaN without any.

    ``begins`` holds the progress at which each step begins, rising. Half a per cent is allowed for
    at either end of a step, because percent are named in whole numbers.
    """
    predicted, true = np.asarray(prediction, np.float64), np.asarray(truth, np.float64)
    edges = np.append(np.asarray(begins, np.float64), np.inf)
    step = np.searchsorted(edges, true, side='right') - 1
    low, high = edges[step] - 0.005, edges[step + 1] + 0.005
    known = np.isfinite(predicted)
    return float(((predicted >= low) & (predicted <= high))[known].mean()) if known.any() else NAN


def mean(values: Sequence[float]) -> float:
    """Mean of the finite values; NaN without any."""
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else NAN


def share(part: int, whole: int) -> float:
    """Share of a whole; NaN of nothing."""
    return part / whole if whole else NAN
