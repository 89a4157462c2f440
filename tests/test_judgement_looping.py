"""Numbers that go round in circles: a stall that is clear, however much they swing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judging import TASK, ScriptedBackend, answer_text, config, live, play

from progress_monitor.judgement.looping import goes_in_circles
from progress_monitor.monitor import ProgressMonitor
from progress_monitor.types import StallCause

TICK_S = 0.5


@given(
    st.lists(st.floats(0.0, 1.0), min_size=4, max_size=18),
    st.integers(3, 6),
    st.integers(0, 1000),
)
def test_rounds_are_found_under_noise(one: list[float], rounds: int, seed: int) -> None:
    wave = np.array([*one, *one[::-1]])
    swing = wave.max() - wave.min()
    series = np.tile(wave, rounds)[:90]
    if swing < 0.1 or len(series) < max(24, 2.5 * len(wave)):
        return
    noise = np.random.default_rng(seed).normal(0.0, 0.02 * wave.std(), len(series))
    off = series - series.mean()
    half = [float(off[lag:] @ off[:-lag]) for lag in range(1, len(wave))]
    if min(half) / float(off @ off) < -0.3:  # otherwise it never was far off between
        assert goes_in_circles(series + noise)


@given(
    st.floats(0.0, 0.9),
    st.floats(0.0, 0.05),
    st.floats(0.002, 0.02),
    st.integers(24, 90),
    st.integers(0, 10**6),
)
def test_steady_work_under_noise_is_no_circle(
    correlation: float, scatter: float, rise: float, ticks: int, seed: int
) -> None:
    drawn = np.random.default_rng(seed).normal(size=ticks)
    noise = np.empty(ticks)
    last = drawn[0]
    for tick in range(ticks):
        last = correlation * last + np.sqrt(1.0 - correlation**2) * drawn[tick]
        noise[tick] = last
    assert not goes_in_circles(rise * np.arange(ticks) + scatter * noise)


@pytest.mark.parametrize('period', [2.0, 5.5, 8.0])
def test_a_robot_that_goes_round_is_called_within_two_allowances(period: float) -> None:
    def script(seconds: float) -> str:
        if seconds < 10.0:
            return answer_text(0.02 * seconds + 0.1)
        return answer_text(0.3 + 0.06 * float(np.sin(2.0 * np.pi * (seconds - 10.0) / period)))

    monitor = ProgressMonitor(config(stall__allowance=15.0), ScriptedBackend(script))
    monitor.set_task(TASK, 0)
    updates = play(monitor, live(42.0), 42.0)
    calls = [stall for update in updates for stall in update.stalls if stall.stalled]
    assert calls
    assert calls[0].cause in (StallCause.LOOPING, StallCause.NO_CHANGE)
