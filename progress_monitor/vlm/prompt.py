"""Prompts as token ids, with three-dimensional rotary positions and keys for prefix reuse."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from progress_monitor.types import Prompt
from progress_monitor.vlm.errors import VLMError
from progress_monitor.vlm.images import ImageFormat

IMAGE_TOKEN = '<|image_pad|>'  # noqa: S105
_CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for item in message['content'] %}{% if item['type'] == 'image' %}"
    '<|vision_start|><|image_pad|><|vision_end|>'
    "{% else %}{{ item['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    '{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}'
)
_REMEMBERED_TEXTS = 64


@dataclass(frozen=True, eq=False)
class PromptTokens:
    """One prompt of n tokens, ready for the language model.

    ``ids`` (n,) int64; ``keys`` (n,) int64 equals ``ids`` but for image tokens, where it names
    the frame, so that equal keys mean equal key-value states; ``positions`` (3, n) int64 as
    ``get_rope_index`` of Qwen3-VL gives them; ``spans`` holds (start, stop) of every image's
    tokens; ``next_position`` is the position of the first token after the prompt.
    """

    ids: NDArray[np.int64]
    keys: NDArray[np.int64]
    positions: NDArray[np.int64]
    spans: tuple[tuple[int, int], ...]
    next_position: int


class PromptBuilder:
    """Turns prompts into tokens through the checkpoint's own chat template."""

    def __init__(self, tokenizer: Any, image_format: ImageFormat) -> None:
        """``tokenizer`` is a fast tokenizer that knows the image token.

        :raises VLMError: if it does not.
        """
        self._tokenizer = tokenizer
        self._format = image_format
        self._template = tokenizer.chat_template or _CHATML
        self._image_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        if self._image_id is None or self._image_id == tokenizer.unk_token_id:
            raise VLMError(f'the tokenizer has no {IMAGE_TOKEN}: not a Qwen3-VL checkpoint')
        self._special = sorted(tokenizer.get_added_vocab(), key=len, reverse=True)
        self._remembered: OrderedDict[tuple[int, str], NDArray[np.int64]] = OrderedDict()

    def build(self, prompt: Prompt) -> PromptTokens:
        """Tokenise ``prompt``: one user turn, the images first, then the text.

        Special tokens written out in the text are dropped from it.

        :raises ValueError: if a frame's size does not suit the model.
        """
        sizes = [self._format.grid(frame.image) for frame in prompt.frames]
        plain = self._tokenise(len(sizes), prompt.text)
        marks = np.flatnonzero(plain == self._image_id)
        merge = self._format.merge_size
        ids: list[NDArray[np.int64]] = []
        keys: list[NDArray[np.int64]] = []
        positions: list[NDArray[np.int64]] = []
        spans: list[tuple[int, int]] = []
        start = length = position = 0
        for mark, frame, (rows, columns) in zip(marks, prompt.frames, sizes, strict=True):
            text = plain[start:mark]
            rows, columns = rows // merge, columns // merge
            count = rows * columns
            ids += [text, np.full(count, self._image_id)]
            keys += [text, np.full(count, -1 - frame.uid)]
            positions += [_text_positions(position, len(text))]
            position += len(text)
            positions += [_image_positions(position, rows, columns)]
            position += max(rows, columns)
            length += len(text)
            spans.append((length, length + count))
            length += count
            start = mark + 1
        text = plain[start:]
        return PromptTokens(
            ids=np.concatenate([*ids, text]),
            keys=np.concatenate([*keys, text]),
            positions=np.concatenate([*positions, _text_positions(position, len(text))], axis=1),
            spans=tuple(spans),
            next_position=position + len(text),
        )

    def _tokenise(self, images: int, text: str) -> NDArray[np.int64]:
        found = self._remembered.get((images, text))
        if found is not None:
            self._remembered.move_to_end((images, text))
            return found
        clean = text
        for token in self._special:
            clean = clean.replace(token, '')
        content = [{'type': 'image'}] * images + [{'type': 'text', 'text': clean}]
        rendered = self._tokenizer.apply_chat_template(
            [{'role': 'user', 'content': content}],
            chat_template=self._template,
            tokenize=False,
            add_generation_prompt=True,
        )
        encoded = self._tokenizer(rendered, add_special_tokens=False)['input_ids']
        ids = np.asarray(encoded, np.int64)
        if int((ids == self._image_id).sum()) != images:
            raise VLMError(
                "the checkpoint's chat template does not write one image token per image; "
                'its tokenizer files do not belong to a Qwen3-VL checkpoint'
            )
        self._remembered[images, text] = ids
        if len(self._remembered) > _REMEMBERED_TEXTS:
            self._remembered.popitem(last=False)
        return ids


def _text_positions(start: int, count: int) -> NDArray[np.int64]:
    return np.broadcast_to(np.arange(start, start + count), (3, count))


def _image_positions(start: int, rows: int, columns: int) -> NDArray[np.int64]:
    row, column = np.divmod(np.arange(rows * columns), columns)
    return start + np.stack([np.zeros_like(row), row, column])
