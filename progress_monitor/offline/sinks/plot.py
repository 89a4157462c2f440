"""``timeline.png``: progress and states over time."""

from __future__ import annotations

from progress_monitor.offline.player import Played
from progress_monitor.offline.sinks.sink import Recording
from progress_monitor.types import State


class PlotSink:
    """Keeps two numbers a picture, and draws at the end; see ``Sink``."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._source = ''
        self._states: list[tuple[float, State]] = []
        self._ticks: list[tuple[float, float, float]] = []

    def put(self, played: Played) -> None:
        self._states.append((played.seconds, played.update.state))
        self._source = self._recording.provenance(played)
        estimate = played.update.estimate
        if estimate is not None:
            self._ticks.append((played.seconds, estimate.progress, estimate.spread))

    def close(self) -> None:
        if not self._states:
            return
        from matplotlib import pyplot

        from progress_monitor.offline.plot import draw_progress, draw_states, label_axes

        end = self._states[-1][0]
        figure, axes = pyplot.subplots(figsize=(10.0, 4.2), dpi=120, layout='constrained')
        draw_states(axes, self._states, end)
        draw_progress(
            axes,
            [seconds for seconds, _, _ in self._ticks],
            [progress for _, progress, _ in self._ticks],
            [spread for _, _, spread in self._ticks],
        )
        label_axes(axes, self._recording.task, end)
        figure.supxlabel(self._source, fontsize=6, color='0.4')
        figure.savefig(self._recording.out / 'timeline.png', metadata={'Source': self._source})
        pyplot.close(figure)
