"""The supervisor as a behaviour tree. Its memory is the record, so that any process can go on.

::

    supervisor (selector)
        stand by            another one leads
        call under way      is never overtaken by another
        nothing to do       no stall is open
        not judged          the monitor is blind, and its last word is old
        ladder of each rule (sequence: the rule fits; selector: its rungs in order)
        ask a person        no rung is left
"""

from __future__ import annotations

from py_trees.behaviour import Behaviour
from py_trees.common import Status
from py_trees.composites import Selector, Sequence

from progress_monitor.recovery.policy import ASK_PERSON, WAIT, Rule, Rung
from progress_monitor.recovery.recovery import Recovery


def make_tree(recovery: Recovery) -> Selector:
    """The tree of a policy; tick it regularly."""
    root = Selector('supervisor', memory=False)
    root.add_children(
        [StandBy(recovery), CallUnderWay(recovery), NothingToDo(recovery), NotJudged(recovery)]
    )
    for number, rule in enumerate(recovery.policy.rules):
        ladder = Selector(f'ladder {number}', memory=False)
        ladder.add_children(
            [
                RungBehaviour(recovery, rung, f'{number}.{place}')
                for place, rung in enumerate(rule.ladder)
            ]
        )
        fitting = Sequence(f'rule {number}', memory=False)
        fitting.add_children([Fits(recovery, rule), ladder])
        root.add_child(fitting)
    root.add_child(AskPerson(recovery))
    return root


class _Part(Behaviour):
    def __init__(self, name: str, recovery: Recovery) -> None:
        super().__init__(name)
        self.recovery = recovery


class StandBy(_Part):
    """SUCCESS while another supervisor leads."""

    def __init__(self, recovery: Recovery) -> None:
        super().__init__('stand by', recovery)

    def update(self) -> Status:
        return Status.FAILURE if self.recovery.leads else Status.SUCCESS


class CallUnderWay(_Part):
    """RUNNING until the robot has answered what it was asked, for this stall or another."""

    def __init__(self, recovery: Recovery) -> None:
        super().__init__('call under way', recovery)

    def update(self) -> Status:
        return Status.RUNNING if self.recovery.watch_call() else Status.FAILURE


class NothingToDo(_Part):
    """SUCCESS while no stall is open."""

    def __init__(self, recovery: Recovery) -> None:
        super().__init__('nothing to do', recovery)

    def update(self) -> Status:
        return Status.SUCCESS if self.recovery.open is None else Status.FAILURE


class NotJudged(_Part):
    """RUNNING while the monitor does not judge."""

    def __init__(self, recovery: Recovery) -> None:
        super().__init__('not judged', recovery)

    def update(self) -> Status:
        self.feedback_message = self.recovery.not_judged
        return Status.RUNNING if self.recovery.not_judged else Status.FAILURE


class Fits(_Part):
    """SUCCESS if the rule is the first that fits the open stall."""

    def __init__(self, recovery: Recovery, rule: Rule) -> None:
        super().__init__(f'fits {rule.cause or "any cause"}, {rule.step}', recovery)
        self._rule = rule

    def update(self) -> Status:
        return Status.SUCCESS if self.recovery.rule() is self._rule else Status.FAILURE


class RungBehaviour(_Part):
    """One rung: FAILURE once it is used up, RUNNING while it waits, cools down or has asked."""

    def __init__(self, recovery: Recovery, rung: Rung, key: str) -> None:
        super().__init__(rung.do, recovery)
        self._rung = rung
        self._key = key

    def update(self) -> Status:
        recovery, rung = self.recovery, self._rung
        if rung.do == ASK_PERSON:
            return Status.FAILURE
        if rung.do == WAIT:
            return self._wait()
        if recovery.used_up(self._key, rung) or recovery.over_budget():
            return Status.FAILURE
        if not recovery.cooling_down(rung):
            recovery.start(self._key, rung)
        return Status.RUNNING

    def _wait(self) -> Status:
        recovery, rung = self.recovery, self._rung
        stall = recovery.open
        if rung.when_hinted and stall is not None and not stall.wait:
            return Status.FAILURE
        if recovery.used_up(self._key, rung) and not recovery.has_waited(self._key):
            return Status.FAILURE
        return Status.RUNNING if recovery.wait(self._key, rung) else Status.FAILURE


class AskPerson(_Part):
    """The end of every ladder: SUCCESS once a person is asked."""

    def __init__(self, recovery: Recovery) -> None:
        super().__init__('ask a person', recovery)

    def update(self) -> Status:
        self.recovery.ask_person(
            f'nothing is left to try after {self.recovery.attempts} recoveries'
        )
        return Status.SUCCESS
