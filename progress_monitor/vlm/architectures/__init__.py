"""Architectures of vision-language models: one file each, one line each in ``ARCHITECTURES``."""

from __future__ import annotations

from collections.abc import Callable

from progress_monitor.vlm.architectures.base import Architecture
from progress_monitor.vlm.architectures.plain import plain
from progress_monitor.vlm.architectures.qwen2_5_vl import qwen2_5_vl
from progress_monitor.vlm.architectures.qwen3_vl import qwen3_vl
from progress_monitor.vlm.errors import VLMError
from progress_monitor.vlm.loading import VLM

__all__ = ['ARCHITECTURES', 'Architecture', 'architecture_of', 'plain']

ARCHITECTURES: dict[str, Callable[[VLM], Architecture]] = {
    'qwen3_vl': qwen3_vl,
    'qwen2_5_vl': qwen2_5_vl,
}


def architecture_of(vlm: VLM) -> Architecture:
    """The tuned path of the checkpoint's architecture.

    :raises VLMError: if there is none.
    """
    kind = vlm.model.config.model_type
    if kind not in ARCHITECTURES:
        raise VLMError(f'{vlm.name}: a {kind} model; {", ".join(ARCHITECTURES)} can be used')
    return ARCHITECTURES[kind](vlm)
