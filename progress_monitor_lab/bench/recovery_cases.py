"""Cases of the recovery benchmark, and how they end without a monitor."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from progress_monitor_lab.sim.cell import FAULTS, STEP_PERIOD_S, Truth, Workcell, applicable

# A new plan mends these. The robot carries on in the others, and to replan is needless.
RECOVERABLE = ('freeze_robot', 'drop', 'missed_grasp', 'carried_away', 'phantom_target')
# Tasks in which all of these can happen, but for the drop of what is not grasped.
TASKS_PLAYED = (
    'pick_place',
    'bin_picking',
    'push',
    'sweep_into',
    'plate_slide',
    'drawer_open',
    'door_open',
    'button_press',
)
LIMIT_S = 90.0
MODES = ('without', 'timeout', 'with')
# The robot is well in these, if slow: a time-out that is shorter than they take replans needlessly.
_WELL = ('none', 'slow')
# Room that is left to the slowest healthy run, for a time-out and for a standstill.
_MARGIN = 1.1
# True progress that changes by less stands still, 0..1.
_STILL = 0.03


@dataclass(frozen=True)
class Case:
    """One episode of the simulated cell."""

    task: str
    fault: str
    seed: int

    @property
    def name(self) -> str:
        """Unique among the cases; also the id of the task that the monitor watches."""
        return f'{self.task}/{self.fault}/{self.seed}'


@dataclass
class Run:
    """How a case ended. Times are seconds of simulated time from its start; None: never.

    ``needless`` counts the replans of a robot that had no fault and was getting on or done,
    ``hung`` those of one that had no fault and stood still for longer than in any healthy run.
    ``standstill_s`` is the longest time for which true progress stood still, from the start or the
    last replan on, before the task was done.
    """

    case: Case
    mode: str
    done_s: float | None = None
    fault_s: float | None = None
    replans_s: list[float] = field(default_factory=list)
    needless: int = 0
    hung: int = 0
    standstill_s: float = 0.0
    asked_person: bool = False
    wall_s: float = 0.0

    def __post_init__(self) -> None:
        self._level: float | None = None
        self._still_since_s = 0.0

    @property
    def recovery_s(self) -> float | None:
        """From the fault to the first replan that followed it."""
        if self.fault_s is None:
            return None
        later = [at - self.fault_s for at in self.replans_s if at >= self.fault_s]
        return later[0] if later else None

    def see(self, at_s: float, truth: Truth) -> None:
        """Take in one step of the cell."""
        if self.fault_s is None and truth.fault:
            self.fault_s = at_s
        if self.done_s is None and truth.done:
            self.done_s = at_s
        if self._level is None or abs(truth.progress - self._level) >= _STILL:
            self._level, self._still_since_s = truth.progress, at_s
        if self.done_s is None:
            self.standstill_s = max(self.standstill_s, round(at_s - self._still_since_s, 3))

    def replan(self, at_s: float, active: str, hangs_after_s: float) -> None:
        """Take in a replan, and the fault that was active then.

        :param hangs_after_s: how long true progress must have stood still for a robot without a
            fault to hang.
        """
        self.replans_s.append(at_s)
        if active not in RECOVERABLE:
            at_work = self.done_s is None and self._level is not None
            hangs = at_work and at_s - self._still_since_s >= hangs_after_s
            self.hung += hangs
            self.needless += not hangs
        self._level = None

    def to_row(self) -> dict[str, Any]:
        """The run as JSON."""
        row = dataclasses.asdict(self)
        return {**row.pop('case'), **row}

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Run:
        """The run that ``to_row`` wrote."""
        case = Case(row['task'], row['fault'], row['seed'])
        names = [item.name for item in dataclasses.fields(cls) if item.name != 'case']
        return cls(case, **{name: row[name] for name in names})


def cases(tasks: Sequence[str], faults: Sequence[str], seeds: Iterable[int]) -> Iterator[Case]:
    """Every fault that can happen to every task; the seeds last, so that a part is balanced."""
    for seed in seeds:
        for fault in faults:
            for task in tasks:
                if applicable(task, fault):
                    yield Case(task, fault, seed)


def make_cell(case: Case, render: bool) -> Workcell:
    """The cell of a case, at its start."""
    return Workcell(case.task, case.seed, fault=case.fault, render=render)


def play_alone(
    case: Case, mode: str, timeout_s: float | None, hangs_after_s: float = math.inf
) -> Run:
    """Play a case without a monitor.

    :param timeout_s: replan whenever the task is not done for so long, s; None: never. The
        time-out is told by the cell when the task is done, which favours it.
    :param hangs_after_s: see ``Run.replan``.
    """
    cell = make_cell(case, render=False)
    run = Run(case, mode)
    started_s = 0.0
    try:
        for number in range(round(LIMIT_S / STEP_PERIOD_S)):
            at_s = number * STEP_PERIOD_S
            truth = cell.step(picture=False).truth
            run.see(at_s, truth)
            if truth.done:
                break
            if timeout_s is not None and at_s - started_s >= timeout_s:
                run.replan(at_s, truth.fault, hangs_after_s)
                cell.replan()
                started_s = at_s
    finally:
        cell.close()
    return run


def healthy(task: str, seeds: Iterable[int]) -> list[Case]:
    """The cases of a task in which the robot is well."""
    return [Case(task, fault, seed) for seed in seeds for fault in _WELL]


def timeout_of(alone: Iterable[Run]) -> float:
    """The time-out of a task, s: the shortest that its slowest healthy run leaves room for.

    :param alone: its healthy runs without a monitor.
    """
    taken = [run.done_s for run in alone if run.done_s is not None]
    return _MARGIN * max(taken, default=LIMIT_S)


def standstill_of(alone: Iterable[Run]) -> float:
    """How long a robot at a task stands still that hangs, s: longer than in any healthy run.

    :param alone: its healthy runs without a monitor.
    """
    return _MARGIN * max((run.standstill_s for run in alone), default=LIMIT_S)


def known_faults() -> tuple[str, ...]:
    """The faults of the cell, and none."""
    return FAULTS
