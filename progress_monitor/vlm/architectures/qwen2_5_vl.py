"""Qwen2.5-VL: attention in windows in most vision blocks, no deepstack, biased projections."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.vision_utils import get_vision_position_ids, get_vision_window_index

from progress_monitor.vlm.architectures.base import Architecture
from progress_monitor.vlm.cache import VisionFeatures
from progress_monitor.vlm.errors import VLMError
from progress_monitor.vlm.loading import VLM
from progress_monitor.vlm.text import TextTower, base_model
from progress_monitor.vlm.vision import attend, embed_patches

_REMEMBERED_SIZES = 8


def qwen2_5_vl(vlm: VLM) -> Architecture:
    """The tuned path of Qwen2.5-VL.

    :raises VLMError: if its text layers look at a sliding window of the prompt only.
    """
    text = vlm.model.config.get_text_config()
    if 'sliding_attention' in (getattr(text, 'layer_types', None) or ()):
        raise VLMError(f'{vlm.name}: text layers with sliding-window attention cannot be used')
    return Architecture('qwen2_5_vl', 'tuned', WindowedEncoder(vlm), TextTower(vlm.model))


@dataclass(frozen=True, eq=False)
class _Geometry:
    """What follows from an image's size: the order by windows, their lengths, the rotation."""

    order: torch.Tensor
    back: torch.Tensor
    lengths: tuple[int, ...]
    rotation: tuple[torch.Tensor, torch.Tensor]


class WindowedEncoder:
    """Encodes images one by one; what depends on their size alone is computed once."""

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
        grid = self._format.grid(images[0])
        geometry = self._geometry(grid)
        tower = self._tower
        pixels = torch.from_numpy(self._format.picture(*images))
        hidden = embed_patches(tower.patch_embed.proj, pixels.to(self._device, self._dtype))
        hidden = self._reorder(hidden, geometry.order)
        for index, block in enumerate(tower.blocks):
            lengths = () if index in tower.fullatt_block_indexes else geometry.lengths
            hidden = hidden + attend(block.attn, block.norm1(hidden), geometry.rotation, lengths)
            hidden = hidden + block.mlp(block.norm2(hidden))
        return VisionFeatures(grid, tower.merger(hidden)[geometry.back])

    def _reorder(self, values: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
        """Rows of patches, in groups that are merged into one token, in another order."""
        group = self._tower.spatial_merge_unit
        return values.reshape(len(values) // group, group, -1)[order].reshape(len(values), -1)

    def _geometry(self, grid: tuple[int, int]) -> _Geometry:
        found = self._geometries.get(grid)
        if found is not None:
            return found
        tower = self._tower
        thw = torch.tensor([(1, *grid)], device=self._device)
        order, bounds = get_vision_window_index(
            thw,
            spatial_merge_size=tower.spatial_merge_size,
            window_size=tower.window_size,
            patch_size=tower.patch_size,
        )
        order = order.to(self._device)
        places = get_vision_position_ids(thw, tower.spatial_merge_size)
        like = torch.empty(0, dtype=self._dtype, device=self._device)
        cos, sin = tower.rotary_pos_emb(like, places)
        found = _Geometry(
            order=order,
            back=torch.argsort(order),
            lengths=tuple(length for length in bounds.diff().tolist() if length),
            rotation=(self._reorder(cos, order), self._reorder(sin, order)),
        )
        if len(self._geometries) >= _REMEMBERED_SIZES:
            self._geometries.clear()
        self._geometries[grid] = found
        return found
