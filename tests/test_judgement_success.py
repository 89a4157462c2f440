"""Success on numbers that scatter: it waits until they are clear, and no longer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from judging import TASK, config, ns

from progress_monitor.judgement.judge import Judge
from progress_monitor.judgement.tick import Tick
from progress_monitor.types import NAN, Estimate, Evidence, Verdict

STEP = ('Let go of the handle',)


def first_success(numbers) -> float:
    """Ticks until success is called by a model that takes 95 % for done; inf without one."""
    judge = Judge(config(), TASK)
    for index, number in enumerate(np.clip(numbers, 0.0, 1.0).tolist()):
        steps, verdict = ((), Verdict.DONE) if number >= 0.95 else (STEP, Verdict.NOT_DONE)
        estimate = Estimate(
            ns(1.0 + 0.5 * index), number, NAN, steps, Evidence.GOOD, '', verdict=verdict
        )
        judge.add(Tick(estimate, '' if not steps else STEP[0]))
        if judge.success is not None:
            return index
    return math.inf


@pytest.mark.parametrize('scatter', [0.05, 0.07])
def test_a_task_that_hangs_below_the_goal_is_not_called_done_by_noise(scatter):
    """By three of four ticks alone a third of these would be."""
    for seed in range(12):
        noise = scatter * np.random.default_rng(seed).standard_normal(160)
        assert first_success(0.86 + noise) == math.inf


@pytest.mark.parametrize('scatter', [0.0, 0.03, 0.05, 0.08])
def test_a_task_that_is_done_is_called_however_its_numbers_scatter(scatter):
    for seed in range(6):
        noise = scatter * np.random.default_rng(seed).standard_normal(120)
        truth = np.concatenate((np.linspace(0.2, 1.0, 60), np.ones(60)))
        assert first_success(truth + noise) <= 60 + 24


def test_numbers_that_repeat_are_clear_whatever_scattered_before():
    noise = 0.15 * np.random.default_rng(1).standard_normal(60)
    numbers = np.concatenate((np.linspace(0.1, 0.8, 60) + noise, np.ones(10)))
    assert first_success(numbers) <= 60 + 2


def test_a_model_that_is_asked_seldom_needs_no_more_votes():
    """Its few numbers lie on a coarse grid by chance."""
    assert first_success([0.0, 0.25, 0.5, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0]) == 6
    rise = [0.0, 0.06, 0.0, 0.06, 0.16, 0.28, 0.54, 0.64, 0.9]
    assert first_success([*rise, *[1.0] * 8]) == len(rise) + 2


def called_at(numbers, allowance: float = 15.0) -> float:
    """Seconds to the success by a model that takes 97 % for done, two ticks a second."""
    judge = Judge(config(stall__allowance=allowance), TASK)
    for index, number in enumerate(numbers):
        steps, verdict = ((), Verdict.DONE) if number >= 0.97 else (STEP, Verdict.NOT_DONE)
        stamp_ns = ns(1.0 + 0.5 * index)
        estimate = Estimate(stamp_ns, number, NAN, steps, Evidence.GOOD, '', verdict=verdict)
        judge.add(Tick(estimate, '' if not steps else STEP[0]))
        if judge.success is not None:
            return 0.5 * index
    return math.inf


def test_a_number_that_is_early_is_waited_out_at_the_pace_of_the_task():
    """A model that is ten points early is so for long where the task is slow."""
    slow = [*np.linspace(0.3, 0.84, 55), *[0.88] * 5, *[1.0] * 20]
    first = 0.5 * slow.index(1.0)
    assert called_at(slow) - first == 2.5
    fast = [*np.linspace(0.1, 0.84, 10), 0.9, *[1.0] * 20]
    assert called_at(fast) - 0.5 * fast.index(1.0) == 1.0


def test_a_number_that_lags_and_catches_up_is_waited_out_at_the_pace_of_the_whole_rise():
    """As named by the checkpoint at a quarter of the usual speed: two seconds early."""
    lags = [0.3, 0.35, 0.4, 0.45, 0.5, 0.5, 0.55, 0.6, 0.65, *[0.71] * 10, 0.81, *[1.0] * 20]
    assert called_at(lags) - 0.5 * lags.index(1.0) >= 1.5


def test_a_leap_from_the_beginning_to_the_end_is_waited_out_as_long_as_any():
    """As named by the checkpoint of a button that was missed: a change of mind, soon taken back."""
    minds = [0.0, 0.1, 0.15, *[0.22] * 10, *[1.0] * 4, *[0.22] * 30]
    assert called_at(minds) == math.inf
    done = [0.0, 0.1, 0.15, *[0.22] * 10, *[1.0] * 10]
    assert called_at(done) - 0.5 * done.index(1.0) == 2.5


def test_a_number_that_is_early_is_waited_out_while_nobody_can_see_the_task():
    """Every second answer is refused, so that observed time stands still."""
    judge = Judge(config(stall__allowance=15.0), TASK)
    called = math.inf
    for index, number in enumerate([*np.linspace(0.3, 0.84, 20), *[0.88] * 3, *[1.0] * 20]):
        steps, verdict = ((), Verdict.DONE) if number >= 0.97 else (STEP, Verdict.NOT_DONE)
        seconds = 1.0 + index
        judge.add(
            Tick(Estimate(ns(seconds), number, NAN, steps, Evidence.GOOD, '', verdict=verdict))
        )
        judge.hold()
        if judge.success is not None:
            called = min(called, index - 23)
    assert called == 3


def test_a_success_after_stamps_that_start_again_is_called():
    judge = Judge(config(stall__allowance=15.0), TASK)
    for start, numbers in ((900.0, [0.86] * 4 + [0.97] * 2), (1.0, [0.97, *[1.0] * 6])):
        for index, number in enumerate(numbers):
            estimate = Estimate(
                ns(start + 0.5 * index), number, NAN, (), Evidence.GOOD, '', verdict=Verdict.DONE
            )
            judge.add(Tick(estimate))
        if judge.success is None:
            judge.clock_went_back()
    assert judge.success is not None


def test_a_success_is_waited_for_by_no_more_than_a_sixth_of_the_allowance():
    paused = [*np.linspace(0.1, 0.88, 20), *[0.88] * 40, *[1.0] * 30]
    first = 0.5 * paused.index(1.0)
    assert called_at(paused, allowance=60.0) - first <= 10.0
    assert called_at(paused, allowance=15.0) - first == 2.5
    assert called_at(paused, allowance=4.0) - first == 1.0


def test_numbers_that_stay_at_the_top_are_clear_on_any_grid():
    """As named by the checkpoint: on a grid of two points by chance, after a steep rise."""
    flicker = [0.05, 0.05, 0.1, 0.06, 0.1, 0.06, 0.06, 0.06, 0.06, 0.1, 0.06]
    rise = [0.22, 0.24, 0.24, 0.4, 0.4, 0.36, 0.7, 0.9]
    before = [*[0.0] * 3, *flicker, *[0.1] * 7, 0.06, 0.12, 0.11, *[0.1] * 26, *rise]
    assert called_at([*before, *[1.0] * 9]) - 0.5 * len(before) <= 3.5


def test_a_last_step_at_a_standstill_is_no_success_however_near_the_number():
    """What a finished scene and one that hangs before its last step look like are the same."""
    assert called_at([*np.linspace(0.1, 0.96, 30), *[0.96] * 60]) == math.inf


@pytest.mark.parametrize(('numbers', 'after_s'), [([1.0], 15.0), ([0.6, 0.8, 1.0], 1.0)])
def test_a_task_that_was_recovered_is_not_done_at_once_by_what_said_so_before(numbers, after_s):
    """The model takes an empty hand for a full one; the recovery says that the task is not done."""
    judge = Judge(config(stall__allowance=15.0, stall__longest=1.0), TASK)
    judge.recover(ns(0.5), 0.0)
    numbers = [*numbers, *[numbers[-1]] * 60]
    for index, number in enumerate(numbers):
        steps, verdict = ((), Verdict.DONE) if number >= 0.97 else (STEP, Verdict.NOT_DONE)
        estimate = Estimate(
            ns(1.0 + 0.5 * index), number, NAN, steps, Evidence.GOOD, '', verdict=verdict
        )
        judge.add(Tick(estimate, '' if not steps else STEP[0]))
        if judge.success is not None:
            break
    assert 0.5 * (index - numbers.index(1.0)) == pytest.approx(after_s, abs=1.0)
