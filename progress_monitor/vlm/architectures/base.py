"""What an architecture offers the decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from progress_monitor.vlm.cache import PrefixCache, VisionFeatures


class VisionModel(Protocol):
    """Encodes pictures one by one."""

    def encode(self, *images: NDArray[np.uint8]) -> VisionFeatures:
        """Features of one image (height, width, 3) uint8 RGB, or of the two that a video merges.

        :raises ValueError: if their size does not suit the model.
        """
        ...


class TextModel(Protocol):
    """Embedding, decoder layers and output head."""

    @property
    def layers(self) -> int:
        """Number of decoder layers."""
        ...

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Embeddings (1, n, hidden) of token ids (1, n)."""
        ...

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits (rows, vocabulary) of hidden states (rows, hidden)."""
        ...

    def forward(
        self,
        embeddings: torch.Tensor,
        positions: torch.Tensor,
        cache: PrefixCache,
        mask: torch.Tensor | None,
        wanted: int,
        image_rows: torch.Tensor | None = None,
        deepstack: tuple[torch.Tensor, ...] = (),
    ) -> torch.Tensor:
        """Last hidden states (wanted, hidden) of ``embeddings`` (1, n, hidden).

        ``cache`` grows by all n. ``positions`` is (3, 1, n) int64; ``mask`` (1, 1, n, past + n)
        is true where a row may look, and None stands for a causal mask without a past, or for a
        single row. ``deepstack`` holds features to be added at ``image_rows`` after each of the
        first layers.
        """
        ...


@dataclass(frozen=True)
class Architecture:
    """One architecture's ways of seeing and reading: ``path`` is ``tuned`` or ``plain``.

    ``clips`` says whether clips can be shown: whether ``pictures.laid_out`` is how it reads them.
    """

    name: str
    path: str
    vision: VisionModel
    text: TextModel
    clips: bool = False
