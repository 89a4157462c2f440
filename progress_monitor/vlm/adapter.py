"""PEFT LoRA adapters: read by their published layout and put on a loaded model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from progress_monitor.vlm.checkpoint import ADAPTER_CONFIG, ADAPTER_WEIGHTS, read_json
from progress_monitor.vlm.errors import VLMError
from progress_monitor.vlm.weights import Tensor, read_header

# The other fields only matter in training, or name Python modules to import.
_USED = (
    'r',
    'lora_alpha',
    'bias',
    'target_modules',
    'exclude_modules',
    'modules_to_save',
    'layers_to_transform',
    'layers_pattern',
    'rank_pattern',
    'alpha_pattern',
    'fan_in_fan_out',
    'use_rslora',
    'use_dora',
)
_HEADS = ('procvlm_head.pt', 'procvlm_head.bin', 'procvlm_head.safetensors')
_PLACE = re.compile(r'(?:layers|blocks)\.\d+\..*|lm_head|embed_tokens')
_UNPACKED = ('F32', 'F16', 'BF16')


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter on the disk: its configuration and the tensors that it holds."""

    folder: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    @classmethod
    def read(cls, folder: Path) -> Adapter:
        """Read ``adapter_config.json`` and the header of the weights.

        :raises VLMError: if a file is missing or damaged, or it is no LoRA adapter.
        """
        if not (folder / ADAPTER_CONFIG).is_file():
            raise VLMError(f'model.adapter: {folder} holds no {ADAPTER_CONFIG}')
        config = read_json(folder / ADAPTER_CONFIG)
        if config.get('peft_type') != 'LORA':
            raise VLMError(
                f'model.adapter: {folder} is a {config.get("peft_type")} adapter; LoRA is needed'
            )
        if not (folder / ADAPTER_WEIGHTS).is_file():
            pickled = (folder / 'adapter_model.bin').is_file()
            convert = (
                '; adapter_model.bin can hide a program and is refused: convert it with '
                f'"python -m progress_monitor.vlm.convert {folder} NEW_FOLDER"'
            )
            raise VLMError(
                f'model.adapter: {folder} holds no {ADAPTER_WEIGHTS}{convert if pickled else ""}'
            )
        return cls(folder, config, read_header(folder / ADAPTER_WEIGHTS))

    def check(self, base: Mapping[str, Tensor]) -> None:
        """Check that it fits the ``base``'s weights, by names and shapes alone.

        :raises VLMError: naming the first weight that does not fit.
        """
        shapes = {
            place[0]: tensor
            for name, tensor in base.items()
            if name.endswith('.weight') and (place := _PLACE.search(name.removesuffix('.weight')))
        }
        for name, tensor in self.tensors.items():
            target, _, part = name.partition('.lora_')
            place = _PLACE.search(target.removesuffix('.base_layer'))
            if not part or place is None:
                continue
            weight = shapes.get(place[0])
            if weight is None:
                raise VLMError(
                    f'model.adapter: {self.folder} changes {place[0]}, which the checkpoint of '
                    f'model.path does not have; it was made for {self.base}'
                )
            if weight.kind not in _UNPACKED or part[0] not in 'AB' or len(weight.shape) != 2:
                continue
            wanted, given = (
                (weight.shape[1], tensor.shape[1])
                if part[0] == 'A'
                else (weight.shape[0], tensor.shape[0])
            )
            if wanted != given:
                raise VLMError(
                    f'model.adapter: {self.folder} does not fit the checkpoint of model.path '
                    f'({place[0]} has {wanted} values there and {given} here); it was made for '
                    f'{self.base}'
                )

    @property
    def base(self) -> str:
        """The base that it names, with its revision if it gives one."""
        name = self.config.get('base_model_name_or_path') or 'a base that it does not name'
        revision = self.config.get('revision')
        return f'{name} at {revision}' if revision else str(name)

    def apply(self, model: Any, merge: bool) -> Any:
        """Put it on ``model``, as part of its weights or as layers of their own.

        :return: the model, with the same attributes as before.
        :raises VLMError: if it does not fit.
        """
        from peft import LoraConfig, PeftModel

        settings = {name: self.config[name] for name in _USED if self.config.get(name) is not None}
        try:
            adapted = PeftModel.from_pretrained(
                model,
                str(self.folder),
                config=LoraConfig(inference_mode=True, **settings),
                autocast_adapter_dtype=False,
            )
            expected = sum('.lora_A.' in name for name in self.tensors)
            found = sum('default' in getattr(module, 'lora_A', ()) for module in adapted.modules())
            if found != expected:
                raise ValueError(f'{expected} layers are adapted, {found} of them are found')
            return adapted.merge_and_unload(safe_merge=True) if merge else adapted.base_model.model
        except Exception as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            raise VLMError(
                f'model.adapter: {self.folder} cannot be put on the checkpoint of model.path '
                f'({reason}); it was made for {self.base}'
            ) from error

    def notes(self, path: str) -> tuple[str, ...]:
        """Lines for the log: what it was made for, and what of it is not used."""
        lines = [f'adapter {self.folder}, made for {self.base}, is applied to {path}']
        head = next((name for name in _HEADS if (self.folder / name).is_file()), None)
        if head is not None:
            lines.append(f'the value head {head} of the adapter is not used')
        return tuple(lines)
