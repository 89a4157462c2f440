"""What must hold for any series of ticks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from judging import TASK, config, ns

from progress_monitor.judgement.judge import Judge
from progress_monitor.judgement.rest import steady_rise
from progress_monitor.judgement.tick import Tick
from progress_monitor.types import NAN, Estimate, Evidence, StallCause, State

ALLOWANCE, GAIN = 4.0, 0.04
STILL_AFTER = 1.0
CONFIG = config(stall__allowance=ALLOWANCE, stall__minimum_gain=GAIN)
REST = ('Pull the drawer open',)

intervals = st.lists(st.floats(0.05, 1.5), min_size=40, max_size=120)
unit = st.floats(-1.0, 1.0)
noises = st.lists(unit, min_size=120, max_size=120)


def _estimate(seconds: float, progress: float, remaining=REST) -> Estimate:
    return Estimate(ns(seconds), min(max(progress, 0.0), 1.0), NAN, remaining, Evidence.GOOD, '')


def _times(gaps) -> list[float]:
    times, now = [], 0.0
    for gap in gaps:
        now += gap
        times.append(now)
    return times


def _calls(judge: Judge, series) -> list[StallCause]:
    """Causes called while ``series`` of (seconds, progress) is judged."""
    seen, causes = None, []
    for seconds, progress in series:
        judge.add(Tick(_estimate(seconds, progress), REST[0]))
        if judge.stall is not seen and judge.stall is not None:
            seen = judge.stall
            causes.append(seen.cause)
    return causes


@given(intervals, noises, st.floats(1.0, 20.0), st.booleans())
def test_no_call_while_the_minimum_gain_is_made_in_every_allowance(gaps, noise, speed, stairs):
    def truth(seconds: float) -> float:
        made = seconds * GAIN * speed / ALLOWANCE
        return min(math.floor(made / GAIN) * GAIN if stairs else made, 10.0)

    series = [
        (t, truth(t) + 0.999 * n * GAIN / 4.0)
        for t, n in zip(_times(gaps), noise, strict=False)
        if truth(t) < 0.9
    ]
    assert _calls(Judge(CONFIG, TASK), series) == []


def _at_rest(judge: Judge, times, wander, rest: float) -> list[State]:
    """States while nothing moves after ``rest`` and the model changes its mind all the same."""
    states = []
    for seconds, n in zip(times, wander, strict=False):
        since = ns(rest) if seconds - rest >= STILL_AFTER else None
        level = 0.02 * seconds if seconds <= rest or since is None else 0.5 + 0.4 * n
        judge.add(Tick(_estimate(seconds, level), REST[0], resting_since_ns=since))
        states.append(judge.state(ns(seconds)))
    return states


@given(st.floats(0.1, 0.8), noises, st.floats(5.0, 10.0))
def test_a_scene_at_rest_stalls_whatever_the_model_says_of_it(gap, wander, rest):
    times = _times([gap] * 120)
    states = _at_rest(Judge(CONFIG, TASK), times, wander, rest)
    due = rest + ALLOWANCE + 3.0 * gap + 1e-6
    for seconds, state in zip(times, states, strict=True):
        assert state is not State.STALLED or seconds >= rest + ALLOWANCE - gap
        assert state is State.STALLED or seconds < due


@given(st.floats(0.1, 0.8), noises, st.integers(2, 60))
def test_before_the_first_motion_nothing_changes_and_nothing_counts(gap, wander, ticks):
    judge = Judge(CONFIG, TASK)
    times = _times([gap] * 120)
    # What rises steadily at rest is evidence, and chance makes such series too.
    shown = np.array([(t, n, 0.0) for t, n in zip(times[1:ticks], wander[1:], strict=False)])
    assume(not any(steady_rise(shown[:end]) for end in range(12, len(shown) + 1)))
    for seconds, n in zip(times[:ticks], wander, strict=False):
        judge.add(Tick(_estimate(seconds, 0.5 + 0.4 * n), REST[0], resting_since_ns=ns(times[0])))
        assert judge.progress == 0.5 + 0.4 * wander[0]
        if seconds >= times[0] + CONFIG.stall.grace_period + ALLOWANCE + 3.0 * gap + 1e-6:
            assert judge.state(ns(seconds)) is State.STALLED
    standing = judge.stall
    for seconds in times[ticks:]:
        judge.add(Tick(_estimate(seconds, 0.02 * GAIN * (seconds - times[ticks])), REST[0]))
        if standing is None and seconds < times[ticks] + ALLOWANCE - gap:
            assert judge.stall is None


@given(st.floats(0.1, 0.8), noises)
def test_a_recovery_of_a_scene_at_rest_measures_anew(gap, wander):
    judge = Judge(CONFIG, TASK)
    times = _times([gap] * 120)
    _at_rest(judge, times[:60], wander, rest=2.0)
    judge.recover(ns(times[60]), 2.0)
    again = times[60] + 2.0 + ALLOWANCE
    for seconds, n in zip(times[60:], wander, strict=False):
        judge.add(Tick(_estimate(seconds, 0.5 + 0.4 * n), REST[0], resting_since_ns=ns(2.0)))
        assert judge.state(ns(seconds)) is not State.STALLED or seconds >= again - gap


@given(intervals, noises, st.floats(0.05, 0.9))
def test_a_frozen_series_always_stalls_and_is_called_in_time(gaps, noise, level):
    times = _times(gaps)
    judge = Judge(CONFIG, TASK)
    due = 1.0 + ALLOWANCE
    for seconds, n in zip(times, noise, strict=False):
        last = seconds
        judge.add(Tick(_estimate(seconds, level + 0.99 * n * GAIN / 4.0), REST[0]))
        if judge.stall is not None:
            break
    counted = last - times[0]
    if judge.stall is None:
        # Only gaps that are long for their series are left out of the count.
        usual = sorted(gaps)[len(gaps) // 2]
        assert sum(min(gap, max(1.0, usual)) for gap in gaps) < 4.0 * due
        return
    assert judge.stall.cause is StallCause.NO_CHANGE
    assert judge.stall.since_ns <= judge.stall.evidence_last_ns
    assert counted >= ALLOWANCE - 1e-6


@given(
    st.lists(
        st.tuples(st.floats(0.3, 0.7), st.sampled_from(['go', 'go', 'twice', 'late', 'jump'])),
        min_size=20,
        max_size=60,
    ),
    st.floats(2.6, 1e5),
)
@example([(0.3, 'go')] + [(0.3, 'jump')] * 6 + [(0.5, 'go')] * 24, 12.0)
@example([(0.7, 'go'), (0.3, 'jump')] * 8 + [(0.7, 'go')] * 24, 12.0)
@example(([(0.5, 'go')] * 2 + [(0.5, 'jump')] * 6) * 4 + [(0.5, 'go')] * 2, 12.0)
def test_jumps_duplicates_and_reordering_make_no_call(ticks, jump):
    # Seven jumps of eight are no jumps, but the pace; and so are two and nothing else.
    jumps = [kind == 'jump' for _, kind in ticks]
    assume(all(sum(jumps[at : at + 8]) < 7 for at in range(len(jumps))))
    assume(not all(jumps[1:3]))
    judge = Judge(CONFIG, TASK)
    clock = work = 0.0
    series: list[tuple[float, float]] = []
    for gap, kind in ticks:
        clock += gap
        work += gap
        if kind == 'jump':
            clock += jump
        tick = (clock, min(0.02 + 0.02 * work, 0.9))
        series.append(tick)
        if kind == 'twice':
            series.append(tick)
        if kind == 'late':
            series.append((max(clock - 3.0, 0.0), 0.0))
    assert _calls(judge, series) == []


def test_a_clock_that_jumps_again_and_again_teaches_no_noise():
    """Time that is no time would bend a straight rise."""
    judge = Judge(CONFIG, TASK)
    clock = work = 0.0
    for index in range(60):
        gap, jump = (0.3, 12.0) if index % 2 and index < 20 else (0.7, 0.0)
        work += gap
        clock += gap + jump
        judge.add(Tick(_estimate(clock, 0.02 + 0.02 * work), REST[0]))
        assert not judge.noise > 0.2 * GAIN
    assert judge.stall is None


@pytest.mark.parametrize('slow', [2.0, 5.0])
def test_a_model_that_becomes_slow_is_soon_judged_again(slow):
    judge = Judge(CONFIG, TASK)
    for index in range(20):
        judge.add(Tick(_estimate(0.5 * index, 0.02 * index), REST[0]))
    for index in range(12):
        judge.add(Tick(_estimate(10.0 + slow * index, 0.4), REST[0]))
    assert judge.stall is not None
    assert judge.stall.cause is StallCause.NO_CHANGE


@pytest.mark.parametrize('ahead', [0.0, 1.0, 2.0, 3.0, 4.0])
def test_a_slow_model_calls_a_rest_with_the_first_answer_that_is_due(ahead):
    """It takes 5 s for an answer, and the robot stops so long before one."""
    judge = Judge(config(stall__allowance=15.0, stall__minimum_gain=GAIN), TASK)
    rest = 15.0 - ahead
    for index in range(12):
        seconds = 5.0 * index
        since = ns(rest) if seconds - rest >= 3.0 else None
        number = min(0.1 + 0.01 * seconds, 0.1 + 0.01 * rest)
        judge.add(Tick(_estimate(seconds, number), REST[0], resting_since_ns=since))
        assert (judge.stall is not None) == (seconds - rest >= 15.0 + ahead)


@given(st.lists(st.tuples(st.floats(0.3, 0.6), st.booleans()), min_size=30, max_size=80))
def test_time_without_evidence_does_not_count(ticks):
    """A robot at rest is watched for less than the allowance in all; the rest is silence."""
    judge = Judge(CONFIG, TASK)
    clock = watched = 0.0
    for gap, silent in ticks:
        clock += gap
        if silent:
            judge.hold()
        else:
            watched += gap
            if watched > ALLOWANCE:
                break
            judge.add(Tick(_estimate(clock, 0.3), REST[0]))
    assert judge.stall is None


@given(intervals, noises, st.integers(5, 30))
def test_single_outliers_change_no_call(gaps, noise, every):
    times = [0.5 * index for index in range(len(gaps))]
    series = [
        (t, min(0.05 + 0.03 * t, 0.9) + 0.999 * n * GAIN / 4.0)
        for t, n in zip(times, noise, strict=False)
    ]
    wild = [
        (t, (p + 0.45) % 0.9 if index % every == every - 1 else p)
        for index, (t, p) in enumerate(series)
        if 0.05 + 0.03 * t < 0.88
    ]
    assert _calls(Judge(CONFIG, TASK), wild) == []


@given(st.lists(st.floats(0.0, 1.0), min_size=5, max_size=60))
def test_any_series_gives_a_state_and_bounded_numbers(values):
    judge = Judge(CONFIG, TASK)
    for index, value in enumerate(values):
        judge.add(Tick(_estimate(0.5 * index, value, () if value > 0.97 else REST), REST[0]))
        assert 0.0 <= judge.progress <= 1.0
        assert judge.state(ns(0.5 * index)) in (
            State.OBSERVING, State.PROGRESSING, State.STALLED, State.REGRESSING, State.SUCCEEDED,
        )  # fmt: skip
        for report in (judge.stall,):
            if report is not None and report.stalled:
                assert report.since_ns <= report.evidence_last_ns
                assert report.explanation
