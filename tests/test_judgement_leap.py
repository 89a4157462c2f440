"""A model that says at once that most of a task is done."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judging import STEPS, TASK, answer_text, calls, config, live, ns, watch

from progress_monitor.judgement.judge import Judge
from progress_monitor.judgement.leap import MOST, SOON, LeapGuard
from progress_monitor.judgement.tick import Tick
from progress_monitor.types import NAN, Estimate, Evidence, State, StepStatus

ALLOWANCE = 6.0


def play(leaps_at: float, back_at: float = math.inf, gap: float = 0.0):
    """Progress of 2 % a second to 20 %, and all that there is from ``leaps_at`` to ``back_at``."""

    def script(seconds: float) -> str:
        done = leaps_at <= seconds < back_at
        return answer_text(1.0, ()) if done else answer_text(min(0.02 * seconds, 0.2), STEPS)

    frames = [item for item in live(30.0) if not 0.0 < leaps_at - item.stamp_ns * 1e-9 < gap]
    _, backend, updates = watch(
        script, 30.0, frames, stall__allowance=ALLOWANCE, memory__in_prompt=True
    )
    done = [update.now_ns * 1e-9 for update in updates if update.state is State.SUCCEEDED]
    return backend, updates, done[0] if done else math.inf


def test_most_of_a_task_at_once_is_no_gain_and_no_success_for_an_allowance():
    backend, updates, done_s = play(leaps_at=12.0)
    assert done_s == pytest.approx(12.0 + ALLOWANCE + 1.0, abs=1.0)
    (stall, *_) = calls(updates)
    assert stall.stalled and stall.progress == pytest.approx(0.2, abs=0.01)
    assert stall.evidence_last_ns * 1e-9 < 12.0 + ALLOWANCE
    doubted = [item for item in updates if 12.6 < item.now_ns * 1e-9 < 12.0 + ALLOWANCE]
    assert {item.state for item in doubted} == {State.UNSURE, State.STALLED}
    said = next(item.message for item in doubted if item.state is State.UNSURE)
    assert '100% at once, after 20%' in said
    assert {item.plan[0].status for item in doubted} == {StepStatus.IN_PROGRESS}
    asked = [item for item in backend.requests if item.frames[-1].stamp_ns * 1e-9 < 17.0]
    told = [part for item in asked for part in item.parts if isinstance(part, str)]
    assert told and not any(STEPS[0] in text for text in told), 'the memory holds nothing of it'


def test_a_leap_that_is_taken_back_was_nothing():
    _, updates, done_s = play(leaps_at=6.0, back_at=9.0)
    assert done_s == math.inf
    assert all(update.plan[0].status is StepStatus.IN_PROGRESS for update in updates[20:])
    assert all(update.progress < 0.21 for update in updates[20:])


def test_what_was_done_while_nobody_looked_is_no_leap():
    _, _, done_s = play(leaps_at=12.0, gap=3.0)
    assert done_s < 12.0 + 2.5


@pytest.mark.parametrize('after', [[1.0], [0.4, 0.1, 1.0]], ids=['done', 'misread for a while'])
def test_a_changed_view_ends_the_doubt_and_what_was_seen_before_it_was_seen(after):
    judge = Judge(config(), TASK)

    def doubts(seconds: float, number: float) -> bool:
        steps = STEPS if number < 1.0 else ()
        estimate = Estimate(ns(seconds), number, NAN, steps, Evidence.GOOD, '')
        leapt = judge.doubts(estimate, '')
        judge.add(Tick(estimate, leapt=leapt))
        assert math.isfinite(judge.progress)
        return leapt

    assert not any(doubts(0.5 * index, 0.05 * index) for index in range(4))
    assert doubts(2.0, 1.0)
    assert judge.progress < 0.2
    judge.rebase()
    assert not any(doubts(2.5 + 0.5 * index, number) for index, number in enumerate(after))


@given(
    st.lists(st.floats(0.0, 1.0), min_size=2, max_size=40),
    st.floats(0.01, 100.0),
    st.floats(0.01, 3.0),
)
def test_only_leaps_are_doubted_and_none_for_longer_than_an_allowance(numbers, scale, pace):
    guard, doubted_since, highest = LeapGuard(), None, -1.0
    for index, number in enumerate(numbers):
        time = index * pace * scale
        doubted = guard.doubts(number, time, scale)
        if doubted:
            assert pace <= SOON or doubted_since is not None
            assert number - highest > MOST
            doubted_since = time if doubted_since is None else doubted_since
            assert time - doubted_since < scale
        else:
            doubted_since, highest = None, max(highest, number)
