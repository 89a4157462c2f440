"""ROS domains that nobody else on this machine uses."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator

_BASE_PORT, _PORTS_PER_DOMAIN, _FIRST_UNICAST, _PARTICIPANTS = 7400, 250, 10, 32
# Above 101 the ports of a domain run into those that Linux gives to outgoing connections.
_DOMAINS = range(1, 102)


class NoDomainError(RuntimeError):
    """Every ROS domain of this machine is taken."""


@contextlib.contextmanager
def own_domain() -> Iterator[int]:
    """A ROS domain that is this process's own until the context is left.

    :raises NoDomainError: if every domain is taken.
    """
    for domain in random.SystemRandom().sample(_DOMAINS, len(_DOMAINS)):
        # A domain shows in its ports only once a node has started in it. Until then a name in the
        # abstract namespace keeps others off; it leaves no file and ends with the process.
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as claim:
            try:
                claim.bind(f'\0progress_monitor.domain.{domain}')
            except OSError:
                continue
            if _silent(domain):
                yield domain
                return
    raise NoDomainError('No ROS domain is free on this machine; stop other ROS systems.')


def _silent(domain: int) -> bool:
    """Whether no participant listens in the domain."""
    first = _BASE_PORT + _PORTS_PER_DOMAIN * domain + _FIRST_UNICAST
    for port in range(first, first + 2 * _PARTICIPANTS, 2):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(('', port))
            except OSError:
                return False
    return True
