"""A demonstration of a task: key frames, or steps in words, each with its progress.

A folder holds ``demonstration.yaml``::

    kind: visual            # or text
    goal: open the drawer
    steps:
      - {image: 000.png, progress: 0}     # per cent; kind text: {text: Reach the handle, ...}
      - {image: 001.png, progress: 100}
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from progress_monitor.parameters import ParameterError
from progress_monitor.printable import is_unicode
from progress_monitor.types import Frame, new_uid
from progress_monitor.yaml_file import read_yaml

FILE = 'demonstration.yaml'
MOST_STEPS = 64
_MOST_PIXELS = 33_554_432
_LONGEST_TEXT = 2000


@dataclass(frozen=True, eq=False)
class DemonstrationStep:
    """One state: ``image`` (kind visual) or ``text`` (kind text), and its progress, 0..1."""

    progress: float
    text: str = ''
    image: Frame | None = None


@dataclass(frozen=True, eq=False)
class Demonstration:
    """A demonstrated task. ``kind`` is ``visual`` or ``text``; progress never falls."""

    kind: str
    goal: str
    steps: tuple[DemonstrationStep, ...]

    @classmethod
    def load(cls, folder: Path) -> Demonstration:
        """Read and check the demonstration in ``folder``.

        :raises ParameterError: if it cannot be read, or is not one.
        """
        path = folder / FILE
        try:
            content = read_yaml(path)
        except OSError as error:
            raise ParameterError(f'{path}: cannot be read: {error.strerror}') from None
        if not isinstance(content, Mapping) or set(content) != {'kind', 'goal', 'steps'}:
            raise ParameterError(f'{path}: must hold kind, goal and steps, and nothing else')
        kind, goal, entries = content['kind'], content['goal'], content['steps']
        if kind not in ('visual', 'text'):
            raise ParameterError(f'{path}: kind must be visual or text')
        check_goal(f'{path}: goal', goal)
        if not isinstance(entries, list) or not 1 <= len(entries) <= MOST_STEPS:
            raise ParameterError(f'{path}: steps must be a list of 1 to {MOST_STEPS}')
        steps = tuple(_step(path, kind, i, entry) for i, entry in enumerate(entries, 1))
        for i in range(1, len(steps)):
            if steps[i].progress < steps[i - 1].progress:
                raise ParameterError(f'{path}: steps: the progress of step {i + 1} falls')
        return cls(kind, goal.strip(), steps)

    def save(self, folder: Path) -> None:
        """Write it into ``folder``, which appears whole or not at all.

        :raises ParameterError: if the folder holds something already, or what is written could not
            be read again.
        :raises OSError: if it cannot be written.
        """
        check_free(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as made:
            part = Path(made) / folder.name
            part.mkdir()
            entries = [_entry(part, number, step) for number, step in enumerate(self.steps)]
            content = {'kind': self.kind, 'goal': self.goal, 'steps': entries}
            text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
            (part / FILE).write_text(text, encoding='utf-8')
            try:
                Demonstration.load(part)
            except ParameterError as error:
                raise ParameterError(str(error).replace(str(part), str(folder))) from None
            part.replace(folder)


def check_goal(name: str, goal: str) -> None:
    """Check the words of a demonstrated task; ``name`` is what an error calls them.

    :raises ParameterError: if there are none, too many, or such as cannot be written in UTF-8.
    """
    _check_text(name, goal)


def _check_text(name: str, text: Any) -> None:
    if not isinstance(text, str) or not 0 < len(text.strip()) <= _LONGEST_TEXT:
        raise ParameterError(f'{name} must be a text of 1 to {_LONGEST_TEXT} characters')
    if not is_unicode(text):
        raise ParameterError(f'{name} is not valid Unicode; type it anew')


def check_free(folder: Path) -> None:
    """Check that a demonstration can be written to ``folder``.

    :raises ParameterError: if there is something already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ParameterError(f'{folder}: there is something already; name another folder')


def _entry(folder: Path, number: int, step: DemonstrationStep) -> dict[str, Any]:
    percent = round(100.0 * step.progress, 2)
    if step.image is None:
        return {'text': step.text, 'progress': percent}
    from PIL import Image

    name = f'{number:03d}.png'
    Image.fromarray(step.image.image).save(folder / name)
    return {'image': name, 'progress': percent}


def _step(path: Path, kind: str, number: int, entry: Any) -> DemonstrationStep:
    where = f'{path}: step {number}'
    key = 'image' if kind == 'visual' else 'text'
    if not isinstance(entry, Mapping) or set(entry) != {key, 'progress'}:
        raise ParameterError(f'{where}: must hold {key} and progress, and nothing else')
    percent, value = entry['progress'], entry[key]
    number_given = isinstance(percent, (int, float)) and not isinstance(percent, bool)
    if not number_given or not 0 <= percent <= 100:
        raise ParameterError(f'{where}: progress must be a number from 0 to 100')
    _check_text(f'{where}: {key}', value)
    if kind == 'text':
        return DemonstrationStep(percent / 100.0, text=value.strip())
    if Path(value).name != value:
        raise ParameterError(f'{where}: image must be the name of a file in the same folder')
    return DemonstrationStep(percent / 100.0, image=_image(where, path.parent / value))


def _image(where: str, path: Path) -> Frame:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > _MOST_PIXELS:
                raise ParameterError(f'{where}: {path.name} has more than {_MOST_PIXELS} pixels')
            pixels = np.asarray(picture.convert('RGB'), np.uint8).copy()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if isinstance(error, ParameterError):
            raise
        raise ParameterError(f'{where}: {path.name} cannot be read as an image') from None
    pixels.flags.writeable = False
    return Frame(new_uid(), 'demonstration', 0, pixels)
