"""Samples to what the language model computes with: token ids, positions, picture features."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from progress_monitor.adapt.samples import Pool, Sample
from progress_monitor.types import Generate, Request
from progress_monitor.vlm.architectures import architecture_of
from progress_monitor.vlm.cache import VisionFeatures
from progress_monitor.vlm.loading import VLM
from progress_monitor.vlm.prompt import PromptTokens
from progress_monitor.vlm.text import base_model

_END_OF_TURN = '<|im_end|>'
_NUMBER = re.compile(r'<progress>([\d.]+)%')
MOST_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class Row:
    """A prompt and the answer to it: ids (n,), positions (3, n), the last ``answer`` ids said."""

    ids: list[int]
    positions: NDArray[np.int64]
    answer: int

    @classmethod
    def of(cls, prompt: PromptTokens, said: Sequence[int]) -> Row:
        """The row of ``prompt`` and the ids ``said`` behind it."""
        after = prompt.next_position + np.arange(len(said))
        places = np.concatenate([prompt.positions, np.tile(after, (3, 1))], axis=1)
        return cls([*prompt.ids.tolist(), *said], places, len(said))


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows padded on the right: ids (b, n), positions (3, b, n) and targets (b, n).

    A target is the id that follows, or -100 where nothing is learnt.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    targets: torch.Tensor

    @classmethod
    def padded(cls, rows: Sequence[Row]) -> Rows:
        """``rows`` at the length of the longest; their answers alone are learnt."""
        shape = (len(rows), max(len(row.ids) for row in rows))
        ids, targets = torch.zeros(shape, dtype=torch.long), torch.full(shape, -100)
        positions = torch.zeros((3, *shape), dtype=torch.long)
        for number, row in enumerate(rows):
            length = len(row.ids)
            ids[number, :length] = torch.tensor(row.ids)
            positions[:, number, :length] = torch.from_numpy(row.positions)
            start = length - row.answer
            targets[number, start - 1 : length - 1] = ids[number, start:length]
        return cls(ids, positions, targets)


@dataclass(frozen=True, eq=False)
class Batch(Rows):
    """Rows with the weights (b, n) of their targets.

    ``shares`` (b, n, 10) are those of the ten digits where a digit of the progress is learnt, 0
    elsewhere. ``pictures`` are indices into the pool, in the order in which the rows show them, and
    ``newest`` those of each row's newest sample.
    """

    weights: torch.Tensor
    shares: torch.Tensor
    pictures: tuple[int, ...]
    newest: frozenset[int]


class Collator:
    """Builds batches with the prompt builder that the monitor asks with."""

    def __init__(self, vlm: VLM, telling_weight: float, spread: float) -> None:
        """See ``Recipe`` for the weight and the spread."""
        self._builder = vlm.prompts
        tokenizer = vlm.tokenizer
        self._end = int(tokenizer.convert_tokens_to_ids(_END_OF_TURN))
        self._telling_weight = telling_weight
        self._number_spread = spread
        self._encoded: dict[str, tuple[int, ...]] = {}
        self.digits = torch.tensor(
            [tokenizer.convert_tokens_to_ids(digit) for digit in '0123456789']
        )

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """Ids and targets of ``samples``; the answers alone are learnt, and that they end."""
        rows = [self._row(sample) for sample in samples]
        batch = Rows.padded(rows)
        weights = torch.ones(batch.ids.shape)
        shares = torch.zeros((*batch.ids.shape, 10))
        for number, (sample, row) in enumerate(zip(samples, rows, strict=True)):
            start = len(row.ids) - row.answer - 1
            for place in self._decisions(sample):
                weights[number, start + place] = self._telling_weight
            self._spread(sample.answer, batch.targets[number], weights[number], shares[number])
        shown = [
            [part.uid for part in sample.parts if not isinstance(part, str)] for sample in samples
        ]
        newest = frozenset(
            uid
            for uids, sample in zip(shown, samples, strict=True)
            for uid in uids[-sample.cameras :]
        )
        pictures = tuple(itertools.chain.from_iterable(shown))
        return Batch(batch.ids, batch.positions, batch.targets, weights, shares, pictures, newest)

    def _row(self, sample: Sample) -> Row:
        tokens = self._builder.build(Request(0, '', sample.parts, Generate()))
        return Row.of(tokens, [*self._said(sample.answer), self._end])

    def _decisions(self, sample: Sample) -> set[int]:
        """Places in the answer's tokens at which what is seen decides how it goes on.

        At the first it is told from all that is worded otherwise, such as what is done; at those
        where a rival parts from it, which step is the next, or that the task does not fit.
        """
        said = self._said(sample.answer)
        found = {0}
        for rival in map(self._said, sample.rivals):
            parted = [ours != theirs for ours, theirs in zip(said, rival, strict=False)]
            if any(parted):
                found.add(parted.index(True))
        return found

    def _said(self, text: str) -> tuple[int, ...]:
        if text not in self._encoded:
            self._encoded[text] = self._builder.continuation(text)
        return self._encoded[text]

    def _spread(
        self, said: str, targets: torch.Tensor, weights: torch.Tensor, shares: torch.Tensor
    ) -> None:
        """Weigh the digits of the number in a row's answer, and let those near be nearly right."""
        found = _NUMBER.search(said)
        if found is None:
            return
        digits = sum(map(str.isdigit, found[1]))
        # Nothing behind the number holds a digit.
        places = torch.nonzero(torch.isin(targets, self.digits))[-digits:, 0].tolist()
        weights[places] = self._telling_weight
        whole = len(found[1].partition('.')[0])
        if len(places) == digits and whole <= 2:
            near = digit_shares(float(found[1]), whole, self._number_spread)
            for place, share in zip(places, near, strict=False):
                shares[place] = torch.from_numpy(share)


def digit_shares(percent: float, count: int, spread: float) -> list[NDArray[np.float32]]:
    """Shares (10,) of the digits before the point of ``percent``, which are ``count``, 1 or 2.

    A digit is as likely as the numbers around ``percent`` that have it, given the digits before: to
    the model 39 and 40 are as far apart as any two numbers unless it is told.
    """
    numbers = np.arange(10**count)
    near = np.exp(-0.5 * ((numbers - percent) / spread) ** 2).reshape((10,) * count)
    if count == 1:
        found = [near]
    else:
        found = [near.sum(axis=1), near[int(percent) // 10]]
    return [(item / item.sum()).astype(np.float32) for item in found]


class Eyes:
    """The vision tower's features of pictures of a pool; kept while the tower does not learn."""

    def __init__(self, vlm: VLM, pool: Pool, learns: bool) -> None:
        self._vlm = vlm
        self._pool = pool
        self._learns = learns
        self._kept: dict[int, tuple[torch.Tensor, ...]] = {}
        self._noise: list[torch.Tensor] = []

    def see(
        self, pictures: Sequence[int], newest: Collection[int] = (), blurred: bool = False
    ) -> list[torch.Tensor]:
        """Embeddings (tokens, hidden) of all ``pictures``, and the deepstack features behind.

        A tower that learns does so from ``newest`` alone: the others cost less, and say the same.
        """
        wanted = dict.fromkeys(pictures)
        if self._learns:
            # Each with weights of its own: those made smaller without a gradient keep none.
            with _half_precision(self._vlm.device), torch.no_grad():
                found = dict(self._encode([item for item in wanted if item not in newest]))
            with _half_precision(self._vlm.device):
                found.update(self._encode([item for item in wanted if item in newest]))
        else:
            found = self._kept
            with _half_precision(self._vlm.device), torch.no_grad():
                for index, layers in self._encode([item for item in wanted if item not in found]):
                    found[index] = tuple(layer.half().cpu() for layer in layers)
        if blurred and self._noise:
            found = {index: self._blurred(found[index]) for index in wanted}
        return [
            torch.cat([found[index][layer] for index in pictures])
            for layer in range(len(found[pictures[0]]))
        ]

    def blur(self, share: float, pictures: Sequence[int]) -> None:
        """Blur pictures that are learnt from by this share of how far these, of one size, differ.

        Noise on what a regression reads makes it a ridge (Bishop 1995): it looks at all that tells
        the progress, of which another run shows a part.
        """
        with torch.no_grad():
            self._noise = [
                share * layer.float().reshape(len(pictures), -1, layer.shape[-1]).std(0).mean(0)
                for layer in self.see(pictures)
            ]

    def _blurred(self, layers: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        return tuple(
            layer + (scale * torch.randn(layer.shape, device=scale.device)).to(layer)
            for layer, scale in zip(layers, self._noise, strict=True)
        )

    def features(self, index: int) -> VisionFeatures:
        """What the tower makes of one picture now."""
        return architecture_of(self._vlm).vision.encode(self._pool.image(index))

    def _encode(self, indices: Sequence[int]) -> Iterator[tuple[int, tuple[torch.Tensor, ...]]]:
        """Features of many pictures at once, by their index."""
        form, tower = self._vlm.images, base_model(self._vlm.model).model.visual
        for first in range(0, len(indices), MOST_AT_ONCE):
            part = indices[first : first + MOST_AT_ONCE]
            images = [self._pool.image(index) for index in part]
            grids = torch.tensor([(1, *form.grid(image)) for image in images])
            place = self._vlm.device, self._vlm.dtype
            seen = tower(
                torch.from_numpy(form.pixel_values(images)).to(*place),
                grid_thw=grids.to(self._vlm.device),
            )
            layers = (seen.pooler_output, *(getattr(seen, 'deepstack_features', None) or ()))
            sizes = (grids.prod(1) // form.merge_size**2).tolist()
            each = zip(*(item.split(sizes) for item in layers), strict=True)
            yield from zip(part, each, strict=True)


def answer_losses(
    model: Any, batch: Batch, seen: Sequence[torch.Tensor], digits: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropies (m,) at the m tokens that are learnt, and their weights (m,).

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
    losses = nn.functional.cross_entropy(logits, batch.targets.to(device)[learnt], reduction='none')
    shares = batch.shares.to(device)[learnt]
    shared = shares.sum(1) > 0.0
    guessed = logits[shared].log_softmax(1)[:, digits.to(device)]
    losses = losses.masked_scatter(shared, -(shares[shared] * guessed).sum(1))
    return losses, batch.weights.to(device)[learnt]


def _half_precision(device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 products where a processor multiplies them: nearly twice as fast there.

    Elsewhere the model's own dtype stays, which suits a GPU already.
    """
    quick = device.type == 'cpu' and torch.cpu._is_avx512_bf16_supported()
    return torch.autocast('cpu', torch.bfloat16) if quick else nullcontext()
