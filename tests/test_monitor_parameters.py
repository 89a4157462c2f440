"""Changed parameters, slow models, and answers that do not come or come late."""

from __future__ import annotations

import dataclasses
import itertools
from collections import deque

import pytest
from judging import TASK, ScriptedBackend, answer_text, config, live, ns, play
from synchronous import SynchronousBackend, generated, text_of

from progress_monitor.config import MonitorConfig
from progress_monitor.monitor import TASK_CHARACTERS, ProgressMonitor, validate
from progress_monitor.parameters import ParameterError, build
from progress_monitor.types import (
    BackendState,
    Capabilities,
    Evidence,
    Failure,
    Finish,
    Request,
    State,
    StepStatus,
    Task,
)


class SlowBackend(SynchronousBackend):
    """Answers ``cost_s`` after it was asked, on the clock ``now_ns`` that the test sets."""

    def __init__(self, cost_s: float, capabilities: Capabilities | None = None) -> None:
        super().__init__()
        self.cost_ns = ns(cost_s)
        self.now_ns = 0
        self.requests: list[Request] = []
        self._due: deque[tuple[int, Request]] = deque()
        self._capabilities = capabilities or Capabilities()

    def capabilities(self):
        return self._capabilities

    def status(self):
        state = BackendState.BUSY if self._due else BackendState.READY
        return dataclasses.replace(super().status(), state=state)

    def answer(self, request):
        newest = max(item.stamp_ns for item in request.frames) * 1e-9
        return answer_text(min(newest / 60.0, 1.0))

    def submit(self, request):
        self.requests.append(request)
        self._due.append((self.now_ns + self.cost_ns, request))

    def poll(self):
        if self._due and self._due[0][0] <= self.now_ns:
            super().submit(self._due.popleft()[1])
        return super().poll()


def run_slow(backend, seconds, **values):
    monitor = ProgressMonitor(config(evidence__answer_timeout=60.0, **values), backend)
    monitor.set_task(TASK, 0)
    updates = []
    for index, item in enumerate(live(seconds)):
        backend.now_ns = ns(index * 0.1)
        monitor.observe(item)
        updates.append(monitor.tick(backend.now_ns))
    return updates


@pytest.mark.parametrize('cost', [0.3, 1.9, 2.1, 5.0, 9.0])
@pytest.mark.parametrize('policy', ['growing', 'sliding', 'anchored'])
def test_a_slow_model_sees_windows_as_long_as_a_quick_one(cost, policy):
    backend = SlowBackend(cost)
    updates = run_slow(backend, 60.0, window__policy=policy)
    late = [len(request.frames) for request in backend.requests[6:]]
    assert late and min(late) >= 5
    assert max(late) <= 17
    assert updates[-1].ticks >= 60.0 / (cost + 0.6) - 2
    assert State.UNSURE not in {update.state for update in updates}


def test_a_model_that_cannot_keep_up_is_given_longer_periods_within_the_bound_and_says_so():
    backend = SlowBackend(2.0, Capabilities(frame_ms=1600.0))
    updates = run_slow(backend, 40.0)
    stamps = [item.stamp_ns for item in backend.requests[-1].frames]
    assert {b - a for a, b in itertools.pairwise(stamps)} == {ns(2.0)}
    assert 'one more frame costs the model 1.6 s' in updates[-1].message
    backend = SlowBackend(2.0, Capabilities(frame_ms=30_000.0))
    run_slow(backend, 40.0, window__longest_period=3.0)
    stamps = [item.stamp_ns for item in backend.requests[-1].frames]
    assert {b - a for a, b in itertools.pairwise(stamps)} == {ns(3.0)}


def stalled():
    """A monitor that has called a stall at 40 %, with its plan."""
    backend = ScriptedBackend(lambda t: answer_text(min(t / 12.0, 0.6)))
    monitor = ProgressMonitor(config(), backend)
    monitor.set_task(TASK, 0)
    updates = play(monitor, live(16.0), 16.0)
    assert updates[-1].state is State.STALLED
    (report,) = [report for update in updates for report in update.stalls]
    return monitor, backend, report


def test_a_parameter_that_judges_changed_during_a_stall_withdraws_it_and_keeps_the_plan():
    monitor, _, report = stalled()
    before = monitor.tick(ns(16.1)).plan
    monitor.apply(config(stall__allowance=5.0), ns(16.2))
    update = monitor.tick(ns(16.2))
    assert [(item.event_id, item.stalled) for item in update.stalls] == [(report.event_id, False)]
    assert monitor.current_stall is None
    assert update.plan == before
    assert {step.status for step in before} >= {StepStatus.DONE}
    after = play(monitor, live(30.0, start=16.3), 30.0, start=16.3)
    again = [item for update in after for item in update.stalls]
    assert [item.stalled for item in again] == [True]
    assert again[0].event_id != report.event_id


@pytest.mark.parametrize('change', [{}, {'evidence__answer_timeout': 20.0}])
def test_a_parameter_that_does_not_judge_leaves_the_stall_alone(change):
    monitor, _, report = stalled()
    monitor.apply(config(**change), ns(16.2))
    assert monitor.tick(ns(16.2)).stalls == ()
    assert monitor.current_stall is not None
    assert monitor.current_stall.event_id == report.event_id


def test_parameters_that_cannot_be_used_are_refused_before_anything_changes():
    monitor, _, report = stalled()
    wrong = config(window__min_images=9, window__max_images=5)
    with pytest.raises(ParameterError, match=r'window\.max_images'):
        validate(wrong, ('cam',))
    with pytest.raises(ParameterError, match=r'window\.max_images'):
        monitor.apply(wrong, ns(16.2))
    with pytest.raises(ParameterError, match=r'window\.min_images.*cameras'):
        validate(build(MonitorConfig, {'window.min_images': 64, 'window.max_images': 64}), 'abc')
    assert monitor.tick(ns(16.2)).stalls == ()
    assert monitor.current_stall.event_id == report.event_id


@pytest.mark.parametrize('ends', ['reset', 'task', 'acknowledge'])
def test_a_stall_is_over_for_everybody_once_judging_starts_anew(ends):
    monitor, _, report = stalled()
    if ends == 'reset':
        monitor.reset(ns(16.1))
    elif ends == 'task':
        monitor.set_task(Task('other', 'close the drawer'), ns(16.1))
    else:
        monitor.acknowledge_recovery(ns(16.1))
    assert monitor.current_stall is None
    (released,) = monitor.tick(ns(16.1)).stalls
    assert (released.event_id, released.stalled) == (report.event_id, False)
    assert released.task_id == TASK.task_id


def test_a_changed_window_takes_effect_at_the_next_sample():
    monitor, backend, _ = stalled()
    monitor.apply(config(window__policy='sliding', window__max_images=6), ns(16.1))
    play(monitor, live(18.0, start=16.2), 18.0, start=16.2)
    assert {len(request.frames) for request in backend.requests[-3:]} == {6}


@pytest.mark.parametrize(
    ('said', 'kind', 'words'),
    [
        (Failure.REFUSED, Evidence.NO_NUMBER, 'refuses the question: refused'),
        (Failure.LOST, Evidence.MODEL_LATE, 'in time'),
        (generated('1. Reach', Finish.TIME_LIMIT), Evidence.CUT_SHORT, 'model.deadline_s'),
        (generated('1. Reach', Finish.TOKEN_LIMIT), Evidence.CUT_SHORT, 'model.max_new_tokens'),
    ],
)
def test_what_is_wrong_with_the_answers_is_said_by_its_name(said, kind, words):
    backend = ScriptedBackend(lambda t: answer_text(t / 20.0) if t < 4.0 else said)
    monitor = ProgressMonitor(config(), backend)
    monitor.set_task(TASK, 0)
    updates = play(monitor, live(9.0), 9.0)
    assert updates[-1].state is State.UNSURE
    assert updates[-1].evidence is kind
    assert words in updates[-1].message
    if kind is Evidence.CUT_SHORT:
        assert updates[-1].finish == said.finish.value


def test_a_task_that_no_question_can_hold_is_refused_by_name():
    monitor = ProgressMonitor(config(), ScriptedBackend(lambda t: answer_text(0.1)))
    with pytest.raises(ValueError, match=rf'task.*{TASK_CHARACTERS + 1}.*{TASK_CHARACTERS}'):
        monitor.set_task(Task('t', 'é' * (TASK_CHARACTERS + 1)), 0)
    assert monitor.task is None


def test_an_answer_to_a_question_from_before_the_clock_went_back_is_not_taken():
    backend = SlowBackend(1.0)
    monitor = ProgressMonitor(config(), backend)
    monitor.set_task(TASK, ns(100.0))
    for item in live(100.5, start=100.0):
        backend.now_ns = item.stamp_ns
        monitor.observe(item)
        monitor.tick(item.stamp_ns)
    assert len(backend.requests) == 1
    backend.now_ns = ns(102.0)
    update = monitor.tick(ns(10.0))
    assert update.estimate is None
    assert update.ticks == 0


def test_the_plan_and_the_parameters_of_a_strategy_are_told_from_the_task():
    """What a task's text holds is data: it fills its field and no other."""
    backend = ScriptedBackend(lambda t: answer_text(0.1))
    monitor = ProgressMonitor(config(), backend)
    monitor.set_task(Task('t', 'fold {memory} the {task} "shirt"'), 0)
    play(monitor, live(1.0), 1.0)
    assert 'fold {memory} the {task} "shirt"' in text_of(backend.requests[-1])
