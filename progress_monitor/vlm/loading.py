"""Loading a Qwen3-VL checkpoint from a folder or, if the user named one, from the hub."""

from __future__ import annotations

import gc
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoTokenizer,
    BitsAndBytesConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3VLForConditionalGeneration,
)
from transformers.utils import logging as transformers_logging

from progress_monitor.vlm.adapter import read_adapters
from progress_monitor.vlm.adapter_switch import AdapterSwitch
from progress_monitor.vlm.checkpoint import (
    IMAGE_FORMATS,
    check_architecture,
    checkpoint_folder,
    read_json,
    stored_quantization,
    ties_head,
)
from progress_monitor.vlm.errors import VLMError
from progress_monitor.vlm.images import ImageFormat
from progress_monitor.vlm.prompt import PromptBuilder
from progress_monitor.vlm.weights import stored_tensors, weights_revision

_LEFT_UNQUANTISED = ['lm_head', 'visual', 'model.visual']
_MODEL_CLASSES: dict[str, Any] = {
    'qwen3_vl': Qwen3VLForConditionalGeneration,
    'qwen2_5_vl': Qwen2_5_VLForConditionalGeneration,
}
# Changes to the scores of the next token that plain greedy decoding does not make.
_UNSUPPORTED = (
    'no_repeat_ngram_size',
    'encoder_repetition_penalty',
    'bad_words_ids',
    'sequence_bias',
    'suppress_tokens',
    'begin_suppress_tokens',
    'forced_bos_token_id',
    'forced_eos_token_id',
    'exponential_decay_length_penalty',
    'min_length',
    'min_new_tokens',
)


@dataclass(frozen=True, eq=False)
class VLM:
    """A loaded checkpoint: the model in evaluation mode, its tokenizer and its image format.

    ``quantization`` is what the weights are in memory: ``none``, ``nf4``, ``fp4`` or ``int8``.
    ``repetition_penalty`` is the checkpoint's own; greedy decoding with another value than it
    differs from ``generate``. ``notes`` are lines for the log.
    ``revision`` tells the weights from others; empty where it is not known. ``adapters`` puts the
    adapter of a task on ``model``.
    """

    name: str
    model: Any
    tokenizer: Any
    images: ImageFormat
    prompts: PromptBuilder
    quantization: str
    device: torch.device
    dtype: torch.dtype
    end_tokens: frozenset[int]
    architecture: str = 'qwen3_vl'
    repetition_penalty: float = 1.0
    notes: tuple[str, ...] = ()
    revision: str = ''
    adapters: AdapterSwitch = field(default_factory=AdapterSwitch)

    @classmethod
    def from_pretrained(
        cls,
        path_or_name: str,
        quantization: str = 'none',
        device: str = 'auto',
        dtype: str = 'auto',
        *,
        revision: str = '',
        adapters: Sequence[str] = (),
    ) -> VLM:
        """Load a checkpoint, and LoRA ``adapters`` to be put on it by the task.

        ``quantization`` is ``none``, ``nf4`` or ``int8``; the vision tower and the output head
        stay unquantised. A checkpoint that is stored quantised by bitsandbytes is loaded as it
        is, with ``auto`` or its own quantisation; FP8 weights are made whole. An adapter in force
        is merged into unquantised weights and stands beside quantised ones. Weights are read
        from safetensors only and no code is taken from the checkpoint.

        :raises VLMError: if the checkpoint is missing, damaged, of another architecture or too
            large for the memory, if ``quantization`` contradicts it or an adapter does not fit.
        """
        place = choose_device(device)
        precision = choose_dtype(dtype, place)
        folder = checkpoint_folder(path_or_name, revision)
        architecture = check_architecture(folder)
        stored = stored_quantization(read_json(folder / 'config.json'), folder)
        quantization = resolve_quantization(quantization, stored)
        loras = read_adapters(adapters)
        for lora in loras:
            lora.check(path_or_name, folder)
        images = ImageFormat.read(folder)
        tokenizer = _tokenizer(folder)
        model = _model(folder, architecture, quantization, stored, place, precision)
        notes: tuple[str, ...] = ()
        if stored != 'none':
            whole = ', made whole' if quantization == 'none' else ''
            notes += (f'the checkpoint is stored in {stored}{whole}',)
        _check_layout(folder, images, model.config.vision_config)
        switch = AdapterSwitch.load(model, loras, merge=quantization == 'none')
        for lora in loras:
            notes += lora.notes(path_or_name)
        if switch.kept_mb:
            notes += (f'{switch.kept_mb:.0f} MiB of the bare weights are kept to switch adapters',)
        generation = model.generation_config
        ends = _end_tokens(folder, generation, tokenizer)
        penalty = getattr(generation, 'repetition_penalty', None) or 1.0
        if not isinstance(penalty, int | float) or not 0.0 < penalty < math.inf:
            raise VLMError(
                f'{folder / "generation_config.json"}: repetition_penalty {penalty!r} is no '
                'positive number; remove it'
            )
        unsupported = [name for name in _UNSUPPORTED if getattr(generation, name, None)]
        if unsupported:
            notes += (
                f"the checkpoint's generation_config.json asks for {', '.join(unsupported)}, "
                'which is not applied',
            )
        return cls(
            name=path_or_name,
            model=model,
            tokenizer=tokenizer,
            images=images,
            prompts=PromptBuilder(tokenizer, images),
            quantization=quantization,
            device=place,
            dtype=precision,
            end_tokens=ends,
            architecture=architecture,
            repetition_penalty=float(penalty),
            notes=notes,
            revision=weights_revision(folder),
            adapters=switch,
        )


def _check_layout(folder: Path, images: ImageFormat, tower: Any) -> None:
    """Check that pictures are cut as the vision tower wants them.

    :raises VLMError: if the image processor is that of another model.
    """
    given = (images.patch_size, images.merge_size, images.temporal_patch_size)
    wanted = (tower.patch_size, tower.spatial_merge_size, tower.temporal_patch_size)
    if given != wanted:
        raise VLMError(
            f'{folder}: its image processor cuts patches of {given[0]} pixels, {given[1]} by '
            f'{given[1]} and {given[2]} deep, and its vision tower takes {wanted[0]}, {wanted[1]} '
            f'by {wanted[1]} and {wanted[2]}; take {IMAGE_FORMATS[0]} from its base model'
        )


def _end_tokens(folder: Path, generation: Any, tokenizer: Any) -> frozenset[int]:
    ends = generation.eos_token_id if generation is not None else None
    if ends is None:
        ends = tokenizer.eos_token_id
    listed = ends if isinstance(ends, list | tuple) else [] if ends is None else [ends]
    if not all(isinstance(item, int) for item in listed):
        raise VLMError(
            f'{folder / "generation_config.json"}: eos_token_id {ends!r} is no id of a token; take '
            'the file of the base model'
        )
    return frozenset(listed)


def resolve_quantization(wanted: str, stored: str) -> str:
    """What the weights will be in memory, of those that are ``stored`` so.

    :raises VLMError: if weights that are stored quantised are wanted in another quantisation.
    """
    if stored == 'none':
        return 'none' if wanted == 'auto' else wanted
    if stored == 'fp8':
        if wanted in ('auto', 'none'):
            return 'none'
    elif wanted in ('auto', stored):
        return stored
    other = 'none' if stored == 'fp8' else stored
    fitting = 'auto' if stored == 'fp4' else f'auto or {other}'
    raise VLMError(
        f'model.quantization: {wanted} contradicts the checkpoint, which is stored in {stored}; '
        f'set it to {fitting}, or take the unquantised checkpoint'
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
            tokenizer.chat_template = read_json(folder / 'chat_template.json')['chat_template']
    except Exception as error:
        raise VLMError(
            f'{folder}: the tokenizer files cannot be read ({_first_line(error)}); '
            'fetch the checkpoint again'
        ) from error
    if tokenizer.chat_template is None:
        raise VLMError(
            f'{folder} holds no chat template (chat_template.jinja or chat_template.json); '
            'copy it from the base model'
        )
    return tokenizer


def _model(
    folder: Path,
    architecture: str,
    quantization: str,
    stored: str,
    device: torch.device,
    dtype: torch.dtype,
) -> Any:
    transformers_logging.disable_progress_bar()
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        if stored == 'fp8':
            config.quantization_config['dequantize'] = True
        config.tie_word_embeddings = ties_head(
            read_json(folder / 'config.json'), stored_tensors(folder)
        )
        model, report = _MODEL_CLASSES[architecture].from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            quantization_config=(
                _quantization_config(quantization, dtype) if stored == 'none' else None
            ),
            device_map={'': device} if quantization != 'none' or stored != 'none' else None,
            attn_implementation='sdpa',
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        if quantization == 'none':
            model.to(device=device, dtype=dtype)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise VLMError(
            f'{folder}: not enough memory on {device} ({_first_line(error)}); '
            'set model.quantization to nf4, or take a smaller checkpoint'
        ) from error
    except Exception as error:
        reason = _first_line(error)
        if 'ignore_mismatched_sizes' in reason:
            reason = 'they have other shapes than config.json says'
        raise VLMError(
            f'{folder}: the weights cannot be loaded ({reason}); '
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
