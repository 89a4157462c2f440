"""The benchmark of made series: its bound, and the detectors that the judge is held against."""

from __future__ import annotations

import numpy as np
import pytest

from progress_monitor_lab.bench.noise import Figures, Noise, compared, least_delay, main, missed


def test_the_likelihood_ratio_is_the_quickest_of_the_detectors():
    found = compared(Noise(5.0, 0.7), seed=1, series=8, hours=2.0)
    median = {name: float(np.median(delays)) for name, delays in found.items()}
    assert median['GLR (the judge)'] < median['Kalman'] < 14.0
    assert median['GLR (the judge)'] < median['CUSUM'] < 14.0


def test_the_bound_grows_with_noise_and_is_the_allowance_without():
    bounds = [least_delay(Noise(points), 15.0) for points in (0.0, 3.0, 5.0, 8.0)]
    assert bounds[0] == 1.0
    assert bounds == sorted(bounds)
    # In ticks; the power two thirds of the scatter, but for the logarithm.
    assert bounds[3] / bounds[2] == pytest.approx((8.0 / 5.0) ** (2.0 / 3.0), rel=0.05)
    assert least_delay(Noise(5.0, 0.7), 15.0) > bounds[2]


def test_a_missed_aim_is_told_with_what_the_bound_allows():
    figures = [
        Figures('2 points, rho 0.7', 7.5, 2.0, delays=(1.4, 2.0, 2.4), least_delay=1.85),
        Figures('2 points, rho 0', 15.0, 2.0, delays=(1.0, 1.1, 1.6), least_delay=1.0),
        Figures('5 points, rho 0', 15.0, 5.0, delays=(1.8, 3.9), least_delay=1.5),
        Figures('8 points, rho 0', 15.0, 8.0, delays=(9.0,), least_delay=2.0),
    ]
    first, second = missed(figures)
    assert first == '| 2 points, rho 0.7 | 7.5 s | 2.00, 2.40 | 1.5 | 1.85 | by 0.35 |'
    assert second.endswith('| no |')


@pytest.mark.parametrize('wrong', [['--series', '0'], ['--hours', '0']])
def test_a_benchmark_of_nothing_is_refused(wrong, capsys):
    assert main(wrong) == 2
    assert '--series and --hours' in capsys.readouterr().err
