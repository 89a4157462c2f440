"""Tasks, the model and recoveries as the monitor sees them; it answers from a script."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import (
    TASK,
    ScriptedBackend,
    answer_text,
    calls,
    config,
    live,
    ns,
    play,
    ramp,
    states,
    watch,
)
from synchronous import generated, text_of

from progress_monitor.monitor import ProgressMonitor
from progress_monitor.types import (
    BackendState,
    Completion,
    Evidence,
    Failure,
    RecoveryHint,
    StallCause,
    State,
    StepStatus,
    Task,
)

REFUSAL = 'The task does not fit what is seen. It is <progress>n/a</progress>'


@pytest.mark.parametrize(
    ('said', 'kind'),
    [
        (REFUSAL, Evidence.REFUSED),
        ('nothing to say', Evidence.NO_NUMBER),
        ('No further steps are required. <progress>3%</progress>', Evidence.CONTRADICTION),
        (Failure.REFUSED, Evidence.NO_NUMBER),
        (Failure.LATE, Evidence.MODEL_LATE),
    ],
)
def test_a_model_that_is_of_no_use_is_unsure_and_never_a_stall(said, kind):
    _, _, updates = watch(lambda t: ramp(t) if t < 4.0 else said, 20.0)
    assert updates[-1].state is State.UNSURE
    assert updates[-1].evidence is kind
    assert calls(updates) == []


def test_one_refusal_among_good_answers_is_passed_over():
    _, _, updates = watch(lambda t: REFUSAL if 6.0 <= t < 6.4 else ramp(t), 10.0)
    assert State.UNSURE not in states(updates)


def test_a_model_that_does_not_answer_is_late():
    backend = ScriptedBackend(lambda t: ramp(min(t, 3.0)))
    monitor = ProgressMonitor(config(evidence__answer_timeout=2.0), backend)
    monitor.set_task(TASK, 0)
    play(monitor, live(4.0), 4.0)
    backend.answering = False
    updates = play(monitor, live(20.0, start=4.1), 20.0, start=4.1)
    assert updates[-1].state is State.UNSURE
    assert updates[-1].evidence is Evidence.MODEL_LATE
    assert calls(updates) == []


def test_a_lost_worker_costs_neither_plan_nor_judgement():
    backend = ScriptedBackend(ramp)
    monitor = ProgressMonitor(config(), backend)
    monitor.set_task(TASK, 0)
    play(monitor, live(9.0), 9.0)
    for state, expected, start, end in (
        (BackendState.FAILED, State.ERROR, 9.1, 14.0),
        (BackendState.LOADING, State.LOADING, 14.1, 20.0),
    ):
        backend.state = state
        updates = play(monitor, live(end, start=start), end, start=start)
        assert states(updates) == {expected}
        assert calls(updates) == []
    backend.state = BackendState.READY
    backend.script = lambda t: ramp(t - 11.0)
    updates = play(monitor, live(21.0, start=20.1), 21.0, start=20.1)
    assert updates[-1].plan[0].status is StepStatus.DONE
    assert updates[-1].state is State.PROGRESSING


def test_a_recovery_ends_the_stall_suspends_judgement_and_measures_anew():
    backend = ScriptedBackend(lambda t: answer_text(0.6 if t < 12.0 else 0.2))
    monitor = ProgressMonitor(config(), backend)
    monitor.set_task(TASK, 0)
    first = play(monitor, live(10.0), 10.0)
    assert calls(first)[0].stalled
    monitor.acknowledge_recovery(ns(10.0), 6.0)
    during = play(monitor, live(16.0, start=10.1), 16.0, start=10.1)
    released = calls(during)
    assert [report.stalled for report in released] == [False]
    assert states(during[:-2]) == {State.OBSERVING}
    after = play(monitor, live(24.0, start=16.1), 24.0, start=16.1)
    again = [(update.now_ns, update.stalls[0]) for update in after if update.stalls]
    assert again[0][0] >= ns(20.0)
    assert again[0][1].cause is StallCause.NO_CHANGE
    assert again[0][1].event_id != released[0].event_id


def test_a_step_that_hangs_again_and_again_is_what_it_is_every_time():
    backend = ScriptedBackend(lambda t: answer_text(0.6))
    monitor = ProgressMonitor(config(), backend)
    monitor.set_task(TASK, 0)
    hints = []
    for round_ in range(3):
        start = round_ * 10.0
        updates = play(monitor, live(start + 9.9, start=start), start + 9.9, start=start)
        hints += [report.hint for report in calls(updates) if report.stalled]
        monitor.acknowledge_recovery(ns(start + 9.9))
    assert hints == [RecoveryHint.RETRY] * 3


def test_the_memory_is_told_only_when_asked_for():
    for wanted in (False, True):
        _, backend, _ = watch(ramp, 12.0, memory__in_prompt=wanted)
        first, last = text_of(backend.requests[0]), text_of(backend.requests[-1])
        assert first.endswith('Steps done so far: none.') is wanted
        said = 'Steps done so far: Reach the handle; Pull the drawer open.'
        assert last.endswith(said) is wanted


def test_an_answer_to_the_last_task_is_not_taken_for_the_new_one():
    backend = ScriptedBackend(lambda t: answer_text(1.0))
    monitor = ProgressMonitor(config(), backend)
    monitor.set_task(TASK, 0)
    backend.answering = False
    play(monitor, live(1.0), 1.0)
    backend.state = BackendState.READY
    monitor.set_task(Task('other', 'close the drawer'), ns(1.0))
    late = backend.requests[-1].id
    backend.completions.append(Completion(late, generated(answer_text(1.0))))
    update = monitor.tick(ns(1.1))
    assert update.estimate is None
    assert update.ticks == 0


def test_a_new_task_withdraws_the_stall_of_the_last():
    monitor, _, updates = watch(lambda t: answer_text(0.4), 10.0)
    assert calls(updates)
    monitor.set_task(None, ns(10.1))
    update = monitor.tick(ns(10.1))
    assert update.state is State.IDLE
    assert [report.stalled for report in update.stalls] == [False]


def test_a_task_without_text_is_refused():
    with pytest.raises(ValueError, match='task'):
        ProgressMonitor(config(), ScriptedBackend(ramp)).set_task(Task('t', '  '), 0)


@settings(max_examples=15)
@given(
    st.lists(st.tuples(st.floats(0.0, 1.0), st.sampled_from('gggggrnf')), min_size=4, max_size=24)
)
def test_after_reset_the_monitor_is_a_fresh_one(history):
    backend = ScriptedBackend(lambda t: _said(*history[int(t) % len(history)]))
    used = ProgressMonitor(config(memory__in_prompt=True), backend)
    used.set_task(TASK, 0)
    play(used, live(12.0, period=0.25), 12.0, period=0.25)
    used.reset(ns(20.0))
    owed = used.tick(ns(20.0))
    fresh = ProgressMonitor(config(memory__in_prompt=True), backend)
    fresh.set_task(TASK, ns(20.0))
    first = fresh.tick(ns(20.0))
    assert not any(report.stalled for report in owed.stalls)
    assert _facts(dataclasses.replace(owed, stalls=())) == _facts(first)
    frames = live(30.0, start=20.1, period=0.25)
    for a, b in zip(
        play(used, frames, 30.0, period=0.25, start=20.1),
        play(fresh, frames, 30.0, period=0.25, start=20.1),
        strict=True,
    ):
        assert _facts(a) == _facts(b)


def _said(value, kind):
    if kind == 'r':
        return REFUSAL
    if kind == 'n':
        return 'I do not know.'
    return Failure.LOST if kind == 'f' else answer_text(value)


def _facts(update):
    facts = dataclasses.asdict(dataclasses.replace(update, window=(), backend=None))
    return repr(facts)
