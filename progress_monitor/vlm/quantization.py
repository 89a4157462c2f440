"""Checks of quantised kernels, and the choice between quantised and unquantised weights."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from progress_monitor.vlm.checkpoint import checkpoint_folder
from progress_monitor.vlm.decoder import StreamingDecoder
from progress_monitor.vlm.errors import VLMError
from progress_monitor.vlm.loading import VLM, choose_device, choose_dtype, release_memory
from progress_monitor.vlm.sample import sample_request

_HEADROOM = 1.3
_NF4_BYTES = 0.8
_TIMED_TICKS = 4
_TIMED_TOKENS = 8
_TIMED_MS = 10_000.0
_MODES = ('none', 'nf4')


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
        if quantization == 'nf4':
            layer = bnb.nn.Linear4bit(
                width, width, bias=False, compute_dtype=dtype, quant_type='nf4'
            )
            layer.weight = bnb.nn.Params4bit(weight, requires_grad=False, quant_type='nf4')
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
                if not error < 0.1:
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


def choose(path_or_name: str, device: str, dtype: str, max_pixels: int) -> tuple[VLM, Choice]:
    """Load the faster of NF4 and unquantised weights that fits in memory.

    Each is loaded and timed over a few answers on the actual device.

    :raises VLMError: if neither can be loaded.
    """
    place = choose_device(device)
    precision = choose_dtype(dtype, place)
    found: dict[str, float] = {}
    notes: list[str] = []
    loaded: VLM | None = None
    folder = checkpoint_folder(path_or_name)
    fitting = [mode for mode in _MODES if _fits(folder, mode, place, precision)] or ['nf4']
    failure: VLMError | None = None
    for mode in fitting:
        try:
            check_kernel(mode, place, precision)
            candidate = VLM.from_pretrained(path_or_name, mode, device, dtype)
            found[mode] = _decode_ms(candidate, max_pixels)
            notes.append(f'{mode} {found[mode]:.1f} ms a tick')
        except VLMError as error:
            failure = error
            notes.append(f'{mode} failed: {error}')
            continue
        if found[mode] == min(found.values()):
            loaded = candidate
        del candidate
        release_memory()
    notes += [f'{mode} does not fit in memory' for mode in _MODES if mode not in fitting]
    if loaded is None:
        assert failure is not None
        raise failure
    return loaded, Choice(
        loaded.quantization, f'quantization {loaded.quantization} ({", ".join(notes)})'
    )


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
    stored = sum(path.stat().st_size for path in folder.glob('*.safetensors'))
    parameters = stored / 2
    each = _NF4_BYTES if mode == 'nf4' else torch.empty((), dtype=dtype).element_size()
    return parameters * each * _HEADROOM < _free_bytes(device)


def _free_bytes(device: torch.device) -> float:
    if device.type == 'cuda':
        return float(torch.cuda.mem_get_info(device)[0])
    return float(os.sysconf('SC_AVPHYS_PAGES') * os.sysconf('SC_PAGE_SIZE'))
