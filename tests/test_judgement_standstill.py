"""Numbers that flicker while the mean of their distribution stands still, or goes on."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import TASK, config, ns

from progress_monitor.judgement.judge import Judge
from progress_monitor.judgement.tick import Tick
from progress_monitor.types import NAN, Estimate, Evidence, Verdict

ALLOWANCE, GAIN, PERIOD = 6.0, 0.04, 0.5
STEP = 'Pull the drawer open'


def judged(numbers, expected, resting=lambda seconds: None) -> tuple[Judge, float]:
    """The judge of a series of numbers, and the seconds to its first stall; inf without one."""
    judge = Judge(config(stall__allowance=ALLOWANCE, stall__minimum_gain=GAIN), TASK)
    called = math.inf
    for index, (number, mean) in enumerate(zip(numbers, expected, strict=True)):
        seconds = index * PERIOD
        estimate = Estimate(
            ns(1.0 + seconds), min(max(float(number), 0.0), 1.0), NAN, (STEP,), Evidence.GOOD, '',
            verdict=Verdict.NOT_DONE, expected=float(mean),
        )  # fmt: skip
        judge.add(Tick(estimate, STEP, resting_since_ns=resting(seconds)))
        if judge.stall is not None and called == math.inf:
            called = seconds
    return judge, called


def rise(until: float, ticks: int = 20) -> np.ndarray:
    return np.linspace(0.1, until, ticks)


def flickers(ticks: int, seed: int) -> np.ndarray:
    """Numbers between 60 and 69 %, three ticks at a time and at random."""
    random = np.random.default_rng(seed)
    return random.choice([0.60, 0.62, 0.68, 0.69], ticks // 3 + 1).repeat(3)[:ticks]


@pytest.mark.parametrize('seed', range(3))
def test_a_standstill_is_called_by_the_mean_where_the_numbers_flicker(seed):
    ticks = round(2.0 * ALLOWANCE / PERIOD)
    wobble = 0.002 * np.random.default_rng(seed).standard_normal(ticks)
    numbers = np.concatenate((rise(0.65), flickers(ticks, seed)))
    expected = np.concatenate((rise(0.65), 0.65 + wobble))
    onset = 20 * PERIOD
    judge, called = judged(numbers, expected)
    assert called - onset <= ALLOWANCE + 3 * PERIOD
    assert judge.stall is not None
    assert judge.stall.confidence > 0.9
    assert judged(numbers, np.full(len(numbers), NAN))[1] > called


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.floats(1.0, 8.0), st.booleans())
def test_no_call_while_the_mean_makes_the_minimum_gain(seed, speed, stairs):
    times = PERIOD * np.arange(round(0.8 * ALLOWANCE / GAIN / speed / PERIOD))
    made = times * GAIN * speed / ALLOWANCE
    truth = 0.1 + (np.floor(made / GAIN + 1e-9) * GAIN if stairs else made)
    random = np.random.default_rng(seed)
    expected = truth + GAIN / 4.0 * random.uniform(-0.999, 0.999, len(times))
    assert judged(truth, expected)[1] == math.inf


@pytest.mark.parametrize('mean', [0.5, NAN])
def test_a_number_that_rises_is_not_stalled_by_a_mean_that_does_not(mean):
    numbers = 0.2 + 2.0 * GAIN * PERIOD / ALLOWANCE * np.arange(100)
    assert judged(numbers, np.full(100, mean))[1] == math.inf


def test_a_stall_by_the_mean_is_released_when_the_number_rises():
    ticks = round(1.6 * ALLOWANCE / PERIOD)
    numbers = np.concatenate((rise(0.65), flickers(ticks, 1), np.linspace(0.7, 0.95, 12)))
    expected = np.concatenate((rise(0.65), np.full(ticks, 0.65), np.linspace(0.7, 0.95, 12)))
    judge, called = judged(numbers, expected)
    assert called < math.inf
    assert judge.stall is not None
    assert not judge.stall.stalled


def test_a_mean_that_is_missing_now_and_then_is_made_up_for():
    numbers = np.concatenate((rise(0.65), np.full(40, 0.65)))
    expected = numbers.copy()
    expected[::3] = NAN
    assert judged(numbers, expected)[1] - 20 * PERIOD <= ALLOWANCE + 3 * PERIOD
