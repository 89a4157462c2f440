"""The monitor as a whole, with a model that answers from a script."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import STEPS, TASK, ScriptedBackend, answer_text, config, frame, live, ns, play
from synchronous import generated, text_of

from progress_monitor.monitor import ProgressMonitor
from progress_monitor.parameters import ParameterError
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


def watch(script, until, frames=None, cameras=(), **values):
    backend = ScriptedBackend(script)
    monitor = ProgressMonitor(config(**values), backend, cameras)
    monitor.set_task(TASK, 0)
    updates = play(monitor, live(until) if frames is None else frames, until)
    return monitor, backend, updates


def calls(updates):
    return [report for update in updates for report in update.stalls]


def states(updates):
    return {update.state for update in updates}


def ramp(seconds, rate=1.0 / 12.0):
    return answer_text(min(seconds * rate, 1.0))


def test_steady_progress_ends_in_success_without_a_stall():
    _, _, updates = watch(ramp, 16.0)
    assert updates[-1].state is State.SUCCEEDED
    assert calls(updates) == []
    successes = [update for update in updates if update.successes]
    assert len(successes) == 1
    assert successes[0].successes[0].succeeded
    assert successes[0].now_ns <= ns(12.0 + 2.0)
    assert updates[-1].ticks == 33
    assert updates[-1].frames_received == 161
    assert updates[-1].frames_skipped == 161 - 33


def test_an_end_that_the_adapter_is_known_to_see_too_early_is_no_success_and_no_stall():
    def script(seconds):
        said = generated(ramp(seconds), percent=min(100.0 * seconds / 12.0, 100.0))
        return dataclasses.replace(said, end_doubtful=True)

    _, _, updates = watch(script, 30.0)
    assert not [update for update in updates if update.successes or update.stalls]
    assert updates[-1].state is State.UNSURE
    assert 'of unfinished work' in updates[-1].message
    working = [update for update in updates if update.now_ns < ns(11.0)]
    assert working[-1].state is State.PROGRESSING


def test_progress_and_rate_follow_a_ramp_without_delay():
    _, _, updates = watch(ramp, 9.0)
    assert updates[-1].progress == pytest.approx(9.0 / 12.0, abs=0.02)
    assert updates[-1].rate == pytest.approx(1.0 / 12.0, abs=0.01)


def test_a_robot_that_stops_is_called_with_step_onset_and_event():
    _, _, updates = watch(lambda t: ramp(min(t, 6.0)), 14.0)
    called = [update for update in updates if update.stalls]
    assert len(called) == 1
    report = called[0].stalls[0]
    assert report.stalled
    assert report.cause is StallCause.NO_CHANGE
    assert report.hint is RecoveryHint.RETRY
    assert report.step == 'Pull the drawer open.'
    assert abs(report.since_ns - ns(6.0)) <= ns(0.6)
    assert called[0].now_ns <= ns(6.0 + 4.0 + 3 * 0.5)
    assert report.event_id.startswith(TASK.task_id)
    assert 'Pull the drawer open' in report.explanation
    assert updates[-1].state is State.STALLED


def test_a_stall_is_released_with_the_same_event_when_work_goes_on():
    _, _, updates = watch(lambda t: ramp(min(t, 5.0) + max(t - 12.0, 0.0)), 17.0)
    begin, end = calls(updates)
    assert begin.stalled
    assert not end.stalled
    assert end.event_id == begin.event_id
    assert end.cause is StallCause.NONE
    assert updates[-1].state is State.PROGRESSING


def test_slow_progress_is_progress():
    _, _, updates = watch(lambda t: ramp(t, 0.01), 60.0)
    assert calls(updates) == []


def test_a_pause_shorter_than_the_allowance_is_no_stall():
    _, _, updates = watch(lambda t: ramp(min(t, 5.0) + max(t - 8.5, 0.0)), 16.0)
    assert calls(updates) == []


def test_a_robot_that_never_starts_is_called_after_the_grace_period():
    _, _, updates = watch(lambda t: answer_text(0.1), 8.0, stall__grace_period=2.0)
    called = [update.now_ns for update in updates if update.stalls]
    assert ns(6.0) <= called[0] <= ns(7.6)
    assert states(updates[:19]) == {State.OBSERVING}


def test_a_step_with_an_allowance_of_its_own_may_take_longer():
    def script(seconds):
        return ramp(min(seconds, 6.0) + max(seconds - 14.0, 0.0))

    allowed = ('pull open the drawer=10', 'Reach the handle=1')
    _, _, updates = watch(script, 20.0, stall__step_allowances=allowed)
    assert calls(updates) == []


def test_the_allowance_of_the_task_comes_first():
    backend = ScriptedBackend(lambda t: ramp(min(t, 5.0)))
    monitor = ProgressMonitor(config(), backend)
    monitor.set_task(Task('slow', 'x', allowance_s=12.0), 0)
    updates = play(monitor, live(20.0), 20.0)
    assert ns(17.0) <= next(u.now_ns for u in updates if u.stalls) <= ns(18.6)


@pytest.mark.parametrize('entry', ['no number', '=5', 'step=', 'step=-3', 'step=soon', 'step=nan'])
def test_step_allowances_that_cannot_be_read_are_named(entry):
    with pytest.raises(ParameterError, match=r'stall\.step_allowances'):
        ProgressMonitor(config(stall__step_allowances=(entry,)), ScriptedBackend(ramp))


def test_lost_progress_is_a_regression_with_its_onset():
    def script(seconds):
        return answer_text(seconds / 12.0 if seconds < 7.0 else 0.2)

    _, _, updates = watch(script, 11.0)
    report = calls(updates)[0]
    assert report.cause is StallCause.REGRESSION
    assert abs(report.since_ns - ns(7.0)) <= ns(0.6)
    assert next(u.now_ns for u in updates if u.stalls) <= ns(7.0 + 2.6)
    assert State.REGRESSING in states(updates)


def test_a_regression_is_released_when_the_climb_begins_and_is_no_stall_then():
    def script(seconds):
        return answer_text(seconds / 12.0 if seconds < 8.0 else min(0.2 + 0.03 * (seconds - 9), 1))

    _, _, updates = watch(script, 30.0)
    begin, end = calls(updates)
    assert begin.cause is StallCause.REGRESSION
    assert not end.stalled
    assert updates[-1].state is State.PROGRESSING


def test_one_wrong_answer_is_no_regression():
    _, _, updates = watch(lambda t: answer_text(0.05) if 6.0 <= t < 6.4 else ramp(t), 11.0)
    assert calls(updates) == []


def test_up_and_down_without_net_gain_is_looping():
    def script(seconds):
        return answer_text(0.4 + (0.06 * math.sin(seconds * 1.2) if seconds > 4 else 0.0))

    _, _, updates = watch(script, 30.0, stall__loop_swing=0.08)
    assert StallCause.LOOPING in {report.cause for report in calls(updates)}
    assert updates[-1].state is State.STALLED


def test_before_anything_has_moved_the_first_answer_is_kept():
    def script(seconds):
        return answer_text(0.2 if seconds < 0.4 else 0.9 if seconds < 2.0 else 0.5)

    def told(frames):
        _, _, updates = watch(script, 12.0, frames)
        return {update.progress for update in updates if update.estimate is not None}

    assert told(live(12.0, rests_from=0.0)) == {0.2}
    _, _, updates = watch(script, 12.0, live(12.0, rests_from=0.0))
    assert [report.step for report in calls(updates)] == [f'{STEPS[0]}.']
    assert [step.text for step in updates[-1].plan] == [f'{step}.' for step in STEPS]
    assert {0.9, 0.5} <= told(live(12.0))


def test_a_model_that_changes_its_mind_about_a_scene_at_rest_is_not_followed():
    """Neither up, which would hide the stall, nor down, which would feign a regression."""

    def script(seconds):
        return ramp(seconds) if seconds < 9.0 else answer_text(0.5 + 0.03 * (seconds % 9.0))

    _, _, updates = watch(script, 22.0, live(22.0, rests_from=5.0))
    assert [report.cause for report in calls(updates)] == [StallCause.NO_CHANGE]
    assert abs(calls(updates)[0].since_ns - ns(8.0)) <= ns(1.1)
    assert updates[-1].progress == pytest.approx(8.0 / 12.0, abs=0.05)


def test_success_is_not_undone_while_nothing_moves():
    def script(seconds):
        return ramp(seconds) if seconds < 20.0 else answer_text(0.2)

    _, _, updates = watch(script, 30.0, live(30.0, rests_from=13.0))
    assert calls(updates) == []
    assert updates[-1].state is State.SUCCEEDED


def test_a_model_may_see_late_that_the_task_is_done():
    _, _, updates = watch(
        lambda t: answer_text(1.0 if t > 7.0 else 0.7), 10.0, live(10.0, 0.0, 0.1, 1.0)
    )
    assert updates[-1].state is State.SUCCEEDED


def test_idling_after_success_is_no_stall():
    _, _, updates = watch(ramp, 60.0)
    assert calls(updates) == []
    assert states(updates[-300:]) == {State.SUCCEEDED}


def test_success_that_is_undone_is_a_regression():
    def script(seconds):
        return ramp(seconds) if seconds < 18.0 else answer_text(max(1.9 - seconds / 20.0, 0.1))

    _, _, updates = watch(script, 28.0)
    done, undone = [report for update in updates for report in update.successes]
    assert done.succeeded
    assert not undone.succeeded
    assert undone.event_id == done.event_id
    assert calls(updates)[0].cause is StallCause.REGRESSION
    assert updates[-1].state is State.REGRESSING


def test_success_needs_the_number_and_the_empty_list():
    almost = watch(lambda t: answer_text(0.97, ('Let go',)), 10.0)[2]
    low = watch(lambda t: answer_text(0.8, ()), 10.0)[2]
    assert not [update for update in almost + low if update.successes]


def test_success_needs_several_ticks():
    _, _, updates = watch(lambda t: answer_text(1.0 if 5.0 <= t < 5.9 else 0.5), 8.0)
    assert not [update for update in updates if update.successes]


@pytest.mark.parametrize(
    ('lens', 'kind'),
    [('frozen', Evidence.FROZEN), ('black', Evidence.BLACK), ('silent', Evidence.TOO_OLD)],
)
def test_a_camera_that_fails_is_stale_and_never_a_stall_or_success(lens, kind):
    frames = live(5.0)
    for item in live(20.0, start=5.1):
        if lens == 'frozen':
            frames.append(dataclasses.replace(item, image=frames[-1].image))
        elif lens == 'black':
            frames.append(dataclasses.replace(item, image=np.zeros_like(item.image)))
    _, _, updates = watch(lambda t: ramp(min(t, 4.0)), 20.0, frames)
    assert updates[-1].state is State.STALE
    assert updates[-1].evidence is kind
    assert calls(updates) == []
    assert not [update for update in updates if update.successes]


def test_a_stall_that_stands_outlives_a_camera_failure():
    frames = [item for item in live(30.0) if not ns(12.0) < item.stamp_ns < ns(18.0)]
    _, _, updates = watch(lambda t: ramp(min(t, 4.0)), 30.0, frames)
    assert updates[170].state is State.STALE
    assert updates[-1].state is State.STALLED
    assert len(calls(updates)) == 1


def test_no_frames_at_all_is_said():
    _, _, updates = watch(ramp, 3.0, frames=[])
    assert updates[5].state is State.OBSERVING
    assert updates[-1].state is State.STALE
    assert updates[-1].evidence is Evidence.NO_FRAMES


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


def test_a_second_camera_that_is_missing_is_said_and_the_first_is_enough():
    _, backend, updates = watch(ramp, 8.0, live_as('left', 8.0), ('left', 'right'))
    assert updates[-1].state is State.PROGRESSING
    assert 'right' in updates[-1].message
    assert {item.camera for item in backend.requests[-1].frames} == {'left'}


def test_two_cameras_of_different_size_are_shown_together():
    small = [
        dataclasses.replace(item, image=np.ascontiguousarray(item.image[:64, :96]))
        for item in live_as('right', 8.0)
    ]
    _, backend, updates = watch(ramp, 8.0, live_as('left', 8.0) + small, ('left', 'right'))
    assert updates[-1].state is State.PROGRESSING
    assert [item.camera for item in backend.requests[-1].frames][:2] == ['left', 'right']


def live_as(camera, until):
    return [frame(item.stamp_ns * 1e-9, camera=camera) for item in live(until)]


def test_what_ros_knows_about_the_input_holds_until_a_frame_comes():
    monitor, _, _ = watch(ramp, 3.0)
    monitor.note_input(Evidence.UNREADABLE, 'encoding 16UC1 is no colour image')
    update = monitor.tick(ns(3.1))
    assert update.state is State.STALE
    assert update.evidence is Evidence.UNREADABLE
    assert '16UC1' in update.message
    monitor.observe(frame(3.2))
    assert monitor.tick(ns(3.2)).evidence is Evidence.GOOD


def test_a_clock_that_goes_back_makes_no_call_and_watching_goes_on():
    backend = ScriptedBackend(ramp)
    monitor = ProgressMonitor(config(), backend)
    monitor.set_task(TASK, ns(100.0))
    backend.script = lambda t: ramp(t - 100.0)
    first = play(monitor, live(106.0, start=100.0), 106.0, start=100.0)
    backend.script = lambda t: ramp(t - 44.0)
    second = play(monitor, live(60.0, start=50.0), 60.0, start=50.0)
    assert calls(first + second) == []
    assert second[-1].state is State.SUCCEEDED


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
