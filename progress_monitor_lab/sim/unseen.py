"""Tasks that the small checkpoint has never seen: kept out of its training and of its benchmarks.

They are what the adaptation to a new task is measured on.
"""

from __future__ import annotations

from progress_monitor_lab.sim.stages import (
    CellState,
    CellTask,
    closeness,
    distance,
    finished_share,
    grasp_and_carry,
    reach_and_move,
    single,
)
from progress_monitor_lab.sim.tasks import TASKS


def _turned(state: CellState) -> float:
    start = distance(state.item_start, state.target)
    return finished_share(start, distance(state.item, state.target), 0.03)


def _pushed(state: CellState) -> float:
    return finished_share(state.item_start[1], state.item[1], state.target[1])


def _carried_up_and_over(state: CellState, goal_radius: float) -> float:
    """Lifted above the hoop, then carried across: a way in two parts."""
    start = distance(state.item_start[:2], state.target[:2])
    apart = distance(state.item[:2], state.target[:2])
    near = closeness(apart, goal_radius, start)
    lifted = finished_share(state.item_start[2], state.item[2], state.target[2] + 0.05)
    return 0.55 * max(lifted, near) + 0.45 * finished_share(max(start, apart), apart, 0.04)


UNSEEN: dict[str, CellTask] = {
    task.name: task
    for task in (
        CellTask(
            'faucet_open',
            'faucet-open-v3',
            'open the faucet',
            ('turn the faucet handle', 'turn on the faucet', 'twist the faucet open'),
            single(
                'faucet-open-v3',
                (('Reach the faucet handle', 0.55), ('Turn the faucet handle', 0.45)),
                reach_and_move(_turned, 0.04, (-0.035, 0.02, 0.035)),
            ),
            phantom=(0.0, -0.14, 0.0),
        ),
        CellTask(
            'coffee_button',
            'coffee-button-v3',
            'push the button of the coffee machine',
            (
                'start the coffee machine',
                'press the button on the coffee machine',
                'switch the coffee machine on',
            ),
            single(
                'coffee-button-v3',
                (('Move up to the button', 0.6), ('Push the button in', 0.4)),
                reach_and_move(_pushed, 0.04, (0.0, -0.035, -0.07)),
            ),
            phantom=(0.16, 0.0, 0.0),
        ),
        CellTask(
            'lever_pull',
            'lever-pull-v3',
            'pull the lever up',
            ('raise the lever', 'lift the lever up', 'pull up the lever'),
            single(
                'lever-pull-v3',
                (('Move below the lever', 0.4), ('Pull the lever up', 0.6)),
                reach_and_move(_turned, 0.05, (0.015, -0.07, -0.1)),
            ),
            phantom=(0.16, 0.0, 0.0),
        ),
        CellTask(
            'basketball',
            'basketball-v3',
            'put the ball into the hoop',
            ('bring the ball to the hoop', 'dunk the ball', 'carry the ball up to the hoop'),
            single(
                'basketball-v3',
                (
                    ('Reach the ball', 0.3),
                    ('Grasp the ball', 0.2),
                    ('Carry the ball to the hoop', 0.5),
                ),
                grasp_and_carry(0.085, 0.75, _carried_up_and_over),
            ),
            grasps=True,
        ),
    )
}
EVERY_TASK: dict[str, CellTask] = {**TASKS, **UNSEEN}
