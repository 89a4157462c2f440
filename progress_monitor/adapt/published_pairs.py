"""The stages of a demonstration, read back from the training rows that were made of it.

The published annotator keeps nothing else. Every unfinished frame is the last picture of a row, and
its answer lists the actions from the running one on, so the boundaries are those that were set. The
last action's end is known to a frame or so: of the finished frames ten at most have rows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from progress_monitor.adapt.published_forms import (
    PublishedFormError,
    QaPair,
    SubTasks,
    Target,
    target,
)

_TASK = re.compile(r'the task "(.*)", first infer', re.DOTALL)


def from_qa_pairs(pairs: Sequence[QaPair], video: Path) -> tuple[str, SubTasks]:
    """The task and the form that ``pairs`` hold of ``video``.

    Where they hold several demonstrations, that whose folder of pictures is named after the video.

    :raises PublishedFormError: if there is none, or its rows contradict each other.
    """
    rows = _rows_of(pairs, video)
    said: dict[int, Target] = {}
    seen = 0
    task = ''
    for pair in rows:
        numbers = [_number(image) for image in pair.images]
        seen = max(seen, *numbers)
        said[numbers[-1]] = target(pair.answer)
        found = _TASK.search(pair.question)
        task = found[1] if found else task
    plan = max((item.steps for item in said.values()), key=len)
    if not plan:
        raise PublishedFormError(f'no row of {video.name} lists an action')
    ends: dict[int, int] = {}
    for frame, item in sorted(said.items()):
        if not item.steps:
            continue
        index = len(plan) - len(item.steps)
        if plan[index:] != item.steps or (ends and index < max(ends)):
            raise PublishedFormError(f'the actions of frame {frame} do not follow from the others')
        ends[index] = frame
    finished = [item for item in said.values() if not item.steps]
    segments = [(plan[index], end) for index, end in sorted(ends.items())]
    if finished and seen > segments[-1][1]:
        segments.append(('Done', seen))
    reason = finished[0].reason if finished else ''
    return task, SubTasks(tuple(segments), bool(finished), reason)


def _rows_of(pairs: Sequence[QaPair], video: Path) -> list[QaPair]:
    folders: dict[str, list[QaPair]] = {}
    for pair in pairs:
        if pair.images:
            folders.setdefault(str(PurePosixPath(pair.images[-1]).parent), []).append(pair)
    stem = re.sub(r'[^\w-]', '_', video.stem)
    named = [rows for name, rows in folders.items() if PurePosixPath(name).name.startswith(stem)]
    found = named or list(folders.values())
    if len(found) != 1:
        listed = ', '.join(sorted(folders)[:5]) or 'none'
        raise PublishedFormError(
            f'{len(found)} demonstrations may be of {video.name}; folders of pictures: {listed}'
        )
    return found[0]


def _number(image: str) -> int:
    stem = PurePosixPath(image).stem
    if not re.fullmatch(r'\d{1,9}', stem, re.ASCII):
        raise PublishedFormError(f'{image[:80]}: is not named by the number of a frame')
    return int(stem)
