"""Qwen3-VL: deepstack features, normalised queries and keys, interleaved rotary sections."""

from __future__ import annotations

from progress_monitor.vlm.architectures.base import Architecture
from progress_monitor.vlm.loading import VLM
from progress_monitor.vlm.text import TextTower
from progress_monitor.vlm.vision import VisionEncoder


def qwen3_vl(vlm: VLM) -> Architecture:
    """The tuned path of Qwen3-VL."""
    return Architecture('qwen3_vl', 'tuned', VisionEncoder(vlm), TextTower(vlm.model), clips=True)
