"""What a backend asks: something that answers requests one at a time. Imports no torch."""

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
    revision: str = ''


class Engine(Protocol):
    """Answers requests one at a time, blocking; decoding ends at ``time_limit_s``.

    ``answer`` raises ``RequestRefused`` where this request cannot be answered and the engine is as
    usable as before, and ``VLMError`` where the model itself fails.
    """

    @property
    def info(self) -> EngineInfo: ...

    def capabilities(self) -> Capabilities: ...

    def answer(self, request: Request, time_limit_s: float) -> Generated | Scored: ...

    def memory_mb(self) -> float: ...


def load_engine(config: ModelConfig, min_images: int = 5, max_images: int = 17) -> Engine:
    """Load the model that ``config`` names.

    ``min_images`` new frames must be answered within four fifths of ``config.deadline_s``
    (infinite where nobody waits), and CUDA graphs hold ``max_images``.

    :raises VLMError: if it cannot be loaded or run, or is too slow for the deadline.
    """
    check_architecture(checkpoint_folder(config.path, config.revision))
    # A wrong path is told before torch is imported, which takes seconds.
    from progress_monitor.vlm.model_engine import ModelEngine

    return ModelEngine(config, min_images, max_images)
