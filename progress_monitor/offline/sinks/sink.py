"""What a sink of played pictures is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from progress_monitor.offline.player import Played


@dataclass(frozen=True)
class Recording:
    """What is being played, for those who write it down.

    ``path`` is the source's, ``camera`` its first one with ``fps`` pictures a second; files go to
    ``out``. ``settings`` stand in every line of JSON, so that a number can be reproduced.
    """

    path: Path
    task: str
    camera: str
    fps: float
    out: Path
    settings: dict[str, object]

    def provenance(self, played: Played) -> str:
        """What a number of this recording came from, in a line."""
        update = played.update
        named: dict[str, object] = {'prompt': update.prompt_hash, 'model': update.backend.model}
        named |= {'revision': update.model_revision[:12]} | self.settings
        return ', '.join(f'{name} {value}' for name, value in named.items() if value)


class Sink(Protocol):
    """Takes every picture that was played, in order, and then its end.

    Both raise ``OSError`` if something cannot be written.
    """

    def put(self, played: Played) -> None: ...

    def close(self) -> None: ...
