"""A training budget in minutes that survives interruptions."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import torch


class Clock:
    """Counts training time over all pieces of a run, and keeps the run's state on disk."""

    def __init__(self, path: Path, minutes: float) -> None:
        self._path = path
        self._budget = minutes * 60.0
        self._before = 0.0
        self._start = time.monotonic()
        self._saved = self._start

    @property
    def share(self) -> float:
        """Spent share of the budget."""
        return (self._before + time.monotonic() - self._start) / self._budget

    def rate(self, highest: float) -> float:
        """Learning rate: a short warm-up, then a cosine down to nothing."""
        share = min(self.share, 1.0)
        return highest * min(share / 0.03, 1.0) * 0.5 * (1.0 + math.cos(math.pi * share))

    def resume(self) -> dict[str, Any] | None:
        """The state of an interrupted run, if there is one."""
        if not self._path.exists():
            return None
        state: dict[str, Any] = torch.load(self._path, weights_only=True)
        self._before = state['seconds']
        return state

    def save(self, state: dict[str, Any], every: float = 60.0) -> None:
        """Keep ``state`` if the last one is older than ``every`` seconds."""
        now = time.monotonic()
        if now - self._saved < every:
            return
        self._saved = now
        partial = self._path.with_suffix('.part')
        torch.save({**state, 'seconds': self._before + now - self._start}, partial)
        partial.rename(self._path)
