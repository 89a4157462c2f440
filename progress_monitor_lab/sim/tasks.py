"""Tasks of the simulated cell: their scenes, words, stages and the truth about progress.

Progress follows ProcVLM's ground truth (arXiv 2605.08774): a task is a row of stages, each with a
budget of the whole, and progress is the budget of the finished stages and the finished share of the
current one. It is a function of the state of the scene, so it falls when work is undone. Only the
tasks in several phases carry history: their phase says what has been done, which a frame cannot.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CellState:
    """What the truth is read from, in metres in the frame of the cell.

    ``aperture`` is Meta-World's gripper opening: 1 open, 0 closed.
    """

    hand: Vector
    aperture: float
    item: Vector
    item_start: Vector
    target: Vector


@dataclass(frozen=True)
class Stage:
    """One atomic action and its share of the task."""

    action: str
    budget: float


Assess = Callable[[CellState], tuple[int, float]]


@dataclass(frozen=True)
class Phase:
    """A stretch of a task that one expert performs.

    ``assess`` gives the current stage within the phase and its finished share; a stage index of
    ``len(stages)`` says that the phase is complete.
    """

    expert: str
    stages: tuple[Stage, ...]
    assess: Assess


@dataclass(frozen=True)
class CellTask:
    """A task of the cell. ``scene`` is the Meta-World environment; tasks may share one.

    ``phantom`` is where a mistaken expert believes its item, from where it is, m; one that ``aims``
    heeds the place of its goal, too. ``astray`` names the faults that lead a hand off its way in
    the last stage, where a new plan mends them and nothing else does.
    """

    name: str
    scene: str
    instruction: str
    paraphrases: tuple[str, ...]
    phases: tuple[Phase, ...]
    grasps: bool = False
    aims: bool = False
    astray: tuple[str, ...] = ()
    phantom: tuple[float, float, float] = (0.12, 0.0, 0.0)
    goal_marker: bool = False
    camera_distance: float = 1.15

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All stages in order, over all phases."""
        return tuple(stage for phase in self.phases for stage in phase.stages)

    def progress(self, stage: int, share: float) -> float:
        """Progress, 0..1, when ``share`` of the stage with this index is finished."""
        stages = self.stages
        done = sum(item.budget for item in stages[:stage])
        if stage < len(stages):
            done += share * stages[stage].budget
        return min(float(done), 1.0)


def _distance(a: Vector, b: Vector) -> float:
    return float(np.linalg.norm(a - b))


def _closeness(distance: float, near: float, far: float) -> float:
    return float(np.clip((far - distance) / (far - near), 0.0, 1.0))


def _reach(hand: Vector, goal: Vector, near: float) -> float:
    """Finished share of a reach that goes over the goal first and then down to it.

    Experts do so, and the plain distance would stand still while they cross over.
    """
    away = hand - goal
    apart = float(np.hypot(away[0], away[1]))
    over = _closeness(apart, near, 0.40)
    down = _closeness(abs(float(away[2])), near, 0.24) * _closeness(apart, near, near + 0.05)
    return 0.6 * over + 0.4 * down


def _share(start: float, now: float, end: float) -> float:
    return float(np.clip((now - start) / (end - start), 0.0, 1.0)) if start != end else 1.0


def _carried(state: CellState, goal_radius: float) -> float:
    start = _distance(state.item_start, state.target)
    now = _distance(state.item, state.target)
    return _share(max(start, now), now, goal_radius)


def _carried_over(state: CellState, goal_radius: float) -> float:
    """Lifted, carried across and let down: a way in three parts."""
    start = _distance(state.item_start[:2], state.target[:2])
    apart = _distance(state.item[:2], state.target[:2])
    near = _closeness(apart, goal_radius, goal_radius + 0.08)
    lifted = _share(0.0, float(state.item[2] - state.item_start[2]), 0.10)
    lowered = near * _closeness(float(state.item[2]), 0.05, 0.15)
    return 0.25 * max(lifted, near) + 0.6 * _share(max(start, apart), apart, 0.02) + 0.15 * lowered


def _grasp_and_carry(
    goal_radius: float,
    closed_below: float,
    carried: Callable[[CellState, float], float] = _carried,
) -> Assess:
    """Reach, grasp, carry: held means that the closed hand is round the item."""

    def assess(state: CellState) -> tuple[int, float]:
        to_goal = _distance(state.item, state.target)
        if to_goal <= goal_radius:
            return 3, 1.0
        reach = state.hand - state.item
        apart = float(np.hypot(reach[0], reach[1]))
        height = abs(float(reach[2]))
        if apart < 0.045 and height < 0.075 and state.aperture < closed_below:
            return 2, carried(state, goal_radius)
        if apart < 0.035 and height < 0.08:
            return 1, _share(1.0, state.aperture, closed_below)
        return 0, _reach(state.hand, state.item + np.array((0.0, 0.0, 0.04)), 0.03)

    return assess


def _reach_and_move(
    moved: Callable[[CellState], float], near: float, offset: tuple[float, float, float]
) -> Assess:
    """Reach, then move something: ``moved`` is its finished share, and counts by itself."""
    at = np.asarray(offset)

    def assess(state: CellState) -> tuple[int, float]:
        share = moved(state)
        if share >= 1.0:
            return 2, 1.0
        if share > 0.06:
            return 1, share
        reached = _reach(state.hand, state.item + at, near)
        return (1, share) if reached > 0.97 else (0, reached)

    return assess


def _drawer_opened(state: CellState) -> float:
    return _share(state.target[1] + 0.195, state.item[1], state.target[1] + 0.02)


def _drawer_closed(state: CellState) -> float:
    return _share(state.target[1] - 0.155, state.item[1], state.target[1] - 0.025)


def _drawer_closed_again(state: CellState) -> tuple[int, float]:
    """The way back of an opened drawer; the target is where it was open."""
    share = _share(state.target[1] + 0.02, state.item[1], state.target[1] + 0.17)
    return (1, 1.0) if share >= 1.0 else (0, share)


def _door_opened(state: CellState) -> float:
    return _share(state.item_start[0], state.item[0], state.target[0] + 0.07)


def _button_pressed(state: CellState) -> float:
    return _share(state.target[2] + 0.09, state.item[2], state.target[2] + 0.02)


def _window_opened(state: CellState) -> float:
    return _share(state.item_start[0], state.item[0], state.target[0] - 0.05)


def _slid(goal_radius: float) -> Callable[[CellState], float]:
    def moved(state: CellState) -> float:
        start = _distance(state.item_start[:2], state.target[:2])
        return _share(start, _distance(state.item[:2], state.target[:2]), goal_radius)

    return moved


def _press(state: CellState) -> tuple[int, float]:
    """One press: finished when the button is down."""
    down = _button_pressed(state)
    if down >= 1.0:
        return 1, 1.0
    reached = _reach(state.hand, state.item + np.array((0.0, 0.0, 0.04)), 0.04)
    return 0, 0.6 * reached + 0.4 * down


def _raise(state: CellState) -> tuple[int, float]:
    """The hand goes up again: finished when it is well above the button, and that is up as well."""
    height = float(state.hand[2] - (state.target[2] + 0.08))
    if height >= 0.105 and _button_pressed(state) < 0.2:
        return 1, 1.0
    return 0, float(np.clip(height / 0.105, 0.0, 0.99))


_PRESS = 'button-press-topdown-v3'
_COUNT = ('first', 'second', 'third')


def _three_presses() -> tuple[Phase, ...]:
    phases: list[Phase] = []
    for number, word in enumerate(_COUNT):
        action = f'Press the button for the {word} time'
        phases.append(Phase('press', (Stage(action, 0.24 if number else 0.28),), _press))
        if number < 2:
            lift = Stage(f'Raise the hand after the {word} press', 0.12)
            phases.append(Phase('raise', (lift,), _raise))
    return tuple(phases)


def _single(expert: str, stages: tuple[tuple[str, float], ...], assess: Assess) -> tuple[Phase]:
    return (Phase(expert, tuple(Stage(*stage) for stage in stages), assess),)


def _task_list() -> tuple[CellTask, ...]:
    return (
        CellTask(
            'pick_place',
            'pick-place-v3',
            'pick up the puck and bring it to the blue mark',
            (
                'take the puck to the blue mark',
                'lift the puck and hold it at the blue mark',
                'carry the puck over to the blue mark',
            ),
            _single(
                'pick-place-v3',
                (
                    ('Reach the puck', 0.3),
                    ('Grasp the puck', 0.1),
                    ('Carry the puck to the blue mark', 0.6),
                ),
                _grasp_and_carry(0.06, 0.75),
            ),
            aims=True,
            grasps=True,
            camera_distance=0.95,
            goal_marker=True,
            astray=('carried_away', 'phantom_target'),
        ),
        CellTask(
            'push',
            'push-v3',
            'push the puck to the green mark',
            (
                'slide the puck onto the green mark',
                'move the puck along the table to the green mark',
                'bring the puck to the green mark on the table',
            ),
            _single(
                'push-v3',
                (
                    ('Reach the puck', 0.3),
                    ('Close the hand round the puck', 0.1),
                    ('Push the puck to the green mark', 0.6),
                ),
                _grasp_and_carry(0.045, 0.75),
            ),
            aims=True,
            camera_distance=0.95,
            goal_marker=True,
            astray=('carried_away',),
        ),
        CellTask(
            'bin_picking',
            'bin-picking-v3',
            'move the block from the red bin to the blue bin',
            (
                'put the green block into the blue bin',
                'pick the block out of the red bin and place it in the blue bin',
                'transfer the green block to the blue bin',
            ),
            _single(
                'bin-picking-v3',
                (
                    ('Reach the block', 0.25),
                    ('Grasp the block', 0.1),
                    ('Carry the block to the blue bin', 0.65),
                ),
                _grasp_and_carry(0.06, 0.62, _carried_over),
            ),
            grasps=True,
            camera_distance=0.95,
            astray=('carried_away', 'phantom_target'),
        ),
        CellTask(
            'sweep_into',
            'sweep-into-v3',
            'sweep the block into the hole',
            (
                'push the block into the hole in the table',
                'move the block until it falls into the hole',
                'sweep the wooden block into the opening',
            ),
            _single(
                'sweep-into-v3',
                (('Reach the block', 0.4), ('Sweep the block into the hole', 0.6)),
                _reach_and_move(_slid(0.05), 0.035, (0.0, 0.0, 0.03)),
            ),
            aims=True,
            camera_distance=0.95,
            astray=('carried_away', 'phantom_target'),
        ),
        CellTask(
            'plate_slide',
            'plate-slide-v3',
            'slide the plate into the shelf',
            (
                'push the plate into the white shelf',
                'slide the black plate forward into the shelf',
                'move the plate into the shelf',
            ),
            _single(
                'plate-slide-v3',
                (('Reach the plate', 0.4), ('Slide the plate into the shelf', 0.6)),
                _reach_and_move(_slid(0.06), 0.035, (0.0, -0.05, 0.05)),
            ),
            phantom=(0.18, 0.0, 0.0),
            astray=('carried_away', 'phantom_target'),
        ),
        CellTask(
            'drawer_open',
            'drawer-open-v3',
            'open the drawer',
            ('pull the drawer open', 'pull out the green drawer', 'open the green drawer fully'),
            _single(
                'drawer-open-v3',
                (('Reach the drawer handle', 0.45), ('Pull the drawer open', 0.55)),
                _reach_and_move(_drawer_opened, 0.045, (0.0, -0.01, 0.0)),
            ),
            astray=('carried_away', 'phantom_target'),
        ),
        CellTask(
            'drawer_close',
            'drawer-close-v3',
            'close the drawer',
            ('push the drawer shut', 'shut the green drawer', 'close the green drawer fully'),
            _single(
                'drawer-close-v3',
                (('Move in front of the drawer', 0.5), ('Push the drawer shut', 0.5)),
                _reach_and_move(_drawer_closed, 0.045, (0.0, -0.055, -0.01)),
            ),
        ),
        CellTask(
            'door_open',
            'door-open-v3',
            'open the door',
            ('pull the door open', 'open the door of the safe', 'swing the dark door open'),
            _single(
                'door-open-v3',
                (('Reach the door handle', 0.4), ('Pull the door open', 0.6)),
                _reach_and_move(_door_opened, 0.05, (0.0, 0.02, 0.0)),
            ),
            phantom=(0.0, -0.14, 0.0),
            astray=('carried_away', 'phantom_target'),
        ),
        CellTask(
            'button_press',
            _PRESS,
            'press the button',
            ('push the red button down', 'press the red button', 'push down the button'),
            _single(
                _PRESS,
                (('Move above the button', 0.55), ('Press the button down', 0.45)),
                _reach_and_move(_button_pressed, 0.04, (0.0, 0.0, 0.05)),
            ),
            phantom=(0.16, 0.0, 0.0),
            astray=('carried_away', 'phantom_target'),
        ),
        CellTask(
            'window_open',
            'window-open-v3',
            'open the window',
            ('slide the window open', 'push the window open', 'open the sliding window'),
            _single(
                'window-open-v3',
                (('Reach the window handle', 0.45), ('Slide the window open', 0.55)),
                _reach_and_move(_window_opened, 0.04, (-0.03, -0.03, -0.05)),
            ),
            phantom=(0.0, -0.14, 0.0),
        ),
        CellTask(
            'drawer_open_close',
            'drawer-open-v3',
            'open the drawer and close it again',
            (
                'pull the drawer open, then push it shut',
                'open the green drawer, then close it',
                'first open the drawer, then shut it again',
            ),
            (
                *_single(
                    'drawer-open-v3',
                    (('Reach the drawer handle', 0.2), ('Pull the drawer open', 0.3)),
                    _reach_and_move(_drawer_opened, 0.045, (0.0, -0.01, 0.0)),
                ),
                *_single(
                    'push_shut',
                    (('Push the drawer shut again', 0.5),),
                    _drawer_closed_again,
                ),
            ),
        ),
        CellTask(
            'press_three_times',
            _PRESS,
            'press the button three times',
            (
                'push the red button three times',
                'press the red button three times in a row',
                'push the button down three times',
            ),
            _three_presses(),
            phantom=(0.16, 0.0, 0.0),
        ),
    )


TASKS: dict[str, CellTask] = {task.name: task for task in _task_list()}
