from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from progress_monitor.config import MemoryConfig
from progress_monitor.memory import PlanMemory
from progress_monitor.steps import likeness
from progress_monitor.types import StepStatus

PLAN = ('Reach the puck', 'Grasp the puck', 'Carry the puck to the mark')
PRESSES = (
    'Press the button for the first time',
    'Raise the hand after the first press',
    'Press the button for the second time',
    'Raise the hand after the second press',
    'Press the button for the third time',
)


def _memory(**values) -> PlanMemory:
    return PlanMemory(MemoryConfig(**values))


def _tell(memory: PlanMemory, *answers: tuple[str, ...], start: int = 1) -> None:
    for stamp, answer in enumerate(answers, start):
        memory.update(answer, stamp)


def _statuses(memory: PlanMemory) -> list[StepStatus]:
    return [step.status for step in memory.steps()]


@pytest.mark.parametrize(
    ('a', 'b'),
    [
        ('Reach the puck', 'reach for the puck.'),
        ('Grasp the puck', 'Pick up the puck'),
        ('Pull the drawer open', 'Pull the drawer'),
        ('Grasp the green block', 'Grasping the green block'),
        ('Press the button twice', 'Press the button 2 times'),
        ('Place the cup on the shelf', 'Put the cup onto the shelf'),
    ],
)
def test_wordings_of_one_step_are_one(a, b):
    assert likeness(a, b, 80.0) == likeness(b, a, 80.0) >= 80.0


@pytest.mark.parametrize(
    ('a', 'b'),
    [
        (PRESSES[0], PRESSES[2]),
        (PRESSES[1], PRESSES[3]),
        ('Press the button', 'Press the button for the second time'),
        ('Press the button', 'Press the button again'),
        ('Insert peg 1', 'Insert peg 2'),
        ('Reach the puck', 'Reach the block'),
        ('Pick up the red cube', 'Pick up the blue cube'),
        ('Move the tray to the left', 'Move the tray to the right'),
        ('Open the drawer', 'Close the drawer'),
        ('Lock the door', 'Unlock the door'),
        ('Take the cup from the shelf', 'Take the cup to the shelf'),
        ('Put the cup in the box', 'Put the box in the cup'),
        ('Put the red cube on the blue cube', 'Put the blue cube on the red cube'),
    ],
)
def test_steps_that_differ_in_number_object_or_direction_stay_two(a, b):
    assert likeness(a, b, 80.0) == likeness(b, a, 80.0) == 0.0


def test_a_step_is_done_after_two_answers_without_it():
    memory = _memory()
    _tell(memory, PLAN, PLAN, PLAN[1:])
    assert _statuses(memory)[0] is not StepStatus.DONE
    assert memory.prompt_text() == 'Steps done so far: none.'
    _tell(memory, PLAN[1:], start=4)
    assert _statuses(memory) == [StepStatus.DONE, StepStatus.IN_PROGRESS, StepStatus.PENDING]
    assert memory.prompt_text() == 'Steps done so far: Reach the puck.'
    assert memory.current == 'Grasp the puck'


@pytest.mark.parametrize(
    ('interval_s', 'needed'), [(0.1, 2), (1.0, 2), (1.5, 2), (2.0, 1), (5.0, 1)]
)
def test_a_slow_model_is_believed_sooner(interval_s, needed):
    """Until it had said so twice, the task would have gone on to the next step."""
    memory = _memory()
    stamps = (round(interval_s * 1e9) * number for number in itertools.count(1))
    for said in (PLAN, PLAN):
        memory.update(said, next(stamps))
    answers = 0
    while memory.done_steps == 0:
        memory.update(PLAN[1:], next(stamps))
        answers += 1
    assert answers == needed


@pytest.mark.parametrize('pause_s', [4.0, -4.0])
def test_a_pause_or_a_clock_set_back_makes_no_slow_model(pause_s):
    memory = _memory()
    times = [10.0, 10.5, 11.0, 11.0 + pause_s, 11.5 + pause_s]
    for time, said in zip(times, (PLAN, PLAN, PLAN, PLAN[1:], PLAN[1:]), strict=True):
        assert memory.done_steps == 0
        memory.update(said, round(time * 1e9))
    assert memory.done_steps == 1


def test_a_step_that_comes_back_is_undone_once_confirmed():
    memory = _memory()
    _tell(memory, PLAN, PLAN, PLAN[2:], PLAN[2:], PLAN)
    assert not memory.undone
    _tell(memory, PLAN, start=6)
    assert memory.undone
    assert _statuses(memory)[:2] == [StepStatus.UNDONE, StepStatus.UNDONE]
    _tell(memory, PLAN[1:], PLAN[1:], start=7)
    assert _statuses(memory)[0] is StepStatus.DONE


def test_nothing_left_means_all_done():
    memory = _memory()
    _tell(memory, PLAN, PLAN, (), ())
    assert set(_statuses(memory)) == {StepStatus.DONE}
    expected = '; '.join(PLAN)
    assert memory.prompt_text() == f'Steps done so far: {expected}.'
    assert memory.current == ''


def test_like_steps_of_a_plan_are_told_apart_all_the_way():
    memory = _memory()
    for done in range(len(PRESSES) + 1):
        for repeat in range(3):
            memory.update(PRESSES[done:], 10 * done + repeat)
        assert [step.text for step in memory.steps()] == list(PRESSES)
        assert _statuses(memory)[:done] == [StepStatus.DONE] * done


def test_three_identical_steps_vanish_from_the_front():
    memory = _memory()
    press = 'Press the button'
    _tell(memory, (press,) * 3, (press,) * 3, (press,) * 2, (press,) * 2)
    assert _statuses(memory) == [StepStatus.DONE, StepStatus.IN_PROGRESS, StepStatus.PENDING]


def test_a_slip_of_the_model_is_not_remembered_as_done():
    memory = _memory()
    _tell(memory, PLAN, PLAN, ('Juggle with three cups', *PLAN), PLAN, PLAN, PLAN)
    assert [step.text for step in memory.steps()] == list(PLAN)


def test_a_step_found_later_takes_its_place_in_the_order():
    memory = _memory()
    _tell(memory, (PLAN[0], PLAN[2]), (PLAN[0], PLAN[2]), PLAN)
    assert [step.text for step in memory.steps()] == list(PLAN)
    seen = [step.first_seen_ns for step in memory.steps()]
    assert seen == [1, 3, 1]
    assert {step.last_seen_ns for step in memory.steps()} == {3}


def test_rewording_does_not_make_new_steps():
    memory = _memory()
    _tell(memory, PLAN, ('Reach for the puck', 'Pick up the puck', 'Bring the puck to the mark'))
    assert len(memory.steps()) == 3


words = st.sampled_from(['press', 'lift', 'open', 'red', 'blue', 'cup', 'lid', '1', '2', 'first'])
texts = st.lists(words, min_size=1, max_size=5).map(' '.join)


@given(st.lists(st.lists(texts, max_size=12).map(tuple), max_size=30), st.integers(1, 8))
def test_memory_is_bounded_and_cleared_memory_is_a_fresh_one(answers, most):
    memory = _memory(max_steps=most)
    _tell(memory, *answers)
    assert len(memory.steps()) <= most
    assert len(memory.prompt_text()) < 100 * (most + 1)
    memory.clear()
    fresh = _memory(max_steps=most)
    _tell(memory, *answers)
    _tell(fresh, *answers)
    assert memory.steps() == fresh.steps()
    assert memory.current == fresh.current


@given(texts, texts)
def test_likeness_is_symmetric_and_certain_of_itself(a, b):
    assert likeness(a, a, 80.0) == 100.0
    assert likeness(a, b, 80.0) == pytest.approx(likeness(b, a, 80.0))
