"""Stages proposed for a demonstration: cut where its motion changes, named by the model's list.

Nothing here is an annotation: a proposal is for a person to correct. Motion names nothing, so
stages from motion alone have no text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from progress_monitor.adapt.annotation import MOST_STAGES
from progress_monitor.adapt.motion import Change, MotionSummary, summarise
from progress_monitor.adapt.recording import Recording
from progress_monitor.types import Backend

# A boundary that the model names is moved to a change of the motion this near, s.
_NEAR_S = 0.75
_MEDIAN = 5


@dataclass(frozen=True)
class ProposedStage:
    """A stage to be corrected: ``text`` may be empty; ``why`` says what its end was taken from."""

    text: str
    start_s: float
    end_s: float
    why: str


@dataclass(frozen=True)
class Listed:
    """The steps that the model listed as remaining at ``time_s``."""

    time_s: float
    steps: tuple[str, ...]


def from_motion(recording: Recording, stages: int = 0) -> tuple[ProposedStage, ...]:
    """Cut ``recording`` where its motion changes.

    :param stages: how many are wanted, where so many changes are found; 0: as many as stand out.
    """
    motion = summarise(recording)
    most = min(stages or MOST_STAGES, MOST_STAGES)
    strongest = sorted(motion.changes, key=lambda change: -change.strength)[: most - 1]
    chosen = sorted(strongest, key=lambda change: change.time_s)
    cuts = [(change.time_s, change.kind) for change in chosen]
    return _stages(recording, motion, cuts, [''] * (len(cuts) + 1))


def from_model(
    recording: Recording,
    task: str,
    model: str,
    parameters: Mapping[str, Any] | None = None,
    backend: Backend | None = None,
) -> tuple[ProposedStage, ...]:
    """Cut ``recording`` into the steps that the model lists, as it watches the first camera.

    :param model: folder of a checkpoint, or its hub name.
    :param backend: a loaded one; ``model`` is not needed then.
    :raises OSError: if the recording cannot be read.
    :raises ValueError: if a parameter cannot be used, or the model lists no steps; ``VLMError`` if
        it cannot be loaded.
    """
    from progress_monitor.offline.api import infer_progress

    rows = infer_progress(recording.videos[0], task, model, parameters=parameters, backend=backend)
    listed = [
        Listed(float(row['timestamp_sec']), tuple(row['remaining_steps']))
        for row in rows
        if row['remaining_steps'] is not None and row['evidence'] == 'GOOD'
    ]
    return from_list(recording, listed)


def from_list(recording: Recording, listed: Sequence[Listed]) -> tuple[ProposedStage, ...]:
    """Cut ``recording`` into the steps of ``listed``, oldest first.

    The steps are those of the first list that is not empty. A step ends when the lists have grown
    shorter by it, at the change of the motion nearest to that; those that the model never finished
    end at the strongest changes that are left, or else share what is left evenly.

    :raises ValueError: if all lists are empty.
    """
    texts = next((list(item.steps) for item in listed if item.steps), None)
    if texts is None:
        raise ValueError(
            'the model lists no steps here; word the task as the model knows it, take another '
            'model, or cut by motion'
        )
    texts = [' '.join(text.split()) for text in texts[:MOST_STAGES]]
    motion = summarise(recording)
    cuts: list[tuple[float, str]] = []
    last_s = motion.start_s
    for time_s in _ends(listed, len(texts))[: len(texts) - 1]:
        near = [
            change
            for change in motion.changes
            if abs(change.time_s - time_s) <= _NEAR_S and change.time_s > last_s
        ]
        best = min(near, key=lambda change: abs(change.time_s - time_s), default=None)
        cut = (best.time_s, f'model, {best.kind}') if best else (time_s, 'model')
        if not last_s < cut[0] < motion.end_s:
            break
        cuts.append(cut)
        last_s = cut[0]
    cuts += _rest(motion, last_s, len(texts) - 1 - len(cuts))
    return _stages(recording, motion, cuts, texts)


def _ends(listed: Sequence[Listed], count: int) -> list[float]:
    """When each step is off the list for good, as far as that was seen, s."""
    done = [min(max(count - len(item.steps), 0), count) for item in listed]
    half = _MEDIAN // 2
    calm = [int(np.median(done[max(0, i - half) : i + half + 1])) for i in range(len(done))]
    ends: list[float] = []
    for item, steps_done in zip(listed, calm, strict=True):
        while len(ends) < steps_done:
            ends.append(item.time_s)
    # Two steps that vanish at once are one cut: the later ones are looked for in the motion.
    return [time for i, time in enumerate(ends) if i == 0 or time > ends[i - 1]]


def _rest(motion: MotionSummary, after_s: float, wanted: int) -> list[tuple[float, str]]:
    if wanted <= 0:
        return []
    left: list[Change] = [change for change in motion.changes if change.time_s > after_s]
    if len(left) >= wanted:
        strongest = sorted(left, key=lambda change: -change.strength)[:wanted]
        return [(item.time_s, item.kind) for item in sorted(strongest, key=lambda i: i.time_s)]
    step_s = (motion.end_s - after_s) / (wanted + 1)
    return [(after_s + step_s * (i + 1), 'evenly divided') for i in range(wanted)]


def _stages(
    recording: Recording,
    motion: MotionSummary,
    cuts: Sequence[tuple[float, str]],
    texts: Sequence[str],
) -> tuple[ProposedStage, ...]:
    """Stages between ``cuts``, on frames of the recording, of at least one frame each."""
    period_s = 1.0 / recording.fps
    ends = [*cuts, (motion.end_s, 'motion ends')]
    start = round(motion.start_s / period_s)
    found = []
    for text, (end_s, why) in zip(texts, ends, strict=True):
        end = min(max(round(end_s / period_s), start + 1), recording.frames)
        if end > start:
            found.append(ProposedStage(text, start * period_s, end * period_s, why))
        start = end
    return tuple(found)
