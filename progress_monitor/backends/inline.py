"""A backend in this process, for offline tools: ``submit`` returns when the answer is there."""

from __future__ import annotations

import math
from dataclasses import replace

from progress_monitor.types import (
    BackendState,
    BackendStatus,
    Capabilities,
    Completion,
    Failure,
    Request,
)
from progress_monitor.vlm.config import ModelConfig
from progress_monitor.vlm.engine import Engine, load_engine
from progress_monitor.vlm.errors import RequestRefused


class InlineBackend:
    """Answers requests synchronously, so that a run is the same every time.

    There is no deadline: an offline tool waits for its answers.
    """

    def __init__(self, config: ModelConfig, engine: Engine | None = None) -> None:
        """Load the model now, unless an ``engine`` is given.

        :raises VLMError: if it cannot be loaded.
        """
        if engine is None:
            # Nobody waits, so no machine is too slow.
            engine = load_engine(replace(config, deadline_s=math.inf))
        self._engine: Engine | None = engine
        self._completions: list[Completion] = []

    def capabilities(self) -> Capabilities | None:
        """What the model can do; None once closed."""
        return self._engine.capabilities() if self._engine is not None else None

    def status(self) -> BackendStatus:
        """READY until closed."""
        if self._engine is None:
            return BackendStatus(BackendState.STOPPED)
        info = self._engine.info
        return BackendStatus(
            BackendState.READY,
            message='; '.join(info.notes),
            model=info.model,
            revision=info.revision,
            quantization=info.quantization,
            device=info.device,
            memory_mb=self._engine.memory_mb(),
        )

    def submit(self, request: Request) -> None:
        """Answer ``request``. A failure is reported by ``poll``.

        :raises RuntimeError: if closed.
        """
        if self._engine is None:
            raise RuntimeError('the backend is closed')
        try:
            answer = self._engine.answer(request, math.inf)
            self._completions.append(Completion(request.id, answer))
        except RequestRefused as error:
            self._completions.append(Completion(request.id, None, Failure.REFUSED, str(error)))
        except (RuntimeError, ValueError) as error:
            self._completions.append(Completion(request.id, None, Failure.LOST, str(error)))

    def poll(self) -> Completion | None:
        """The next completion, once."""
        return self._completions.pop(0) if self._completions else None

    def cancel(self, request_id: int) -> None:
        """Drop the completion of a request, if it has not been taken."""
        self._completions = [item for item in self._completions if item.request_id != request_id]

    def close(self) -> None:
        """Drop the model."""
        self._engine = None
