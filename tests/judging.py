"""Helpers of the judgement tests: scripted answers, made pictures, a monitor played in time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from synchronous import Said, SynchronousBackend

from progress_monitor.config import MonitorConfig
from progress_monitor.monitor import ProgressMonitor
from progress_monitor.parameters import build
from progress_monitor.types import (
    BackendState,
    Frame,
    MonitorUpdate,
    Request,
    StallReport,
    State,
    Task,
    new_uid,
)

STEPS = ('Reach the handle', 'Pull the drawer open', 'Let go of the handle')
TASK = Task('t', 'open the drawer')
_scene = np.random.default_rng(0).integers(40, 200, (64, 64, 3)).astype(np.uint8)
_scene = _scene.repeat(2, 0).repeat(2, 1)


def ns(seconds: float) -> int:
    return round(seconds * 1e9)


def frame(
    seconds: float,
    image: NDArray[np.uint8] | None = None,
    camera: str = 'cam',
    rests_from: float = math.inf,
) -> Frame:
    """A frame of a live camera, with a little noise of its own: something moves over the scene."""
    uid = new_uid()
    if image is None:
        image = _scene + np.random.default_rng(uid).integers(0, 3, _scene.shape).astype(np.uint8)
        column = round(min(seconds, rests_from) * 20.0) % 100
        image[50:70, column : column + 20] = 230
    return Frame(uid, camera, ns(seconds), image)


def answer_text(progress: float, steps: Iterable[str] | None = None) -> str:
    """An answer in the wording of the shipped checkpoint."""
    if steps is None:
        done = 0 if progress < 0.5 else 1 if progress < 0.9 else 2 if progress < 0.995 else 3
        steps = STEPS[done:]
    listed = list(steps)
    tag = f'Therefore, the estimated progress is <progress>{progress * 100:.1f}%</progress>'
    if not listed:
        return f'No further steps are required. {tag}'
    items = '\n'.join(f'{i}. {step}.' for i, step in enumerate(listed, 1))
    return f'The following steps are required:\n{items}\n{tag}'


class ScriptedBackend(SynchronousBackend):
    """Answers inside ``submit`` from a function of the newest frame's stamp in seconds."""

    def __init__(self, script: Callable[[float], Said]) -> None:
        super().__init__()
        self.script = script
        self.requests: list[Request] = []
        self.answering = True

    def answer(self, request: Request) -> Said:
        return self.script(max(item.stamp_ns for item in request.frames) * 1e-9)

    def submit(self, request: Request) -> None:
        self.requests.append(request)
        if self.answering:
            super().submit(request)
        else:
            self.state = BackendState.BUSY


def config(**values: object) -> MonitorConfig:
    """Parameters of a quick cell; keywords have __ for the dot."""
    quick: dict[str, object] = {'stall.allowance': 4.0, 'stall.grace_period': 1.0}
    quick.update({name.replace('__', '.'): value for name, value in values.items()})
    return build(MonitorConfig, quick)


def play(
    monitor: ProgressMonitor,
    frames: Iterable[Frame],
    until: float,
    period: float = 0.1,
    start: float = 0.0,
) -> list[MonitorUpdate]:
    """Deliver ``frames`` at their stamps and tick every ``period`` seconds up to ``until``."""
    waiting = sorted(frames, key=lambda item: item.stamp_ns)
    updates = []
    for index in range(round((until - start) / period) + 1):
        now_ns = ns(start + index * period)
        while waiting and waiting[0].stamp_ns <= now_ns:
            monitor.observe(waiting.pop(0))
        updates.append(monitor.tick(now_ns))
    return updates


def live(
    until: float, start: float = 0.0, period: float = 0.1, rests_from: float = math.inf
) -> list[Frame]:
    """Frames of a live camera; from ``rests_from`` on nothing moves before it."""
    stamps = [start + i * period for i in range(round((until - start) / period) + 1)]
    return [frame(stamp, rests_from=rests_from) for stamp in stamps]


def watch(
    script: Callable[[float], Said],
    until: float,
    frames: list[Frame] | None = None,
    cameras: Sequence[str] = (),
    **values: object,
) -> tuple[ProgressMonitor, ScriptedBackend, list[MonitorUpdate]]:
    """A monitor that has watched until so many seconds, its model, and all that it said."""
    backend = ScriptedBackend(script)
    monitor = ProgressMonitor(config(**values), backend, cameras)
    monitor.set_task(TASK, 0)
    updates = play(monitor, live(until) if frames is None else frames, until)
    return monitor, backend, updates


def calls(updates: Iterable[MonitorUpdate]) -> list[StallReport]:
    return [report for update in updates for report in update.stalls]


def states(updates: Iterable[MonitorUpdate]) -> set[State]:
    return {update.state for update in updates}


def ramp(seconds: float, rate: float = 1.0 / 12.0) -> str:
    return answer_text(min(seconds * rate, 1.0))
