"""A checkpoint before scenes and tasks that it cannot know: does it say so, is anything called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from progress_monitor.backends.inline import InlineBackend
from progress_monitor.config import CameraConfig, MonitorConfig
from progress_monitor.monitor import ProgressMonitor
from progress_monitor.offline.player import play
from progress_monitor.offline.sources import Picture
from progress_monitor.types import Evidence, State
from progress_monitor.vlm.config import ModelConfig
from progress_monitor_lab.bench.footage import PIXELS, Clip

CAMERA = 'clip'
START_NS = 1_000_000_000


def misfits(clips: Sequence[Clip], checkpoint: str, threads: int) -> dict[str, Any]:
    """Answers that were refused or not listened to, and calls, over ``clips`` with their own tasks.

    :raises VLMError: if the checkpoint cannot be loaded.
    """
    model = ModelConfig(path=checkpoint, device='cpu', threads=threads, max_pixels=PIXELS)
    config = replace(MonitorConfig(), camera=CameraConfig(noise_free='yes'))
    backend = InlineBackend(replace(model, quantization='none'))
    answers = refused = unheard = 0
    calls: list[str] = []
    seconds = 0.0
    try:
        for clip in clips:
            monitor = ProgressMonitor(config, backend, (CAMERA,))
            frames = (
                Picture(CAMERA, START_NS + round(i / clip.rate * 1e9), image)
                for i, image in enumerate(clip.images)
            )
            for played in play(frames, monitor, clip.task, PIXELS):
                update = played.update
                if update.estimate is not None:
                    answers += 1
                    refused += update.estimate.evidence is not Evidence.GOOD
                    unheard += update.state is State.UNSURE
                calls += [
                    f'{clip.name}: {item.cause.name}' for item in update.stalls if item.stalled
                ]
                calls += [f'{clip.name}: SUCCESS' for item in update.successes if item.succeeded]
            seconds += len(clip.images) / clip.rate
    finally:
        backend.close()
    return {
        'clips': len(clips),
        'minutes': seconds / 60.0,
        'answers': answers,
        'refused_share': refused / max(answers, 1),
        'unsure_share': unheard / max(answers, 1),
        'calls': calls,
    }
