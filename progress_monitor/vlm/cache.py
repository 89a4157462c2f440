"""What the decoder keeps between ticks: key-value states and vision features."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

_CAPACITY_STEP = 256


class BufferLayer:
    """Keys and values of one layer in buffers that are written in place.

    Unlike a concatenating layer it copies nothing of the past at a forward, and dropping tokens
    from the end is a change of ``length``. Buffers are (1, heads, capacity, head size).

    With ``fixed_positions`` set to an int64 tensor of the new rows' places, states are written
    there and the whole buffers are returned, so that every shape is static: the caller's mask
    hides what lies beyond. That is what CUDA graphs need.
    """

    def __init__(self) -> None:
        self.length = 0
        self.fixed_positions: torch.Tensor | None = None
        self.keys: torch.Tensor | None = None
        self.values: torch.Tensor | None = None

    def grow(self, keys: torch.Tensor, values: torch.Tensor, needed: int) -> None:
        """Make room for ``needed`` tokens of the kind of ``keys`` and ``values``."""
        capacity = -(-needed // _CAPACITY_STEP) * _CAPACITY_STEP
        old = self.keys, self.values
        self.keys = keys.new_zeros((*keys.shape[:2], capacity, keys.shape[3]))
        self.values = values.new_zeros((*values.shape[:2], capacity, values.shape[3]))
        if old[0] is not None and old[1] is not None:
            self.keys[:, :, : self.length] = old[0][:, :, : self.length]
            self.values[:, :, : self.length] = old[1][:, :, : self.length]

    def update(self, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Append states of (1, heads, n, head size); all keys and values held, these included."""
        end = self.length + keys.shape[2]
        if self.keys is None or (self.fixed_positions is None and end > self.keys.shape[2]):
            self.grow(keys, values, end)
        assert self.keys is not None
        assert self.values is not None
        if self.fixed_positions is not None:
            self.keys.index_copy_(2, self.fixed_positions, keys)
            self.values.index_copy_(2, self.fixed_positions, values)
            return self.keys, self.values
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]


class PrefixCache:
    """Key-value states of the last prompt and answer, reusable as far as the next begins alike.

    Where a value head reads them, the last hidden states are kept beside: a fortieth of the size.
    """

    def __init__(self, layers: int) -> None:
        self.layers = [BufferLayer() for _ in range(layers)]
        self._keys: NDArray[np.int64] = np.empty(0, np.int64)
        self._hidden: torch.Tensor | None = None

    @property
    def length(self) -> int:
        """Tokens whose states are held."""
        return self.layers[0].length

    def common_prefix(self, keys: NDArray[np.int64]) -> int:
        """Number of leading tokens of ``keys`` whose states are held."""
        count = min(self.length, len(self._keys), len(keys))
        different = np.flatnonzero(self._keys[:count] != keys[:count])
        return int(different[0]) if len(different) else count

    def crop(self, length: int) -> None:
        """Forget all but the first ``length`` tokens."""
        for layer in self.layers:
            layer.length = length

    def remember(self, keys: NDArray[np.int64]) -> None:
        """Say which tokens the held states belong to; fewer keys than states drop the rest."""
        self.crop(min(self.length, len(keys)))
        self._keys = keys[: self.length]

    def write_hidden(self, start: int, rows: torch.Tensor) -> None:
        """Keep the last hidden states (n, hidden) of the tokens from place ``start`` on."""
        end = start + len(rows)
        if self._hidden is None or end > len(self._hidden):
            capacity = -(-end // _CAPACITY_STEP) * _CAPACITY_STEP
            grown = rows.new_zeros((capacity, rows.shape[1]))
            if self._hidden is not None:
                grown[:start] = self._hidden[:start]
            self._hidden = grown
        self._hidden[start:end] = rows

    def hidden(self) -> torch.Tensor:
        """Last hidden states (tokens, hidden) of all tokens held, which must have been kept."""
        assert self._hidden is not None
        return self._hidden[: self.length]

    def reserve(self, capacity: int) -> None:
        """Make the buffers large enough for ``capacity`` tokens; they must have been used."""
        for layer in self.layers:
            assert layer.keys is not None
            assert layer.values is not None
            if layer.keys.shape[2] < capacity:
                layer.grow(layer.keys, layer.values, capacity)


@dataclass(frozen=True, eq=False)
class VisionFeatures:
    """Embedding of one picture, (tokens, hidden), and its deepstack features of the same shape.

    ``grid`` is the rows and columns of patches of the picture as it was shown.
    """

    grid: tuple[int, int]
    embedding: torch.Tensor
    deepstack: tuple[torch.Tensor, ...] = ()


@dataclass
class VisionCache:
    """Features of the pictures that some session shows, by key: a frame's is its uid."""

    features: dict[int, VisionFeatures] = field(default_factory=dict)

    def keep(self, keys: Iterable[int]) -> None:
        """Forget every picture that is not among ``keys``."""
        wanted = set(keys)
        for key in [key for key in self.features if key not in wanted]:
            del self.features[key]
