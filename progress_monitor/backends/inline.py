"""A backend in this process, for offline tools: ``submit`` returns when the answer is there."""

from __future__ import annotations

from progress_monitor.types import BackendState, BackendStatus, Completion, Prompt
from progress_monitor.vlm.config import ModelConfig
from progress_monitor.vlm.engine import Engine, load_engine


class InlineBackend:
    """Answers prompts synchronously, so that a run is the same every time.

    There is no deadline: an offline tool waits for its answers.
    """

    def __init__(self, config: ModelConfig, engine: Engine | None = None) -> None:
        """Load the model now, unless an ``engine`` is given.

        :raises VLMError: if it cannot be loaded.
        """
        if engine is None:
            engine = load_engine(config)
        self._engine: Engine | None = engine
        self._completion: Completion | None = None

    def status(self) -> BackendStatus:
        """READY until closed."""
        if self._engine is None:
            return BackendStatus(BackendState.STOPPED)
        info = self._engine.info
        return BackendStatus(
            BackendState.READY,
            message='; '.join(info.notes),
            model=info.model,
            quantization=info.quantization,
            device=info.device,
            memory_mb=self._engine.memory_mb(),
        )

    def submit(self, prompt: Prompt) -> None:
        """Answer ``prompt``. A failure is reported by ``poll``.

        :raises RuntimeError: if closed, or if the last completion has not been taken.
        """
        if self._engine is None or self._completion is not None:
            raise RuntimeError('the backend is closed, or its last answer was not taken')
        try:
            self._completion = Completion(self._engine.answer(prompt, float('inf')))
        except (RuntimeError, ValueError) as error:
            self._completion = Completion(None, str(error))

    def poll(self) -> Completion | None:
        """The completion of the last prompt, once."""
        completion, self._completion = self._completion, None
        return completion

    def close(self) -> None:
        """Drop the model."""
        self._engine = None
