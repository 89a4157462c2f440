"""A source watched from its first picture to its last."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from progress_monitor.monitor import ProgressMonitor
from progress_monitor.node_config import NodeConfig
from progress_monitor.offline.counted import CountedBackend
from progress_monitor.offline.player import Played, play
from progress_monitor.offline.sinks import Recording, Sink
from progress_monitor.offline.sources import Source
from progress_monitor.offline.timeline import Timeline
from progress_monitor.printable import printable
from progress_monitor.strategies import make_strategy
from progress_monitor.types import Backend, Evidence


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    ``ticks`` answers were read, ``usable`` of them hold a progress, and ``failures`` questions had
    no answer at all. ``reason`` says why the last one that is not usable is not; ``notes`` are
    sentences on what was wrong with the source.
    """

    ticks: int
    usable: int
    failures: int
    reason: str
    notes: tuple[str, ...]


def watch(
    source: Source,
    recording: Recording,
    config: NodeConfig,
    backend: Backend,
    sinks: Sequence[Callable[[Recording], Sink]],
) -> Outcome:
    """Play all of ``source`` to a monitor of its own and hand each step to the ``sinks``.

    :param backend: must answer inside ``submit``; it is not closed.
    :raises OSError: if the source cannot be read or something cannot be written.
    :raises ValueError: if the task cannot be watched.
    """
    counted = CountedBackend(backend)
    monitor = ProgressMonitor(config, counted, source.cameras)
    timeline = Timeline()
    ticks = usable = 0
    reason = ''
    with contextlib.ExitStack() as stack:
        opened = []
        for sink in sinks:
            opened.append(sink(recording))
            stack.callback(opened[-1].close)
        for played in play(source.pictures(), monitor, recording.task, config.model.max_pixels):
            timeline.note(played.camera, played.stamp_ns)
            for writer in opened:
                writer.put(played)
            estimate = played.update.estimate
            if estimate is not None:
                ticks += 1
                usable += estimate.evidence is Evidence.GOOD
            reason = _reason(played) or reason
    return Outcome(
        ticks,
        usable,
        counted.failures,
        counted.reason or reason,
        (*filter(None, (monitor.unsuited,)), *source.notes, *timeline.notes()),
    )


def recording_of(source: Source, path: Path, task: str, config: NodeConfig, out: Path) -> Recording:
    """What sinks are told of ``source``; ``out`` is a folder that is there."""
    settings: dict[str, object] = {
        'strategy': config.strategy,
        'max_pixels': config.model.max_pixels,
        'window': make_strategy(config, cameras=source.cameras).shows,
    }
    return Recording(path, task, source.cameras[0], source.fps, out, settings)


def _reason(played: Played) -> str:
    """Why nothing usable came of this step; empty: something did, or nothing was due."""
    update = played.update
    if update.evidence not in (Evidence.GOOD, Evidence.UNKNOWN):
        return update.message
    estimate = update.estimate
    if estimate is not None and estimate.evidence is not Evidence.GOOD:
        return f'{estimate.evidence.name}, the answer was "{printable(estimate.reasoning, 120)}"'
    return ''
