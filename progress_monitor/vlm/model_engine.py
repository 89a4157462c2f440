"""The loaded model with its decoder, warmed up and checked."""

from __future__ import annotations

import math
import os
import resource
import time
from dataclasses import replace

import torch

from progress_monitor.types import Capabilities, Generated, Request, Scored
from progress_monitor.vlm.checkpoint import checkpoint_folder
from progress_monitor.vlm.config import ModelConfig
from progress_monitor.vlm.decoder import StreamingDecoder
from progress_monitor.vlm.engine import EngineInfo
from progress_monitor.vlm.errors import VLMError
from progress_monitor.vlm.loading import VLM
from progress_monitor.vlm.quantization import load
from progress_monitor.vlm.scene_guard import FILE_NAME, SceneGuard
from progress_monitor.vlm.warm_up import checked_architecture, measure

_GRAPH_TEXT_TOKENS = 512


class ModelEngine:
    """The checkpoint that a configuration names, behind a streaming decoder."""

    def __init__(self, config: ModelConfig, min_images: int, max_images: int) -> None:
        """Load, check the kernels, and answer sample requests to learn what a tick costs.

        ``min_images`` new frames must fit in four fifths of ``config.deadline_s``, with fewer
        pixels than ``config.max_pixels`` if need be; CUDA graphs hold ``max_images``.

        :raises VLMError: if the model cannot be loaded or run, or is too slow for the deadline.
        """
        started = time.perf_counter()
        torch.set_num_threads(config.threads)
        self._vlm = vlm = load(config)
        notes = list(vlm.notes)
        try:
            architecture, note = checked_architecture(vlm)
            notes.append(note)
            self._decoder = StreamingDecoder(
                vlm, config.max_new_tokens, config.max_pixels, architecture=architecture
            )
            notes.append(self._decoder.note)
            cost = measure(self._decoder, vlm, config, min_images)
            notes += cost.notes
            if vlm.device.type == 'cuda' and architecture.path == 'tuned':
                frame_tokens = cost.max_pixels // vlm.images.multiple**2 + 2
                capacity = max_images * frame_tokens + _GRAPH_TEXT_TOKENS + config.max_new_tokens
                notes.append(self._decoder.use_graphs(capacity))
            self._decoder.forget()
            self._guards = _guards(config, vlm)
            notes += [
                f'no {FILE_NAME} beside the weights{f" of adapter {name}" if name else ""}: '
                'unknown scenes are not told'
                for name, guard in self._guards.items()
                if guard is None
            ]
        except torch.OutOfMemoryError as error:
            raise VLMError(
                f'{config.path}: not enough memory on {vlm.device} to answer; lower '
                'model.max_pixels, or set model.quantization to nf4'
            ) from error
        notes.append(f'ready in {time.perf_counter() - started:.1f} s')
        self._info = EngineInfo(
            model=config.path,
            quantization=vlm.quantization,
            device=str(vlm.device),
            revision=vlm.revision,
            notes=tuple(note for note in notes if note),
        )
        self._capabilities = Capabilities(
            architecture=architecture.name,
            frame_multiple=vlm.images.multiple,
            clips=architecture.clips,
            max_pixels=cost.max_pixels,
            max_tokens=self._decoder.max_tokens,
            tick_ms=cost.tick_ms,
            frame_ms=cost.frame_ms,
        )

    @property
    def info(self) -> EngineInfo:
        """What was loaded."""
        return self._info

    def capabilities(self) -> Capabilities:
        """What the model can do, and what a tick costs."""
        return self._capabilities

    def answer(self, request: Request, time_limit_s: float) -> Generated | Scored:
        """Answer ``request``; see ``StreamingDecoder.answer``."""
        try:
            answer = self._decoder.answer(request, time_limit_s)
            return replace(answer, scene_distance=self._distance(request))
        except torch.OutOfMemoryError as error:
            raise VLMError(
                f'out of memory on {self._vlm.device} while answering; lower model.max_pixels or '
                'window.max_images, or set model.quantization to nf4'
            ) from error

    def _distance(self, request: Request) -> float:
        """How far the newest frame lies from known scenes; NaN where it is shown in a clip."""
        newest = max(request.frames, key=lambda frame: frame.stamp_ns, default=None)
        guard = self._guards[self._vlm.adapters.in_force.name]
        if guard is None or newest is None:
            return math.nan
        features = self._decoder.seen(newest.uid)
        return guard.distance(features) if features is not None else math.nan

    def memory_mb(self) -> float:
        """Memory of the model: reserved on the CUDA device, or this process's resident set."""
        if self._vlm.device.type == 'cuda':
            return torch.cuda.memory_reserved(self._vlm.device) / 2**20
        return resident_mb()


def _guards(config: ModelConfig, vlm: VLM) -> dict[str, SceneGuard | None]:
    """What each adapter knows of scenes, and under the empty name the bare checkpoint.

    The checkpoint's own guard would refuse the very scenes that an adapter was made for.
    """
    width = vlm.model.config.vision_config.out_hidden_size
    folders = {'': checkpoint_folder(config.path, config.revision), **vlm.adapters.folders}
    return {name: SceneGuard.read(folder, width) for name, folder in folders.items()}


def resident_mb() -> float:
    """Resident memory of this process in MiB."""
    with open('/proc/self/statm', encoding='ascii') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 2**20


def peak_resident_mb() -> float:
    """Largest resident memory of this process so far in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
