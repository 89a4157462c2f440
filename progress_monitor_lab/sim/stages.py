"""What tasks of the cell are made of: stages with budgets, and how far each has come.

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


def distance(a: Vector, b: Vector) -> float:
    """Distance of two points, m."""
    return float(np.linalg.norm(a - b))


def closeness(distance: float, near: float, far: float) -> float:
    """0 from ``far`` on, 1 from ``near`` on."""
    return float(np.clip((far - distance) / (far - near), 0.0, 1.0))


def reach_over(hand: Vector, goal: Vector, near: float) -> float:
    """Finished share of a reach that goes over the goal first and then down to it.

    Experts do so, and the plain distance would stand still while they cross over.
    """
    away = hand - goal
    apart = float(np.hypot(away[0], away[1]))
    over = closeness(apart, near, 0.40)
    down = closeness(abs(float(away[2])), near, 0.24) * closeness(apart, near, near + 0.05)
    return 0.6 * over + 0.4 * down


def finished_share(start: float, now: float, end: float) -> float:
    """Share, 0..1, of the way from ``start`` to ``end`` that is behind ``now``."""
    return float(np.clip((now - start) / (end - start), 0.0, 1.0)) if start != end else 1.0


def carried(state: CellState, goal_radius: float) -> float:
    """Share of the straight way from the item's start to within ``goal_radius`` m of its target."""
    start = distance(state.item_start, state.target)
    now = distance(state.item, state.target)
    return finished_share(max(start, now), now, goal_radius)


def carried_over(state: CellState, goal_radius: float) -> float:
    """Lifted, carried across and let down: a way in three parts."""
    start = distance(state.item_start[:2], state.target[:2])
    apart = distance(state.item[:2], state.target[:2])
    near = closeness(apart, goal_radius, goal_radius + 0.08)
    lifted = finished_share(0.0, float(state.item[2] - state.item_start[2]), 0.10)
    lowered = near * closeness(float(state.item[2]), 0.05, 0.15)
    return (
        0.25 * max(lifted, near)
        + 0.6 * finished_share(max(start, apart), apart, 0.02)
        + 0.15 * lowered
    )


def grasp_and_carry(
    goal_radius: float,
    closed_below: float,
    carried: Callable[[CellState, float], float] = carried,
) -> Assess:
    """Reach, grasp, carry: held means that the closed hand is round the item."""

    def assess(state: CellState) -> tuple[int, float]:
        to_goal = distance(state.item, state.target)
        if to_goal <= goal_radius:
            return 3, 1.0
        reach = state.hand - state.item
        apart = float(np.hypot(reach[0], reach[1]))
        height = abs(float(reach[2]))
        if apart < 0.045 and height < 0.075 and state.aperture < closed_below:
            return 2, carried(state, goal_radius)
        if apart < 0.035 and height < 0.08:
            return 1, finished_share(1.0, state.aperture, closed_below)
        return 0, reach_over(state.hand, state.item + np.array((0.0, 0.0, 0.04)), 0.03)

    return assess


def reach_and_move(
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
        reached = reach_over(state.hand, state.item + at, near)
        return (1, share) if reached > 0.97 else (0, reached)

    return assess


def slid(goal_radius: float) -> Callable[[CellState], float]:
    """The same along the table, for ``reach_and_move``."""

    def moved(state: CellState) -> float:
        start = distance(state.item_start[:2], state.target[:2])
        return finished_share(start, distance(state.item[:2], state.target[:2]), goal_radius)

    return moved


def single(expert: str, stages: tuple[tuple[str, float], ...], assess: Assess) -> tuple[Phase]:
    """A task of one phase."""
    return (Phase(expert, tuple(Stage(*stage) for stage in stages), assess),)
