"""Prompts as plain text files with named fields.

Lines that begin with ``#`` at the head of a file are remarks. One line end at the file's end
belongs to the file and not to the prompt. ``{name}`` is a field where the strategy knows the name;
all other braces are text, and so is everything that a field brings in.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from progress_monitor.parameters import ParameterError
from progress_monitor.types import Part

FOLDER = Path(__file__).parent / 'prompts'
_LARGEST = 65536


@dataclass(frozen=True)
class PromptFile:
    """A prompt: ``name`` of its file, its ``text`` and the ``fields`` that it may hold."""

    name: str
    text: str
    fields: tuple[str, ...]

    @classmethod
    def load(
        cls, path_or_name: str, required: Collection[str], optional: Collection[str] = ()
    ) -> PromptFile:
        """Read a file by its path, or a prompt of this package by its name alone.

        :raises ParameterError: if it cannot be read, or holds a required field not exactly once.
        """
        shipped = FOLDER / f'{path_or_name}.txt'
        inside = re.fullmatch(r'[a-z_]+', path_or_name) is not None and os.path.isfile(shipped)
        path = shipped if inside else Path(os.path.expanduser(path_or_name))
        try:
            with path.open('rb') as file:
                content = file.read(_LARGEST + 1)
            text = content.decode('utf-8').replace('\r\n', '\n')
        except (OSError, ValueError) as error:
            reason = getattr(error, 'strerror', None) or 'it is no UTF-8 text'
            raise ParameterError(f'prompt file {path_or_name!r} cannot be read: {reason}') from None
        if len(content) > _LARGEST:
            raise ParameterError(f'prompt file {path_or_name!r} has more than {_LARGEST} bytes')
        while text.startswith('#'):
            text = text.partition('\n')[2]
        for field in required:
            count = text.count(f'{{{field}}}')
            if count != 1:
                raise ParameterError(
                    f'prompt file {path_or_name!r} must hold {{{field}}} once and holds it '
                    f'{count} times'
                )
        return cls(path.stem, text.removesuffix('\n'), (*required, *optional))

    @property
    def sha256(self) -> str:
        """The first 12 hexadecimal digits of the text's SHA-256."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:12]

    def parts(self, values: Mapping[str, str | tuple[Part, ...]]) -> tuple[Part, ...]:
        """The prompt with its fields filled in, adjacent texts joined.

        :raises KeyError: if ``values`` lacks a field that the text holds.
        """
        names = '|'.join(re.escape(field) for field in self.fields)
        filled: list[Part] = []
        for i, piece in enumerate(re.split(rf'\{{({names})\}}', self.text)):
            value: str | tuple[Part, ...] = values[piece] if i % 2 else piece
            filled += (value,) if isinstance(value, str) else value
        return _joined(filled)


def _joined(parts: list[Part]) -> tuple[Part, ...]:
    joined: list[Part] = []
    texts: list[str] = []
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
            continue
        joined += [text for text in (''.join(texts),) if text]
        texts = []
        joined.append(part)
    joined += [text for text in (''.join(texts),) if text]
    return tuple(joined)
