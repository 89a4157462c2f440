"""The loaded model with its decoder, warmed up and checked."""

from __future__ import annotations

import os
import resource
import time

import torch

from progress_monitor.types import Capabilities, Generated, Request, Scored
from progress_monitor.vlm.config import ModelConfig
from progress_monitor.vlm.decoder import StreamingDecoder
from progress_monitor.vlm.engine import EngineInfo
from progress_monitor.vlm.errors import VLMError
from progress_monitor.vlm.loading import VLM
from progress_monitor.vlm.quantization import check_kernel, choose, sample_request

_WARM_UP_FRAMES = (1, 5)
_GRAPH_FRAMES = 17
_GRAPH_TEXT_TOKENS = 512


class ModelEngine:
    """The checkpoint that a configuration names, behind a streaming decoder."""

    def __init__(self, config: ModelConfig, min_images: int, max_images: int) -> None:
        """Load, check the quantised kernel, and answer sample prompts to warm up.

        :raises VLMError: if the model cannot be loaded or run.
        """
        started = time.perf_counter()
        torch.set_num_threads(config.threads)
        notes = []
        if config.quantization == 'auto':
            vlm, choice = choose(config.path, config.device, config.dtype, config.max_pixels)
            notes.append(choice.reason)
        else:
            vlm = VLM.from_pretrained(config.path, config.quantization, config.device, config.dtype)
            check_kernel(config.quantization, vlm.device, vlm.dtype)
        self._vlm = vlm
        self._decoder = StreamingDecoder(vlm, config.max_new_tokens, config.max_pixels)
        try:
            for count in _WARM_UP_FRAMES:
                self._decoder.answer(
                    sample_request(vlm, config.max_pixels, count), config.deadline_s
                )
            if vlm.device.type == 'cuda':
                frame_tokens = config.max_pixels // vlm.images.multiple**2 + 2
                capacity = _GRAPH_FRAMES * frame_tokens + _GRAPH_TEXT_TOKENS + config.max_new_tokens
                notes.append(self._decoder.use_graphs(capacity))
            self._decoder.forget()
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
            notes=tuple(notes),
        )

    @property
    def info(self) -> EngineInfo:
        """What was loaded."""
        return self._info

    def capabilities(self) -> Capabilities:
        """What the model can do."""
        return Capabilities(
            architecture=self._vlm.model.config.model_type,
            frame_multiple=self._vlm.images.multiple,
            max_pixels=self._decoder.max_pixels,
            max_tokens=self._decoder.max_tokens,
        )

    def answer(self, request: Request, time_limit_s: float) -> Generated | Scored:
        """Answer ``request``; see ``StreamingDecoder.answer``."""
        try:
            return self._decoder.answer(request, time_limit_s)
        except torch.OutOfMemoryError as error:
            raise VLMError(
                f'out of memory on {self._vlm.device} while answering; lower model.max_pixels or '
                'window.max_images, or set model.quantization to nf4'
            ) from error

    def memory_mb(self) -> float:
        """Memory of the model: reserved on the CUDA device, or this process's resident set."""
        if self._vlm.device.type == 'cuda':
            return torch.cuda.memory_reserved(self._vlm.device) / 2**20
        return resident_mb()


def resident_mb() -> float:
    """Resident memory of this process in MiB."""
    with open('/proc/self/statm', encoding='ascii') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 2**20


def peak_resident_mb() -> float:
    """Largest resident memory of this process so far in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
