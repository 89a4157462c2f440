"""Tasks of the simulated cell: their scenes, words, stages and the truth about progress."""

from __future__ import annotations

import numpy as np

from progress_monitor_lab.sim.stages import (
    CellState,
    CellTask,
    Phase,
    Stage,
    carried_over,
    finished_share,
    grasp_and_carry,
    reach_and_move,
    reach_over,
    single,
    slid,
)


def _drawer_opened(state: CellState) -> float:
    return finished_share(state.target[1] + 0.195, state.item[1], state.target[1] + 0.02)


def _drawer_closed(state: CellState) -> float:
    return finished_share(state.target[1] - 0.155, state.item[1], state.target[1] - 0.025)


def _drawer_closed_again(state: CellState) -> tuple[int, float]:
    """The way back of an opened drawer; the target is where it was open."""
    share = finished_share(state.target[1] + 0.02, state.item[1], state.target[1] + 0.17)
    return (1, 1.0) if share >= 1.0 else (0, share)


def _door_opened(state: CellState) -> float:
    return finished_share(state.item_start[0], state.item[0], state.target[0] + 0.07)


def _button_pressed(state: CellState) -> float:
    return finished_share(state.target[2] + 0.09, state.item[2], state.target[2] + 0.02)


def _window_opened(state: CellState) -> float:
    return finished_share(state.item_start[0], state.item[0], state.target[0] - 0.05)


def _press(state: CellState) -> tuple[int, float]:
    """One press: finished when the button is down."""
    down = _button_pressed(state)
    if down >= 1.0:
        return 1, 1.0
    reached = reach_over(state.hand, state.item + np.array((0.0, 0.0, 0.04)), 0.04)
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
            single(
                'pick-place-v3',
                (
                    ('Reach the puck', 0.3),
                    ('Grasp the puck', 0.1),
                    ('Carry the puck to the blue mark', 0.6),
                ),
                grasp_and_carry(0.06, 0.75),
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
            single(
                'push-v3',
                (
                    ('Reach the puck', 0.3),
                    ('Close the hand round the puck', 0.1),
                    ('Push the puck to the green mark', 0.6),
                ),
                grasp_and_carry(0.045, 0.75),
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
            single(
                'bin-picking-v3',
                (
                    ('Reach the block', 0.25),
                    ('Grasp the block', 0.1),
                    ('Carry the block to the blue bin', 0.65),
                ),
                grasp_and_carry(0.06, 0.62, carried_over),
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
            single(
                'sweep-into-v3',
                (('Reach the block', 0.4), ('Sweep the block into the hole', 0.6)),
                reach_and_move(slid(0.05), 0.035, (0.0, 0.0, 0.03)),
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
            single(
                'plate-slide-v3',
                (('Reach the plate', 0.4), ('Slide the plate into the shelf', 0.6)),
                reach_and_move(slid(0.06), 0.035, (0.0, -0.05, 0.05)),
            ),
            phantom=(0.18, 0.0, 0.0),
            astray=('carried_away', 'phantom_target'),
        ),
        CellTask(
            'drawer_open',
            'drawer-open-v3',
            'open the drawer',
            ('pull the drawer open', 'pull out the green drawer', 'open the green drawer fully'),
            single(
                'drawer-open-v3',
                (('Reach the drawer handle', 0.45), ('Pull the drawer open', 0.55)),
                reach_and_move(_drawer_opened, 0.045, (0.0, -0.01, 0.0)),
            ),
            astray=('carried_away', 'phantom_target'),
        ),
        CellTask(
            'drawer_close',
            'drawer-close-v3',
            'close the drawer',
            ('push the drawer shut', 'shut the green drawer', 'close the green drawer fully'),
            single(
                'drawer-close-v3',
                (('Move in front of the drawer', 0.5), ('Push the drawer shut', 0.5)),
                reach_and_move(_drawer_closed, 0.045, (0.0, -0.055, -0.01)),
            ),
        ),
        CellTask(
            'door_open',
            'door-open-v3',
            'open the door',
            ('pull the door open', 'open the door of the safe', 'swing the dark door open'),
            single(
                'door-open-v3',
                (('Reach the door handle', 0.4), ('Pull the door open', 0.6)),
                reach_and_move(_door_opened, 0.05, (0.0, 0.02, 0.0)),
            ),
            phantom=(0.0, -0.14, 0.0),
            astray=('carried_away', 'phantom_target'),
        ),
        CellTask(
            'button_press',
            _PRESS,
            'press the button',
            ('push the red button down', 'press the red button', 'push down the button'),
            single(
                _PRESS,
                (('Move above the button', 0.55), ('Press the button down', 0.45)),
                reach_and_move(_button_pressed, 0.04, (0.0, 0.0, 0.05)),
            ),
            phantom=(0.16, 0.0, 0.0),
            astray=('carried_away', 'phantom_target'),
        ),
        CellTask(
            'window_open',
            'window-open-v3',
            'open the window',
            ('slide the window open', 'push the window open', 'open the sliding window'),
            single(
                'window-open-v3',
                (('Reach the window handle', 0.45), ('Slide the window open', 0.55)),
                reach_and_move(_window_opened, 0.04, (-0.03, -0.03, -0.05)),
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
                *single(
                    'drawer-open-v3',
                    (('Reach the drawer handle', 0.2), ('Pull the drawer open', 0.3)),
                    reach_and_move(_drawer_opened, 0.045, (0.0, -0.01, 0.0)),
                ),
                *single(
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
