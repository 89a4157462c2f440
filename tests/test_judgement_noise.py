"""Calls on noisy numbers, evidence beside the numbers, and the order of what is reported."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import TASK, config, ns

from progress_monitor.judgement.judge import Judge
from progress_monitor.judgement.noise import NoiseModel
from progress_monitor.judgement.regression import step_of
from progress_monitor.judgement.tick import Tick
from progress_monitor.types import (
    NAN,
    Estimate,
    Evidence,
    RecoveryHint,
    StallCause,
    StallReport,
    State,
    SuccessReport,
    Verdict,
)
from progress_monitor_lab.bench.noise import (
    Noise,
    fallen_series,
    judged,
    stalled_series,
    steady_series,
)

GAIN = 0.03
STEP = 'Pull the drawer open'


def tick(seconds: float, progress: float, **more) -> Tick:
    steps = more.pop('steps', (STEP,))
    estimate = Estimate(
        ns(seconds), min(max(progress, 0.0), 1.0), NAN, steps, Evidence.GOOD, '',
        verdict=Verdict.DONE if steps == () else Verdict.NOT_DONE,
    )  # fmt: skip
    return Tick(estimate, more.pop('step', STEP), **more)


def first_call(numbers, allowance: float, period: float = 0.5, **more) -> float:
    """Seconds from the start to the first stall; inf without one."""
    judge = Judge(config(stall__allowance=allowance, **more), TASK)
    for index, number in enumerate(numbers):
        judge.add(tick(1.0 + index * period, number))
        if judge.stall is not None:
            return index * period
    return math.inf


def correlated(ticks: int, rho: float, seed: int) -> np.ndarray:
    shocks = np.random.default_rng(seed).standard_normal(ticks) * math.sqrt(1.0 - rho**2)
    noise = np.zeros(ticks)
    for index in range(1, ticks):
        noise[index] = rho * noise[index - 1] + shocks[index]
    return noise


@pytest.mark.parametrize('rho', [0.0, 0.7])
def test_scatter_and_correlation_are_learned_over_a_rise(rho):
    scatters, correlations = [], []
    for seed in range(4):
        model = NoiseModel()
        times = 0.5 * np.arange(300)
        values = 0.002 * times + 0.05 * correlated(300, rho, seed)
        for end in range(1, 301):
            model.add(times[:end], values[:end], np.zeros(end), NAN)
        scatters.append(model.scatter)
        correlations.append(model.correlation)
    assert np.mean(scatters) == pytest.approx(0.05, rel=0.2)
    assert np.mean(correlations) == pytest.approx(rho, abs=0.15)


def test_what_the_window_adds_to_the_number_is_taken_away():
    frames = 5.0 + np.arange(200) % 13
    truth = np.minimum(0.003 * np.arange(200), 0.3)
    numbers = truth + 0.04 * ((frames - 5.0) / 12.0 - 0.5)
    judge = Judge(config(stall__allowance=15.0), TASK)
    for index in range(200):
        judge.add(tick(1.0 + 0.5 * index, numbers[index], frames=int(frames[index])))
        if judge.stall is not None:
            break
    assert judge.stall is not None
    assert 100 + 24 <= index <= 100 + 33


@pytest.mark.parametrize('points', [3.0, 5.0])
def test_steady_work_under_noise_is_not_called(points):
    """Under a fixed allowance with half a gain as threshold each of these is called many times."""
    truth = steady_series(4, 15.0)
    noise = Noise(points, 0.7)
    for seed in range(4):
        numbers, frames = noise.over(truth, np.random.default_rng(seed))
        assert [report.cause for _, report in judged(numbers, frames, 15.0)] == []


def test_numbers_that_are_rounded_fall_together_and_do_not_stand_still():
    """At 7.5 s an allowance is little more than one step of the grid at twice the minimum gain."""
    truth = steady_series(2, 7.5)
    noise = Noise(2.0, 0.7, rounding=0.05)
    called = 0
    for seed in range(16):
        numbers, frames = noise.over(truth, np.random.default_rng(seed))
        called += any(report.stalled for _, report in judged(numbers, frames, 7.5))
    assert called <= 1


@pytest.mark.parametrize('allowance', [7.5, 15.0])
def test_rounded_numbers_without_noise_are_called_once_the_next_step_is_due(allowance):
    noise = Noise(0.0, rounding=0.05)
    for seed in range(3):
        random = np.random.default_rng(seed)
        truth, onset = stalled_series(8.0 * allowance, allowance, random)
        numbers, frames = noise.over(truth, random)
        calls = [at for at, it in judged(numbers, frames, allowance, onset) if it.stalled]
        assert calls
        assert calls[-1] <= onset + 2.0 * 1.8 * allowance


@pytest.mark.parametrize('points', [2.0, 5.0, 8.0])
def test_a_stall_under_noise_is_found_later_and_not_never(points):
    truth = np.concatenate((np.linspace(0.0, 0.6, 120), np.full(400, 0.6)))
    numbers, frames = Noise(points).over(truth, np.random.default_rng(3))
    calls = [at for at, report in judged(numbers, frames, 15.0, until=120) if report.stalled]
    assert calls
    assert 120 + 20 <= calls[-1] <= 120 + 4 * 30


def certainty(seconds: float, scatter: float, rho: float) -> float:
    """Nats by which so much of this noise tells no gain from twice the minimum, in the mean."""
    ticks = 2.0 * seconds + 1.0
    step, blur = 2.0 * GAIN / 30.0, scatter * math.sqrt((1.0 + rho) / (1.0 - rho))
    return step**2 * ticks**3 / (24.0 * blur**2) if blur else math.inf


@settings(max_examples=15)
@given(st.integers(0, 1000), st.sampled_from([0.02, 0.04, 0.06]), st.sampled_from([0.0, 0.5]))
def test_noise_never_makes_a_call_earlier_than_certainty_allows(seed, scatter, rho):
    numbers = 0.5 + scatter * correlated(160, rho, seed)
    seconds = first_call(numbers, 15.0)
    assert seconds >= 15.0
    # What is seen of it scatters.
    assert certainty(min(seconds, 80.0), scatter, rho) >= 1.5


@pytest.mark.parametrize('seed', range(4))
def test_more_of_the_same_noise_makes_calls_later(seed):
    noise = correlated(400, 0.0, seed)
    scatters = (0.0, 0.03, 0.06, 0.12)
    delays = [first_call(0.5 + scatter * noise, 15.0) for scatter in scatters]
    assert delays == sorted(delays)
    assert delays[0] <= 3.0 + 15.0 + 1.5
    for seconds, scatter in zip(delays, scatters, strict=True):
        assert certainty(seconds, scatter, 0.0) >= 1.5


@settings(max_examples=15)
@given(st.integers(0, 1000), st.sampled_from([2.0, 4.0]))
def test_scaling_time_and_allowance_together_changes_nothing(seed, factor):
    numbers = 0.5 + 0.03 * correlated(120, 0.5, seed)
    plain = first_call(numbers, 15.0, stall__grace_period=1.0)
    scaled = first_call(numbers, 15.0 * factor, 0.5 * factor, stall__grace_period=factor)
    assert scaled == (plain * factor if math.isfinite(plain) else plain)


def test_it_is_said_when_noise_lets_nothing_be_told():
    numbers = np.clip(0.5 + 0.2 * correlated(200, 0.9, 2), 0.0, 1.0)
    judge = Judge(config(stall__allowance=4.0, stall__longest=2.0), TASK)
    states = []
    for index, number in enumerate(numbers):
        judge.add(tick(1.0 + 0.5 * index, number))
        states.append(judge.state(ns(1.0 + 0.5 * index)))
        if states[-1] is State.UNSURE:
            assert 'points' in judge.doubt
    assert State.UNSURE in states


def test_something_that_heats_while_nothing_moves_is_not_stalled():
    judge = Judge(config(stall__allowance=15.0), TASK)
    wobble = 0.004 * correlated(160, 0.0, 4)
    for index in range(160):
        seconds = 1.0 + 0.5 * index
        rest = ns(3.0) if seconds > 6.0 else None
        judge.add(tick(seconds, 0.1 + 0.01 * seconds + wobble[index], resting_since_ns=rest))
    assert judge.stall is None
    assert judge.progress > 0.8


def test_a_leap_of_the_number_while_nothing_moves_is_a_change_of_mind():
    judge = Judge(config(stall__allowance=15.0), TASK)
    for index in range(60):
        seconds = 1.0 + 0.5 * index
        rest = ns(3.0) if seconds > 6.0 else None
        judge.add(tick(seconds, 0.3 if seconds < 12.0 else 0.6, resting_since_ns=rest))
    assert judge.stall is not None
    assert judge.progress == 0.3


def test_a_standstill_that_turns_into_a_loss_is_released_first():
    judge = Judge(config(), TASK)
    for index in range(60):
        judge.add(tick(1.0 + 0.5 * index, 0.5 if index < 30 else 0.2))
    said = [report for report in judge.take_reports() if isinstance(report, StallReport)]
    assert [report.stalled for report in said] == [True, False, True]
    assert [report.cause for report in said] == [
        StallCause.NO_CHANGE, StallCause.NONE, StallCause.REGRESSION,
    ]  # fmt: skip
    assert said[0].event_id == said[1].event_id != said[2].event_id
    assert [said[0].hint, said[2].hint] == [RecoveryHint.RETRY, RecoveryHint.REPLAN]
    assert judge.take_reports() == []
    assert judge.stall is said[2]


@pytest.mark.parametrize('waits', ['never moved', 'slow step'])
def test_a_rest_that_may_be_in_order_is_waited_for(waits):
    allowed = (f'{STEP}=6',) if waits == 'slow step' else ()
    judge = Judge(config(stall__step_allowances=allowed), TASK)
    for index in range(40):
        judge.add(tick(1.0 + 0.5 * index, 0.5, never_moved=waits == 'never moved'))
    assert judge.stall is not None
    assert judge.stall.hint is RecoveryHint.WAIT


def test_a_recovery_after_a_success_says_that_the_success_is_over():
    judge = Judge(config(), TASK)
    for index in range(12):
        judge.add(tick(1.0 + 0.5 * index, 1.0, steps=(), step=''))
    judge.recover(ns(8.0), 2.0)
    said = [report for report in judge.take_reports() if isinstance(report, SuccessReport)]
    assert [report.succeeded for report in said] == [True, False]
    assert said[0].event_id == said[1].event_id


@settings(max_examples=10)
@given(
    st.lists(st.integers(0, 9), min_size=8, max_size=14),
    st.lists(st.integers(-1, 1), min_size=8, max_size=8),
)
def test_numbers_that_repeat_are_called_to_the_tick_however_they_came_there(steps, tail):
    """A rise in leaps and bends teaches a scatter; a plateau that repeats has none."""
    rise = np.minimum(np.cumsum([0.03 + 0.01 * step for step in steps]) + 0.013, 0.9)
    onset = int(np.argmax(rise >= rise[-1] - 0.25 * GAIN))
    judge = Judge(config(stall__allowance=6.0), TASK)
    for index, number in enumerate([*rise, *np.full(30, rise[-1])]):
        report = tick(1.0 + 0.5 * index, number)
        judge.add(
            Tick(replace(report.estimate, spread=0.07 + 0.001 * tail[index % 8]), report.step)
        )
        if judge.stall is not None:
            break
    assert judge.stall is not None
    # A last rise by the minimum gain or less may count as standing still already.
    assert onset + 12 - 2 <= index <= onset + 12 + 3


@pytest.mark.parametrize('rho', [0.0, 0.7])
def test_a_fall_stands_out_of_noise_of_five_points(rho):
    """Means alone miss a third of these, as what is correlated does not average out."""
    found = 0
    for seed in range(8):
        truth, fall = fallen_series(60.0, 7.5, np.random.default_rng(seed))
        numbers, frames = Noise(5.0, rho).over(truth, np.random.default_rng(seed + 100))
        lost = [
            at for at, report in judged(numbers, frames, 7.5)
            if report.cause is StallCause.REGRESSION
        ]  # fmt: skip
        assert all(at > fall for at in lost)
        found += any(at <= fall + 12 for at in lost)
    assert found >= 6


def test_a_step_is_measured_over_a_rise_whatever_the_correlation():
    for rho in (0.0, 0.7):
        steps, errors = [], []
        for seed in range(60):
            rise = 0.01 * np.arange(24) - 0.3 * (np.arange(24) >= 18)
            size, error = step_of(rise + 0.05 * correlated(24, rho, seed), 6, rho)
            steps.append(size)
            errors.append(0.05 * error)
        assert np.mean(steps) == pytest.approx(-0.3, abs=0.02)
        assert np.std(steps) == pytest.approx(np.mean(errors), rel=0.3)


def test_a_number_that_goes_back_by_one_step_of_its_grid_has_lost_nothing():
    """Between two quarters a model says the one or the other."""
    judge = Judge(config(stall__allowance=15.0), TASK)
    random = np.random.default_rng(3)
    for index in range(120):
        truth = 0.1 + 0.005 * index + 0.06 * random.standard_normal()
        judge.add(tick(1.0 + 0.5 * index, round(4.0 * truth) / 4.0))
        if judge.stall is not None:
            assert judge.stall.cause is StallCause.NO_CHANGE


@given(st.integers(0, 10**6), st.floats(0.02, 0.12), st.floats(0.0, 0.2))
def test_a_picture_at_rest_that_is_now_and_then_misread_is_a_stall_in_time(seed, off, share):
    """A small model before a compressed video: most numbers are the same, some are not."""
    rng = np.random.default_rng(seed)
    rise = np.round(np.linspace(0.1, 0.6, 24), 2)
    rest = np.where(rng.random(70) < share, 0.6 - off, 0.6)
    called = first_call([*rise, *rest], 15.0)
    assert 25.0 <= called <= 12.0 + 1.5 * 15.0


BENDS = (0.0, 0.06, 0.08, 0.14, 0.17, 0.24, 0.27, 0.27, 0.40)


@pytest.mark.parametrize(
    'plateau',
    [
        # Between two steps of its grid, a number is rounded to either.
        pytest.param((0.40,) * 4 + (0.41,) * 20, id='one step up'),
        pytest.param((0.40, 0.41, 0.41, 0.40) * 6, id='to and fro'),
        pytest.param((0.41,) * 3 + (0.40,) * 20, id='one step down'),
        pytest.param((0.40,) * 5 + (0.34,) + (0.40,) * 20, id='one misread picture'),
    ],
)
def test_a_step_of_the_grid_and_a_misread_picture_are_no_scatter(plateau):
    numbers = [*BENDS, *plateau]
    called = first_call(numbers, 5.0, stall__grace_period=0.0)
    assert called <= 0.5 * len(BENDS) + 5.0 + 1.0


def test_a_plateau_of_a_whole_allowance_is_a_stall_whatever_came_between():
    """What was gained and lost again before it scatters, and says nothing of the plateau."""
    lost = (0.36, 0.30, 0.34, 0.28, 0.36, 0.31)
    numbers = [*BENDS, *lost, *np.full(24, 0.33)]
    called = first_call(
        numbers, 5.0, stall__grace_period=0.0, regression__drop=0.5, stall__loop_allowances=100.0
    )
    start = 0.5 * (len(BENDS) + len(lost))
    assert start + 4.0 <= called <= start + 5.5


RISE = np.round(np.linspace(0.1, 0.6, 24), 2).tolist()


@pytest.mark.parametrize('ticks', [3, 4, 5])
def test_a_gain_that_is_not_kept_is_none(ticks):
    """A picture that is misread for a while, and then read as before."""
    stood, misread = [0.6] * 12, [0.68] * ticks
    called = first_call([*RISE, *stood, *misread, *[0.6] * 40], 15.0)
    assert 11.5 + 15.0 <= called <= 11.5 + 15.0 + 1.5
    assert first_call([*RISE, *stood, *[0.68] * 40], 15.0) >= 17.5 + 15.0


def test_a_stall_is_not_released_by_what_was_misread_before():
    judge = Judge(config(stall__allowance=15.0), TASK)
    numbers = [*RISE, *[0.6] * 12, *[0.68] * 5, *[0.6] * 20, *[0.68] * 5, *[0.6] * 3, *[0.75] * 5]
    stalled = []
    for index, number in enumerate(numbers):
        judge.add(tick(1.0 + 0.5 * index, number))
        stalled.append(judge.stall is not None and judge.stall.stalled)
    assert all(stalled[-13:-5])
    assert not stalled[-1]


@pytest.mark.parametrize('points', [1.0, 1.2])
def test_noise_of_a_third_of_the_gain_delays_a_stall_by_no_more_than_larger_noise(points):
    """Such noise feigns half a gain now and then, so the windows speak as well."""
    delays = []
    for seed in range(20):
        truth = np.concatenate([np.linspace(0.1, 0.6, 60), np.full(90, 0.6)])
        called = first_call(truth + 0.01 * points * correlated(150, 0.0, seed), 15.0)
        delays.append((called - 30.0) / 15.0)
    assert max(delays) <= 1.25


def test_numbers_that_look_rounded_by_chance_are_called_once_they_are_due():
    """All so far are even; the plateau has lasted for three such steps at twice the gain."""
    rise = (0.34, 0.32, 0.36, 0.40, 0.54, 0.50)
    called = first_call([*rise, *np.full(40, 0.60)], 5.0, stall__grace_period=0.0)
    assert called == pytest.approx(0.5 * len(rise) + 5.0, abs=0.5)


def test_a_number_between_two_steps_of_its_grid_stands_still():
    """What it flickers by, before it is seen to, is taken for a gain over the end of the rise."""
    rise = [0.19, 0.19, 0.29, 0.32, 0.35]
    flicker = [0.36, 0.37, *[0.36] * 4, 0.37, 0.37, *[0.36] * 4, *[0.37] * 4]
    plateau = flicker + [0.36, 0.37, 0.37] * 8
    called = first_call([*rise, *plateau], 15.0)
    assert called - 0.5 * len(rise) <= 15.0 + 3 * 0.5
