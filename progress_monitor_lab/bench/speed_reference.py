"""The reference way: the whole prompt through ``model.generate``, nothing kept between ticks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import LogitsProcessor, StoppingCriteria, StoppingCriteriaList

from progress_monitor.types import Frame, Request
from progress_monitor.vlm.loading import VLM
from progress_monitor.vlm.pictures import pictures_of
from progress_monitor.vlm.prompt import PromptTokens

STOP = ('</progress>',)
REFERENCE_FRAMES = 8


class _StopAtText(StoppingCriteria):
    def __init__(self, tokenizer: Any, stop: Sequence[str], start: int) -> None:
        self._tokenizer = tokenizer
        self._stop = stop
        self._start = start

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        text = self._tokenizer.decode(input_ids[0, self._start :]).lower()
        done = any(stop.lower() in text for stop in self._stop)
        return torch.tensor([done], device=input_ids.device)


class ForceText(LogitsProcessor):
    """Makes generation say ``tokens``, whatever the weights: for timing random weights."""

    def __init__(self, tokens: Sequence[int], start: int) -> None:
        self._tokens = tokens
        self._start = start

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        place = input_ids.shape[1] - self._start
        forced = torch.full_like(scores, -1.0)
        forced[:, self._tokens[min(place, len(self._tokens) - 1)]] = 0.0
        return forced


@torch.inference_mode()
def generate(
    vlm: VLM,
    request: Request,
    max_new_tokens: int,
    stop: Sequence[str] = STOP,
    forced: Sequence[int] = (),
) -> tuple[int, ...]:
    """Greedy tokens of ``request`` up to and with the stop, from a forward over all of it.

    ``forced`` names the tokens that are to come out, each at the cost of a real decode step.
    """
    tokens = vlm.prompts.build(request)
    ids = torch.from_numpy(tokens.ids).to(vlm.device)[None]
    length = ids.shape[1]
    output = vlm.model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        mm_token_type_ids=kinds(vlm, request, tokens),
        **pictures(vlm, request),
        do_sample=False,
        max_new_tokens=max_new_tokens,
        stopping_criteria=StoppingCriteriaList([_StopAtText(vlm.tokenizer, stop, length)]),
        logits_processor=[ForceText(forced, length)] if forced else None,
    )
    return tuple(output[0, length:].tolist())


def pictures(vlm: VLM, request: Request) -> dict[str, torch.Tensor]:
    """The frames of ``request`` as the arguments of the model's own forward."""
    shown = pictures_of(request.parts)
    found: dict[str, torch.Tensor] = {}
    for merged, pixels_name, grid_name in (
        (False, 'pixel_values', 'image_grid_thw'),
        (True, 'pixel_values_videos', 'video_grid_thw'),
    ):
        images = [[f.image for f in item.frames] for item in shown if item.merged == merged]
        if images:
            pixels = np.concatenate([vlm.images.picture(*item) for item in images])
            grids = [(1, *vlm.images.grid(item[0])) for item in images]
            found[pixels_name] = torch.from_numpy(pixels).to(vlm.device, vlm.dtype)
            found[grid_name] = torch.tensor(grids, device=vlm.device)
    return found


def kinds(vlm: VLM, request: Request, tokens: PromptTokens, more: int = 0) -> torch.Tensor:
    """Of each token of a prompt and ``more`` after it: text (0), an image's (1), a video's (2)."""
    marks = torch.zeros((1, len(tokens.ids) + more), dtype=torch.int32, device=vlm.device)
    for (start, stop), picture in zip(tokens.spans, pictures_of(request.parts), strict=True):
        marks[0, start:stop] = 2 if picture.merged else 1
    return marks


def reference_window(episode: Sequence[Frame], newest: int) -> tuple[Frame, ...]:
    """The eight newest frames up to ``newest``, padded at the start with copies of frame 0."""
    return tuple(
        episode[max(index, 0)] for index in range(newest - REFERENCE_FRAMES + 1, newest + 1)
    )
