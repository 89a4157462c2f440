"""Progress of a recording in three lines of Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from progress_monitor.offline.command import inline_backend
from progress_monitor.offline.player import Played, row
from progress_monitor.offline.settings import settings_for
from progress_monitor.offline.sinks import Recording
from progress_monitor.offline.sources import SourceOptions, open_source
from progress_monitor.offline.watch import recording_of, watch
from progress_monitor.types import Backend


class _Rows:
    """A sink that keeps the lines of JSON as dictionaries."""

    def __init__(self, rows: list[dict[str, Any]], recording: Recording) -> None:
        self._rows = rows
        self._recording = recording

    def put(self, played: Played) -> None:
        if played.update.estimate is not None:
            recording = self._recording
            line = row(played, str(recording.path), recording.task, len(self._rows))
            self._rows.append({**line, **recording.settings})

    def close(self) -> None:
        pass


def infer_progress(
    video: str | Path,
    task: str,
    model: str = '',
    *,
    parameters: Mapping[str, Any] | None = None,
    topics: tuple[str, ...] = (),
    adapters: Sequence[str] = (),
    backend: Backend | None = None,
) -> list[dict[str, Any]]:
    """What the monitor makes of a recording, one dictionary an answer, as in ``ticks.jsonl``.

    :param video: a video, a folder of pictures, a rosbag2 recording or a ROS 1 bag.
    :param task: what the robot is to do, in words.
    :param model: folder of a checkpoint, or its hub name; not needed with a ``backend``.
    :param parameters: values of the node's parameters by dotted name.
    :param topics: camera topics of a bag; empty: all.
    :param adapters: folders of LoRA adapters over the checkpoint, or their hub names; the one that
        names the task answers.
    :param backend: a loaded one to be used again and again; it must answer inside ``submit``.
    :returns: rows with progress in percent, None where it is unknown.
    :raises OSError: if the recording cannot be read.
    :raises ValueError: if the task or a parameter cannot be used; ``VLMError`` if the model cannot
        be loaded.
    """
    path = Path(video)
    source = open_source(path, SourceOptions(topics))
    config = settings_for(source, parameters or {}, model, adapters)
    rows: list[dict[str, Any]] = []
    used = backend if backend is not None else inline_backend(config)
    try:
        recording = recording_of(source, path, task.strip(), config, Path())
        watch(source, recording, config, used, [lambda told: _Rows(rows, told)])
    finally:
        if backend is None:
            used.close()
    return rows
