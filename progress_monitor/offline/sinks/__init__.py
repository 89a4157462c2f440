"""What becomes of played pictures. A further kind is a file here and a line in ``SINKS``."""

from __future__ import annotations

from collections.abc import Callable

from progress_monitor.offline.sinks.jsonl import JsonlSink
from progress_monitor.offline.sinks.plot import PlotSink
from progress_monitor.offline.sinks.sink import Recording, Sink
from progress_monitor.offline.sinks.video import VideoSink

SINKS: dict[str, Callable[[Recording], Sink]] = {
    'jsonl': JsonlSink,
    'video': VideoSink,
    'plot': PlotSink,
}

__all__ = ['SINKS', 'Recording', 'Sink']
