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
