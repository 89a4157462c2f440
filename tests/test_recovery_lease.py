"""Which of several supervisors leads."""

from __future__ import annotations

from progress_monitor.recovery.lease import ELECTION_S, LEASE_S, Election


def test_one_of_several_leads_and_another_takes_over() -> None:
    old, young = Election('1', 0.0), Election('2', 0.0)
    assert not old.decide(0.0, True)
    now = ELECTION_S
    old.hear('2', False, now)
    young.hear('1', False, now)
    assert not young.decide(now, True)
    assert old.decide(now, True)
    young.hear('1', True, now)
    assert not young.decide(now + LEASE_S - 0.1, True)
    assert young.leader == '1'
    assert young.decide(now + LEASE_S, True)
    returned = Election('0', now + LEASE_S)
    returned.hear('2', True, now + LEASE_S + ELECTION_S)
    assert not returned.decide(now + LEASE_S + ELECTION_S, True)


def test_of_two_leaders_the_older_stays_and_without_the_lock_none_leads() -> None:
    old, young = Election('1', 0.0), Election('2', 0.0)
    now = ELECTION_S
    assert old.decide(now, True) and young.decide(now, True)
    old.hear('2', True, now)
    young.hear('1', True, now)
    assert old.decide(now, True)
    assert not young.decide(now, True)
    assert not Election('3', 0.0).decide(now, False)


def test_who_holds_the_lock_leads_though_an_older_one_waits_for_it() -> None:
    old, young = Election('1', 0.0), Election('2', 0.0)
    end = ELECTION_S + LEASE_S
    for tenth in range(round(10 * end) + 1):
        now = tenth / 10
        old.hear('2', young.leads, now)
        young.hear('1', old.leads, now)
        assert not old.decide(now, False)
        assert young.decide(now, True) == (now >= end)
