"""A little of what a checkpoint was trained on, in ProcVLM's published form.

A folder holds ``qa_pairs.jsonl``, see ``published_forms``; pictures lie at their paths from it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from progress_monitor.adapt.published_forms import read_qa_pairs
from progress_monitor.adapt.samples import Pool, Sample
from progress_monitor.resize import fit
from progress_monitor.types import Frame

FILE = 'qa_pairs.jsonl'
_TASK = re.compile(r'task "([^"]{1,500})"')


class ReplayError(ValueError):
    """The old data cannot be used. The message names the file and the row."""


@dataclass(frozen=True)
class Replay:
    """Rows as samples, all ``pictures`` that they show and the ``tasks`` that they ask about."""

    samples: tuple[Sample, ...]
    pictures: tuple[int, ...]
    tasks: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path, pool: Pool, max_pixels: int, multiple: int) -> Replay:
        """Read all rows and put their pictures into ``pool``, at the model's size.

        :raises OSError: if the file or a picture cannot be read.
        :raises ValueError: if a row is not of this form, or there is none.
        """
        path = folder / FILE
        known: dict[Path, int] = {}
        samples: list[Sample] = []
        tasks: dict[str, None] = {}
        for number, row in enumerate(read_qa_pairs(path), 1):
            if not row.images or not row.question:
                raise ReplayError(f'{path}: row {number} shows no picture, or asks nothing')
            frames: list[Frame] = []
            for name in row.images:
                place = folder / name
                if place not in known:
                    known[place] = pool.add(fit(_picture(place), max_pixels, multiple))
                frames.append(pool.frame(known[place]))
            samples.append(Sample((*frames, row.question), row.answer))
            if match := _TASK.search(row.question):
                tasks[match[1]] = None
        if not samples:
            raise ReplayError(f'{path}: holds no rows')
        return cls(tuple(samples), tuple(known.values()), tuple(tasks))

    def draw(self, rng: np.random.Generator) -> Sample:
        """Any of the rows."""
        return self.samples[int(rng.integers(len(self.samples)))]


def _picture(path: Path) -> np.ndarray:
    data = np.fromfile(path, np.uint8)
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except cv2.error:  # more pixels than it reads
        image = None
    if image is None:
        raise OSError(f'{path}: no picture')
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
