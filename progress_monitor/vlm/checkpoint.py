"""What lies in a checkpoint's folder and whether it can be loaded. Imports no torch."""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from progress_monitor.vlm import hub
from progress_monitor.vlm.errors import VLMError
from progress_monitor.vlm.weights import Tensor, stored_tensors, weight_files

ARCHITECTURES = ('qwen3_vl', 'qwen2_5_vl')
IMAGE_FORMATS = ('preprocessor_config.json', 'processor_config.json')
ADAPTER_CONFIG = 'adapter_config.json'
ADAPTER_WEIGHTS = 'adapter_model.safetensors'
_PICKLED = ('*.bin', '*.pt', '*.pth', '*.ckpt')
_FP8 = ('fp8', 'fine_grained_fp8')
_LAYER = re.compile(r'(?P<head>.*?\b(?P<stack>layers|blocks)\.)(?P<index>\d+)\.(?P<rest>.+)')


def checkpoint_folder(
    path_or_name: str, revision: str = '', *, parameter: str = 'model.path', stall_s: float = 60.0
) -> Path:
    """The local folder of a checkpoint or adapter, downloaded first if a hub name is given.

    :raises VLMError: if there is no such folder, or the download fails.
    """
    if not path_or_name:
        raise VLMError(f'{parameter} is empty: give a checkpoint folder or a hub name')
    folder = local_folder(path_or_name)
    if folder is not None:
        return folder
    if not hub.is_hub_name(path_or_name):
        raise VLMError(f'{parameter}: there is no folder {path_or_name}')
    return hub.fetch(path_or_name, revision, stall_s=stall_s, parameter=parameter)


def local_folder(path_or_name: str) -> Path | None:
    """The folder that is named, if there is one on this machine."""
    folder = os.path.expanduser(path_or_name)
    return Path(folder) if path_or_name and os.path.isdir(folder) else None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a checkpoint.

    :raises VLMError: if it is missing or damaged.
    """
    try:
        value = json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError as error:
        raise VLMError(f'{path.parent} holds no {path.name}') from error
    except (OSError, ValueError, RecursionError) as error:
        raise VLMError(f'{path} is damaged ({error}); fetch the checkpoint again') from error
    if not isinstance(value, dict):
        raise VLMError(f'{path} is damaged (no object); fetch the checkpoint again')
    return value


def check_architecture(folder: Path) -> str:
    """Check a checkpoint by its configuration and the headers of its weights.

    Nothing is allocated: only names and shapes of the weights are read.

    :return: the model type, one of ``ARCHITECTURES``.
    :raises VLMError: if it is an adapter, a file is missing or damaged, the architecture is
        another one, or weights and configuration do not belong together.
    """
    if is_adapter(folder):
        base = read_json(folder / ADAPTER_CONFIG).get('base_model_name_or_path')
        raise VLMError(
            f'model.path: {folder} is a PEFT adapter of {base or "a model that it does not name"}, '
            'not a checkpoint; give this folder in model.adapters and its base as model.path'
        )
    if not (folder / 'config.json').is_file():
        raise VLMError(f'model.path: {folder} holds no config.json')
    config = read_json(folder / 'config.json')
    kind = config.get('model_type')
    if kind is None:
        raise VLMError(
            f'{folder / "config.json"} is damaged (no model_type); fetch the checkpoint again'
        )
    if kind not in ARCHITECTURES:
        raise VLMError(
            f'model.path: {folder} is a {kind} model; a Qwen3-VL or Qwen2.5-VL checkpoint is '
            'needed (ce-amtic/ProcVLM-2B, or the small one of this repository)'
        )
    _check_format(folder)
    missing = missing_files(folder)
    if missing:
        raise VLMError(
            f'model.path: {folder} is incomplete: {", ".join(missing)} missing; '
            'fetch the checkpoint again, or copy the missing files from its base model'
        )
    stored_quantization(config, folder)
    _check_sizes(folder, config, stored_tensors(folder))
    return str(kind)


def is_adapter(folder: Path) -> bool:
    """Whether ``folder`` holds a PEFT adapter instead of a whole model."""
    return (folder / ADAPTER_CONFIG).is_file() and not (folder / 'config.json').is_file()


def missing_files(folder: Path) -> list[str]:
    """What a checkpoint, or an adapter, still lacks before it could be loaded."""
    if is_adapter(folder):
        return [] if (folder / ADAPTER_WEIGHTS).is_file() else [ADAPTER_WEIGHTS]
    present = {path.name for path in folder.iterdir() if path.exists()}
    missing = [] if 'config.json' in present else ['config.json']
    files = weight_files(folder)
    missing += [name for name in files if name not in present]
    if not files:
        missing.append('model.safetensors')
    if 'tokenizer.json' not in present and not {'vocab.json', 'merges.txt'} <= present:
        missing.append('the tokenizer (tokenizer.json)')
    if not present.intersection(IMAGE_FORMATS):
        missing.append('the image processor (' + ' or '.join(IMAGE_FORMATS) + ')')
    return missing


def ties_head(config: Mapping[str, Any], tensors: Iterable[str]) -> bool:
    """Whether the output head is the embedding.

    transformers 4 left ``tie_word_embeddings`` out of ``config.json`` where it was true, or wrote
    it into ``text_config`` alone; 5 takes it for false then, and misses the head. So it is tied
    where no head is stored, unless that is denied.
    """
    text = config.get('text_config')
    said = [part.get('tie_word_embeddings') for part in (config, text) if isinstance(part, Mapping)]
    stored = any(name.endswith('lm_head.weight') for name in tensors)
    return True in said or (not stored and False not in said)


def stored_quantization(config: Mapping[str, Any], folder: Path) -> str:
    """How the weights are stored: ``none``, ``nf4``, ``fp4``, ``int8`` or ``fp8``.

    :raises VLMError: if they are quantised in another way.
    """
    found = config.get('quantization_config')
    if not isinstance(found, dict):
        return 'none'
    method = found.get('quant_method')
    if method == 'bitsandbytes' and found.get('load_in_4bit'):
        return str(found.get('bnb_4bit_quant_type', 'fp4'))
    if method == 'bitsandbytes' and found.get('load_in_8bit'):
        return 'int8'
    if method in _FP8:
        return 'fp8'
    raise VLMError(
        f'model.path: {folder} is quantised by {method}, which is not supported; take its '
        'unquantised version, or one quantised by bitsandbytes or to FP8'
    )


def _check_format(folder: Path) -> None:
    if any(folder.glob('*.safetensors')):
        return
    pickled = sorted(path.name for kind in _PICKLED for path in folder.glob(kind))
    if pickled:
        raise VLMError(
            f'model.path: {folder} holds no safetensors weights but {pickled[0]}, which can hide '
            'a program and is refused; convert it with '
            f'"python -m progress_monitor.vlm.convert {folder} NEW_FOLDER"'
        )
    raise VLMError(f'model.path: {folder} holds no safetensors weights')


def _check_sizes(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    text = _part(folder, config, 'text_config', config)
    vision = _part(folder, config, 'vision_config', {})
    width, layers, depth = (
        text.get('hidden_size'),
        text.get('num_hidden_layers'),
        vision.get('depth'),
    )
    for name, size in (
        ('text_config.hidden_size', width),
        ('text_config.num_hidden_layers', layers),
        ('vision_config.depth', depth),
    ):
        if not isinstance(size, int) or size < 1:
            raise VLMError(
                f'{folder / "config.json"} gives no {name}, so the size of the model is unknown; '
                'fetch the checkpoint again'
            )
    embeddings = [item for name, item in tensors.items() if name.endswith('embed_tokens.weight')]
    if not embeddings:
        raise VLMError(f'{folder}: weights are missing (embed_tokens.weight, …)')
    if len(embeddings[0].shape) != 2 or embeddings[0].shape[1] != width:
        raise VLMError(
            f'{folder}: config.json says hidden_size {width}, but the embeddings have the shape '
            f'{list(embeddings[0].shape)}; they do not belong together'
        )
    for stack, count in (('layers', layers), ('blocks', depth)):
        _check_stack(folder, stack, int(count or 0), tensors)


def _part(
    folder: Path, config: Mapping[str, Any], name: str, otherwise: Mapping[str, Any]
) -> Mapping[str, Any]:
    part = config.get(name, otherwise)
    if not isinstance(part, Mapping):
        raise VLMError(
            f'{folder / "config.json"} is damaged ({name} is no object); fetch the checkpoint again'
        )
    return part


def _check_stack(folder: Path, stack: str, count: int, names: Iterable[str]) -> None:
    """Layers of a stack are alike, so one that lacks what another has is a hole."""
    found: dict[int, set[str]] = defaultdict(set)
    heads: dict[str, str] = {}
    for name in names:
        match = _LAYER.fullmatch(name)
        if match and match['stack'] == stack and name.endswith(('.weight', '.bias')):
            found[int(match['index'])].add(match['rest'])
            heads[match['rest']] = match['head']
    if sorted(found) != list(range(count)):
        raise VLMError(
            f'{folder}: config.json says {count} {stack}, but the weights have {len(found)}; '
            'they do not belong together, or weights are missing'
        )
    missing = [
        f'{heads[rest]}{index}.{rest}'
        for index in range(count)
        for rest in sorted(heads.keys() - found[index])
    ]
    if missing:
        raise VLMError(
            f'{folder}: {len(missing)} weights are missing ({missing[0]}, …); '
            'fetch the checkpoint again'
        )
