"""A little of what a checkpoint was trained on, in ProcVLM's published form.

A folder holds ``qa_pairs.jsonl``, one question and answer a line: ``image`` lists pictures by paths
from the folder, ``conversations`` holds the turns of ``human`` and ``gpt``; the human's begins with
``<image>`` and a line's end for each picture, and goes on with the prompt.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from progress_monitor.adapt.samples import Pool, Sample
from progress_monitor.resize import fit
from progress_monitor.types import Frame

FILE = 'qa_pairs.jsonl'
_TASK = re.compile(r'task "([^"]{1,500})"')
_MARK = re.compile(r'<image>\n?')


class ReplayError(ValueError):
    """The old data cannot be used. The message names the file and the line."""


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
        :raises ReplayError: if a row is not of this form, or there is none.
        """
        path = folder / FILE
        known: dict[Path, int] = {}
        samples: list[Sample] = []
        tasks: dict[str, None] = {}
        for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1):
            try:
                row = json.loads(line)
                asked, said = (turn['value'] for turn in row['conversations'])
                names = [str(name) for name in row['image']]
                text = _MARK.sub('', asked)
                if len(_MARK.findall(asked)) != len(names) or not names or not text:
                    raise ValueError('as many pictures as marks are needed')
            except (ValueError, KeyError, TypeError) as error:
                raise ReplayError(
                    f'{path}: line {number} is no row of questions: {error}'
                ) from None
            frames: list[Frame] = []
            for name in names:
                place = folder / name
                if place not in known:
                    known[place] = pool.add(fit(_picture(place), max_pixels, multiple))
                frames.append(pool.frame(known[place]))
            samples.append(Sample((*frames, text), str(said)))
            if match := _TASK.search(text):
                tasks[match[1]] = None
        if not samples:
            raise ReplayError(f'{path}: holds no rows')
        return cls(tuple(samples), tuple(known.values()), tuple(tasks))

    def draw(self, rng: np.random.Generator) -> Sample:
        """Any of the rows."""
        return self.samples[int(rng.integers(len(self.samples)))]


def _picture(path: Path) -> np.ndarray:
    data = np.fromfile(path, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        raise OSError(f'{path}: no picture')
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
