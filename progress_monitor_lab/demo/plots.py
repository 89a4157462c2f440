"""The demo's plots: the time line, and the picture that shows a run at a glance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from progress_monitor.offline.plot import draw_progress, draw_states, label_axes
from progress_monitor_lab.demo.film import annotate
from progress_monitor_lab.demo.recording import Recording, events

_EVENT_COLOURS = {
    'fault': '#8e44ad',
    'stall': '#c0392b',
    'replan': '#16a085',
    'success': '#1e8449',
}
_LABELS = {
    'fault': 'fault injected',
    'stall': 'stall called',
    'replan': 'replan',
    'success': 'success called',
}


def write_timeline(recording: Recording, path: Path) -> None:
    """Plot progress with its spread, the truth, the states as bands, and what happened."""
    from matplotlib import pyplot

    end = recording.seconds(recording.truths[-1].stamp_ns) if recording.truths else 0.0
    figure, axes = pyplot.subplots(figsize=(10.0, 4.2), dpi=120, layout='constrained')
    states = [(recording.seconds(row.at_ns), row.state) for row in recording.statuses]
    draw_states(axes, states, end)
    axes.plot(
        [recording.seconds(row.stamp_ns) for row in recording.truths],
        [row.progress * 100 for row in recording.truths],
        color='#444444',
        linestyle='--',
        linewidth=1.4,
        label='truth',
    )
    draw_progress(
        axes,
        [recording.seconds(row.stamp_ns) for row in recording.ticks],
        [row.progress for row in recording.ticks],
        [row.spread for row in recording.ticks],
    )
    _marks(recording, axes)
    # A little longer than the run, so that the last mark's words fit in.
    label_axes(axes, f'{recording.instruction}   (fault: {recording.fault})', end * 1.06)
    figure.savefig(path)
    pyplot.close(figure)


def write_picture(recording: Recording, timeline: Path, path: Path) -> None:
    """The run at a glance: the film when the stall was called and at the end, over the plot.

    Without a stall the first of the two is taken from half-way.
    """
    frames = recording.frames
    if not frames:
        return
    wanted = recording.start_ns + (frames[-1].stamp_ns - recording.start_ns) // 2
    if recording.calls:
        wanted = recording.calls[0].at_ns
    middle = next((row for row in frames if row.stamp_ns >= wanted), frames[-1])
    top = np.hstack([annotate(recording, row) for row in (middle, frames[-1])])
    plot = np.asarray(cv2.imread(str(timeline), cv2.IMREAD_COLOR), np.uint8)
    height = round(plot.shape[0] * top.shape[1] / plot.shape[1])
    plot = np.asarray(cv2.resize(plot, (top.shape[1], height)), np.uint8)
    both: NDArray[np.uint8] = np.vstack([np.asarray(cv2.cvtColor(top, cv2.COLOR_RGB2BGR)), plot])
    smaller = cv2.resize(both, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)
    if not cv2.imwrite(str(path), smaller):
        raise OSError(f'{path}: the picture cannot be written')


def _marks(recording: Recording, axes: Any) -> None:
    shown = [event for event in events(recording) if event.kind in _EVENT_COLOURS]
    for event in shown:
        seconds = recording.seconds(event.at_ns)
        colour = _EVENT_COLOURS[event.kind]
        axes.axvline(seconds, color=colour, linewidth=1.2)
        axes.annotate(
            _LABELS[event.kind] if event.text != 'success taken back' else event.text,
            (seconds, 104.0 + 6.0 * (shown.index(event) % 2)),
            xytext=(3, 0),
            textcoords='offset points',
            color=colour,
            fontsize=8,
        )
