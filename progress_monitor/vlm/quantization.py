"""Checks of quantised kernels, and the choice between quantised and unquantised weights."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import torch

from progress_monitor.vlm.checkpoint import (
    check_architecture,
    checkpoint_folder,
    read_json,
    stored_quantization,
)
from progress_monitor.vlm.config import ModelConfig
from progress_monitor.vlm.decoder import StreamingDecoder
from progress_monitor.vlm.errors import VLMError
from progress_monitor.vlm.loading import VLM, choose_device, choose_dtype, release_memory
from progress_monitor.vlm.sample import sample_request
from progress_monitor.vlm.weights import stored_tensors

_HEADROOM = 1.3
_KERNEL_ERROR = 0.1
# Half a byte a weight, and a float32 for each 64.
_NF4_BYTES = 0.5 + 4 / 64
_TEXT_LAYER = re.compile(r'(?<!visual\.)\blayers\.\d+\.')
_TIMED_TICKS = 4
_TIMED_TOKENS = 8
_TIMED_MS = 10_000.0


@dataclass(frozen=True)
class Choice:
    """A quantisation and why it was taken."""

    quantization: str
    reason: str


def check_kernel(quantization: str, device: torch.device, dtype: torch.dtype) -> None:
    """Run one quantised layer for 1, 4 and 32 rows against its own weights made whole again.

    An import of bitsandbytes that succeeds proves nothing about the device's kernels.

    :raises VLMError: if the kernel cannot run or computes something else.
    """
    if quantization == 'none':
        return
    width = 256
    try:
        import bitsandbytes as bnb

        generator = torch.Generator().manual_seed(0)
        weight = torch.randn(width, width, generator=generator) / width**0.5
        rows = torch.randn(32, width, generator=generator).to(device, dtype)
        if quantization in ('nf4', 'fp4'):
            layer = bnb.nn.Linear4bit(
                width, width, bias=False, compute_dtype=dtype, quant_type=quantization
            )
            layer.weight = bnb.nn.Params4bit(weight, requires_grad=False, quant_type=quantization)
            layer = layer.to(device)
            whole = bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
        else:
            layer = bnb.nn.Linear8bitLt(width, width, bias=False, has_fp16_weights=False)
            layer.weight = bnb.nn.Int8Params(weight, requires_grad=False, has_fp16_weights=False)
            layer = layer.to(device)
            whole = weight.to(device)
        expected = rows.float() @ whole.float().T
        with torch.inference_mode():
            for count in (1, 4, 32):
                error = (layer(rows[:count]).float() - expected[:count]).abs().max().item()
                if not error < _KERNEL_ERROR:
                    raise VLMError(
                        f'model.quantization: the {quantization} kernel of bitsandbytes computes '
                        f'wrong numbers on {device} (off by {error:.3g}); set it to none'
                    )
    except VLMError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise VLMError(
            f'model.quantization: {quantization} does not run on {device} ({reason}); set it to '
            "none, or install a bitsandbytes that is built for this machine's CUDA"
        ) from error


def load(config: ModelConfig) -> VLM:
    """Load what ``config`` names, in the quantisation that it names or that ``choose`` finds.

    :return: the model; the choice is among its ``notes``.
    :raises VLMError: if it cannot be loaded, or its kernels do not run.
    """
    if config.quantization == 'auto':
        vlm, choice = choose(
            config.path,
            config.device,
            config.dtype,
            config.max_pixels,
            revision=config.revision,
            adapters=config.adapters,
        )
        return replace(vlm, notes=(choice.reason, *vlm.notes))
    return _load(
        config.path,
        config.quantization,
        config.device,
        config.dtype,
        config.revision,
        config.adapters,
    )


def choose(
    path_or_name: str,
    device: str,
    dtype: str,
    max_pixels: int,
    *,
    revision: str = '',
    adapters: Sequence[str] = (),
) -> tuple[VLM, Choice]:
    """Load the faster of NF4 and unquantised weights that fits in memory.

    Each is loaded and timed over a few answers on the actual device, one after the other: no two
    are ever in memory. Where only one fits, or the weights are stored quantised, nothing is timed.

    :raises VLMError: if neither can be loaded.
    """
    place = choose_device(device)
    precision = choose_dtype(dtype, place)
    folder = checkpoint_folder(path_or_name, revision)
    check_architecture(folder)

    def loaded(mode: str) -> VLM:
        return _load(path_or_name, mode, device, dtype, revision, adapters)

    stored = stored_quantization(read_json(folder / 'config.json'), folder)
    if stored != 'none':
        whole = loaded('auto')
        return whole, Choice(
            whole.quantization, f'quantization {whole.quantization} (stored in {stored})'
        )
    # The likelier winner last, so that it is seldom loaded a second time.
    modes = ('nf4', 'none') if place.type == 'cpu' else ('none', 'nf4')
    fitting = [mode for mode in modes if _fits(folder, mode, place, precision)]
    notes = [f'{mode} does not fit in memory' for mode in modes if mode not in fitting]
    if len(fitting) < len(modes):
        only = fitting[0] if fitting else 'nf4'
        return loaded(only), Choice(only, f'quantization {only} ({", ".join(notes)})')
    found: dict[str, float] = {}
    failures: list[VLMError] = []
    vlm: VLM | None = None
    for mode in modes:
        # Freed before the next one is loaded.
        vlm = None
        release_memory()
        try:
            vlm = loaded(mode)
            found[mode] = _decode_ms(vlm, max_pixels)
            notes.append(f'{mode} {found[mode]:.1f} ms a tick')
        except VLMError as error:
            failures.append(error)
            notes.append(f'{mode} failed: {error}')
    if not found:
        raise failures[0]
    best = min(found, key=found.__getitem__)
    if vlm is None or vlm.quantization != best:
        vlm = None
        release_memory()
        vlm = loaded(best)
    return vlm, Choice(best, f'quantization {best} ({", ".join(notes)})')


def _load(
    path: str,
    mode: str,
    device: str,
    dtype: str,
    revision: str = '',
    adapters: Sequence[str] = (),
) -> VLM:
    place = choose_device(device)
    if mode != 'auto':
        check_kernel(mode, place, choose_dtype(dtype, place))
    vlm = VLM.from_pretrained(path, mode, device, dtype, revision=revision, adapters=adapters)
    if mode == 'auto':
        check_kernel(vlm.quantization, place, vlm.dtype)
    return vlm


def _decode_ms(vlm: VLM, max_pixels: int) -> float:
    """Median wall time of a short tick: one new frame, a prefill and a few decode steps.

    The first tick is not counted, and on a slow device the second is the last.
    """
    decoder = StreamingDecoder(vlm, max_new_tokens=_TIMED_TOKENS)
    times: list[float] = []
    while len(times) <= _TIMED_TICKS and (len(times) < 2 or sum(times) < _TIMED_MS):
        answer = decoder.answer(sample_request(vlm, max_pixels, len(times) + 1))
        times.append(answer.stats.total_ms)
    return float(np.median(times[1:]))


def _fits(folder: Path, mode: str, device: torch.device, dtype: torch.dtype) -> bool:
    return needed_bytes(folder, mode, dtype) * _HEADROOM < _free_bytes(device)


def needed_bytes(folder: Path, mode: str, dtype: torch.dtype) -> float:
    """Memory of a checkpoint's weights once loaded in ``dtype`` or quantised, bytes."""
    each = torch.empty((), dtype=dtype).element_size()
    total = 0.0
    for name, tensor in stored_tensors(folder).items():
        quantised = len(tensor.shape) == 2 and _TEXT_LAYER.search(name) is not None
        total += tensor.count * (_NF4_BYTES if mode == 'nf4' and quantised else each)
    return total


def _free_bytes(device: torch.device) -> float:
    if device.type == 'cuda':
        return float(torch.cuda.mem_get_info(device)[0])
    return float(psutil.virtual_memory().available)
