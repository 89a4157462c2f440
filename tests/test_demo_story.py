"""The demo's verdict: a story counts only if it really happened."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from demo_recordings import at, recording
from hypothesis import given
from hypothesis import strategies as st

from progress_monitor_lab.demo.recording import Recording, events, write_rows
from progress_monitor_lab.demo.story import Ending, judge, summarise

FAULT_FREE = {'fault': 'none', 'injected': None, 'calls': (), 'replanned': None}


def test_the_whole_story() -> None:
    assert judge(recording()).ending is Ending.HAPPENED
    assert judge(recording(**FAULT_FREE)).ending is Ending.HAPPENED


@pytest.mark.parametrize(
    ('changes', 'said'),
    [
        ({'injected': None, 'calls': (), 'replanned': None}, 'fault never happened'),
        ({'calls': (), 'replanned': None}, 'did not call the fault'),
        ({'replanned': None}, 'not made to replan'),
        ({'success': None}, 'did not call success, although the task is done'),
        ({'success': None, 'done': None}, 'and the task is not done'),
        ({'success': 15.5, 'done': None}, 'the task is not done'),
    ],
)
def test_what_is_missing_is_said_while_it_may_still_come(
    changes: dict[str, object], said: str
) -> None:
    verdict = judge(recording(**changes))  # type: ignore[arg-type]
    assert verdict.ending is Ending.PENDING
    assert said in verdict.missing


@pytest.mark.parametrize(
    ('changes', 'said'),
    [
        ({'calls': (2.0, 7.0)}, 'before the fault'),
        ({**FAULT_FREE, 'calls': (2.0,)}, 'although nothing was wrong'),
        ({'success': 9.0}, 'before the task was done'),
        ({'success': 9.0, 'done': None}, 'before the task was done'),
    ],
)
def test_a_wrong_call_ends_the_story(changes: dict[str, object], said: str) -> None:
    verdict = judge(recording(**changes))  # type: ignore[arg-type]
    assert verdict.ending is Ending.LOST
    assert said in verdict.missing


def test_a_success_that_is_taken_back_is_none() -> None:
    run = recording()
    run.successes.append(dataclasses.replace(run.successes[0], at_ns=at(16.5), succeeded=False))
    assert judge(run).ending is Ending.PENDING


def test_nothing_heard_is_no_story() -> None:
    empty = Recording('pick_place', 'none', 0, 'pick up the puck')
    assert judge(empty).missing == 'The cell published nothing.'
    assert summarise(empty, judge(empty))['mae'] is None
    silent = recording()
    silent.ticks.clear()
    assert 'no tick' in judge(silent).missing


@given(
    injected=st.floats(0.0, 10.0),
    delay=st.floats(-5.0, 5.0),
    done=st.floats(11.0, 15.0),
    late=st.floats(-6.0, 1.5),
)
def test_only_calls_after_their_cause_count(
    injected: float, delay: float, done: float, late: float
) -> None:
    call = injected + delay
    run = recording(
        injected=injected, calls=(call,), replanned=10.5, done=done, success=done + late
    )
    happened = judge(run).ending is Ending.HAPPENED
    begun = run.injected_ns
    finished = run.done_ns
    assert begun is not None
    assert finished is not None
    in_order = at(call) >= begun and finished - at(done + late) <= 3_000_000_000
    assert happened == in_order


def test_the_summary_measures() -> None:
    run = recording()
    summary = summarise(run, judge(run))
    assert summary['outcome'] == 'succeeded'
    assert summary['story_happened'] is True
    assert summary['stall_detected_s'] == pytest.approx(3.0)
    assert summary['replans'] == 1
    assert summary['ticks'] == 34
    assert summary['tick_ms_median'] == pytest.approx(121.0)
    assert summary['mae'] == pytest.approx(2.0)
    assert summary['false_alarm'] is False
    assert (summary['task'], summary['fault'], summary['seed']) == ('pick_place', 'drop', 3)
    json.dumps(summary, allow_nan=False)


def test_an_early_call_is_a_false_alarm_and_no_detection() -> None:
    run = recording(calls=(2.0,))
    summary = summarise(run, judge(run))
    assert summary['false_alarm'] is True
    assert summary['stall_detected_s'] is None


def test_events_are_told_in_order() -> None:
    kinds = [event.kind for event in events(recording())]
    assert kinds == ['fault', 'stall', 'replan', 'done', 'success']


def test_the_recording_is_written_row_by_row(tmp_path: Path) -> None:
    path = tmp_path / 'recording.jsonl'
    run = recording()
    write_rows(run, path)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row['seconds'] for row in rows] == sorted(row['seconds'] for row in rows)
    ticks = [row for row in rows if row['kind'] == 'tick']
    assert len(ticks) == len(run.ticks)
    assert ticks[0]['state'] == 'PROGRESSING'
    assert ticks[0]['plan'][0]['text'] == 'Reach the puck.'
