"""ROS domains of one's own on a machine that others use too."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys

import pytest

from progress_monitor_lab import domains
from progress_monitor_lab.domains import NoDomainError, own_domain

TAKE = f"""
import sys
sys.path[:0] = {sys.path}
from progress_monitor_lab import domains
domains._DOMAINS = [int(item) for item in sys.argv[1:]]
with domains.own_domain() as domain:
    print(domain)
    sys.stdout.flush()
    sys.stdin.read()
"""


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Two domains that nobody uses, as if there were no others."""
    with contextlib.ExitStack() as stack:
        free = [stack.enter_context(own_domain()) for _ in range(2)]
    monkeypatch.setattr(domains, '_DOMAINS', free)
    return free


def test_a_domain_is_nobody_elses_before_any_node_has_started(two: list[int]) -> None:
    with subprocess.Popen(
        [sys.executable, '-c', TAKE, *map(str, two)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        taken = int(other.stdout.readline())
        with own_domain() as mine:
            assert {mine, taken} == set(two)
            with pytest.raises(NoDomainError), own_domain():
                pass
        other.kill()
    with own_domain(), own_domain():
        pass


@pytest.mark.parametrize('participant', [0, 5])
def test_a_domain_with_a_node_is_passed_over(two: list[int], participant: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as node:
        node.bind(('127.0.0.1', 7400 + 250 * two[0] + 10 + 2 * participant))
        with own_domain() as mine:
            assert mine == two[1]
