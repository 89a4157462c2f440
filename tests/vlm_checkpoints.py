"""Tiny random checkpoints, made once per test run and shared between tests."""

import atexit
import functools
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from progress_monitor.types import Frame, Generate, Request, Score
from progress_monitor.vlm.loading import VLM
from progress_monitor.vlm.tiny import TINY_TEXT, TINY_VISION, make_checkpoint

torch.set_num_threads(1)


@functools.cache
def tiny_folder(seed: int = 0, layers: int = 2) -> Path:
    folder = Path(tempfile.mkdtemp(prefix='progress_monitor_tiny_'))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    text = {**TINY_TEXT, 'num_hidden_layers': layers}
    return make_checkpoint(folder, text, TINY_VISION, seed=seed, spread=0.3)


@functools.cache
def tiny_vlm(seed: int = 0, layers: int = 2) -> VLM:
    return VLM.from_pretrained(str(tiny_folder(seed, layers)), device='cpu')


@functools.cache
def tiny_vlm_double(seed: int = 0, layers: int = 2) -> VLM:
    """In float64 sums hardly depend on how they are batched, so equality has no ties."""
    vlm = VLM.from_pretrained(str(tiny_folder(seed, layers)), device='cpu')
    return replace(vlm, model=vlm.model.double(), dtype=torch.float64)


def noise_frames(count: int, size: tuple[int, int] = (64, 64), start: int = 0) -> list[Frame]:
    random = np.random.default_rng(start)
    return [
        Frame(
            start + index,
            'camera',
            (start + index) * 10**8,
            random.integers(0, 256, (*size, 3), dtype=np.uint8),
        )
        for index in range(count)
    ]


def request(frames, text, stop=('</progress>',), session='', chat=True, **want) -> Request:
    """The frames first, then the text; a ``Generate`` with the rest of the arguments."""
    return Request(0, session, (*frames, text), Generate(stop=stop, **want), chat)


def score(frames, text, *continuations, session='', chat=False) -> Request:
    """The log-probabilities of ``continuations`` after the frames and the text."""
    return Request(0, session, (*frames, text), Score(continuations), chat)
