"""Floor and ceiling of the token reading from runs with known ends."""

from __future__ import annotations

import numpy as np
import pytest

from progress_monitor.parameters import ParameterError
from progress_monitor.strategies.calibration import calibrate
from progress_monitor_lab.bench.token_reading import aged_errors, token_share


def run(seed: int, rest: int = 8):
    """Readings that rise from -4 to -0.6 and stand at -0.1 once the task is done."""
    noise = np.random.default_rng(seed).normal(0.0, 0.02, 30 + rest)
    work = np.linspace(-4.0, -0.6, 30)
    readings = np.concatenate([work, np.full(rest, -0.1)]) + noise
    return readings.tolist(), [False] * 30 + [True] * rest


def test_the_ceiling_parts_done_from_nearly_done_and_the_floor_is_the_start():
    runs, finished = zip(*(run(seed) for seed in range(4)), strict=True)
    found = calibrate(runs, finished, 3)
    assert found.floor == pytest.approx(-3.9, abs=0.15)
    assert -0.6 < found.ceiling < -0.1
    assert found.true_rate == 1.0
    assert found.false_rate < 0.05


def test_runs_that_show_no_end_or_no_rise_are_refused():
    readings, _ = run(0)
    with pytest.raises(ParameterError, match='unfinished and finished'):
        calibrate([readings], [[False] * len(readings)], 3)
    flat = [-1.0] * 20
    with pytest.raises(ParameterError, match='no higher'):
        calibrate([flat], [[False] * 10 + [True] * 10], 3)


def test_readings_of_which_it_is_not_known_count_for_neither():
    readings, _ = run(0)
    rests_unlabelled = [True if i >= 35 else None if i >= 30 else False for i in range(38)]
    found = calibrate([readings], [rests_unlabelled], 3)
    assert found.false_rate == 0.0
    wrong = [bool(flag) for flag in rests_unlabelled]
    assert calibrate([readings], [wrong], 3).false_rate > 0.0


def test_the_tokens_share_is_what_leaves_the_least_error():
    rng = np.random.default_rng(0)
    truth = np.linspace(0.0, 1.0, 4000)
    text = truth + rng.normal(0.0, 0.1, truth.size)
    token = truth + rng.normal(0.0, 0.2, truth.size)
    assert token_share(text, token, truth) == pytest.approx(0.2, abs=0.02)
    # One that errs as the text does, and more, has nothing to add.
    assert token_share(text, truth + 2.0 * (text - truth), truth) == 0.0
    assert token_share(text, text, truth) == 0.0
    text[::7] = np.nan
    assert token_share(text, token, truth) == pytest.approx(0.2, abs=0.02)


def test_the_token_carries_a_text_on():
    truth = np.linspace(0.0, 1.0, 21)
    found = aged_errors([truth.tolist()], [truth], [truth.tolist()], 4)
    assert found == (pytest.approx(0.2), pytest.approx(0.0, abs=1e-12))
    assert aged_errors([truth.tolist()], [0.0 * truth], [truth.tolist()], 4)[1] == found[0]
