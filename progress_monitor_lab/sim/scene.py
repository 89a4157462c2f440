"""A Meta-World scene with its expert and the reading of the truth; no camera, no faults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from progress_monitor_lab.sim.stages import CellState, CellTask, Stage

Vector = NDArray[np.float64]
Action = NDArray[np.float32]

# An expert that needs longer than this, per phase at full speed, has got into one of its own traps.
REHEARSAL_STEPS = 130
PRESS_STEPS = 60
MAXIMUM_DRAWS = 100
# An arm that follows its command hangs back from it by about so much, m.
LAG = np.array((0.0, 0.03, 0.0))
HOLDING_GAIN = 25.0
# Meta-World's button takes seconds to come up, if it does at all: one press would count thrice.
BUTTON_STIFFNESS = 1.5
# A finished drawer springs back by a hair, a puck is let go: what was finished stays so until true
# progress falls below this, or the same picture would be both done and not done.
UNDONE_BELOW = 0.95
# The draw that was found for a task and a seed: a rehearsal costs as much as an episode.
_DRAWS: dict[tuple[str, int], int] = {}


class Scene:
    """One draw of a task's scene. A control step is 0.1 s of robot time.

    ``draw`` seeds the places of the things. :meth:`for_seed` draws until the expert succeeds.
    """

    def __init__(self, task: CellTask, draw: int) -> None:
        from metaworld.env_dict import ALL_V3_ENVIRONMENTS

        self.task = task
        self.env: Any = ALL_V3_ENVIRONMENTS[task.scene]()
        self.env.seeded_rand_vec = True
        self.env._freeze_rand_vec = False
        self.env._partially_observable = False
        self.env._set_task_called = True
        self.env.max_path_length = 10**9
        if task.goal_marker:
            _colour_puck(self.env)
        if len(task.phases) > 2:
            self.env.model.joint('btnbox_joint').stiffness[:] = BUTTON_STIFFNESS
        self.draw(draw)

    @classmethod
    def for_seed(cls, task: CellTask, seed: int) -> Scene:
        """The first scene of a seed's draws in which the expert, left alone, succeeds.

        :raises RuntimeError: if none of many draws is one.
        """
        known = _DRAWS.get((task.name, seed))
        if known is not None:
            return cls(task, known)
        scene = cls(task, seed * MAXIMUM_DRAWS)
        for draw in range(seed * MAXIMUM_DRAWS, (seed + 1) * MAXIMUM_DRAWS):
            scene.draw(draw)
            if scene._rehearse():
                _DRAWS[task.name, seed] = draw
                scene.draw(draw)
                return scene
        raise RuntimeError(f'seed: the expert of {task.name} fails in every scene of seed {seed}')

    def draw(self, draw: int) -> None:
        """Put everything in its place. A reset's observation is older than what it moved."""
        self.env.seed(draw)
        self.env.reset()
        self.obs: Vector = np.asarray(self.env.step(np.zeros(4, np.float32))[0], np.float64)
        self._item_start = self.obs[4:7].copy()
        self._experts: dict[str, Any] = {}
        self._phase = 0
        self._finished = False
        self._held = self.obs[:3].copy()

    def _rehearse(self) -> bool:
        presses = len(self.task.phases) > 2
        limit = len(self.task.phases) * (PRESS_STEPS if presses else REHEARSAL_STEPS)
        finished = 0
        for _ in range(limit):
            self.step(self.expert_action(self.obs))
            finished = finished + 1 if self.stage()[0] >= len(self.task.stages) else 0
            if finished >= 10:
                return True
        return False

    def step(self, action: Action) -> None:
        """Apply ``action``, (4,) float32 in -1..1: the hand's velocity, the gripper's effort."""
        self.obs = np.asarray(self.env.step(action)[0], np.float64)

    def halt(self) -> None:
        """Stop the hand where it is; the arm lags behind its command and would creep on."""
        self.env.data.mocap_pos[0] = self.env.get_endeff_pos()

    def hold(self) -> None:
        """Keep the hand where it is by :meth:`holding_action`.

        One that is only halted sinks back by centimetres, and what it holds leaves the goal again.
        """
        self._held = self.obs[:3].copy()
        self.env.data.mocap_pos[0] = self.env.get_endeff_pos() + LAG

    def holding_action(self, effort: float) -> Action:
        """Back to where the hand was at :meth:`hold`, with the gripper's ``effort``."""
        return self.move_to(self._held, effort)

    def move_to(self, goal: Vector, effort: float) -> Action:
        """Towards ``goal`` (3,) m, with the gripper's ``effort``."""
        velocity = np.clip((goal - self.obs[:3]) * HOLDING_GAIN, -1.0, 1.0)
        return np.array([*velocity, effort], np.float32)

    def state(self) -> CellState:
        """What the truth is read from."""
        return CellState(
            self.obs[:3].copy(),
            float(self.obs[3]),
            self.obs[4:7].copy(),
            self._item_start,
            np.asarray(self.env._target_pos, np.float64),
        )

    def stage(self) -> tuple[int, float]:
        """Current stage over all phases and its finished share; phases only go forward."""
        state = self.state()
        while True:
            phase = self.task.phases[self._phase]
            stage, share = phase.assess(state)
            if stage < len(phase.stages) or self._phase + 1 == len(self.task.phases):
                break
            self._phase += 1
        stage += sum(len(phase.stages) for phase in self.task.phases[: self._phase])
        return self._kept_finished(stage, share)

    def _kept_finished(self, stage: int, share: float) -> tuple[int, float]:
        last = len(self.task.stages)
        still = self._finished and self.task.progress(stage, share) >= UNDONE_BELOW
        self._finished = stage == last or still
        return (last, 1.0) if self._finished else (stage, share)

    def progress(self) -> tuple[float, tuple[Stage, ...]]:
        """True progress, 0..1, and the stages that remain."""
        stage, share = self.stage()
        return self.task.progress(stage, share), self.task.stages[stage:]

    def forget_plan(self) -> None:
        """Let the experts start over."""
        self._experts.clear()

    def expert_action(self, seen: Vector, target: Vector | None = None) -> Action:
        """What the current phase's expert does when it observes ``seen``.

        :param target: where it believes the goal to be, (3,) m; None: where it is.
        """
        expert = self.task.phases[self._phase].expert
        seen = seen.copy()
        state = self.state()
        if expert in _MOVES:
            return _MOVES[expert](seen, state)
        seen[-3:] = state.target if target is None else target
        if expert not in self._experts:
            from metaworld.policies import ENV_POLICY_MAP

            self._experts[expert] = ENV_POLICY_MAP[expert]()
        action = np.asarray(self._experts[expert].get_action(seen), np.float32)
        return np.clip(action, -1.0, 1.0)


def _colour_puck(env: Any) -> None:
    """The puck is as red as the robot; a colour of its own lets a camera of 128 pixels see it."""
    body = env.model.body('obj').id
    for geom in range(env.model.ngeom):
        if env.model.geom_bodyid[geom] == body:
            env.model.geom_matid[geom] = -1
            env.model.geom_rgba[geom] = (1.0, 0.85, 0.1, 1.0)


def _towards(goal: Vector, hand: Vector) -> Action:
    velocity = np.clip((goal - hand) * 25.0, -1.0, 1.0)
    return np.array([*velocity, 1.0], np.float32)


def _over_button(height: float, seen: Vector, above: float) -> Action:
    hand, button = seen[:3], seen[4:7]
    away = float(np.hypot(*(hand[:2] - button[:2])))
    goal = np.array([button[0], button[1], height if away < 0.04 else above])
    return _towards(goal, hand)


def _press(seen: Vector, state: CellState) -> Action:
    return _over_button(float(seen[6]), seen, float(state.target[2]) + 0.22)


def _raise(seen: Vector, state: CellState) -> Action:
    above = float(state.target[2]) + 0.22
    return _over_button(above, seen, above)


def _push_shut(seen: Vector, state: CellState) -> Action:
    return _towards(seen[4:7] + np.array((0.0, 0.05, -0.02)), seen[:3])


_Move = Callable[[Vector, CellState], Action]
_MOVES: dict[str, _Move] = {'press': _press, 'raise': _raise, 'push_shut': _push_shut}
