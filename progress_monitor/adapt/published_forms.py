"""Annotations and training rows in the forms of ProcVLM's published one-shot tools.

``{"sub_tasks": [[description, end_frame], ...], "reason", "is_done", "success_cutoff"}`` is what
its annotator is sent. ``end_frame`` belongs to the segment; the frames of a segment that is called
``Done`` or ``Not Done`` show how the recording ends, and those of ``/delete`` are left out.

``qa_pairs.jsonl`` is what it writes and its training reads: a row a line, with the paths of the
pictures shown, a question and an answer.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from progress_monitor.adapt.annotation import Annotation, AnnotationError, Stage
from progress_monitor.adapt.files import replace_file

DELETED = '/delete'
USUAL_CUTOFF = 0.75
_DONE, _NOT_DONE = 'done', 'not done'
_LARGEST_FORM = 4_194_304
_LARGEST_PAIRS = 536_870_912
_LONGEST_LINE = 1_048_576
_IMAGE = '<image>'
_ANSWER_PROGRESS = re.compile(
    r'\s*Therefore, the estimated progress is <progress>\s*(\d{1,3}(?:\.\d{1,9})?)\s*%?\s*'
    r'</progress>\.?\s*\Z'
)
_ANSWER_FINISHED = re.compile(r'Image shows the final result\.(?: Reason: (.*))?', re.DOTALL)
_ANSWER_STEPS = re.compile(r'The following actions are required:\s*\n', re.ASCII)
_STEP = re.compile(r'\d{1,3}\. (.*)')


class PublishedFormError(ValueError):
    """A file in a published form cannot be used. The message names it, and the line or field."""


@dataclass(frozen=True)
class SubTasks:
    """The form that the annotator is sent: each segment's description and last frame.

    ``success_cutoff`` is the progress, 0..1, that the last frame of an unfinished run is given.
    """

    sub_tasks: tuple[tuple[str, int], ...]
    is_done: bool
    reason: str = ''
    success_cutoff: float = USUAL_CUTOFF


@dataclass(frozen=True)
class QaPair:
    """One row of training data.

    ``images`` are paths below the data folder, in the order shown, before the text of
    ``question``; ``question`` and ``answer`` are without their marks for pictures.
    """

    images: tuple[str, ...]
    question: str
    answer: str


@dataclass(frozen=True)
class Target:
    """What an answer says: the steps that remain, the progress in per cent, and why it is done.

    A finished picture has no steps and 100 per cent.
    """

    steps: tuple[str, ...]
    percent: float
    reason: str = ''


def read_sub_tasks(path: Path) -> SubTasks:
    """Read the annotator's form.

    :raises OSError: if it cannot be read.
    :raises PublishedFormError: naming the file and the field, if it is no such form.
    """
    content = _json(path, _bytes(path, _LARGEST_FORM))
    try:
        return _sub_tasks(content)
    except PublishedFormError as error:
        raise PublishedFormError(f'{path}: {error}') from None


def write_sub_tasks(form: SubTasks, path: Path) -> None:
    """Write the annotator's form.

    :raises OSError: if it cannot be written.
    """
    content = {
        'sub_tasks': [list(item) for item in form.sub_tasks],
        'reason': form.reason,
        'is_done': form.is_done,
        'success_cutoff': form.success_cutoff,
    }
    replace_file(path, json.dumps(content, ensure_ascii=False, indent=2) + '\n')


def to_sub_tasks(annotation: Annotation, fps: float, frames: int) -> SubTasks:
    """The annotator's form of ``annotation`` of a video of ``frames`` frames at ``fps``.

    :raises PublishedFormError: if a stage holds no frame, or lies behind the last one.
    """
    first = _frame_at(annotation.stages[0].start_s, fps)
    segments: list[tuple[str, int]] = [(DELETED, first - 1)] if first > 0 else []
    last = first - 1
    for number, stage in enumerate(annotation.stages, 1):
        end = min(_frame_at(stage.end_s, fps), frames) - 1
        if end <= last:
            raise PublishedFormError(f'stages: stage {number} holds no frame of the video')
        segments.append((stage.text, end))
        last = end
    if last < frames - 1:
        segments.append(('Done' if annotation.done else 'Not Done', frames - 1))
    return SubTasks(tuple(segments), annotation.done, annotation.reason)


def from_sub_tasks(form: SubTasks, task: str, videos: tuple[Path, ...], fps: float) -> Annotation:
    """The annotation that ``form`` holds of ``videos`` at ``fps``.

    :raises PublishedFormError: if it deletes frames elsewhere than at the start, or names an
        outcome elsewhere than at the end; stages have no gaps.
    :raises AnnotationError: if a text cannot be used.
    """
    stages: list[Stage] = []
    start = 0
    ended = ''
    for number, (text, end) in enumerate(form.sub_tasks, 1):
        where = f'sub_tasks: segment {number}'
        said = text.strip()
        if said == DELETED:
            if stages:
                raise PublishedFormError(
                    f'{where}: is deleted; only the first may be: cut the video there'
                )
        elif said.casefold() in (_DONE, _NOT_DONE):
            if (said.casefold() == _DONE) != form.is_done:
                raise PublishedFormError(f'{where}: is called {said!r}, but is_done says otherwise')
            ended = said
        elif ended:
            raise PublishedFormError(f'{where}: follows one that is called {ended!r}')
        else:
            try:
                stages.append(Stage(said, start / fps, (end + 1) / fps))
            except AnnotationError as error:
                raise AnnotationError(f'{where}: {error}') from None
        start = end + 1
    return Annotation(task, videos, tuple(stages), form.is_done, form.reason)


def read_qa_pairs(path: Path) -> tuple[QaPair, ...]:
    """Read rows of training data; empty lines are passed over.

    :raises OSError: if it cannot be read.
    :raises PublishedFormError: naming the file and the line, if one is no such row.
    """
    pairs = []
    # Not splitlines: U+2028 and its like may stand in a row.
    lines = _bytes(path, _LARGEST_PAIRS).removeprefix(b'\xef\xbb\xbf').split(b'\n')
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f'{path}: line {number}'
        if len(line) > _LONGEST_LINE:
            raise PublishedFormError(f'{where}: more than {_LONGEST_LINE} bytes')
        try:
            pairs.append(_pair(_json(where, line)))
        except PublishedFormError as error:
            text = str(error)
            raise PublishedFormError(
                text if text.startswith(where) else f'{where}: {text}'
            ) from None
    return tuple(pairs)


def write_qa_pairs(pairs: Iterable[QaPair], path: Path) -> None:
    """Write rows of training data at once or not at all.

    :raises OSError: if they cannot be written.
    """
    replace_file(path, ''.join(f'{json.dumps(_row(pair), ensure_ascii=False)}\n' for pair in pairs))


def target(text: str) -> Target:
    """What the answer ``text`` of a row says; ``wording.PUBLISHED`` says it.

    :raises PublishedFormError: if it is worded in another way.
    """
    progress = _ANSWER_PROGRESS.search(text)
    if progress is None:
        raise PublishedFormError('the answer does not end with its progress')
    percent = float(progress[1])
    if percent > 100.0:
        raise PublishedFormError(f'the answer names a progress of {percent:g} %')
    said = text[: progress.start()].strip()
    finished = _ANSWER_FINISHED.fullmatch(said)
    if finished:
        return Target((), percent, (finished[1] or '').removesuffix('.'))
    heading = _ANSWER_STEPS.match(said)
    items = [_STEP.fullmatch(line) for line in said[heading.end() :].split('\n')] if heading else []
    if not items or not all(items):
        raise PublishedFormError('the answer is neither a list of actions nor the final result')
    return Target(tuple(item[1] for item in items if item), percent)


def _frame_at(time_s: float, fps: float) -> int:
    """The first frame at or after ``time_s``, one that misses it by rounding included."""
    return math.ceil(time_s * fps - 1e-3)


def _bytes(path: Path, most: int) -> bytes:
    if path.stat().st_size > most:
        raise PublishedFormError(f'{path}: more than {most} bytes')
    return path.read_bytes()


def _json(where: Path | str, data: bytes) -> Any:
    try:
        return json.loads(data.removeprefix(b'\xef\xbb\xbf').decode('utf-8'))
    except (ValueError, RecursionError) as error:
        raise PublishedFormError(f'{where}: no JSON: {error}') from None


def _sub_tasks(content: Any) -> SubTasks:
    if not isinstance(content, Mapping):
        raise PublishedFormError('must be an object with sub_tasks')
    entries = content.get('sub_tasks')
    if not isinstance(entries, list) or not entries:
        raise PublishedFormError('sub_tasks: must be a list of [description, end_frame]')
    segments: list[tuple[str, int]] = []
    for number, entry in enumerate(entries, 1):
        where = f'sub_tasks: segment {number}'
        if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[0], str):
            raise PublishedFormError(f'{where}: must be [description, end_frame]')
        end = _whole(entry[1])
        if end is None or end < 0:
            raise PublishedFormError(f'{where}: end_frame must be the number of a frame')
        if segments and end <= segments[-1][1]:
            raise PublishedFormError(f'{where}: ends at frame {end}, not after the one before')
        segments.append((entry[0], end))
    reason = content.get('reason') or ''
    if not isinstance(reason, str):
        raise PublishedFormError('reason: must be a text')
    # Left out, the last segment's name tells.
    done = content.get('is_done', segments[-1][0].strip().casefold() == _DONE)
    if not isinstance(done, bool):
        raise PublishedFormError('is_done: must be true or false')
    cutoff = content.get('success_cutoff', USUAL_CUTOFF)
    if isinstance(cutoff, bool) or not isinstance(cutoff, int | float) or not 0 <= cutoff <= 1:
        raise PublishedFormError('success_cutoff: must be a number from 0 to 1')
    return SubTasks(tuple(segments), done, reason, float(cutoff))


def _whole(value: Any) -> int | None:
    """A number of a frame; pages send those of whole value as 3, 3.0 or '3'."""
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 12:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e9:
        return None
    return int(value) if value == int(value) else None


def _pair(content: Any) -> QaPair:
    if not isinstance(content, Mapping):
        raise PublishedFormError('must be an object with image and conversations')
    images = content.get('image', [])
    images = [images] if isinstance(images, str) else images
    if not isinstance(images, list) or not all(
        isinstance(item, str) and item and item.isprintable() for item in images
    ):
        raise PublishedFormError('image: must be a list of paths')
    turns = content.get('conversations')
    if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
        raise PublishedFormError('conversations: must be a list of turns')
    spoken = [turn for turn in turns if turn.get('from') != 'system']
    if len(spoken) != 2:
        raise PublishedFormError('conversations: must be one question and one answer')
    question = _said(spoken[0], ('human', 'user'))
    answered = _said(spoken[1], ('gpt', 'assistant'))
    marks = question.count(_IMAGE)
    if marks not in (0, len(images)):
        raise PublishedFormError(f'image: {len(images)} paths for {marks} marks {_IMAGE}')
    text = '\n'.join(part for part in (piece.strip() for piece in question.split(_IMAGE)) if part)
    return QaPair(tuple(images), text, answered)


def _said(turn: Mapping[str, Any], speakers: Sequence[str]) -> str:
    value = turn.get('value')
    if turn.get('from') not in speakers or not isinstance(value, str):
        raise PublishedFormError(
            f'conversations: a turn from {speakers[0]} with a value is missing'
        )
    return value.replace('\r\n', '\n')


def _row(pair: QaPair) -> dict[str, Any]:
    question = f'{_IMAGE}\n' * len(pair.images) + pair.question
    return {
        'image': list(pair.images),
        'conversations': [
            {'from': 'human', 'value': question},
            {'from': 'gpt', 'value': pair.answer},
        ],
    }
