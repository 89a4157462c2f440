"""Any known architecture through transformers' own forward: what the tuned paths must equal."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.cache_utils import Cache, CacheLayerMixin

from progress_monitor.vlm.architectures.base import Architecture
from progress_monitor.vlm.cache import BufferLayer, PrefixCache, VisionFeatures
from progress_monitor.vlm.loading import VLM
from progress_monitor.vlm.text import TextTower, base_model


def plain(vlm: VLM) -> Architecture:
    """The plain path of a Qwen-VL checkpoint: slower, and free of assumptions on its layers."""
    kind = vlm.model.config.model_type
    clips = kind == 'qwen3_vl'
    return Architecture(kind, 'plain', PlainVision(vlm), PlainText(vlm.model), clips)


class PlainVision:
    """The vision model's own forward, one image at a time."""

    def __init__(self, vlm: VLM) -> None:
        self._tower = base_model(vlm.model).model.visual
        self._format = vlm.images
        self._device = vlm.device
        self._dtype = vlm.dtype

    def encode(self, *images: NDArray[np.uint8]) -> VisionFeatures:
        """Features of one image (height, width, 3) uint8 RGB, or of the two that a video merges.

        :raises ValueError: if its size does not suit the model.
        """
        grid = self._format.grid(images[0])
        pixels = torch.from_numpy(self._format.picture(*images))
        seen = self._tower(
            pixels.to(self._device, self._dtype),
            grid_thw=torch.tensor([(1, *grid)], device=self._device),
        )
        deepstack = getattr(seen, 'deepstack_features', None) or ()
        return VisionFeatures(grid, seen.pooler_output, tuple(deepstack))


class PlainText(TextTower):
    """The language model's own forward over the decoder's key-value buffers."""

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
        """Last hidden states (wanted, hidden); see ``TextModel.forward``."""
        past, new = cache.length, embeddings.shape[1]
        if mask is None:
            mask = torch.ones(
                (1, 1, new, past + new), dtype=torch.bool, device=embeddings.device
            ).tril(past)
        pictures: dict[str, Any] = {}
        if deepstack:
            marked = torch.zeros((1, new), dtype=torch.bool, device=embeddings.device)
            marked[0, image_rows] = True
            pictures = {'visual_pos_masks': marked, 'deepstack_visual_embeds': list(deepstack)}
        hidden: torch.Tensor = self._text(
            inputs_embeds=embeddings,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=Cache(layers=[_Layer(layer) for layer in cache.layers]),
            use_cache=True,
            **pictures,
        ).last_hidden_state
        return hidden[0, -wanted:]


class _Layer(CacheLayerMixin):  # type: ignore[misc]
    """One layer's buffers as a cache of transformers."""

    def __init__(self, layer: BufferLayer) -> None:
        super().__init__()
        self._layer = layer
        self.is_initialized = True

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Buffers come to be at their first update."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append the states; all of them."""
        return self._layer.update(key_states, value_states)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length of keys, and their offset."""
        return self._layer.length + query_length, 0

    def get_seq_length(self) -> int:
        """Tokens held."""
        return self._layer.length

    def get_max_length(self) -> int:
        """No maximum."""
        return -1
