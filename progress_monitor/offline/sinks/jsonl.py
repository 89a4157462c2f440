"""``ticks.jsonl``: a line for every answer."""

from __future__ import annotations

import json

from progress_monitor.offline.player import Played, row
from progress_monitor.offline.sinks.sink import Recording


class JsonlSink:
    """Writes a line when a tick brought an answer; see ``Sink``."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._file = (recording.out / 'ticks.jsonl').open('w', encoding='utf-8')
        self._samples = 0

    def put(self, played: Played) -> None:
        if played.update.estimate is None:
            return
        recording = self._recording
        line = row(played, str(recording.path), recording.task, self._samples)
        text = json.dumps({**line, **recording.settings}, ensure_ascii=False)
        # Half of a surrogate pair, which a model may answer, has no UTF-8.
        self._file.write(text.encode('utf-8', 'replace').decode() + '\n')
        self._samples += 1

    def close(self) -> None:
        self._file.close()
