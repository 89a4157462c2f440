"""A backend whose answers take their time on the clock of an episode."""

from __future__ import annotations

import dataclasses
from collections import deque

from progress_monitor.types import (
    Backend,
    BackendState,
    BackendStatus,
    Capabilities,
    Completion,
    Request,
)


class PacedBackend:
    """Hands out what ``backend`` answers ``answer_s`` after it was asked, by ``now_ns``."""

    def __init__(self, backend: Backend, answer_s: float) -> None:
        self._backend = backend
        self._answer_ns = round(answer_s * 1e9)
        self._due: deque[tuple[int, Completion]] = deque()
        self.now_ns = 0

    def capabilities(self) -> Capabilities | None:
        return self._backend.capabilities()

    def status(self) -> BackendStatus:
        state = BackendState.BUSY if self._due else BackendState.READY
        return dataclasses.replace(self._backend.status(), state=state)

    def submit(self, request: Request) -> None:
        self._backend.submit(request)
        starts_ns = max(self._due[-1][0] if self._due else 0, self.now_ns)
        while (completion := self._backend.poll()) is not None:
            self._due.append((starts_ns + self._answer_ns, completion))

    def poll(self) -> Completion | None:
        if self._due and self._due[0][0] <= self.now_ns:
            return self._due.popleft()[1]
        return None

    def cancel(self, request_id: int) -> None:
        self._due = deque(item for item in self._due if item[1].request_id != request_id)

    def close(self) -> None:
        self._backend.close()
