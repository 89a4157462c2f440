"""The language model's layers, run in a loop of our own.

The modules are transformers', quantised or not, with adapters or without; the loop leaves out what
its general forward spends on masks, hooks and outputs that nobody here reads. On a CPU that is
half of a short forward of a small model.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.models.qwen3_vl.modeling_qwen3_vl import rotate_half

from progress_monitor.vlm.cache import BufferLayer, PrefixCache


class TextTower:
    """Embedding, decoder layers and output head of a Qwen3-VL or Qwen2.5-VL model."""

    def __init__(self, model: Any) -> None:
        model = base_model(model)
        self._model = model
        self._text = model.model.language_model

    @property
    def layers(self) -> int:
        """Number of decoder layers."""
        return len(self._text.layers)

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Embeddings (1, n, hidden) of token ids (1, n)."""
        embeddings: torch.Tensor = self._text.embed_tokens(ids)
        return embeddings

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits (rows, vocabulary) of hidden states (rows, hidden)."""
        logits: torch.Tensor = self._model.lm_head(hidden)
        return logits

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

        ``cache`` grows by all n; the last layer computes no more than keys and values of the rows
        before the last ``wanted``. ``positions`` is (3, 1, n) int64; ``mask`` (1, 1, n, past + n)
        is true where a row may look, and None stands for a causal mask without a past, or for a
        single row. ``deepstack`` holds features to be added at ``image_rows`` after each of the
        first layers.
        """
        hidden = embeddings
        rotation = self._text.rotary_emb(hidden, positions)
        last = len(self._text.layers) - 1
        for index, (layer, states) in enumerate(zip(self._text.layers, cache.layers, strict=True)):
            rows = wanted if index == last and index >= len(deepstack) else hidden.shape[1]
            normal = _normalise(layer.input_layernorm, hidden)
            mixed = _attend(layer.self_attn, normal, rotation, states, mask, rows)
            hidden = hidden[:, -rows:] + mixed
            normal = _normalise(layer.post_attention_layernorm, hidden)
            hidden = hidden + layer.mlp(normal)
            if index < len(deepstack):
                assert image_rows is not None
                hidden[0, image_rows] += deepstack[index]
        return _normalise(self._text.norm, hidden[0, -wanted:])


def base_model(model: Any) -> Any:
    """The model that a PEFT wrapper holds, its layers with the adapters; others as they are."""
    return model.get_base_model() if hasattr(model, 'get_base_model') else model


def _attend(
    attention: Any,
    hidden: torch.Tensor,
    rotation: tuple[torch.Tensor, torch.Tensor],
    states: BufferLayer,
    mask: torch.Tensor | None,
    rows: int,
) -> torch.Tensor:
    """Attention of the last ``rows`` of ``hidden`` to everything before them."""
    count = hidden.shape[1]
    normed = hasattr(attention, 'q_norm')
    cos, sin = rotation[0][:, None], rotation[1][:, None]
    shape = (1, count, -1, attention.head_dim)
    keys = attention.k_proj(hidden).view(shape)
    if normed:
        keys = _normalise(attention.k_norm, keys)
    keys = keys.transpose(1, 2)
    values = attention.v_proj(hidden).view(shape).transpose(1, 2)
    keys, values = states.update(_rotate(keys, cos, sin), values)
    if rows < count:
        hidden, cos, sin = hidden[:, -rows:], cos[:, :, -rows:], sin[:, :, -rows:]
        if mask is None:
            mask = torch.ones((1, 1, rows, count), dtype=torch.bool, device=hidden.device)
            mask = mask.tril(count - rows)
        mask = mask[:, :, -rows:]
    shape = (1, rows, -1, attention.head_dim)
    queries = attention.q_proj(hidden).view(shape)
    if normed:
        queries = _normalise(attention.q_norm, queries)
    queries = queries.transpose(1, 2)
    mixed, _ = sdpa_attention_forward(
        attention, _rotate(queries, cos, sin), keys, values, mask, scaling=attention.scaling
    )
    output: torch.Tensor = attention.o_proj(mixed.reshape(1, rows, -1))
    return output


def _rotate(states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    turned: torch.Tensor = states * cos + rotate_half(states) * sin
    return turned


def _normalise(norm: Any, hidden: torch.Tensor) -> torch.Tensor:
    if hidden.dtype is torch.float32:
        # The same sums as the module's, in one kernel; in 16 bits it would round elsewhere.
        return torch.nn.functional.rms_norm(
            hidden, (hidden.shape[-1],), norm.weight, norm.variance_epsilon
        )
    normal: torch.Tensor = norm(hidden)
    return normal
