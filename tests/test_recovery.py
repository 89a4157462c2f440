"""The recovery policy, without ROS."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from progress_monitor.parameters import build
from progress_monitor.recovery import Action, Kind, RecoveryConfig, RecoveryPolicy
from progress_monitor.types import RecoveryHint

S = 1_000_000_000


def policy(**values: object) -> RecoveryPolicy:
    return RecoveryPolicy(build(RecoveryConfig, values))


def stall(
    target: RecoveryPolicy,
    now_ns: int,
    event_id: str,
    *,
    stalled: bool = True,
    hint: RecoveryHint = RecoveryHint.REPLAN,
    task_id: str = 'task',
) -> list[Action]:
    return target.on_stall(
        now_ns,
        task_id=task_id,
        event_id=event_id,
        stalled=stalled,
        hint=hint,
        explanation='it hangs',
    )


def kinds(actions: list[Action]) -> list[Kind]:
    return [action.kind for action in actions]


def test_an_event_is_replanned_for_once() -> None:
    target = policy()
    assert kinds(stall(target, 0, 'a')) == [Kind.REPLAN]
    assert stall(target, S, 'a') == []
    assert kinds(target.replanned(True, '')) == [Kind.REPLANNED]
    assert stall(target, 100 * S, 'a') == []
    assert target.due(200 * S) == []


def test_a_second_stall_waits_for_the_cool_down() -> None:
    target = policy(cool_down_s=5.0)
    stall(target, 0, 'a')
    target.replanned(True, '')
    stall(target, S, 'a', stalled=False)
    assert stall(target, 2 * S, 'b') == []
    assert target.due(4 * S) == []
    assert kinds(target.due(5 * S)) == [Kind.REPLAN]


def test_attempts_are_bounded_and_then_a_person_is_asked_once() -> None:
    target = policy(max_attempts=2, cool_down_s=0.0)
    for number, event_id in enumerate('ab'):
        assert kinds(stall(target, number * S, event_id)) == [Kind.REPLAN]
        target.replanned(True, '')
    assert kinds(stall(target, 5 * S, 'c')) == [Kind.ASK_PERSON]
    assert target.needs_person
    assert stall(target, 6 * S, 'c') == []
    assert target.due(7 * S) == []
    assert kinds(stall(target, 8 * S, 'c', stalled=False)) == [Kind.RELEASED]
    assert not target.needs_person


def test_success_starts_the_count_again() -> None:
    target = policy(max_attempts=1, cool_down_s=0.0)
    stall(target, 0, 'a')
    target.replanned(True, '')
    done = target.on_success(task_id='task', event_id='s', succeeded=True)
    assert kinds(done) == [Kind.SUCCEEDED]
    assert target.on_success(task_id='task', event_id='s', succeeded=True) == []
    assert kinds(stall(target, S, 'b')) == [Kind.REPLAN]


def test_another_task_starts_the_count_again() -> None:
    target = policy(max_attempts=1, cool_down_s=0.0)
    stall(target, 0, 'a')
    target.replanned(True, '')
    assert kinds(stall(target, S, 'b', task_id='other')) == [Kind.REPLAN]


def test_a_failed_replan_is_tried_again_after_the_cool_down_and_bounded() -> None:
    target = policy(max_attempts=2, cool_down_s=5.0)
    stall(target, 0, 'a')
    assert kinds(target.replanned(False, 'no service')) == [Kind.REPLAN_FAILED]
    assert target.due(S) == []
    assert kinds(target.due(5 * S)) == [Kind.REPLAN]
    target.replanned(False, 'no service')
    assert kinds(target.due(10 * S)) == [Kind.ASK_PERSON]


def test_a_stall_that_may_pass_is_waited_for() -> None:
    target = policy(wait_s=3.0)
    assert kinds(stall(target, 0, 'a', hint=RecoveryHint.WAIT)) == [Kind.WAIT]
    assert target.due(2 * S) == []
    assert kinds(stall(target, 2 * S, 'a', stalled=False)) == [Kind.RELEASED]
    assert target.due(9 * S) == []
    stall(target, 10 * S, 'b', hint=RecoveryHint.WAIT)
    assert kinds(target.due(13 * S)) == [Kind.REPLAN]


def test_a_hint_to_ask_is_followed_at_once() -> None:
    assert kinds(stall(policy(), 0, 'a', hint=RecoveryHint.ASK_PERSON)) == [Kind.ASK_PERSON]


def test_a_clock_that_goes_back_does_not_hold_up_a_recovery() -> None:
    target = policy(cool_down_s=5.0)
    stall(target, 1000 * S, 'a')
    target.replanned(True, '')
    assert kinds(stall(target, 0, 'b')) == [Kind.REPLAN]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.integers(0, 20),
            st.sampled_from(['stall', 'release', 'due', 'ok', 'fail']),
            st.sampled_from('abc'),
        ),
        max_size=60,
    )
)
def test_replans_never_exceed_their_bound_nor_overlap(
    steps: list[tuple[int, str, str]],
) -> None:
    target = policy(max_attempts=3, cool_down_s=5.0)
    now, replans, running = 0, 0, False
    last: int | None = None
    for delay, what, event_id in steps:
        now += delay * S
        if what == 'stall':
            actions = stall(target, now, event_id)
        elif what == 'release':
            actions = stall(target, now, event_id, stalled=False)
        elif what == 'due':
            actions = target.due(now)
        else:
            actions = target.replanned(what == 'ok', '')
            running = False
        for action in actions:
            if action.kind is Kind.REPLAN:
                assert not running
                assert last is None or now - last >= 5 * S
                replans, running, last = replans + 1, True, now
    assert replans <= 3
