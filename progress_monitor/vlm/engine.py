"""What a backend asks: something that answers prompts one at a time. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from progress_monitor.types import Capabilities, Generated, Request, Scored
from progress_monitor.vlm.checkpoint import check_architecture, checkpoint_folder
from progress_monitor.vlm.config import ModelConfig


@dataclass(frozen=True)
class EngineInfo:
    """What was loaded. ``notes`` are lines for the log."""

    model: str
    quantization: str
    device: str
    notes: tuple[str, ...] = ()


class Engine(Protocol):
    """Answers prompts one at a time, blocking; decoding ends at ``time_limit_s``."""

    @property
    def info(self) -> EngineInfo: ...

    def answer(self, request: Request, time_limit_s: float) -> Generated | Scored: ...

    def capabilities(self) -> Capabilities: ...

    def memory_mb(self) -> float: ...


def load_engine(config: ModelConfig) -> Engine:
    """Load the model that ``config`` names.

    :raises VLMError: if it cannot be loaded or run.
    """
    check_architecture(checkpoint_folder(config.path))
    # A wrong path is told before torch is imported, which takes seconds.
    from progress_monitor.vlm.model_engine import ModelEngine

    return ModelEngine(config)
