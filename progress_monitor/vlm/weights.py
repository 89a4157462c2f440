"""The headers of safetensors files: names, shapes and types of weights, without the weights."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from progress_monitor.vlm.errors import VLMError

_INDEX = 'model.safetensors.index.json'
_LARGEST_HEADER = 100 << 20
_HASHED_BYTES = 200 << 20


@dataclass(frozen=True)
class Tensor:
    """A stored tensor: its type as safetensors names it (``F32``, ``BF16``, …) and its shape."""

    kind: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """Its number of elements."""
        return math.prod(self.shape)


def weight_files(folder: Path) -> list[str]:
    """Names of the files in which the weights of a checkpoint lie.

    It is ``model.safetensors`` where there is one, as transformers sees it; else those that the
    index names, or whatever safetensors files there are.

    :raises VLMError: if the index is damaged.
    """
    if (folder / 'model.safetensors').is_file():
        return ['model.safetensors']
    index = folder / _INDEX
    if not index.is_file():
        return sorted(path.name for path in folder.glob('model*.safetensors'))
    try:
        names = {str(name) for name in json.loads(index.read_text('utf-8'))['weight_map'].values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise VLMError(f'{index} is damaged ({error}); fetch the checkpoint again') from error
    outside = [name for name in names if Path(name).name != name]
    if outside:
        raise VLMError(f'{index} names a file outside of its folder: {outside[0]}')
    return sorted(names)


def stored_tensors(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a checkpoint by its name.

    :raises VLMError: if a file is missing, cut short or damaged.
    """
    return {
        name: tensor
        for file in weight_files(folder)
        for name, tensor in read_header(folder / file).items()
    }


def read_header(path: Path) -> dict[str, Tensor]:
    """The tensors of one safetensors file by name.

    :raises VLMError: if it is missing, cut short or damaged.
    """
    try:
        size = path.stat().st_size
        with path.open('rb') as file:
            length = int.from_bytes(file.read(8), 'little')
            if not 2 <= length <= min(_LARGEST_HEADER, max(size - 8, 0)):
                raise ValueError('it has no safetensors header')
            header = json.loads(file.read(length))
        header.pop('__metadata__', None)
        tensors = dict(_tensors(header))
        end = 8 + length + max((item['data_offsets'][1] for item in header.values()), default=0)
    except FileNotFoundError as error:
        raise VLMError(f'{path} is missing; fetch the checkpoint again') from error
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise VLMError(
            f'{path}: the weights cannot be loaded ({error}); fetch the checkpoint again'
        ) from error
    if size != end:
        raise VLMError(
            f'{path}: the weights cannot be loaded (it holds {size} bytes of {end}); '
            'fetch the checkpoint again'
        )
    return tensors


def _tensors(header: dict[str, dict[str, object]]) -> Iterator[tuple[str, Tensor]]:
    for name, item in header.items():
        shape = item['shape']
        if not isinstance(shape, list):
            raise ValueError(f'{name} has no shape')
        yield name, Tensor(str(item['dtype']), tuple(int(side) for side in shape))


def weights_revision(folder: Path) -> str:
    """What tells these weights from others: the hub's commit, or a hash of a small checkpoint.

    Empty for a large checkpoint in a folder of its own, which would take too long to read.
    """
    if folder.parent.name == 'snapshots':
        return folder.name
    files = [folder / name for name in weight_files(folder)]
    if sum(file.stat().st_size for file in files) > _HASHED_BYTES:
        return ''
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
