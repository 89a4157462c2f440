"""What the monitor calls of a task, with a model that answers from a script."""

from __future__ import annotations

import dataclasses
import math

import pytest
from judging import (
    STEPS,
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
from synchronous import generated

from progress_monitor.monitor import ProgressMonitor
from progress_monitor.parameters import ParameterError
from progress_monitor.types import (
    RecoveryHint,
    StallCause,
    State,
    Task,
)


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


@pytest.mark.parametrize(
    'entries',
    [
        *((entry,) for entry in ('no number', '=5', 'step=', 'step=-3', 'step=soon', 'step=nan')),
        (f'{"step" * 1000}=5',),
        tuple(f'step {number}=5' for number in range(1000)),
    ],
)
def test_step_allowances_that_cannot_be_read_or_compared_are_named(entries):
    with pytest.raises(ParameterError, match=r'stall\.step_allowances'):
        ProgressMonitor(config(stall__step_allowances=entries), ScriptedBackend(ramp))


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
