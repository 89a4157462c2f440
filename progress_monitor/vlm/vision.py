"""The vision tower of Qwen3-VL, run once per frame, and what others share with it.

The modules are transformers' (``Qwen3VLVisionModel``); the loop over its blocks is our own, because
their general forward spends a third of a small tower's time on what one image does not need.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb_vision
from transformers.vision_utils import (
    get_vision_interpolation_indices_and_weights,
    get_vision_position_ids,
)

from progress_monitor.vlm.cache import VisionFeatures
from progress_monitor.vlm.loading import VLM
from progress_monitor.vlm.text import base_model

_REMEMBERED_SIZES = 8


@dataclass(frozen=True, eq=False)
class _Geometry:
    """What follows from an image's size: position embedding and rotation."""

    embedding: torch.Tensor
    rotation: tuple[torch.Tensor, torch.Tensor]


class VisionEncoder:
    """Encodes images one by one; what depends on their size alone is computed once.

    In image mode every image is an attention segment of its own, so its features do not depend
    on the images beside it.
    """

    def __init__(self, vlm: VLM) -> None:
        self._tower = base_model(vlm.model).model.visual
        self._format = vlm.images
        self._device = vlm.device
        self._dtype = vlm.dtype
        self._geometries: dict[tuple[int, int], _Geometry] = {}

    def encode(self, *images: NDArray[np.uint8]) -> VisionFeatures:
        """Features of one image (height, width, 3) uint8 RGB, or of the two that a video merges.

        :raises ValueError: if its size does not suit the model.
        """
        pixels = torch.from_numpy(self._format.picture(*images))
        geometry = self._geometry(self._format.grid(images[0]))
        tower = self._tower
        hidden = embed_patches(tower.patch_embed.proj, pixels.to(self._device, self._dtype))
        hidden = hidden + geometry.embedding
        deepstack: list[torch.Tensor] = []
        for index, block in enumerate(tower.blocks):
            hidden = hidden + attend(block.attn, block.norm1(hidden), geometry.rotation)
            hidden = hidden + block.mlp(block.norm2(hidden))
            if index in tower.deepstack_visual_indexes:
                merger = tower.deepstack_merger_list[len(deepstack)]
                deepstack.append(merger(hidden))
        return VisionFeatures(self._format.grid(images[0]), tower.merger(hidden), tuple(deepstack))

    def _geometry(self, grid: tuple[int, int]) -> _Geometry:
        found = self._geometries.get(grid)
        if found is not None:
            return found
        thw = torch.tensor([(1, *grid)], device=self._device)
        tower = self._tower
        indices, weights = get_vision_interpolation_indices_and_weights(
            thw,
            num_grid_per_side=tower.num_grid_per_side,
            mode=tower.interpolation_mode,
            align_corners=tower.interpolation_align_corners,
            spatial_merge_size=tower.spatial_merge_size,
        )
        places = get_vision_position_ids(thw, tower.spatial_merge_size)
        embedding = (tower.pos_embed(indices) * weights[:, :, None]).sum(1).to(self._dtype)
        found = _Geometry(
            embedding=embedding,
            rotation=tower.rotary_pos_emb(embedding, places),
        )
        if len(self._geometries) >= _REMEMBERED_SIZES:
            self._geometries.clear()
        self._geometries[grid] = found
        return found


def attend(
    attention: Any,
    hidden: torch.Tensor,
    rotation: tuple[torch.Tensor, torch.Tensor],
    lengths: Sequence[int] = (),
) -> torch.Tensor:
    """Attention of patches (patches, hidden) to each other.

    With ``lengths`` patches look at their own segment only, of which these are the lengths in
    order; without, at all of the image.
    """
    count = hidden.shape[0]
    parts = attention.qkv(hidden).view(count, 3, attention.num_heads, -1)
    query, key, value = parts.unbind(1)
    query, key = apply_rotary_pos_emb_vision(query, key, *rotation)
    states = [part.transpose(0, 1)[None] for part in (query, key, value)]
    segments = [part.split(list(lengths) or count, dim=2) for part in states]
    mixed = [
        torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=attention.scaling)
        for q, k, v in zip(*segments, strict=True)
    ]
    joined = mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=2)
    output: torch.Tensor = attention.proj(joined[0].transpose(0, 1).reshape(count, -1))
    return output


def embed_patches(projection: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Embeddings of flattened patches by the convolution ``projection``.

    A convolution whose stride is its kernel is a matrix product, and much faster as one.
    """
    return torch.nn.functional.linear(pixels, projection.weight.flatten(1), projection.bias)
