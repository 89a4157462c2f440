"""The vision tower on many images of one size at a time, as fast as two CPU cores allow."""

from __future__ import annotations

from typing import Any

import torch
from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb_vision

from progress_monitor_lab.training.data import MERGE, PATCH, patches


def batch_attention(model: Any) -> None:
    """Let the tower's attention treat equal images as a batch instead of one after the other.

    The patch embedding, a convolution over whole patches, becomes the matrix product that it is.
    The result is the same; only images of one size may then share a forward pass.
    """

    def forward(
        self: Any, hidden_states: torch.Tensor, cu_seqlens: torch.Tensor, **kwargs: Any
    ) -> torch.Tensor:
        length = hidden_states.shape[0]
        images = len(cu_seqlens) - 1
        parts = self.qkv(hidden_states).reshape(length, 3, self.num_heads, -1).permute(1, 0, 2, 3)
        query, key, value = parts.unbind(0)
        query, key = apply_rotary_pos_emb_vision(query, key, *kwargs['position_embeddings'])
        shape = (images, length // images, self.num_heads, -1)
        query, key, value = (part.reshape(shape).transpose(1, 2) for part in (query, key, value))
        out = torch.nn.functional.scaled_dot_product_attention(query, key, value)
        return self.proj(out.transpose(1, 2).reshape(length, -1))

    def embed(self: Any, hidden_states: torch.Tensor) -> torch.Tensor:
        weight = self.proj.weight.reshape(self.proj.weight.shape[0], -1)
        return torch.nn.functional.linear(hidden_states, weight, self.proj.bias)

    for block in model.model.visual.blocks:
        block.attn.forward = forward.__get__(block.attn)
    embedding = model.model.visual.patch_embed
    embedding.forward = embed.__get__(embedding)


def features(model: Any, images: torch.Tensor) -> torch.Tensor:
    """Embeddings and deepstack features of (n, h, w, 3) images: (n, layers, tokens, hidden)."""
    count, height, width, _ = images.shape
    grid = torch.tensor([[1, height // PATCH, width // PATCH]]).repeat(count, 1)
    output = model.model.visual(patches(images), grid_thw=grid)
    layers = [output.pooler_output, *output.deepstack_features]
    tokens = (height // PATCH // MERGE) * (width // PATCH // MERGE)
    return torch.stack([layer.reshape(count, tokens, -1) for layer in layers], dim=1)
