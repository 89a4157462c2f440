"""Loading a Qwen3-VL checkpoint from a folder or, if the user named one, from the hub."""

from __future__ import annotations

import gc
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, BitsAndBytesConfig, Qwen3VLForConditionalGeneration
from transformers.utils import logging as transformers_logging

from progress_monitor.vlm.checkpoint import check_architecture, checkpoint_folder
from progress_monitor.vlm.errors import VLMError
from progress_monitor.vlm.images import ImageFormat
from progress_monitor.vlm.prompt import PromptBuilder

_LEFT_UNQUANTISED = ['lm_head', 'visual', 'model.visual']


@dataclass(frozen=True, eq=False)
class VLM:
    """A loaded checkpoint: the model in evaluation mode, its tokenizer and its image format."""

    name: str
    model: Any
    tokenizer: Any
    images: ImageFormat
    prompts: PromptBuilder
    quantization: str
    device: torch.device
    dtype: torch.dtype
    end_tokens: frozenset[int]

    @classmethod
    def from_pretrained(
        cls,
        path_or_name: str,
        quantization: str = 'none',
        device: str = 'auto',
        dtype: str = 'auto',
    ) -> VLM:
        """Load a checkpoint of the Qwen3-VL architecture.

        ``quantization`` is ``none``, ``nf4`` or ``int8``; the vision tower and the output head
        stay unquantised. Weights are read from safetensors only and no code is taken from the
        checkpoint.

        :raises VLMError: if the checkpoint is missing, damaged, of another architecture or too
            large for the memory.
        """
        place = choose_device(device)
        precision = choose_dtype(dtype, place)
        folder = checkpoint_folder(path_or_name)
        check_architecture(folder)
        images = ImageFormat.read(folder / 'preprocessor_config.json')
        tokenizer = _tokenizer(folder)
        model = _model(folder, quantization, place, precision)
        generation = model.generation_config
        ends = generation.eos_token_id if generation is not None else None
        if ends is None:
            ends = tokenizer.eos_token_id
        return cls(
            name=path_or_name,
            model=model,
            tokenizer=tokenizer,
            images=images,
            prompts=PromptBuilder(tokenizer, images),
            quantization=quantization,
            device=place,
            dtype=precision,
            end_tokens=frozenset([ends] if isinstance(ends, int) else ends or []),
        )


def choose_device(name: str) -> torch.device:
    """The torch device that ``model.device`` names.

    :raises VLMError: if there is no such device.
    """
    if name == 'auto':
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise VLMError(f'model.device: {name!r} cannot be used ({reason}); take cpu') from error
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The precision that ``model.dtype`` names; auto suits the device."""
    if name != 'auto':
        return {
            'float32': torch.float32,
            'bfloat16': torch.bfloat16,
            'float16': torch.float16,
        }[name]
    if device.type != 'cuda':
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def release_memory() -> None:
    """Give memory of deleted models back to the system or the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _tokenizer(folder: Path) -> Any:
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        if tokenizer.chat_template is None and (folder / 'chat_template.json').exists():
            text = (folder / 'chat_template.json').read_text(encoding='utf-8')
            tokenizer.chat_template = json.loads(text)['chat_template']
    except Exception as error:
        raise VLMError(
            f'{folder}: the tokenizer files cannot be read ({_first_line(error)}); '
            'fetch the checkpoint again'
        ) from error
    return tokenizer


def _model(folder: Path, quantization: str, device: torch.device, dtype: torch.dtype) -> Any:
    transformers_logging.disable_progress_bar()
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        model, report = Qwen3VLForConditionalGeneration.from_pretrained(
            folder,
            dtype=dtype,
            quantization_config=_quantization_config(quantization, dtype),
            device_map={'': device} if quantization != 'none' else None,
            attn_implementation='sdpa',
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        if quantization == 'none':
            model.to(device)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise VLMError(
            f'{folder}: not enough memory on {device} ({_first_line(error)}); '
            'set model.quantization to nf4, or take a smaller checkpoint'
        ) from error
    except Exception as error:
        raise VLMError(
            f'{folder}: the weights cannot be loaded ({_first_line(error)}); '
            'if a file is damaged, fetch the checkpoint again'
        ) from error
    finally:
        transformers_logging.set_verbosity(verbosity)
    missing = sorted(report['missing_keys'])
    if missing:
        raise VLMError(
            f'{folder}: {len(missing)} weights are missing ({missing[0]}, …); '
            'fetch the checkpoint again'
        )
    return model.eval().requires_grad_(False)


def _quantization_config(quantization: str, dtype: torch.dtype) -> BitsAndBytesConfig | None:
    if quantization == 'none':
        return None
    if quantization == 'nf4':
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type='nf4',
            bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=_LEFT_UNQUANTISED,
        )
    return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=_LEFT_UNQUANTISED)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
