"""A backend that keeps count of what the model could not answer."""

from __future__ import annotations

from progress_monitor.types import Backend, BackendStatus, Capabilities, Completion, Request


class CountedBackend:
    """Passes everything on to ``backend``. ``failures`` counts requests that came to nothing, and
    ``reason`` says of the last one why.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.failures = 0
        self.reason = ''

    def capabilities(self) -> Capabilities | None:
        return self._backend.capabilities()

    def status(self) -> BackendStatus:
        return self._backend.status()

    def submit(self, request: Request) -> None:
        self._backend.submit(request)

    def poll(self) -> Completion | None:
        completion = self._backend.poll()
        if completion is not None and completion.answer is None:
            self.failures += 1
            self.reason = completion.message or str(completion.failure)
        return completion

    def cancel(self, request_id: int) -> None:
        self._backend.cancel(request_id)

    def close(self) -> None:
        self._backend.close()
