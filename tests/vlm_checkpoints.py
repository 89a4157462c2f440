"""Tiny random checkpoints, made once per test run and shared between tests."""

import atexit
import functools
import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from progress_monitor.types import Frame, Generate, Request, Score
from progress_monitor.vlm.loading import VLM
from progress_monitor.vlm.prompt import PromptBuilder
from progress_monitor.vlm.tiny import TINY_TEXT, TINY_VISION, make_checkpoint

torch.set_num_threads(1)


@functools.cache
def tiny_folder(seed: int = 0, layers: int = 2) -> Path:
    folder = Path(tempfile.mkdtemp(prefix='progress_monitor_tiny_'))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    text = {**TINY_TEXT, 'num_hidden_layers': layers}
    return make_checkpoint(folder, text, TINY_VISION, seed=seed, spread=0.3)


@functools.cache
def tiny_vlm(seed: int = 0, layers: int = 2) -> VLM:
    return VLM.from_pretrained(str(tiny_folder(seed, layers)), device='cpu')


@functools.cache
def tiny_vlm_double(seed: int = 0, layers: int = 2) -> VLM:
    """In float64 sums hardly depend on how they are batched, so equality has no ties."""
    vlm = VLM.from_pretrained(str(tiny_folder(seed, layers)), device='cpu')
    return replace(vlm, model=vlm.model.double(), dtype=torch.float64)


@functools.cache
def tiny_qwen2_5(seed: int = 0, layers: int = 3, tied: bool = True) -> VLM:
    """A Qwen2.5-VL of random weights, its windows of 56 pixels smaller than most images."""
    plain = tiny_vlm(0)
    token = plain.tokenizer.convert_tokens_to_ids
    config = Qwen2_5_VLConfig(
        text_config={
            'vocab_size': len(plain.tokenizer),
            'hidden_size': 64,
            'intermediate_size': 64,
            'num_hidden_layers': layers,
            'num_attention_heads': 4,
            'num_key_value_heads': 2,
            'max_position_embeddings': 8192,
            'initializer_range': 0.3,
            'tie_word_embeddings': tied,
            'rope_parameters': {
                'rope_type': 'default',
                'rope_theta': 1000000.0,
                'mrope_section': [2, 3, 3],
            },
        },
        vision_config={
            'hidden_size': 32,
            'intermediate_size': 48,
            'depth': 3,
            'num_heads': 2,
            'out_hidden_size': 64,
            'window_size': 56,
            'fullatt_block_indexes': [1],
            'initializer_range': 0.3,
        },
        tie_word_embeddings=tied,
        image_token_id=token('<|image_pad|>'),
        video_token_id=token('<|video_pad|>'),
        vision_start_token_id=token('<|vision_start|>'),
        vision_end_token_id=token('<|vision_end|>'),
    )
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(config).eval().requires_grad_(False)
    for name, weight in model.named_parameters():
        if name.endswith('bias'):
            weight.normal_(std=0.1)
    model.generation_config.eos_token_id = token('<|im_end|>')
    model.generation_config.pad_token_id = token('<|endoftext|>')
    images = replace(plain.images, patch_size=14)
    return replace(
        plain,
        name='tiny-qwen2.5',
        model=model,
        images=images,
        prompts=PromptBuilder(plain.tokenizer, images),
    )


@functools.cache
def tiny_qwen2_5_folder(seed: int = 0, layers: int = 3) -> Path:
    """The same model on disk, in the layout of ProgressLM's own files."""
    folder = Path(tempfile.mkdtemp(prefix='progress_monitor_qwen2_5_'))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    vlm = tiny_qwen2_5(seed, layers)
    vlm.model.save_pretrained(folder)
    for path in tiny_folder(0).iterdir():
        if not (folder / path.name).exists() and path.suffix != '.safetensors':
            shutil.copy(path, folder)
    file = folder / 'preprocessor_config.json'
    processor = json.loads(file.read_text(encoding='utf-8'))
    processor |= {'patch_size': 14, 'processor_class': 'Qwen2_5_VLProcessor'}
    file.write_text(json.dumps(processor), encoding='utf-8')
    return folder


def noise_frames(count: int, size: tuple[int, int] = (64, 64), start: int = 0) -> list[Frame]:
    random = np.random.default_rng(start)
    return [
        Frame(
            start + index,
            'camera',
            (start + index) * 10**8,
            random.integers(0, 256, (*size, 3), dtype=np.uint8),
        )
        for index in range(count)
    ]


def request(frames, text, stop=('</progress>',), session='', chat=True, **want) -> Request:
    """The frames first, then the text; a ``Generate`` with the rest of the arguments."""
    return Request(0, session, (*frames, text), Generate(stop=stop, **want), chat)


def score(frames, text, *continuations, session='', chat=False) -> Request:
    """The log-probabilities of ``continuations`` after the frames and the text."""
    return Request(0, session, (*frames, text), Score(continuations), chat)
