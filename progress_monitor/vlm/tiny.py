"""Checkpoints with random weights, in the ordinary Hugging Face layout.

For tests, and for measuring speed at the size of a published model without its weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

SENTENCES = (
    'Given the recent observation and the task "Pick up the cube and place it at the goal.", '
    'first infer the remaining atomic actions required to complete the task. Then estimate the '
    'current completion percentage and output it as a float wrapped by <progress> tags.',
    'The following steps are required:\n1. Reach the handle.\n2. Pull the drawer open.\n'
    'Therefore, the estimated progress is <progress>42%</progress>',
    'No further steps are required. Therefore, the estimated progress is <progress>100%</progress>',
    'The task does not fit what is seen. Therefore, the estimated progress is '
    '<progress>n/a</progress>',
)
SPECIAL = (
    '<|endoftext|>',
    '<|im_start|>',
    '<|im_end|>',
    '<|vision_start|>',
    '<|vision_end|>',
    '<|image_pad|>',
    '<|video_pad|>',
)
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for item in message['content'] %}"
    "{% if item['type'] == 'image' %}{{ '<|vision_start|><|image_pad|><|vision_end|>' }}"
    "{% else %}{{ item['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# Linear layers of 64n inputs and 32n outputs: bitsandbytes asks for that on some CPUs.
TINY_TEXT = {
    'hidden_size': 64,
    'intermediate_size': 64,
    'num_hidden_layers': 2,
    'num_attention_heads': 4,
    'num_key_value_heads': 2,
    'head_dim': 16,
}
TINY_VISION = {
    'hidden_size': 32,
    'intermediate_size': 48,
    'depth': 2,
    'num_heads': 2,
    'num_position_embeddings': 64,
    'deepstack_visual_indexes': [0],
}
SMALL_TEXT = {
    'hidden_size': 192,
    'intermediate_size': 512,
    'num_hidden_layers': 4,
    'num_attention_heads': 4,
    'num_key_value_heads': 2,
    'head_dim': 48,
}
SMALL_VISION = {
    'hidden_size': 192,
    'intermediate_size': 512,
    'depth': 4,
    'num_heads': 4,
    'num_position_embeddings': 64,
    'deepstack_visual_indexes': [0, 1, 2],
}
QWEN3_VL_2B_TEXT = {
    'hidden_size': 2048,
    'intermediate_size': 6144,
    'num_hidden_layers': 28,
    'num_attention_heads': 16,
    'num_key_value_heads': 8,
    'head_dim': 128,
    'vocab_size': 151936,
    'max_position_embeddings': 262144,
    'rope_parameters': {
        'rope_type': 'default',
        'rope_theta': 5000000.0,
        'mrope_section': [24, 20, 20],
        'mrope_interleaved': True,
    },
}
QWEN3_VL_2B_VISION = {
    'hidden_size': 1024,
    'intermediate_size': 4096,
    'depth': 24,
    'num_heads': 16,
    'num_position_embeddings': 2304,
    'deepstack_visual_indexes': [5, 11, 17],
}


def make_tokenizer(sentences: Iterable[str], vocabulary: int = 512) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer whose digits stand alone, with Qwen's special tokens."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r'\d| ?[A-Za-z]+|\s+|[^\sA-Za-z0-9]'), 'isolated'),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(sentences, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token='<|im_end|>',  # noqa: S106
        pad_token='<|endoftext|>',  # noqa: S106
        additional_special_tokens=list(SPECIAL[1:]),
        chat_template=TEMPLATE,
    )


def make_config(
    text: dict[str, Any],
    vision: dict[str, Any],
    spread: float = 0.02,
    sentences: Iterable[str] = SENTENCES,
    vocabulary: int = 512,
) -> tuple[Qwen3VLConfig, PreTrainedTokenizerFast]:
    """A model's configuration, and the tokenizer that its token ids belong to.

    ``text`` and ``vision`` override fields of the text and vision configurations; the tokenizer
    learns at most ``vocabulary`` words from ``sentences``.
    """
    tokenizer = make_tokenizer(sentences, vocabulary)
    token = tokenizer.convert_tokens_to_ids
    head = int(text['head_dim']) // 2
    config = Qwen3VLConfig(
        text_config={
            'vocab_size': len(tokenizer),
            'max_position_embeddings': 8192,
            'rope_parameters': {
                'rope_type': 'default',
                'rope_theta': 5000000.0,
                'mrope_section': [head - 2 * (head // 3), head // 3, head // 3],
                'mrope_interleaved': True,
            },
            'tie_word_embeddings': True,
            'initializer_range': spread,
            'bos_token_id': token('<|endoftext|>'),
            'eos_token_id': token('<|im_end|>'),
            **text,
        },
        vision_config={
            'out_hidden_size': text['hidden_size'],
            'initializer_range': spread,
            **vision,
        },
        tie_word_embeddings=True,
        image_token_id=token('<|image_pad|>'),
        video_token_id=token('<|video_pad|>'),
        vision_start_token_id=token('<|vision_start|>'),
        vision_end_token_id=token('<|vision_end|>'),
    )
    return config, tokenizer


def make_checkpoint(
    folder: Path,
    text: dict[str, Any],
    vision: dict[str, Any],
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    spread: float = 0.02,
    sentences: Iterable[str] = SENTENCES,
    vocabulary: int = 512,
) -> Path:
    """Write a checkpoint with random weights of standard deviation ``spread`` into ``folder``.

    The other arguments are those of ``make_config``.
    """
    config, tokenizer = make_config(text, vision, spread, sentences, vocabulary)
    token = tokenizer.convert_tokens_to_ids
    torch.manual_seed(seed)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        model = Qwen3VLForConditionalGeneration(config).to(dtype)
    finally:
        torch.set_default_dtype(before)
    model.generation_config.eos_token_id = token('<|im_end|>')
    model.generation_config.pad_token_id = token('<|endoftext|>')
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    processor = {
        'image_processor_type': 'Qwen2VLImageProcessor',
        'processor_class': 'Qwen3VLProcessor',
        'patch_size': 16,
        'temporal_patch_size': 2,
        'merge_size': 2,
        'image_mean': [0.5, 0.5, 0.5],
        'image_std': [0.5, 0.5, 0.5],
        'rescale_factor': 1 / 255,
        'size': {'shortest_edge': 1024, 'longest_edge': 16777216},
    }
    (folder / 'preprocessor_config.json').write_text(json.dumps(processor, indent=2))
    return folder
