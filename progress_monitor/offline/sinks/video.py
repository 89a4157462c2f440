"""``overlay.mp4``: the first camera's pictures with what the monitor makes of them."""

from __future__ import annotations

from progress_monitor.offline.player import Played, spread_of
from progress_monitor.offline.sinks.sink import Recording
from progress_monitor.offline.video import VideoWriter
from progress_monitor.overlay import Overlay, draw_overlay
from progress_monitor.types import Evidence, State

FILM = 'overlay.mp4'
# MPEG-4 holds no rate far beyond these; pictures that came an hour apart need not be shown so.
_SLOWEST_FPS, _FASTEST_FPS = 0.01, 1000.0


class VideoSink:
    """Annotates every picture of the first camera; see ``Sink``."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        fps = min(max(recording.fps, _SLOWEST_FPS), _FASTEST_FPS)
        self._writer = VideoWriter(recording.out / FILM, fps)

    def put(self, played: Played) -> None:
        if played.camera == self._recording.camera:
            self._writer.write(draw_overlay(played.image, self._overlay(played)))

    def close(self) -> None:
        self._writer.close()

    def _overlay(self, played: Played) -> Overlay:
        update = played.update
        hangs = update.state in (State.STALLED, State.REGRESSING)
        return Overlay(
            task=self._recording.task,
            state=update.state,
            progress=update.progress,
            spread=spread_of(played),
            plan=update.plan,
            reasoning=played.estimate.reasoning if played.estimate else '',
            note=update.message if hangs or update.evidence is not Evidence.GOOD else '',
            footer=f'{played.seconds:.1f} s, tick {update.ticks}; '
            f'{self._recording.provenance(played)}',
        )
