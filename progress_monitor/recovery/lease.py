"""Which of several supervisors of one monitor leads."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass

# Supervisors that start together need so long to find each other.
ELECTION_S = 2.0
# A supervisor that was not heard for so long is gone.
LEASE_S = 3.0


def new_instance() -> str:
    """A name for this process; of two, the older process has the smaller one."""
    return f'{time.time_ns():020d}-{uuid.uuid4().hex[:8]}'


@dataclass
class _Peer:
    leads: bool
    heard_s: float


class Election:
    """One leads: the one that does, or else the smallest instance. Times are of a steady clock.

    A smaller one that does not lead after a while cannot: another on its machine holds the lock.

    The lock of the record decides among the supervisors of one machine; this decides among
    machines, and keeps the peace while a lock is not to be had.
    """

    def __init__(self, instance: str, now_s: float) -> None:
        self.instance = instance
        self.leads = False
        self._since_s = now_s
        self._free_s = now_s
        self._peers: dict[str, _Peer] = {}

    def hear(self, instance: str, leads: bool, now_s: float) -> None:
        """Take in what another supervisor says of itself."""
        if instance != self.instance:
            self._peers[instance] = _Peer(leads, now_s)

    def decide(self, now_s: float, may_lead: bool) -> bool:
        """Whether this one leads now. ``may_lead``: it holds the lock of the record."""
        self._peers = {
            name: peer for name, peer in self._peers.items() if now_s - peer.heard_s < LEASE_S
        }
        leaders = [name for name, peer in self._peers.items() if peer.leads]
        if leaders or not may_lead:
            self._free_s = now_s
        if self.leads:
            self.leads = may_lead and not any(name < self.instance for name in leaders)
        elif leaders or not may_lead or now_s - self._since_s < ELECTION_S:
            return False
        else:
            waited = now_s - self._free_s >= ELECTION_S + LEASE_S
            self.leads = waited or all(self.instance < name for name in self._peers)
        return self.leads

    @property
    def leader(self) -> str:
        """The instance that leads, as far as is known; empty: none."""
        if self.leads:
            return self.instance
        return min((name for name, peer in self._peers.items() if peer.leads), default='')
