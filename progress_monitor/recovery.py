"""What to do about a stall: wait, ask for a new plan a bounded number of times, or ask a person.

Plain Python, so that the policy can be tested without ROS. The supervisor node feeds it what the
monitor says and carries out what it returns.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from progress_monitor.parameters import parameter
from progress_monitor.types import RecoveryHint


class Kind(enum.IntEnum):
    """What was done, as in ``RecoveryEvent.msg``."""

    UNKNOWN = 0
    WAIT = 1
    REPLAN = 2
    REPLANNED = 3
    REPLAN_FAILED = 4
    ASK_PERSON = 5
    RELEASED = 6
    SUCCEEDED = 7


@dataclass(frozen=True)
class RecoveryConfig:
    """Bounds of the recovery."""

    max_attempts: int = parameter(
        3, 'Replans tried for one task before a person is asked.', minimum=0, maximum=100
    )
    cool_down_s: float = parameter(
        5.0, 'Shortest time from one replan to the next, s.', minimum=0.0, maximum=3600.0
    )
    wait_s: float = parameter(
        5.0,
        'How long a stall whose hint is WAIT may go on before a replan, s.',
        minimum=0.0,
        maximum=3600.0,
    )


@dataclass(frozen=True)
class Action:
    """One thing that the policy decided or noticed."""

    kind: Kind
    task_id: str
    event_id: str
    attempt: int
    message: str


@dataclass
class _Open:
    """The stall that is being dealt with, and when to act on it next."""

    task_id: str
    event_id: str
    explanation: str
    due_ns: int


class RecoveryPolicy:
    """Decides on recoveries. Each stall event is replanned for once, unless the replan failed.

    Times are nanoseconds of the ROS clock. Call ``due`` regularly: what waits for a cool-down or
    a replan that failed is decided there.
    """

    def __init__(self, config: RecoveryConfig) -> None:
        self._config = config
        self._task_id = ''
        self._attempts = 0
        self._last_replan_ns: int | None = None
        self._open: _Open | None = None
        self._running: _Open | None = None
        self._acted_on = ''
        self._succeeded = ''
        self._given_up = False

    @property
    def attempts(self) -> int:
        """Replans tried for the present task."""
        return self._attempts

    @property
    def busy(self) -> bool:
        """Whether a stall is open or a replan under way."""
        return self._open is not None or self._running is not None

    @property
    def needs_person(self) -> bool:
        """Whether nothing is left to try for the stall that is open."""
        return self._given_up

    def on_stall(
        self,
        now_ns: int,
        *,
        task_id: str,
        event_id: str,
        stalled: bool,
        hint: RecoveryHint,
        explanation: str,
    ) -> list[Action]:
        """Take in one stall message; a repeated one changes nothing."""
        self._take_task(task_id)
        if not stalled:
            return self._release(event_id)
        if event_id == self._acted_on or (self._open and self._open.event_id == event_id):
            return []
        self._given_up = False
        self._open = _Open(task_id, event_id, explanation, now_ns)
        if hint is RecoveryHint.ASK_PERSON:
            return [self._ask(self._open, 'the monitor advises to ask a person')]
        if hint is RecoveryHint.WAIT:
            self._open.due_ns = now_ns + _ns(self._config.wait_s)
            return [self._action(Kind.WAIT, self._open, f'waits {self._config.wait_s:g} s')]
        return self.due(now_ns)

    def on_success(self, *, task_id: str, event_id: str, succeeded: bool) -> list[Action]:
        """Take in one success message; success starts the count of attempts again."""
        self._take_task(task_id)
        if not succeeded or event_id == self._succeeded:
            return []
        self._succeeded = event_id
        done = _Open(task_id, event_id, 'the task succeeded', 0)
        action = self._action(Kind.SUCCEEDED, done, f'after {self._attempts} replans')
        self._forget()
        return [action]

    def due(self, now_ns: int) -> list[Action]:
        """What has to be done now: a replan, a call for a person, or nothing."""
        stall = self._open
        if stall is None or self._running is not None or now_ns < stall.due_ns:
            return []
        if self._attempts >= self._config.max_attempts:
            return [self._ask(stall, f'{self._attempts} replans did not help')]
        if self._last_replan_ns is not None:
            ready_ns = self._last_replan_ns + _ns(self._config.cool_down_s)
            # A clock that went back would otherwise hold the recovery up for as long as it went.
            if self._last_replan_ns <= now_ns < ready_ns:
                return []
        self._attempts += 1
        self._last_replan_ns = now_ns
        self._acted_on = stall.event_id
        self._running = stall
        self._open = None
        return [self._action(Kind.REPLAN, stall, 'asks for a new plan')]

    def replanned(self, ok: bool, message: str) -> list[Action]:
        """Take in the replan service's answer; a failed replan is tried again after the cool-down.

        :returns: REPLANNED or REPLAN_FAILED; nothing if no replan was under way any more.
        """
        stall, self._running = self._running, None
        if stall is None:
            return []
        if ok:
            return [self._action(Kind.REPLANNED, stall, message or 'the new plan is running')]
        if self._open is None:
            self._open = stall
        return [self._action(Kind.REPLAN_FAILED, stall, message)]

    def _release(self, event_id: str) -> list[Action]:
        for stall in (self._open, self._running):
            if stall is not None and stall.event_id == event_id:
                break
        else:
            if not self._given_up:
                return []
            stall = _Open(self._task_id, event_id, 'the stall ended', 0)
        self._open = None
        self._given_up = False
        return [self._action(Kind.RELEASED, stall, 'the stall ended')]

    def _ask(self, stall: _Open, why: str) -> Action:
        self._acted_on = stall.event_id
        self._open = None
        self._given_up = True
        return self._action(Kind.ASK_PERSON, stall, why)

    def _take_task(self, task_id: str) -> None:
        if task_id != self._task_id:
            self._task_id = task_id
            self._forget()

    def _forget(self) -> None:
        self._attempts = 0
        self._open = None
        self._running = None
        self._given_up = False
        self._last_replan_ns = None

    def _action(self, kind: Kind, stall: _Open, detail: str) -> Action:
        text = f'{stall.explanation}: {detail}' if stall.explanation else detail
        return Action(kind, stall.task_id, stall.event_id, self._attempts, text)


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
