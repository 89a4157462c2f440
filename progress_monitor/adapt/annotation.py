"""What a person says of a recorded demonstration: its stages, and whether it came to its end.

A file holds::

    {"demonstrations": [{
        "task": "open the drawer",
        "videos": ["front.mp4", "wrist.mp4"],
        "stages": [{"text": "reach the handle", "start_s": 0.0, "end_s": 2.4}],
        "done": true,
        "reason": ""
    }]}
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from progress_monitor.adapt.files import replace_file

LONGEST_TEXT = 2000
MOST_STAGES = 64
MOST_VIDEOS = 16
_LARGEST_FILE = 4_194_304
_SAME_TIME_S = 1e-6
_KEY = 'demonstrations'
_FIELDS = {'task', 'videos', 'stages', 'done', 'reason'}
_STAGE_FIELDS = {'text', 'start_s', 'end_s'}


class AnnotationError(ValueError):
    """An annotation cannot be used. The message names the field, and the file if there is one."""


@dataclass(frozen=True)
class Stage:
    """One atomic action: what is done, and its first and last time in s of the recording.

    ``text`` is one line. The stage holds the pictures with ``start_s`` <= time < ``end_s``.

    :raises AnnotationError: naming the field that cannot be used.
    """

    text: str
    start_s: float
    end_s: float

    def __post_init__(self) -> None:
        _check_line('text', self.text)
        for name in ('start_s', 'end_s'):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise AnnotationError(f'{name}: must be a number of seconds, not {value!r:.40}')
            if not (math.isfinite(value) and value >= 0):
                raise AnnotationError(f'{name}: {value:g} is no time of a recording')
        if not self.end_s > self.start_s:
            raise AnnotationError(
                f'end_s: {self.end_s:g} s is not after start_s, {self.start_s:g} s'
            )


@dataclass(frozen=True)
class Annotation:
    """One demonstration.

    ``videos`` are recordings of the same run by several cameras, in the order in which the model
    is shown them. ``stages`` follow one another without a gap. What comes after the last one shows
    the finished task if ``done``, and otherwise how it was left; ``reason`` says in one line why it
    is done or not, and may be empty.

    :raises AnnotationError: naming the field that cannot be used.
    """

    task: str
    videos: tuple[Path, ...]
    stages: tuple[Stage, ...]
    done: bool
    reason: str = ''

    def __post_init__(self) -> None:
        _check_line('task', self.task)
        if not 1 <= len(self.videos) <= MOST_VIDEOS:
            raise AnnotationError(f'videos: must be 1 to {MOST_VIDEOS}, not {len(self.videos)}')
        if len(set(self.videos)) < len(self.videos):
            raise AnnotationError('videos: the same one is named twice')
        if not 1 <= len(self.stages) <= MOST_STAGES:
            raise AnnotationError(f'stages: must be 1 to {MOST_STAGES}, not {len(self.stages)}')
        for number, (one, following) in enumerate(
            zip(self.stages, self.stages[1:], strict=False), 1
        ):
            if abs(following.start_s - one.end_s) > _SAME_TIME_S:
                raise AnnotationError(
                    f'stages: stage {number} ends at {one.end_s:g} s and stage {number + 1} starts '
                    f'at {following.start_s:g} s; they must follow one another'
                )
        if not isinstance(self.done, bool):
            raise AnnotationError(f'done: must be true or false, not {self.done!r:.40}')
        if self.reason != '':
            _check_line('reason', self.reason)


def read(path: Path) -> tuple[Annotation, ...]:
    """Read the demonstrations in ``path``; relative paths of videos start at its folder.

    :raises OSError: if it cannot be read.
    :raises AnnotationError: naming the file and the field, if it is no such file.
    """
    if not path.exists():
        raise FileNotFoundError(f'{path}: no such file')
    if path.stat().st_size > _LARGEST_FILE:
        raise AnnotationError(f'{path}: more than {_LARGEST_FILE} bytes; no file of annotations')
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise AnnotationError(
            f'{path}: no file of annotations, such as "progress_monitor annotate" writes: {error}'
        ) from None
    entries = content.get(_KEY) if isinstance(content, Mapping) else None
    if not isinstance(entries, list):
        raise AnnotationError(f'{path}: {_KEY}: must be a list')
    found = []
    for number, entry in enumerate(entries, 1):
        try:
            found.append(from_entry(entry, path.parent))
        except AnnotationError as error:
            raise AnnotationError(f'{path}: demonstration {number}: {error}') from None
    return tuple(found)


def from_entry(entry: Any, folder: Path) -> Annotation:
    """One demonstration as it stands in a file, its paths relative to ``folder``.

    :raises AnnotationError: naming the field that cannot be used.
    """
    _check_fields(entry, _FIELDS, {'reason'})
    videos, stages = entry['videos'], entry['stages']
    if not isinstance(videos, list) or not all(
        isinstance(video, str) and video and video.isprintable() for video in videos
    ):
        raise AnnotationError('videos: must be a list of paths')
    if not isinstance(stages, list):
        raise AnnotationError('stages: must be a list')
    return Annotation(
        entry['task'],
        tuple(folder / video for video in videos),
        tuple(_stage(stage, number) for number, stage in enumerate(stages, 1)),
        entry['done'],
        entry.get('reason', ''),
    )


def write(annotations: Iterable[Annotation], path: Path) -> None:
    """Write ``annotations`` to ``path`` at once or not at all.

    A video in the file's folder, or below it, is named relative to that folder; any other by its
    full path.

    :raises OSError: if it cannot be written.
    """
    folder = Path(os.path.abspath(path.parent))
    entries = [
        {
            'task': item.task,
            'videos': [_name(video, folder) for video in item.videos],
            'stages': [
                {'text': stage.text, 'start_s': stage.start_s, 'end_s': stage.end_s}
                for stage in item.stages
            ],
            'done': item.done,
            'reason': item.reason,
        }
        for item in annotations
    ]
    text = json.dumps({_KEY: entries}, indent=2, ensure_ascii=False) + '\n'
    replace_file(path, text)


def _name(video: Path, folder: Path) -> str:
    # Not resolved: a link into the folder is what the user sees and means.
    full = Path(os.path.abspath(video))
    return str(full.relative_to(folder) if full.is_relative_to(folder) else full)


def _stage(entry: Any, number: int) -> Stage:
    try:
        _check_fields(entry, _STAGE_FIELDS, set())
        return Stage(entry['text'], entry['start_s'], entry['end_s'])
    except AnnotationError as error:
        raise AnnotationError(f'stages: stage {number}: {error}') from None


def _check_fields(entry: Any, fields: set[str], optional: set[str]) -> None:
    if not isinstance(entry, Mapping):
        raise AnnotationError(f'must hold {", ".join(sorted(fields))}')
    for name in sorted(fields - optional - set(entry)):
        raise AnnotationError(f'{name}: is missing')
    for name in sorted(set(entry) - fields):
        raise AnnotationError(f'{name[:40]!r}: is no field of it')


def _check_line(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise AnnotationError(f'{name}: must be a text')
    if not value.strip():
        raise AnnotationError(f'{name}: must be a text, and is empty')
    if len(value) > LONGEST_TEXT:
        raise AnnotationError(f'{name}: {len(value)} characters; at most {LONGEST_TEXT}')
    if not value.isprintable():
        raise AnnotationError(f'{name}: must be one line, without control characters')
