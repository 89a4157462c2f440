"""The recovery of one monitor's stalls: what is open, what was tried, and what may be done next.

Plain Python, without ROS. The supervisor node feeds it what the monitor says and ticks its tree; a
``Caller`` per action carries out what is asked.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from progress_monitor.recovery.policy import ASK_PERSON, Policy, Rule, Rung
from progress_monitor.recovery.record import Call, Record


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
    RETRY = 8
    HOME = 9
    DONE = 10
    FAILED = 11
    OVERDUE = 12
    NO_SERVER = 13
    NOT_JUDGED = 14


_STARTS = {'retry': Kind.RETRY, 'replan': Kind.REPLAN, 'home': Kind.HOME}


@dataclass(frozen=True)
class StallEvent:
    """A stall that began. ``cause`` is a name of ``StallCause``; ``wait`` is the hint to wait."""

    task_id: str
    event_id: str
    cause: str = 'UNKNOWN'
    step: str = ''
    explanation: str = ''
    wait: bool = False


@dataclass(frozen=True)
class Action:
    """One thing that was decided or noticed, as in ``RecoveryEvent.msg``."""

    kind: Kind
    task_id: str
    event_id: str
    attempt: int
    message: str
    target: str = ''


@dataclass(frozen=True)
class Outcome:
    """How a request ended. ``lost``: nobody knows, and nobody will."""

    ok: bool
    message: str
    lost: bool = False


class Caller(Protocol):
    """Asks one server. Nothing in it waits."""

    @property
    def target(self) -> str:
        """The server, in words for a person."""
        ...

    def ready(self) -> bool:
        """Whether the server is there."""
        ...

    def start(self, stall: StallEvent) -> None:
        """Send the request."""
        ...

    def poll(self) -> Outcome | None:
        """How it ended; None: it has not."""
        ...

    def abandon(self) -> None:
        """Wait for the answer no longer."""
        ...


@dataclass(frozen=True)
class Limits:
    """Wall times after which a call is reported as late, and given up as lost, s."""

    reply_timeout_s: float = 30.0
    abandon_s: float = 600.0


@dataclass
class _Running:
    """What only this process knows of the call under way. ``since_s`` is of a steady clock."""

    caller: Caller
    since_s: float
    overdue: bool = False
    was_gone: bool = False


class Recovery:
    """State of the recovery. ``record`` is what lasts; the rest is what the monitor says now.

    :param say: takes every action, in order.
    :param save: makes the record last; called before anything is asked of the robot.
    """

    def __init__(
        self,
        policy: Policy,
        callers: Mapping[str, Caller],
        say: Callable[[Action], None],
        save: Callable[[Record], None],
        limits: Limits | None = None,
    ) -> None:
        self.policy = policy
        self.record = Record()
        self.leads = True
        self.open: StallEvent | None = None
        self.not_judged = ''
        self._callers = callers
        self._say = say
        self._save = save
        self._limits = limits or Limits()
        self._running: _Running | None = None
        self._missing: tuple[str, str] = ('', '')
        self._unasked: StallEvent | None = None
        self._told_of_trouble = False
        self._waits: dict[tuple[str, str], int] = {}
        self._now_ns = 0
        self._now_s = 0.0

    @property
    def busy(self) -> bool:
        """Whether a stall is open or a call under way."""
        return self.open is not None or self.record.call is not None

    @property
    def attempts(self) -> int:
        """Retries, replans and moves home for the task of the stall, or the newest task."""
        task_id = self.open.task_id if self.open else next(reversed(self.record.tasks), '')
        attempts = self.record.tasks.get(task_id)
        return attempts.total if attempts else 0

    def on_stall(self, stall: StallEvent) -> None:
        """Take in a stall; one that is known changes nothing."""
        if stall.event_id in self.record.handled:
            return
        if self.open is None or self.open.event_id != stall.event_id:
            self.open = stall

    def on_release(self, event_id: str, task_id: str) -> None:
        """Take in the end of a stall."""
        was_open = self.open is not None and self.open.event_id == event_id
        call = self.record.call
        called_for = call is not None and call.event_id == event_id
        asked = self.record.asked == event_id
        if was_open:
            self.open = None
        if asked:
            self.record.asked = ''
            self._keep()
        if (was_open or called_for or asked) and self.leads:
            self._tell(Kind.RELEASED, task_id, event_id, 'the stall ended')

    def on_success(self, task_id: str, event_id: str) -> None:
        """Take in a success: the attempts of the task start again at none."""
        record = self.record
        if event_id == record.succeeded:
            return
        record.succeeded = event_id
        tried = record.tasks.pop(task_id, None)
        # A success needs no new baseline, which would take it back.
        record.owed = ''
        record.asked = ''
        if self.open is not None and self.open.task_id == task_id:
            self.open = None
        self._keep()
        if self.leads:
            after = f'after {tried.total if tried else 0} recoveries'
            self._tell(Kind.SUCCEEDED, task_id, event_id, f'the task succeeded: {after}')

    def on_judging(self, trouble: str, task_id: str, watches: bool) -> None:
        """Take in whether the monitor judges.

        :param trouble: why it does not; empty: it does.
        :param watches: whether it watches a task at all, for which trouble is worth a word.
        """
        if not trouble:
            self._told_of_trouble = False
        elif watches and self.leads and not self._told_of_trouble:
            self._told_of_trouble = True
            event_id = self.open.event_id if self.open else ''
            self._tell(Kind.NOT_JUDGED, task_id, event_id, f'nothing is done: {trouble}')
        self.not_judged = trouble

    def forget(self, why: str, task_id: str) -> None:
        """The monitor speaks no longer of the stall that is open, or that a person was asked about.

        :param task_id: what it watches now.
        """
        stall, self.open = self.open, None
        asked = self.record.asked
        if asked:
            self.record.asked = ''
            self._keep()
        event_id = stall.event_id if stall is not None else asked
        if event_id and self.leads:
            task_id = stall.task_id if stall is not None else task_id
            self._tell(Kind.RELEASED, task_id, event_id, why)

    def at(self, now_ns: int, now_s: float) -> None:
        """Set the time: ns of the ROS clock, and s of a steady one."""
        self._now_ns, self._now_s = now_ns, now_s

    def adopt(self, record: Record) -> None:
        """Go on from what another, or an earlier process, has done."""
        self.record = record
        self._running = None
        if self.open is not None and self.open.event_id in record.handled:
            self.open = None

    def merge(self, record: Record) -> None:
        """Learn what another has done that led at the same time."""
        self.record.merge(record)
        if self.open is not None and self.open.event_id in self.record.handled:
            self.open = None

    def watch_call(self) -> bool:
        """Look after the call under way; whether there is one. Asks a person who was not there."""
        self._reach_person()
        call, running = self.record.call, self._running
        if call is None:
            return False
        if running is None:
            self._lost(call, 'the supervisor ended while it was under way')
            return False
        outcome = running.caller.poll()
        waited = self._now_s - running.since_s
        if outcome is not None and not outcome.lost:
            self._finish(call, running, outcome)
            return False
        if outcome is not None:
            self._lost(call, outcome.message)
            return False
        running.was_gone = running.was_gone or not running.caller.ready()
        if waited >= self._limits.abandon_s:
            running.caller.abandon()
            self._lost(call, f'no answer within {waited:.0f} s')
            return False
        late = waited >= self._limits.reply_timeout_s
        if late and running.was_gone:
            # One that was started again meanwhile knows of no request.
            is_gone = 'was gone' if running.caller.ready() else 'is gone'
            running.caller.abandon()
            self._lost(call, f'{running.caller.target} {is_gone} and has not answered')
            return False
        if late and not running.overdue:
            running.overdue = True
            text = f'{running.caller.target} has not answered within {waited:.0f} s'
            self._tell(Kind.OVERDUE, call.task_id, call.event_id, f'{text}; it is awaited')
        return True

    def rule(self) -> Rule | None:
        """The rule for the open stall."""
        return self.policy.rule(self.open.cause, self.open.step) if self.open else None

    def used_up(self, key: str, rung: Rung) -> bool:
        """Whether the rung has nothing left for the open stall's task."""
        assert self.open is not None
        attempts = self.record.tasks.get(self.open.task_id)
        if attempts is None:
            return rung.attempts == 0
        return attempts.rungs.get(key, 0) >= rung.attempts

    def over_budget(self) -> bool:
        """Whether the open stall's task has used up all its recoveries."""
        assert self.open is not None
        attempts = self.record.tasks.get(self.open.task_id)
        return (attempts.total if attempts else 0) >= self.policy.budget

    def wait(self, key: str, rung: Rung) -> bool:
        """Whether the open stall is still to be waited for."""
        assert self.open is not None
        place = (self.open.event_id, key)
        if place not in self._waits:
            self._waits = {old: since for old, since in self._waits.items() if old[0] == place[0]}
            self._waits[place] = self._now_ns
            attempts = self.record.attempts(self.open.task_id)
            attempts.rungs[key] = attempts.rungs.get(key, 0) + 1
            self._keep()
            self._about_open(Kind.WAIT, f'waits {rung.seconds:g} s')
        since_ns = self._waits[place]
        # A clock that went back would otherwise hold the recovery up for as long as it went.
        return since_ns <= self._now_ns < since_ns + _ns(rung.seconds)

    def has_waited(self, key: str) -> bool:
        """Whether the rung has begun to wait for the open stall to end."""
        return self.open is not None and (self.open.event_id, key) in self._waits

    def cooling_down(self, rung: Rung) -> bool:
        """Whether the last recovery is too recent for the next."""
        assert self.open is not None
        attempts = self.record.tasks.get(self.open.task_id)
        if attempts is None or attempts.last_ns is None:
            return False
        return attempts.last_ns <= self._now_ns < attempts.last_ns + _ns(rung.cool_down_s)

    def start(self, key: str, rung: Rung) -> None:
        """Ask for a recovery, once its server is there."""
        stall = self.open
        assert stall is not None
        caller = self._callers[rung.do]
        if not caller.ready():
            if self._missing != (stall.event_id, rung.do):
                self._missing = (stall.event_id, rung.do)
                text = f'{caller.target} is not there; {rung.do} waits for it'
                self._about_open(Kind.NO_SERVER, text, caller.target)
            return
        self._missing = ('', '')
        attempts = self.record.attempts(stall.task_id)
        attempts.rungs[key] = attempts.rungs.get(key, 0) + 1
        attempts.total += 1
        attempts.last_ns = self._now_ns
        self.record.call = Call(stall.task_id, stall.event_id, rung.do)
        self.record.asked = ''
        # What is kept must never know less than what was asked.
        self._keep()
        self._about_open(_STARTS[rung.do], f'asks {caller.target}', caller.target)
        self._running = _Running(caller, self._now_s)
        caller.start(stall)

    def ask_person(self, why: str) -> None:
        """Say that a person is needed; nothing more is done about the open stall."""
        stall = self.open
        assert stall is not None
        self.record.handle(stall.event_id)
        self.record.asked = stall.event_id
        self._keep()
        self._about_open(Kind.ASK_PERSON, why, self._person)
        self.open = None
        self._call_person(stall)

    def acknowledged(self) -> None:
        """The monitor has answered: nothing is owed any more."""
        self.record.owed = ''
        self._keep()

    def _finish(self, call: Call, running: _Running, outcome: Outcome) -> None:
        self._running = self.record.call = None
        if outcome.ok:
            self.record.handle(call.event_id)
            stall = self.open
            # What was found of the same task meanwhile was found in the middle of the recovery.
            if stall is not None and stall.task_id == call.task_id:
                self.record.handle(stall.event_id)
                self.open = None
                self.record.owed = stall.event_id
            elif call.task_id in self.record.tasks:
                self.record.owed = call.event_id
        self._keep()
        replan = call.do == 'replan'
        if outcome.ok:
            kind = Kind.REPLANNED if replan else Kind.DONE
        else:
            kind = Kind.REPLAN_FAILED if replan else Kind.FAILED
        self._tell(kind, call.task_id, call.event_id, outcome.message, running.caller.target)

    def _lost(self, call: Call, why: str) -> None:
        """Nobody knows what became of a call: it is not repeated, and a person is told."""
        self._running = self.record.call = None
        self.record.handle(call.event_id)
        self.record.owed = call.event_id
        self.record.asked = call.event_id
        if self.open is not None and self.open.event_id == call.event_id:
            self.open = None
        self._keep()
        kind = Kind.REPLAN_FAILED if call.do == 'replan' else Kind.FAILED
        self._tell(kind, call.task_id, call.event_id, f'{why}; it is not repeated')
        why = f'{call.do}: {why}'
        self._tell(Kind.ASK_PERSON, call.task_id, call.event_id, why, self._person)
        self._call_person(StallEvent(call.task_id, call.event_id, explanation=why))

    @property
    def _person(self) -> str:
        caller = self._callers.get(ASK_PERSON)
        return caller.target if caller is not None else ''

    def _call_person(self, stall: StallEvent) -> None:
        """Ask by the policy's own way to a person, where it has one."""
        caller = self._callers.get(ASK_PERSON)
        if caller is None:
            return
        self._unasked = stall
        if not caller.ready():
            text = f'{caller.target} is not there; {ASK_PERSON} waits for it'
            self._tell(Kind.NO_SERVER, stall.task_id, stall.event_id, text, caller.target)
        self._reach_person()

    def _reach_person(self) -> None:
        stall = self._unasked
        if stall is None:
            return
        caller = self._callers[ASK_PERSON]
        needed = self.record.asked == stall.event_id
        if needed and not caller.ready():
            return
        self._unasked = None
        if needed:
            caller.start(stall)

    def _keep(self) -> None:
        if self.leads:
            self._save(self.record)

    def _about_open(self, kind: Kind, detail: str, target: str = '') -> None:
        assert self.open is not None
        said = self.open.explanation
        text = f'{said}: {detail}' if said else detail
        self._tell(kind, self.open.task_id, self.open.event_id, text, target)

    def _tell(
        self, kind: Kind, task_id: str, event_id: str, message: str, target: str = ''
    ) -> None:
        attempts = self.record.tasks.get(task_id)
        total = attempts.total if attempts else 0
        self._say(Action(kind, task_id, event_id, total, message, target))


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
