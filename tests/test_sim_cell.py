"""The simulated cell: what the demo, the training and the benchmarks rely on."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from progress_monitor_lab.sim.cell import FAULTS, TASKS, CellStep, Workcell, applicable

LONGEST = 900


def play(cell: Workcell, replan_after: int | None = None) -> list[CellStep]:
    """Let the robot work until it is done, replanning so many steps after its fault began."""
    steps: list[CellStep] = []
    faulty = 0
    while len(steps) < LONGEST:
        steps.append(cell.step())
        faulty += bool(steps[-1].truth.fault)
        if replan_after is not None and faulty == replan_after:
            cell.replan()
        if steps[-1].truth.done:
            break
    cell.close()
    return steps


@pytest.mark.parametrize('task', TASKS)
def test_every_expert_finishes_and_progress_rises(task: str) -> None:
    steps = play(Workcell(task, seed=3, render=False))
    progress = np.array([step.truth.progress for step in steps])
    assert steps[-1].truth.done
    assert steps[-1].truth.remaining_steps == ()
    assert progress[0] < 0.35
    assert progress[-1] == 1.0
    assert np.all(progress >= np.maximum.accumulate(progress) - 0.15)


@pytest.mark.parametrize('seed', [8000, 8002])
def test_each_of_three_presses_is_one_of_its_own(seed: int) -> None:
    """In these scenes the button once stayed down, and one press counted thrice."""
    steps = play(Workcell('press_three_times', seed, render=False))
    progress = np.array([step.truth.progress for step in steps])
    assert steps[-1].truth.done
    assert np.diff(progress).max() < 0.2


@pytest.mark.parametrize('task', ['push', 'drawer_open', 'pick_place'])
def test_what_is_finished_stays_finished_though_it_springs_back_by_a_hair(task: str) -> None:
    cell = Workcell(task, seed=1, render=False, speed=0.5)
    while not cell.step().truth.done:
        pass
    for _ in range(150):
        truth = cell.step().truth
        assert (truth.progress, truth.remaining_steps, truth.done) == (1.0, (), True)
    cell.close()


def test_budgets_of_the_stages_make_the_whole() -> None:
    for task in TASKS.values():
        assert sum(stage.budget for stage in task.stages) == pytest.approx(1.0)


def test_the_same_seed_gives_the_same_pictures_and_truth() -> None:
    first, second = (Workcell('bin_picking', seed=5) for _ in range(2))
    for _ in range(12):
        one, other = first.step(), second.step()
        assert np.array_equal(one.image, other.image)
        assert one.truth == other.truth
    another = Workcell('bin_picking', seed=6)
    for _ in range(12):
        different = another.step()
    assert not np.array_equal(one.image, different.image)
    for cell in (first, second, another):
        cell.close()


def test_a_slower_robot_makes_the_same_motion_in_more_time() -> None:
    full, half = (play(Workcell('drawer_open', 4, speed=s, render=False)) for s in (1.0, 0.5))
    assert len(half) == pytest.approx(2 * len(full), rel=0.15)
    for number in range(0, len(full) - 12, 7):
        slow = half[2 * number].truth.progress
        assert slow == pytest.approx(full[number].truth.progress, abs=0.06)


@pytest.mark.parametrize('task', ['pick_place', 'bin_picking'])
@pytest.mark.parametrize('fault', ['freeze_robot', 'drop', 'missed_grasp'])
def test_a_fault_holds_until_the_robot_replans(task: str, fault: str) -> None:
    stuck = play(Workcell(task, seed=2, fault=fault, render=False))
    assert not stuck[-1].truth.done
    assert stuck[-1].truth.fault == fault
    recovered = play(Workcell(task, seed=2, fault=fault, render=False), replan_after=60)
    assert recovered[-1].truth.done
    assert recovered[-1].truth.fault == ''


@pytest.mark.parametrize('task', ['pick_place', 'drawer_open'])
@pytest.mark.parametrize('fault', ['carried_away', 'phantom_target'])
def test_a_hand_that_is_led_astray_comes_back_when_the_robot_replans(task: str, fault: str) -> None:
    stuck = play(Workcell(task, seed=2, fault=fault, render=False))
    assert stuck[-1].truth.fault == fault
    assert not stuck[-1].truth.done
    recovered = play(Workcell(task, seed=2, fault=fault, render=False), replan_after=90)
    assert recovered[-1].truth.done
    assert recovered[-1].truth.fault == ''


def test_only_some_tasks_can_be_led_astray() -> None:
    assert not applicable('window_open', 'phantom_target')
    with pytest.raises(ValueError, match='carried_away cannot happen in task drawer_close'):
        Workcell('drawer_close', fault='carried_away')


def test_progress_falls_when_the_item_is_dropped() -> None:
    progress = [step.truth.progress for step in play(Workcell('pick_place', 2, fault='drop'))[:90]]
    assert max(progress) - progress[-1] > 0.2


def test_a_robot_that_stands_still_is_not_a_camera_that_repeats_itself() -> None:
    cell = Workcell('pick_place', seed=1, fault='freeze_robot', fault_at=0.2)
    while not cell.step().truth.fault:
        pass
    still = [cell.step().image for _ in range(6)]
    cell.close()
    assert not any(np.array_equal(a, b) for a, b in itertools.pairwise(still))
    camera = Workcell('pick_place', seed=1, fault='freeze_camera', fault_at=0.2)
    while not camera.step().truth.fault:
        pass
    frozen = [camera.step() for _ in range(6)]
    camera.close()
    assert all(np.array_equal(frozen[0].image, step.image) for step in frozen)
    assert frozen[-1].truth.progress > frozen[0].truth.progress


def test_a_black_camera_shows_nothing() -> None:
    cell = Workcell('push', seed=1, fault='black_camera', fault_at=0.0)
    assert not cell.step().image.any()
    cell.close()


def test_only_what_is_grasped_can_be_dropped() -> None:
    assert applicable('pick_place', 'drop')
    assert not applicable('button_press', 'drop')
    with pytest.raises(ValueError, match='drop cannot happen in task button_press'):
        Workcell('button_press', fault='drop')


@pytest.mark.parametrize(
    ('arguments', 'named'),
    [
        ({'task': 'juggle'}, "task: 'juggle'"),
        ({'fault': 'earthquake'}, "fault: 'earthquake'"),
        ({'speed': 0.0}, 'speed: 0.0'),
        ({'speed': 2.0}, 'speed: 2.0'),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Workcell(**arguments)  # type: ignore[arg-type]
    assert 'none' in FAULTS
