"""An engine for a real worker process: it reads pictures, and fails when a file tells it to.

The file that ``ROS_FAKE_CONTROL`` names holds one word; a failure removes it before it happens, so
that the next worker is well. ``think`` holds an answer back until the file is removed; meanwhile
there is one beside it with the suffix ``.thinking``.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ros_fake_monitor import read_answer

from progress_monitor.types import Capabilities, Generated, Request
from progress_monitor.vlm.config import ModelConfig
from progress_monitor.vlm.errors import VLMError


@dataclass(frozen=True)
class Info:
    model: str = 'fake'
    quantization: str = 'none'
    device: str = 'cpu'
    revision: str = ''
    notes: tuple[str, ...] = ('loaded for a test',)


class FakeEngine:
    def __init__(self, control: Path) -> None:
        self._control = control
        self.info = Info()

    def memory_mb(self) -> float:
        return 12.0

    def capabilities(self) -> Capabilities:
        return Capabilities()

    def answer(self, request: Request, time_limit_s: float) -> Generated:
        order = self._control.read_text() if self._control.exists() else ''
        if order == 'think':
            self._control.with_suffix('.thinking').touch()
            while self._control.exists():
                np.linalg.norm(np.ones(100_000))
            self._control.with_suffix('.thinking').unlink()
        elif order:
            self._control.unlink()
            fail(order)
        answer = read_answer(request)
        if order == 'rubbish':
            broken: Any = {'no': 'text'}
            return replace(answer, text=broken)
        return answer


def fail(order: str) -> None:
    if order == 'kill':
        os.kill(os.getpid(), 9)
    if order == 'hang':
        time.sleep(600)
    if order == 'memory':
        raise MemoryError


def missing(config: ModelConfig, *images: int) -> FakeEngine:
    raise VLMError(f'model.path: there is no folder {config.path}')


def make(config: ModelConfig, *images: int) -> FakeEngine:
    return FakeEngine(Path(os.environ['ROS_FAKE_CONTROL']))


def make_late(config: ModelConfig, *images: int) -> FakeEngine:
    """Loads until the file that ``ROS_FAKE_GATE`` names is there."""
    while not Path(os.environ['ROS_FAKE_GATE']).exists():
        time.sleep(0.05)
    return make(config, *images)
