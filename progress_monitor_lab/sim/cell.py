"""The workcell: a Meta-World scene, its expert, a camera, faults on request, and the truth.

One step is 0.1 s of robot time. Everything follows from the seed. MuJoCo renders off screen, by
default through OSMesa, which needs no GPU.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from progress_monitor_lab.sim.camera import Camera
from progress_monitor_lab.sim.scene import Action, Scene, Vector
from progress_monitor_lab.sim.stages import CellTask, Stage
from progress_monitor_lab.sim.tasks import TASKS
from progress_monitor_lab.sim.unseen import EVERY_TASK

os.environ.setdefault('MUJOCO_GL', 'osmesa')

__all__ = ['FAULTS', 'STEP_PERIOD_S', 'TASKS', 'CellStep', 'Truth', 'Workcell', 'applicable']

STEP_PERIOD_S = 0.1
ROBOT_FAULTS = (
    'freeze_robot',
    'drop',
    'missed_grasp',
    'carried_away',
    'phantom_target',
    'slow',
)
CAMERA_FAULTS = ('freeze_camera', 'black_camera')
FAULTS = ('none', *ROBOT_FAULTS, *CAMERA_FAULTS)
SLOW = 0.3
DONE_STEPS = 10
DROP_STEPS = 12
RETREAT_STEPS = 12
ATTACH_STEPS = 8
ATTACH_DISTANCE = 0.075
AWAY = 0.18
# These begin within a task's last stage, when something is held or moved.
_UNDER_WAY = ('drop', 'carried_away', 'phantom_target')
# A robot that still holds its item when it plans anew goes on from there.
_STILL_HELD = ('freeze_robot', 'carried_away', 'phantom_target')
# A known task's number is part of its seeds: further tasks come after.
_NUMBERS = (*sorted(TASKS), *sorted(set(EVERY_TASK) - set(TASKS)))


@dataclass(frozen=True)
class Truth:
    """What the cell knows of its own task; ``fault`` is empty while none is active."""

    progress: float
    stage: str
    remaining_steps: tuple[str, ...]
    done: bool
    fault: str


@dataclass(frozen=True, eq=False)
class CellStep:
    """One control period: the camera's image, (size, size, 3) uint8 RGB, and the truth."""

    index: int
    image: NDArray[np.uint8]
    truth: Truth


@dataclass(frozen=True, eq=False)
class _Moment:
    """The scene between two of the expert's steps."""

    positions: Vector
    progress: float
    remaining: tuple[Stage, ...]


def applicable(task: str, fault: str) -> bool:
    """Whether ``fault`` can happen to ``task``.

    Only what is grasped can be dropped, and only a task of one phase knows a missed grasp.
    """
    known = EVERY_TASK[task]
    if fault == 'drop':
        return known.grasps
    if fault in ('carried_away', 'phantom_target'):
        return fault in known.astray
    return not (fault == 'missed_grasp' and len(known.phases) > 1)


class Workcell:
    """A robot at work in front of a camera.

    :param task: a name in ``EVERY_TASK``: in ``TASKS``, or of a task that no checkpoint has seen.
    :param seed: decides the scene, the camera's small misplacement, the light and the noise.
    :param speed: share of the expert's full speed, above 0 and at most 1. A slower robot makes
        the same motion in more time: pictures and truth between its steps are interpolated.
    :param fault: one of ``FAULTS``. A robot that lost or missed its item carries on empty-handed.
        One that is carried away leaves for a place away from the goal, with what it holds, and
        stays there; a phantom target lies beside the true one. Robot faults end at ``replan``,
        camera faults never.
    :param fault_at: true progress at which the fault begins; by default the seed decides.
        A missed grasp is there from the start.
    :param render: False leaves the images black, where only the truth is wanted.
    :param noise: False takes the sensor's noise away: what does not move then looks the same.
    :raises ValueError: for an unknown task or fault, or a fault that cannot happen to the task.
    """

    def __init__(
        self,
        task: str = 'pick_place',
        seed: int = 0,
        speed: float = 1.0,
        fault: str = 'none',
        image_size: int = 256,
        fault_at: float | None = None,
        render: bool = True,
        noise: bool = True,
    ) -> None:
        if task not in EVERY_TASK:
            raise ValueError(f'task: {task!r} is not one of {", ".join(EVERY_TASK)}')
        if not 0.0 < speed <= 1.0:
            raise ValueError(f'speed: {speed} must be above 0 and at most 1')
        self.task: CellTask = EVERY_TASK[task]
        self.speed = speed
        rng = np.random.default_rng([seed, _NUMBERS.index(task)])
        drawn = float(rng.uniform(0.4, 0.5) if fault in _UNDER_WAY else rng.uniform(0.35, 0.6))
        self._active = ''
        self._carry_offset: Vector | None = None
        self._away: Vector | None = None
        self._near_steps = self._fault_steps = self._done_steps = self._index = 0
        self._retreat_steps = 0
        self.inject(fault, drawn if fault_at is None else fault_at)
        self._scene = Scene.for_seed(self.task, seed)
        self._before = self._after = self._moment()
        self._phase_of_step = 1.0
        self._effort = 0.0
        self._camera = Camera(self._scene, image_size, rng, noise) if render else None
        self._picture = np.zeros((image_size, image_size, 3), np.uint8)

    def step(self, picture: bool = True) -> CellStep:
        """Let the robot act for one control period and take a picture.

        Without ``picture`` the last one is handed out again, which costs nothing.
        """
        self._phase_of_step += self.speed * (SLOW if self._active == 'slow' else 1.0)
        while self._phase_of_step >= 1.0:
            self._phase_of_step -= 1.0
            self._begin_fault()
            self._scene.step(self._action())
            self._before, self._after = self._after, self._moment()
        truth = self._truth()
        self._index += 1
        return CellStep(self._index - 1, self._take_picture() if picture else self._picture, truth)

    def pose(self) -> Vector:
        """Hand (3), item (3) and target (3) in metres and the gripper's aperture: (10,) float64."""
        state = self._scene.state()
        return np.concatenate([state.hand, state.item, state.target, [state.aperture]])

    def _moment(self) -> _Moment:
        progress, remaining = self._scene.progress()
        return _Moment(self._scene.env.data.qpos.copy(), progress, remaining)

    def replan(self) -> None:
        """Make the expert start over from the present state, free of its fault."""
        holds = self.task.grasps and self._active in _STILL_HELD
        if self._active in ROBOT_FAULTS and len(self.task.phases) == 1 and not holds:
            self._retreat_steps = RETREAT_STEPS
        if self._active in ROBOT_FAULTS:
            self._active, self._fault = '', 'none'
        self._carry_offset = None
        self._scene.forget_plan()

    def inject(self, fault: str, fault_at: float = 0.0) -> None:
        """Let ``fault`` begin once true progress has reached ``fault_at``.

        :raises ValueError: if it is unknown or cannot happen to the task.
        """
        if fault not in FAULTS:
            raise ValueError(f'fault: {fault!r} is not one of {", ".join(FAULTS)}')
        if not applicable(self.task.name, fault):
            raise ValueError(f'fault: {fault} cannot happen in task {self.task.name}')
        self._fault, self.fault_at = fault, 0.0 if fault == 'missed_grasp' else fault_at

    def close(self) -> None:
        """Give the renderer back."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None

    def _truth(self) -> Truth:
        before, after, share = self._before, self._after, self._phase_of_step
        remaining = after.remaining
        self._done_steps = 0 if remaining else self._done_steps + 1
        if self._done_steps == DONE_STEPS:
            self._scene.hold()
        return Truth(
            progress=before.progress + share * (after.progress - before.progress),
            stage=remaining[0].action if remaining else '',
            remaining_steps=tuple(stage.action for stage in remaining),
            done=self._done_steps >= DONE_STEPS,
            fault=self._active,
        )

    def _begin_fault(self) -> None:
        if self._fault == 'none' or self._active:
            return
        stage, share = self._scene.stage()
        ready = self._scene.progress()[0] >= self.fault_at
        if self._fault in _UNDER_WAY:
            ready = ready and stage == len(self.task.stages) - 1 and share > 0.15
        if not ready:
            return
        self._active, self._fault_steps, self._near_steps = self._fault, 0, 0
        self._carry_offset = None
        hand = self._scene.obs[:3]
        if self._fault == 'drop':
            self._carry_offset = self._scene.obs[4:7] - hand
        if self._fault == 'carried_away':
            self._away = hand + AWAY * _level_direction(hand - self._scene.state().target)
        if self._fault == 'freeze_robot':
            self._scene.halt()

    def _action(self) -> Action:
        if self._done_steps >= DONE_STEPS:
            return self._scene.holding_action(self._effort)
        if self._active == 'freeze_robot':
            return np.array([0.0, 0.0, 0.0, self._effort], np.float32)
        if self._retreat_steps > 0:
            self._retreat_steps -= 1
            return np.array([0.0, 0.0, 1.0, -1.0], np.float32)
        if self._active == 'drop' and self._fault_steps < DROP_STEPS:
            self._fault_steps += 1
            return np.array([0.0, 0.0, 0.5, -1.0], np.float32)
        if self._active == 'carried_away' and self._away is not None:
            return self._scene.move_to(self._away, self._effort)
        seen = self._scene.obs.copy()
        target = self._scene.state().target
        if self._active in ('drop', 'missed_grasp'):
            seen[4:7] = self._believed_item()
        if self._active == 'phantom_target':
            if self.task.aims:
                target = target + self._phantom
            else:
                seen[4:7] += self._phantom
        action = self._scene.expert_action(seen, target)
        self._effort = float(action[3])
        return action

    @property
    def _phantom(self) -> Vector:
        return np.asarray(self.task.phantom)

    def _believed_item(self) -> Vector:
        """Where a robot that lost or missed its item believes it to be: in its hand, or beside."""
        hand = self._scene.obs[:3]
        if self._carry_offset is not None:
            return np.asarray(hand + self._carry_offset)
        believed = np.asarray(self._scene.obs[4:7] + self._phantom)
        near = float(np.linalg.norm(hand - believed)) < ATTACH_DISTANCE
        self._near_steps = self._near_steps + 1 if near else 0
        if self._near_steps >= ATTACH_STEPS:
            self._carry_offset = believed - hand
        return believed

    def _take_picture(self) -> NDArray[np.uint8]:
        if self._active == 'freeze_camera':
            return self._picture
        if self._active == 'black_camera' or self._camera is None:
            self._picture = np.zeros_like(self._picture)
        else:
            before, after = self._before.positions, self._after.positions
            self._picture = self._camera.picture(before + self._phase_of_step * (after - before))
        return self._picture


def _level_direction(way: Vector) -> Vector:
    """The level part of ``way`` as a direction; towards the robot's front where it has none."""
    level = np.array([way[0], way[1], 0.0])
    length = float(np.linalg.norm(level))
    return level / length if length > 0.02 else np.array([0.0, -1.0, 0.0])
