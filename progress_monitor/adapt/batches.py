"""Samples to what the language model computes with: token ids, positions, picture features."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from progress_monitor.adapt.samples import Pool, Sample
from progress_monitor.types import Generate, Request
from progress_monitor.vlm.architectures import architecture_of
from progress_monitor.vlm.cache import VisionFeatures
from progress_monitor.vlm.loading import VLM

_END_OF_TURN = '<|im_end|>'


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows padded on the right: ids (b, n), positions (3, b, n), targets and weights (b, n).

    Targets are -100 where nothing is learnt. ``pictures`` are indices into the pool, in the order
    in which the rows show them.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    pictures: tuple[int, ...]


class Collator:
    """Builds batches with the prompt builder that the monitor asks with."""

    def __init__(self, vlm: VLM, digit_weight: float) -> None:
        self._builder = vlm.prompts
        tokenizer = vlm.tokenizer
        self._end = int(tokenizer.convert_tokens_to_ids(_END_OF_TURN))
        self._digit_weight = digit_weight
        self._digits = torch.tensor(
            [tokenizer.convert_tokens_to_ids(digit) for digit in '0123456789']
        )

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """Ids and targets of ``samples``; the answers alone are learnt, and that they end."""
        rows = [self._row(sample) for sample in samples]
        shape = (len(rows), max(len(ids) for ids, _, _ in rows))
        ids, targets = torch.zeros(shape, dtype=torch.long), torch.full(shape, -100)
        positions = torch.zeros((3, *shape), dtype=torch.long)
        for number, (row, places, answer) in enumerate(rows):
            ids[number, : len(row)] = torch.tensor(row)
            positions[:, number, : len(row)] = torch.from_numpy(places)
            start = len(row) - answer
            targets[number, start - 1 : len(row) - 1] = ids[number, start : len(row)]
        weights = torch.where(torch.isin(targets, self._digits), self._digit_weight, 1.0)
        pictures = tuple(
            part.uid for sample in samples for part in sample.parts if not isinstance(part, str)
        )
        return Batch(ids, positions, targets, weights, pictures)

    def _row(self, sample: Sample) -> tuple[list[int], np.ndarray, int]:
        tokens = self._builder.build(Request(0, '', sample.parts, Generate()))
        said = [*self._builder.continuation(sample.answer), self._end]
        after = tokens.next_position + np.arange(len(said))
        places = np.concatenate([tokens.positions, np.tile(after, (3, 1))], axis=1)
        return [*tokens.ids.tolist(), *said], places, len(said)


class Eyes:
    """The vision tower's features of pictures of a pool; kept while the tower does not learn."""

    def __init__(self, vlm: VLM, pool: Pool, learns: bool) -> None:
        self._vision = architecture_of(vlm).vision
        self._pool = pool
        self._learns = learns
        self._kept: dict[int, tuple[torch.Tensor, ...]] = {}

    def see(self, pictures: Sequence[int]) -> list[torch.Tensor]:
        """Embeddings (tokens, hidden) of all ``pictures``, and the deepstack features behind."""
        if self._learns:
            found = {index: self._encode(index) for index in dict.fromkeys(pictures)}
        else:
            found = self._kept
            for index in pictures:
                if index not in found:
                    with torch.no_grad():
                        found[index] = tuple(layer.half().cpu() for layer in self._encode(index))
        return [
            torch.cat([found[index][layer] for index in pictures])
            for layer in range(len(found[pictures[0]]))
        ]

    def _encode(self, index: int) -> tuple[torch.Tensor, ...]:
        seen: VisionFeatures = self._vision.encode(self._pool.images[index])
        return (seen.embedding, *seen.deepstack)


def answer_logits(
    model: Any, batch: Batch, seen: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits (m, vocabulary) at the m tokens that are learnt, their targets and weights (m,).

    :param model: a Qwen-VL model of transformers, with or without the layers of an adapter.
    """
    device = model.lm_head.weight.device
    ids = batch.ids.to(device)
    embeddings = model.model.language_model.embed_tokens(ids)
    shown = ids == model.config.image_token_id
    layers = [layer.to(device, embeddings.dtype) for layer in seen]
    embeddings = embeddings.masked_scatter(shown.unsqueeze(-1), layers[0])
    pictures: dict[str, Any] = {}
    if len(layers) > 1:
        pictures = {'visual_pos_masks': shown, 'deepstack_visual_embeds': layers[1:]}
    # Attention is causal: what stands behind a row changes nothing in it.
    with _half_precision(device):
        hidden = model.model.language_model(
            inputs_embeds=embeddings,
            position_ids=batch.positions.to(device),
            use_cache=False,
            **pictures,
        ).last_hidden_state
        learnt = (batch.targets >= 0).to(device)
        logits = model.lm_head(hidden[learnt]).float()
    return logits, batch.targets.to(device)[learnt], batch.weights.to(device)[learnt]


def _half_precision(device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 products where a processor multiplies them: nearly twice as fast there.

    Elsewhere the model's own dtype stays, which suits a GPU already.
    """
    quick = device.type == 'cpu' and torch.cpu._is_avx512_bf16_supported()
    return torch.autocast('cpu', torch.bfloat16) if quick else nullcontext()
