"""Prompts as token ids, with three-dimensional rotary positions and keys for prefix reuse."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from progress_monitor.types import Request
from progress_monitor.vlm.errors import RequestRefused, VLMError
from progress_monitor.vlm.images import ImageFormat
from progress_monitor.vlm.pictures import Picture, laid_out

IMAGE_TOKEN = '<|image_pad|>'  # noqa: S105
VIDEO_TOKEN = '<|video_pad|>'  # noqa: S105
END_OF_TURN = '<|im_end|>'
_CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for item in message['content'] %}{% if item['type'] == 'image' %}"
    '<|vision_start|><|image_pad|><|vision_end|>'
    "{% else %}{{ item['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    '{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}'
)
_REMEMBERED_PROMPTS = 64
_PLACE = '\ue000{}\ue001'
_PLACES = re.compile('\ue000(\\d+)\ue001')


@dataclass(frozen=True, eq=False)
class PromptTokens:
    """One prompt of n tokens, ready for the language model.

    ``ids`` (n,) int64; ``keys`` (n,) int64 equals ``ids`` but for a picture's tokens, where it is
    -1 less the picture's key, so that equal keys mean equal key-value states; ``positions``
    (3, n) int64 as ``get_rope_index`` of Qwen3-VL and Qwen2.5-VL gives them; ``spans`` holds
    (start, stop) of every picture's tokens; ``next_position`` is the position of the first token
    after the prompt.
    """

    ids: NDArray[np.int64]
    keys: NDArray[np.int64]
    positions: NDArray[np.int64]
    spans: tuple[tuple[int, int], ...]
    next_position: int


class PromptBuilder:
    """Turns parts of a prompt into tokens through the checkpoint's own chat template.

    The template is applied to place holders. Its own words alone may name special tokens; the
    texts that replace the place holders are tokenised with special tokens switched off, as the
    ordinary characters that they are.
    """

    def __init__(self, tokenizer: Any, image_format: ImageFormat) -> None:
        """``tokenizer`` is a fast tokenizer that knows the image token.

        :raises VLMError: if it does not.
        """
        self._tokenizer = tokenizer
        self._format = image_format
        self._template = tokenizer.chat_template or _CHATML
        self._image_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        self._video_id = tokenizer.convert_tokens_to_ids(VIDEO_TOKEN)
        if self._image_id is None or self._image_id == tokenizer.unk_token_id:
            raise VLMError(f'the tokenizer has no {IMAGE_TOKEN}: not a Qwen-VL checkpoint')
        added = tokenizer.added_tokens_decoder
        self._special = {token.content: number for number, token in added.items() if token.special}
        self._special[IMAGE_TOKEN] = self._image_id
        longest_first = sorted(self._special, key=len, reverse=True)
        self._split = re.compile('({})'.format('|'.join(map(re.escape, longest_first))))
        self._special_ids = np.array(sorted(self._special.values()))
        self._remembered: OrderedDict[tuple[bool, tuple[str | None, ...]], NDArray[np.int64]]
        self._remembered = OrderedDict()

    def build(
        self, request: Request, grids: Mapping[int, tuple[int, int]] | None = None
    ) -> PromptTokens:
        """Tokenise the parts of ``request`` in their order as one user turn.

        With ``chat`` the assistant speaks next; without, the turn is left open behind the last
        part. ``grids`` gives the (rows, columns) of patches of pictures by key, for those that are
        shown at another size than their image's.

        :raises ValueError: if the size of a frame that is not in ``grids`` does not suit the model.
        :raises RequestRefused: if a text yields a special token all the same.
        """
        parts = tuple(laid_out(request.parts))
        pictures = [part for part in parts if isinstance(part, Picture)]
        sizes = [
            grids[picture.key]
            if grids is not None and picture.key in grids
            else self._format.grid(picture.frames[0].image)
            for picture in pictures
        ]
        plain = self._tokenise(
            request.chat, tuple(part if isinstance(part, str) else None for part in parts)
        )
        marks = np.flatnonzero(plain == self._image_id)
        merge = self._format.merge_size
        ids: list[NDArray[np.int64]] = []
        keys: list[NDArray[np.int64]] = []
        positions: list[NDArray[np.int64]] = []
        spans: list[tuple[int, int]] = []
        start = length = position = 0
        for mark, picture, (rows, columns) in zip(marks, pictures, sizes, strict=True):
            text = plain[start:mark]
            rows, columns = rows // merge, columns // merge
            count = rows * columns
            ids += [text, np.full(count, self._video_id if picture.merged else self._image_id)]
            keys += [text, np.full(count, -1 - picture.key)]
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

    def continuation(self, text: str) -> tuple[int, ...]:
        """Token ids of ``text`` as it stands behind a prompt, special tokens switched off."""
        return tuple(self._encode(text))

    def _tokenise(self, chat: bool, parts: tuple[str | None, ...]) -> NDArray[np.int64]:
        found = self._remembered.get((chat, parts))
        if found is not None:
            self._remembered.move_to_end((chat, parts))
            return found
        pieces = self._rendered(chat, parts)
        encoded: list[int] = []
        written = 0
        run = ''
        for piece, of_template in pieces:
            for part in self._split.split(piece) if of_template else [piece]:
                if of_template and part in self._special:
                    encoded += [*self._encode(run), self._special[part]]
                    written += 1
                    run = ''
                else:
                    run += part
        ids = np.asarray([*encoded, *self._encode(run)], np.int64)
        if int((ids == self._image_id).sum()) != parts.count(None):
            raise VLMError(
                "the checkpoint's chat template does not write one image token per image; "
                'its tokenizer files do not belong to a Qwen-VL checkpoint'
            )
        if int(np.isin(ids, self._special_ids).sum()) != written:
            raise RequestRefused('the text of the request reads as a special token of the model')
        self._remembered[chat, parts] = ids
        if len(self._remembered) > _REMEMBERED_PROMPTS:
            self._remembered.popitem(last=False)
        return ids

    def _rendered(self, chat: bool, parts: tuple[str | None, ...]) -> list[tuple[str, bool]]:
        """The turn in pieces, and of each whether the template wrote it."""
        content = [
            {'type': 'image'} if part is None else {'type': 'text', 'text': _PLACE.format(index)}
            for index, part in enumerate(parts)
        ]
        try:
            rendered: str = self._tokenizer.apply_chat_template(
                [{'role': 'user', 'content': content}],
                chat_template=self._template,
                tokenize=False,
                add_generation_prompt=chat,
            )
        except Exception as error:  # the template is a program
            raise VLMError(f"the checkpoint's chat template cannot be used ({error})") from error
        if not chat:
            end = rendered.rfind(END_OF_TURN)
            if end < 0:
                raise VLMError(f"the checkpoint's chat template ends no turn with {END_OF_TURN}")
            rendered = rendered[:end]
        pieces: list[tuple[str, bool]] = []
        for index, piece in enumerate(_PLACES.split(rendered)):
            if index % 2 == 0:
                pieces.append((piece, True))
            else:
                text = parts[int(piece)]
                assert text is not None
                pieces.append((text, False))
        return pieces

    def _encode(self, text: str) -> list[int]:
        if not text:
            return []
        ids: list[int] = self._tokenizer(
            text, add_special_tokens=False, split_special_tokens=True, verbose=False
        )['input_ids']
        return ids


def _text_positions(start: int, count: int) -> NDArray[np.int64]:
    return np.broadcast_to(np.arange(start, start + count), (3, count))


def _image_positions(start: int, rows: int, columns: int) -> NDArray[np.int64]:
    row, column = np.divmod(np.arange(rows * columns), columns)
    return start + np.stack([np.zeros_like(row), row, column])
