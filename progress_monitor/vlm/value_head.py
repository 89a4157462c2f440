"""The value head of an adapted ProcVLM (arXiv 2605.08774): a second opinion that takes over.

An attention pooler over the last hidden states of the prompt and the whole answer, and two layers
above it. Where an adapter brings one, the published tool replaces the number in the progress tag
by its value. Nothing here imports torch before a head is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from progress_monitor.vlm.errors import VLMError
from progress_monitor.vlm.weights import read_header

if TYPE_CHECKING:
    import torch

TAG = 'progress'
_FOLDERS = ('procvlm_extra', '.')
_WEIGHTS = 'procvlm_head.safetensors'
_PICKLED = ('procvlm_head.pt', 'procvlm_head.bin')
_PREFIX = re.compile(r'^(?:base_model\.|model\.)+')
_NUMBER = re.compile(rf'<{TAG}>[^<]*\d[^<]*</{TAG}>', re.IGNORECASE)


def find_head(folder: Path, parameter: str) -> Path | None:
    """The value head's file in an adapter's folder; None if there is none.

    :raises VLMError: if there is one, but pickled.
    """
    for place in _FOLDERS:
        if (folder / place / _WEIGHTS).is_file():
            return folder / place / _WEIGHTS
    for place in _FOLDERS:
        for name in _PICKLED:
            if (folder / place / name).is_file():
                raise VLMError(
                    f'{parameter}: the value head {folder / place / name} can hide a program and '
                    'is refused: convert the adapter with "python -m progress_monitor.vlm.convert '
                    f'{folder} NEW_FOLDER", or remove the file to use the number in the tag'
                )
    return None


def check_head(path: Path, width: int, base: str, parameter: str) -> None:
    """Check that a head is complete and reads hidden states of ``width``, by its header alone.

    :raises VLMError: if not.
    """
    tensors = {_PREFIX.sub('', name): item for name, item in read_header(path).items()}
    for name, shape in _shapes(width).items():
        if name not in tensors:
            raise VLMError(f'{parameter}: {path} is no value head of ProcVLM: {name} is missing')
        if tensors[name].shape != shape:
            raise VLMError(
                f'{parameter}: {path} does not fit {base}: {name} is {tensors[name].shape} and '
                f'would have to be {shape}'
            )


@dataclass(frozen=True, eq=False)
class ValueHead:
    """A head that was read, by the published names of its tensors."""

    weights: Mapping[str, torch.Tensor]

    @classmethod
    def read(cls, path: Path, device: torch.device, dtype: torch.dtype) -> ValueHead:
        """Read the head that ``check_head`` has passed.

        :raises VLMError: if a number in it is not finite.
        """
        from safetensors.torch import load_file

        weights = {
            _PREFIX.sub('', name): value.to(device, dtype)
            for name, value in load_file(path).items()
        }
        if not all(bool(value.isfinite().all()) for value in weights.values()):
            raise VLMError(f'{path} holds numbers that are not finite; fetch the adapter again')
        return cls(weights)

    def percent(self, hidden: torch.Tensor) -> float:
        """Progress in percent by the last hidden states (tokens, width) of prompt and answer."""
        import torch

        hidden = hidden.to(self.weights['value_head.0.weight'].dtype)
        scores = self._linear('pooler.score.2', self._gelu('pooler.score.0', hidden))
        pooled = (hidden * scores.softmax(0)).sum(0)
        for layer, norm in (('0', '2'), ('4', '6')):
            pooled = self._norm(f'value_head.{norm}', self._gelu(f'value_head.{layer}', pooled))
        return float(torch.sigmoid(self._linear('value_head.8', pooled).float())) * 100.0

    def _linear(self, name: str, values: torch.Tensor) -> torch.Tensor:
        import torch

        weights = self.weights
        return torch.nn.functional.linear(
            values, weights[f'{name}.weight'], weights[f'{name}.bias']
        )

    def _gelu(self, name: str, values: torch.Tensor) -> torch.Tensor:
        import torch

        return torch.nn.functional.gelu(self._linear(name, values))

    def _norm(self, name: str, values: torch.Tensor) -> torch.Tensor:
        import torch

        weights = self.weights
        return torch.nn.functional.layer_norm(
            values, values.shape, weights[f'{name}.weight'], weights[f'{name}.bias']
        )


def with_value(text: str, percent: float) -> str:
    """``text`` with the number in every progress tag replaced by ``percent``, a head's.

    Unlike the published tool, a tag that refuses (``n/a``) goes on to do so.
    """
    return _NUMBER.sub(f'<{TAG}>{percent:.2f}%</{TAG}>', text)


def _shapes(width: int) -> dict[str, tuple[int, ...]]:
    layers: dict[str, tuple[int, ...]] = {
        'pooler.score.0': (width // 4, width),
        'pooler.score.2': (1, width // 4),
        'value_head.0': (4 * width, width),
        'value_head.2': (4 * width,),
        'value_head.4': (width, 4 * width),
        'value_head.6': (width,),
        'value_head.8': (1, width),
    }
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in layers.items():
        shapes[f'{name}.weight'] = shape
        shapes[f'{name}.bias'] = shape[:1]
    return shapes
