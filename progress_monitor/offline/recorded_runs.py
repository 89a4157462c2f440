"""Runs to calibrate from: recordings that are watched now, or the ticks of earlier ones."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from progress_monitor.offline.api import infer_progress
from progress_monitor.offline.sources import SourceOptions, open_source
from progress_monitor.resize import shrink
from progress_monitor.types import Backend, Evidence

Floats = NDArray[np.float64]

LEVEL_TICKS = 5
_TICKS_SUFFIX = '.jsonl'


class CalibrationError(ValueError):
    """A recorded run cannot be used. The message names the file and what to do."""


@dataclass(frozen=True, eq=False)
class Run:
    """A recorded run.

    ``times`` in s and ``progress`` 0..1 are of the ticks that named one, ``usable`` says of all
    answers whether they were worth judging by, and ``readings`` are the log-probabilities of True
    of ``topreward``, with their times in ``reading_times``; empty with other strategies.
    ``worst`` names the most frequent evidence of the answers that were not usable.
    """

    path: Path
    times: Floats
    progress: Floats
    usable: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))
    reading_times: Floats = field(default_factory=lambda: np.empty(0))
    readings: Floats = field(default_factory=lambda: np.empty(0))
    worst: str = ''

    @property
    def end(self) -> float:
        """Median progress of the last ticks."""
        return float(np.median(self.progress[-LEVEL_TICKS:]))

    def longest_standstill(self, gain: float) -> float:
        """Longest time without a rise of the running median by half of ``gain``, s."""
        level = np.array(
            [
                np.median(self.progress[max(i - LEVEL_TICKS + 1, 0) : i + 1])
                for i in range(len(self.progress))
            ]
        )
        best, since, longest = float(level[0]), float(self.times[0]), 0.0
        for time, value in zip(self.times.tolist(), level.tolist(), strict=True):
            if value >= best + 0.5 * gain:
                best, since = value, time
            longest = max(longest, time - since)
        return longest

    def unusable_of_newest(self, window: int) -> NDArray[np.int64]:
        """How many of ``window`` successive answers were not worth judging by, at each answer.

        The first ``window - 1`` answers are left out, unless there are no others.
        """
        bad = np.concatenate(([0], np.cumsum(~self.usable)))
        ends = np.arange(min(window, len(self.usable)), len(bad))
        ends = ends[ends > 0]
        return np.asarray(bad[ends] - bad[np.maximum(ends - window, 0)], np.int64)

    def checked(self) -> Run:
        """This run.

        :raises CalibrationError: if too few of its ticks name a progress.
        """
        if len(self.times) < LEVEL_TICKS:
            why = f'; most answers: {self.worst}' if self.worst else ''
            if not len(self.usable):
                why = '; the model was never asked: "python -m progress_monitor watch" says why'
            raise CalibrationError(
                f'{self.path}: fewer than {LEVEL_TICKS} ticks name a progress{why}'
            )
        return self


@dataclass(frozen=True, eq=False)
class Watching:
    """How recordings are watched: ``backend`` is loaded, and not closed here."""

    task: str
    model: str
    adapters: tuple[str, ...]
    parameters: Mapping[str, Any]
    topics: tuple[str, ...]
    backend: Backend


def is_recording(path: Path) -> bool:
    """Whether ``path`` is to be watched; else it holds the ticks of a run that was."""
    return path.suffix != _TICKS_SUFFIX


def read_run(path: Path) -> Run:
    """Read a ``ticks.jsonl`` of ``python -m progress_monitor watch``.

    :raises OSError: if it cannot be read.
    :raises CalibrationError: if it is no such file.
    """
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            rows.append(_row(json.loads(line)))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise CalibrationError(
                f'{path}: line {number} is no tick; give a recording, or a ticks.jsonl written by '
                'python -m progress_monitor watch'
            ) from error
    return _run(path, rows)


def watch_run(path: Path, how: Watching) -> Run:
    """Watch a video, folder of pictures or bag.

    :raises OSError: if it cannot be read.
    :raises ValueError: if the task or a parameter cannot be used.
    """
    rows = infer_progress(
        path,
        how.task,
        how.model,
        parameters=how.parameters,
        topics=how.topics,
        adapters=how.adapters,
        backend=how.backend,
    )
    return _run(path, [_row(item) for item in rows])


def sampled(
    path: Path, topics: tuple[str, ...], period_s: float, max_pixels: int
) -> Iterator[NDArray[np.uint8]]:
    """Pictures of each camera of a recording, ``period_s`` apart, as the monitor sees them.

    :raises OSError: if it cannot be read.
    """
    due: dict[str, int] = {}
    for picture in open_source(path, SourceOptions(topics)).pictures():
        if picture.stamp_ns >= due.get(picture.camera, 0):
            due[picture.camera] = picture.stamp_ns + round(period_s * 1e9)
            yield shrink(picture.image, max_pixels)


@dataclass(frozen=True)
class _Row:
    time: float
    progress: float | None
    evidence: str
    reading: float | None


def _row(item: Mapping[str, Any]) -> _Row:
    time, percent = float(item['timestamp_sec']), item['progress']
    progress = None if percent is None else float(percent) / 100.0
    if not math.isfinite(time) or (progress is not None and not 0.0 <= progress <= 1.0):
        raise ValueError('no time, or no percentage')
    otherwise = Evidence.NO_NUMBER if progress is None else Evidence.GOOD
    scored = item.get('log_probabilities')
    reading = float(scored[0]) if scored else None
    if reading is not None and not math.isfinite(reading):
        reading = None
    return _Row(time, progress, str(item.get('evidence', otherwise.name)), reading)


def _run(path: Path, rows: list[_Row]) -> Run:
    named = [(row.time, row.progress) for row in rows if row.progress is not None]
    scored = [(row.time, row.reading) for row in rows if row.reading is not None]
    times, progress = np.array(named, np.float64).reshape(-1, 2).T
    reading_times, readings = np.array(scored, np.float64).reshape(-1, 2).T
    bad = Counter(row.evidence for row in rows if row.evidence != Evidence.GOOD.name)
    return Run(
        path,
        times,
        progress,
        np.array([row.evidence == Evidence.GOOD.name for row in rows], np.bool_),
        reading_times,
        readings,
        bad.most_common(1)[0][0] if bad else '',
    )
