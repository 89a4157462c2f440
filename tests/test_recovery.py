"""The recovery and its tree, without ROS."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from progress_monitor.parameters import build
from progress_monitor.recovery.policy import (
    Policy,
    RecoveryConfig,
    Rule,
    Rung,
    Target,
    from_parameters,
)
from progress_monitor.recovery.record import Record
from progress_monitor.recovery.recovery import Action, Kind, Limits, Outcome, Recovery, StallEvent
from progress_monitor.recovery.tree import make_tree

S = 1_000_000_000


@dataclass
class FakeCaller:
    target: str = '/robot/replan'
    there: bool = True
    started: list[str] = field(default_factory=list)
    outcome: Outcome | None = None
    abandoned: int = 0

    def ready(self) -> bool:
        return self.there

    def start(self, stall: StallEvent) -> None:
        self.started.append(stall.event_id)

    def poll(self) -> Outcome | None:
        outcome, self.outcome = self.outcome, None
        return outcome

    def abandon(self) -> None:
        self.abandoned += 1


class Bench:
    """A recovery with its tree, fake servers and a clock."""

    def __init__(self, policy: Policy | None = None, **values: object) -> None:
        config = build(RecoveryConfig, values)
        self.policy = policy or from_parameters(config, 'replan')
        self.callers = {do: FakeCaller(f'/robot/{do}') for do in self.policy.targets}
        self.said: list[Action] = []
        self.saved: list[str] = []
        self.now = 0.0
        self.recovery = self.make()

    def make(self) -> Recovery:
        self.recovery = Recovery(
            self.policy,
            self.callers,
            self.said.append,
            lambda record: self.saved.append(record.to_json()),
            Limits(30.0, 600.0),
        )
        self.tree = make_tree(self.recovery)
        return self.recovery

    def restart(self) -> None:
        """Another process, which knows what was saved."""
        self.make()
        self.recovery.adopt(Record.from_json(self.saved[-1]))

    @property
    def replan(self) -> FakeCaller:
        return self.callers['replan']

    def tick(self, seconds: float = 0.0, ros_ns: int | None = None) -> list[Kind]:
        self.now += seconds
        self.said.clear()
        self.recovery.at(round(self.now * S) if ros_ns is None else ros_ns, self.now)
        self.tree.tick_once()
        return [action.kind for action in self.said]

    def stall(
        self, event_id: str, task_id: str = 'task', cause: str = 'NO_CHANGE', **more: object
    ) -> list[Kind]:
        self.recovery.on_stall(StallEvent(task_id, event_id, cause, **more))  # type: ignore[arg-type]
        return self.tick()

    def answer(self, ok: bool = True, do: str = 'replan') -> list[Kind]:
        self.callers[do].outcome = Outcome(ok, 'agreed' if ok else 'no way')
        return self.tick()


def test_an_event_is_acted_on_once() -> None:
    bench = Bench()
    assert bench.stall('a') == [Kind.REPLAN]
    assert bench.stall('a') == []
    assert bench.answer() == [Kind.REPLANNED]
    assert bench.recovery.record.owed == 'a'
    assert bench.stall('a') == []
    assert bench.tick(200) == []
    assert bench.replan.started == ['a']


def test_a_second_stall_waits_for_the_cool_down() -> None:
    bench = Bench(cool_down_s=5.0)
    bench.stall('a')
    bench.answer()
    bench.now = 2.0
    assert bench.stall('b') == []
    assert bench.tick(2.0) == []
    assert bench.tick(1.0) == [Kind.REPLAN]


def test_attempts_are_bounded_and_then_a_person_is_asked_once() -> None:
    bench = Bench(max_attempts=4, cool_down_s=0.0)
    for event_id in 'abcd':
        assert bench.stall(event_id) == [Kind.REPLAN]
        bench.answer()
    assert bench.stall('e') == [Kind.ASK_PERSON]
    assert bench.recovery.record.asked == 'e'
    assert bench.stall('e') == []
    bench.said.clear()
    bench.recovery.on_release('e', 'task')
    assert [action.kind for action in bench.said] == [Kind.RELEASED]
    assert not bench.recovery.record.asked


def test_success_starts_the_count_again_and_owes_no_acknowledgement() -> None:
    bench = Bench(max_attempts=1, cool_down_s=0.0)
    bench.stall('a')
    bench.recovery.on_success('task', 's')
    bench.answer()
    assert not bench.recovery.record.owed
    assert bench.stall('b') == [Kind.REPLAN]
    bench.said.clear()
    bench.recovery.on_success('task', 's')
    assert not bench.said


def test_each_task_has_its_own_count_whatever_comes_between() -> None:
    bench = Bench(max_attempts=1, cool_down_s=0.0)
    bench.stall('a')
    bench.answer()
    assert bench.stall('b', 'other') == [Kind.REPLAN]
    bench.answer()
    assert bench.stall('c') == [Kind.ASK_PERSON]


def test_a_refused_replan_is_tried_again_after_the_cool_down_and_bounded() -> None:
    bench = Bench(max_attempts=2, cool_down_s=5.0)
    bench.stall('a')
    assert bench.answer(False) == [Kind.REPLAN_FAILED]
    assert bench.tick(1.0) == []
    assert bench.tick(4.0) == [Kind.REPLAN]
    assert bench.answer(False) == [Kind.REPLAN_FAILED, Kind.ASK_PERSON]


def test_a_stall_that_may_pass_is_waited_for() -> None:
    bench = Bench(wait_s=3.0)
    assert bench.stall('a', wait=True) == [Kind.WAIT]
    assert bench.tick(2.0) == []
    bench.recovery.on_release('a', 'task')
    assert bench.tick(7.0) == []
    bench.stall('b', wait=True)
    assert bench.tick(3.0) == [Kind.REPLAN]


def test_a_clock_that_goes_back_does_not_hold_up_a_recovery() -> None:
    bench = Bench(cool_down_s=5.0, wait_s=5.0)
    bench.recovery.on_stall(StallEvent('task', 'a'))
    bench.tick(ros_ns=1000 * S)
    bench.answer()
    bench.recovery.on_stall(StallEvent('task', 'b', wait=True))
    assert bench.tick(ros_ns=900 * S) == [Kind.WAIT]
    assert bench.tick(ros_ns=0) == [Kind.REPLAN]


def test_an_absent_server_is_waited_for_without_an_attempt() -> None:
    bench = Bench(max_attempts=1)
    bench.replan.there = False
    assert bench.stall('a') == [Kind.NO_SERVER]
    assert bench.tick(60.0) == []
    assert bench.recovery.attempts == 0
    bench.replan.there = True
    assert bench.tick() == [Kind.REPLAN]
    assert bench.said[0].attempt == 1


def test_a_late_call_is_reported_awaited_and_never_repeated() -> None:
    bench = Bench()
    bench.stall('a')
    assert bench.tick(31.0) == [Kind.OVERDUE]
    assert bench.tick(31.0) == []
    assert bench.answer() == [Kind.REPLANNED]
    assert bench.replan.started == ['a']


def test_another_tasks_stall_waits_for_the_call_under_way() -> None:
    bench = Bench(cool_down_s=0.0)
    bench.stall('a')
    assert bench.stall('b', 'other') == []
    assert bench.tick(60.0) == [Kind.OVERDUE]
    assert bench.answer() == [Kind.REPLANNED, Kind.REPLAN]
    assert bench.replan.started == ['a', 'b']


def test_what_is_found_during_a_recovery_is_acknowledged_with_it() -> None:
    bench = Bench(cool_down_s=0.0)
    bench.stall('a')
    bench.stall('b')
    assert bench.answer() == [Kind.REPLANNED]
    assert bench.recovery.record.owed == 'b'
    assert bench.tick(60.0) == []


def test_a_lost_call_asks_a_person_and_frees_the_next() -> None:
    bench = Bench(cool_down_s=0.0)
    bench.stall('a')
    assert bench.tick(601.0) == [Kind.REPLAN_FAILED, Kind.ASK_PERSON]
    assert bench.replan.abandoned == 1
    assert bench.stall('a') == []
    assert bench.stall('b') == [Kind.REPLAN]


@pytest.mark.parametrize('back', [False, True])
def test_a_server_that_dies_during_its_call_is_not_waited_for(back: bool) -> None:
    bench = Bench(cool_down_s=0.0)
    bench.stall('a')
    bench.replan.there = False
    assert bench.tick(29.0) == []
    bench.replan.there = back
    assert bench.tick(1.0) == [Kind.REPLAN_FAILED, Kind.ASK_PERSON]
    assert bench.recovery.record.asked == 'a'
    bench.replan.there = True
    assert bench.stall('b') == [Kind.REPLAN]
    assert not bench.recovery.record.asked


def test_a_goal_that_its_server_has_forgotten_is_lost_and_not_repeated() -> None:
    bench = Bench(cool_down_s=0.0)
    bench.stall('a')
    bench.replan.outcome = Outcome(False, 'it knows nothing of it', lost=True)
    assert bench.tick() == [Kind.REPLAN_FAILED, Kind.ASK_PERSON]
    assert bench.stall('a') == []
    assert bench.stall('b') == [Kind.REPLAN]


def test_a_person_is_asked_in_the_policys_way_as_soon_as_that_is_there() -> None:
    targets = {
        'replan': Target('service', '/robot/replan'),
        'ask_person': Target('topic', '/operator'),
    }
    bench = Bench(Policy((Rule((Rung('replan'),)),), targets, 5))
    operator = bench.callers['ask_person']
    bench.stall('a')
    assert bench.tick(601.0) == [Kind.REPLAN_FAILED, Kind.ASK_PERSON]
    assert bench.said[1].target == '/robot/ask_person'
    assert operator.started == ['a']
    operator.there = False
    assert bench.stall('b') == [Kind.ASK_PERSON, Kind.NO_SERVER]
    assert bench.tick() == []
    assert operator.started == ['a']
    operator.there = True
    bench.tick()
    bench.tick()
    assert operator.started == ['a', 'b']
    operator.there = False
    bench.stall('c')
    bench.recovery.on_release('c', 'task')
    operator.there = True
    bench.tick()
    assert operator.started == ['a', 'b']


def test_a_restart_during_a_call_does_not_repeat_it() -> None:
    bench = Bench(cool_down_s=0.0)
    bench.stall('a')
    bench.restart()
    assert bench.stall('a') == [Kind.REPLAN_FAILED, Kind.ASK_PERSON]
    assert bench.recovery.record.owed == 'a'
    assert bench.replan.started == ['a']
    assert bench.stall('b') == [Kind.REPLAN]
    assert bench.said[0].attempt == 2


def test_nothing_is_done_by_one_that_stands_by() -> None:
    bench = Bench()
    bench.recovery.leads = False
    assert bench.stall('a') == []
    assert not bench.saved
    bench.recovery.leads = True
    assert bench.tick() == [Kind.REPLAN]


def test_what_another_leader_did_is_not_done_again() -> None:
    bench = Bench(max_attempts=1)
    other = Record(handled=['a'])
    other.attempts('task').total = 1
    other.attempts('task').rungs['0.1'] = 1
    bench.recovery.leads = False
    bench.stall('a')
    bench.recovery.leads = True
    bench.recovery.merge(other)
    assert bench.tick() == []
    assert bench.stall('b') == [Kind.ASK_PERSON]


def test_a_blind_monitor_is_reported_and_not_acted_on() -> None:
    bench = Bench()
    bench.recovery.leads = False
    bench.recovery.on_judging('the monitor sees nothing new', 'task', True)
    assert not bench.said
    bench.recovery.leads = True
    for _ in range(3):
        bench.recovery.on_judging('the monitor sees nothing new', 'task', True)
    assert [action.kind for action in bench.said] == [Kind.NOT_JUDGED]
    assert bench.stall('a') == []
    bench.recovery.on_judging('', 'task', True)
    assert bench.tick() == [Kind.REPLAN]


LADDER = Policy(
    (
        Rule((Rung('home'),), cause='REGRESSION', step='*drawer*'),
        Rule((Rung('wait', seconds=2.0), Rung('retry', 2), Rung('replan'), Rung('ask_person'))),
    ),
    {do: Target('service', do) for do in ('retry', 'replan', 'home')},
    budget=10,
)


def test_a_ladder_is_climbed_in_order() -> None:
    bench = Bench(LADDER)
    assert bench.stall('a') == [Kind.WAIT]
    assert bench.tick(2.0) == [Kind.RETRY]
    assert bench.answer(do='retry') == [Kind.DONE]
    assert bench.stall('b') == [Kind.RETRY]
    assert bench.answer(False, 'retry') == [Kind.FAILED, Kind.REPLAN]
    assert bench.answer() == [Kind.REPLANNED]
    assert bench.stall('c') == [Kind.ASK_PERSON]


def test_cause_and_step_choose_the_ladder() -> None:
    bench = Bench(LADDER)
    assert bench.stall('a', cause='REGRESSION', step='Open the Drawer.') == [Kind.HOME]
    assert bench.answer(do='home') == [Kind.DONE]
    assert bench.stall('b', cause='REGRESSION', step='Open the Drawer.') == [Kind.ASK_PERSON]
    assert bench.stall('c', cause='SOMETHING_NEW', step='Open the Drawer.') == [Kind.WAIT]


def test_the_budget_of_a_task_bounds_all_rungs() -> None:
    bench = Bench(Policy(LADDER.rules[1:], LADDER.targets, budget=1))
    bench.stall('a')
    bench.tick(2.0)
    bench.answer(do='retry')
    assert bench.stall('b') == [Kind.ASK_PERSON]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 20),
            st.sampled_from(['stall', 'release', 'tick', 'ok', 'fail', 'restart', 'absent']),
            st.sampled_from('abc'),
        ),
        max_size=60,
    )
)
def test_replans_never_exceed_their_bound_nor_overlap(
    steps: list[tuple[int, str, str]],
) -> None:
    bench = Bench(max_attempts=3, cool_down_s=5.0)
    replans, running = 0, False
    last: float | None = None
    for delay, what, event_id in steps:
        if what == 'stall':
            bench.recovery.on_stall(StallEvent('task', event_id))
        elif what == 'release':
            bench.recovery.on_release(event_id, 'task')
        elif what in ('ok', 'fail') and running:
            bench.replan.outcome = Outcome(what == 'ok', '')
            running = False
        elif what == 'absent':
            bench.replan.there = not bench.replan.there
        elif what == 'restart' and bench.saved:
            bench.restart()
            running = False
        before = len(bench.replan.started)
        for kind in bench.tick(delay):
            if kind is Kind.REPLAN:
                assert not running
                assert last is None or bench.now - last >= 5
                replans, running, last = replans + 1, True, bench.now
        assert len(bench.replan.started) - before <= 1
    assert replans <= 3
