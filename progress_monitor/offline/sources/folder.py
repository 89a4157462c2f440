"""A folder of pictures, one after the other by name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from progress_monitor.offline.sources.source import (
    START_NS,
    Picture,
    SourceKind,
    SourceOptions,
)
from progress_monitor.pictures.brightness import BitDepth
from progress_monitor.pictures.compressed import checked_header, decode
from progress_monitor.pictures.errors import DEFAULT_MAX_IMAGE_PIXELS, ImageError
from progress_monitor.printable import printable

CAMERA = 'pictures'
_PERIOD_S = 0.5
_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp')


class FolderSource:
    """The pictures of one folder, ``period_s`` apart; see ``Source``."""

    def __init__(self, path: Path, period_s: float) -> None:
        self.cameras = (CAMERA,)
        self.fps = 1.0 / period_s
        self.notes: list[str] = []
        self.noise_free = 'auto'
        self._path = path
        self._files = _pictures_in(path)

    def pictures(self) -> Iterator[Picture]:
        """All that can be read. One that cannot leaves its time empty."""
        read = 0
        depth = BitDepth()
        for index, file in enumerate(self._files):
            try:
                picture = _decoded(file, depth)
            except (OSError, ImageError) as error:
                self.notes.append(printable(f'{file}: no picture; left out ({error})'))
                continue
            read += 1
            stamp_ns = START_NS + round(index / self.fps * 1e9)
            yield Picture(CAMERA, stamp_ns, picture)
        if read == 0:
            raise OSError(f'{self._path}: none of its {len(self._files)} files is a picture')


def _decoded(file: Path, depth: BitDepth) -> NDArray[np.uint8]:
    data, form = memoryview(file.read_bytes()), file.suffix.lstrip('.')
    header = checked_header(data, form, DEFAULT_MAX_IMAGE_PIXELS)
    return decode(data, form, header, DEFAULT_MAX_IMAGE_PIXELS, depth)


def _pictures_in(path: Path) -> list[Path]:
    found = [item for item in path.iterdir() if item.suffix.lower() in _SUFFIXES and item.is_file()]
    return sorted(found, key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    """By the numbers in the name, so that 10 comes after 9."""
    parts = re.split(r'(\d+)', path.name)
    return [(int(part), '') if part.isdecimal() else (-1, part) for part in parts]


def _accepts(path: Path) -> bool:
    return path.is_dir() and bool(_pictures_in(path))


def _open(path: Path, options: SourceOptions) -> FolderSource:
    return FolderSource(path, options.period_s or _PERIOD_S)


FOLDER = SourceKind('a folder of pictures', ('period_s',), _accepts, _open)
