"""The plan while nothing moves: it follows what the judge takes for evidence, and nothing else."""

from __future__ import annotations

import pytest
from judging import STEPS, TASK, ScriptedBackend, answer_text, config, live, ns, play

from progress_monitor.judgement.judge import Judge
from progress_monitor.judgement.tick import Tick
from progress_monitor.monitor import ProgressMonitor
from progress_monitor.types import NAN, Estimate, Evidence, State, StepStatus, Verdict

DONE, RUNNING, PENDING = StepStatus.DONE, StepStatus.IN_PROGRESS, StepStatus.PENDING


def watch(script, until: float, rests_from: float, frames=None):
    monitor = ProgressMonitor(config(memory__in_prompt=True), ScriptedBackend(script))
    monitor.set_task(TASK, 0)
    return play(monitor, frames or live(until, rests_from=rests_from), until)


def statuses(update) -> list[StepStatus]:
    return [step.status for step in update.plan]


@pytest.mark.parametrize(
    ('progress', 'said'),
    [(0.3, STEPS), (0.8, STEPS[2:]), (0.3, (STEPS[2], STEPS[0])), (0.8, ())],
    ids=['undone', 'done', 'another order', 'all done'],
)
def test_a_change_of_mind_at_rest_neither_does_nor_undoes_a_step(progress, said):
    def script(seconds):
        return answer_text(*((0.6, STEPS[1:]) if seconds < 14.0 else (progress, said)))

    def before(seconds):
        return script(seconds) if seconds > 4.0 else answer_text(0.1 * seconds, STEPS)

    updates = watch(before, 24.0, rests_from=8.0)
    assert statuses(updates[-1]) == [DONE, RUNNING, PENDING]
    assert updates[-1].state is State.STALLED
    assert updates[-1].stalls == ()


def test_what_was_said_at_rest_is_forgotten_once_something_moves():
    def script(seconds):
        at_rest = 12.0 < seconds < 16.0
        steps = STEPS if seconds < 4.0 or at_rest else STEPS[1:]
        return answer_text(min(0.08 * seconds, 0.6), steps)

    frames = live(12.0, rests_from=8.0)
    frames += live(16.0, start=12.1, rests_from=8.0)
    frames += live(20.0, start=16.1)
    plans = [statuses(update) for update in watch(script, 20.0, 0.0, frames)[60:]]
    assert all(plan == [DONE, RUNNING, PENDING] for plan in plans)


def test_a_plan_goes_on_at_rest_with_a_number_that_rises_steadily():
    """Something heats: nothing moves, but the work is done."""

    def script(seconds):
        progress = min(0.1 + 0.015 * seconds, 0.9)
        return answer_text(progress, STEPS if progress < 0.5 else STEPS[1:])

    updates = watch(script, 45.0, rests_from=3.0)
    assert statuses(updates[-1]) == [DONE, RUNNING, PENDING]
    assert updates[-1].state is State.PROGRESSING


def test_a_task_that_is_done_at_rest_has_no_step_left():
    def script(seconds):
        return answer_text(1.0 if seconds > 14.0 else 0.6)

    updates = watch(script, 20.0, rests_from=8.0)
    assert updates[-1].state is State.SUCCEEDED
    assert set(statuses(updates[-1])) == {DONE}


@pytest.mark.parametrize(
    ('numbers', 'kept'),
    [((0.1, 0.5, 0.6, 0.3, 0.9), 0.6), ((0.1, 0.4, 0.9, 0.9, 0.3), 0.9)],
    ids=['the first answer after the motion', 'a leap that the second confirms'],
)
def test_what_a_slow_model_says_of_a_rest_counts_until_it_is_known(numbers, kept):
    """Its answers before the rest speak of a time when something moved."""
    judge = Judge(config(), TASK)
    for index, number in enumerate(numbers):
        seconds = 5.0 * index
        estimate = Estimate(ns(seconds), number, NAN, STEPS, Evidence.GOOD, '')
        judge.add(Tick(estimate, STEPS[0], resting_since_ns=ns(6.0) if index > 1 else None))
    assert judge.progress == kept


def test_a_slow_model_that_sees_the_end_late_is_believed_at_rest():
    judge = Judge(config(), TASK)
    said = [(0.1, 3), (0.4, 2), (1.0, 0), (1.0, 0), (1.0, 0)]
    for index, (number, left) in enumerate(said):
        steps = STEPS[3 - left :]
        verdict = Verdict.NOT_DONE if steps else Verdict.DONE
        estimate = Estimate(ns(5.0 * index), number, NAN, steps, Evidence.GOOD, '', verdict=verdict)
        judge.add(Tick(estimate, '', resting_since_ns=ns(6.0) if index > 1 else None))
    assert judge.progress == 1.0
    assert judge.state(ns(20.0)) is State.SUCCEEDED
