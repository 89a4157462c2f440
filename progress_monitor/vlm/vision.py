"""The vision tower, run once per frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.vision_utils import (
    get_vision_interpolation_indices_and_weights,
    get_vision_position_ids,
)

from progress_monitor.vlm.cache import VisionFeatures
from progress_monitor.vlm.loading import VLM

_REMEMBERED_SIZES = 8


@dataclass(frozen=True, eq=False)
class _Geometry:
    """What follows from an image's size: position embedding, rotation, attention segment."""

    embedding: torch.Tensor
    rotation: tuple[torch.Tensor, torch.Tensor]
    segments: torch.Tensor


class VisionEncoder:
    """Encodes images one by one; what depends on their size alone is computed once.

    In image mode every image is an attention segment of its own, so its features do not depend
    on the images beside it.
    """

    def __init__(self, vlm: VLM) -> None:
        self._tower = vlm.model.model.visual
        self._format = vlm.images
        self._device = vlm.device
        self._dtype = vlm.dtype
        self._geometries: dict[tuple[int, int], _Geometry] = {}

    def encode(self, image: NDArray[np.uint8]) -> VisionFeatures:
        """Features of ``image``, (height, width, 3) uint8 RGB.

        :raises ValueError: if its size does not suit the model.
        """
        pixels = torch.from_numpy(self._format.pixel_values([image]))
        geometry = self._geometry(self._format.grid(image))
        tower = self._tower
        projection = tower.patch_embed.proj
        # A convolution whose stride is its kernel is a matrix product, and much faster as one.
        hidden = torch.nn.functional.linear(
            pixels.to(self._device, self._dtype), projection.weight.flatten(1), projection.bias
        )
        hidden = hidden + geometry.embedding
        deepstack: list[torch.Tensor] = []
        for index, block in enumerate(tower.blocks):
            hidden = block(
                hidden, cu_seqlens=geometry.segments, position_embeddings=geometry.rotation
            )
            if index in tower.deepstack_visual_indexes:
                merger = tower.deepstack_merger_list[len(deepstack)]
                deepstack.append(merger(hidden))
        return VisionFeatures(tower.merger(hidden), tuple(deepstack))

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
            segments=torch.tensor([0, grid[0] * grid[1]], dtype=torch.int32, device=self._device),
        )
        if len(self._geometries) >= _REMEMBERED_SIZES:
            self._geometries.clear()
        self._geometries[grid] = found
        return found
