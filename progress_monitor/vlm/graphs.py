"""Decode steps captured as CUDA graphs: one launch instead of one per kernel."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch

from progress_monitor.vlm.architectures.base import TextModel
from progress_monitor.vlm.cache import PrefixCache

_WARM_UP_RUNS = 3
_log = logging.getLogger(__name__)


class FixedStep:
    """One decode step of a fixed number of rows, with every shape static.

    Attention runs over the whole of the cache's buffers; a mask hides what lies beyond each row.
    Works on any device; on CUDA it can be captured.
    """

    def __init__(self, text: TextModel, cache: PrefixCache, rows: int) -> None:
        keys = cache.layers[0].keys
        assert keys is not None
        device = keys.device
        self._text = text
        self._cache = cache
        self._every = torch.arange(keys.shape[2], device=device)
        self.rows = rows
        self.hidden = torch.empty(0, device=device)
        self.ids = torch.zeros((1, rows), dtype=torch.int64, device=device)
        self.positions = torch.zeros((3, 1, rows), dtype=torch.int64, device=device)
        self.places = torch.zeros(rows, dtype=torch.int64, device=device)

    def place(self, ids: Sequence[int], position: int) -> None:
        """Write the next rows into the static inputs; missing rows repeat the token 0."""
        padded = [*ids, *[0] * (self.rows - len(ids))]
        ahead = torch.arange(self.rows)
        self.ids.copy_(torch.tensor([padded]))
        self.positions.copy_((position + ahead).expand(3, 1, -1))
        self.places.copy_(self._cache.length + ahead)

    def run(self) -> torch.Tensor:
        """Logits of every row, (rows, vocabulary), from the static inputs.

        ``hidden`` holds the last hidden states, (rows, hidden), that they were made of.
        """
        mask = (self._every[None] <= self.places[:, None])[None, None]
        for layer in self._cache.layers:
            layer.fixed_positions = self.places
        try:
            self.hidden = self._text.forward(
                self._text.embed(self.ids), self.positions, self._cache, mask, self.rows
            )
        finally:
            for layer in self._cache.layers:
                layer.fixed_positions = None
        return self._text.logits(self.hidden)


class StepGraphs:
    """Captured steps for the row counts that decoding uses."""

    def __init__(self, cache: PrefixCache, steps: dict[int, tuple[FixedStep, Any, torch.Tensor]]):
        self._cache = cache
        self._steps = steps
        self._buffers = _addresses(cache)
        keys = cache.layers[0].keys
        assert keys is not None
        self._capacity = keys.shape[2]
        self._exceeded = False

    @classmethod
    def capture(
        cls, text: TextModel, cache: PrefixCache, capacity: int, rows: Sequence[int]
    ) -> tuple[StepGraphs | None, str]:
        """Capture steps of every count in ``rows`` after growing ``cache`` to ``capacity``.

        A captured step must agree with the same step run eagerly, or it is not used. Returns
        the graphs, or None, and what was found.
        """
        if cache.layers[0].keys is None or cache.layers[0].keys.device.type != 'cuda':
            return None, 'steps run eagerly: CUDA graphs need a CUDA device'
        cache.reserve(capacity)
        try:
            steps = {count: _capture(FixedStep(text, cache, count)) for count in set(rows)}
        except Exception as error:
            torch.cuda.synchronize()
            return None, f'steps run eagerly: graph capture failed ({str(error)[:200]})'
        return cls(cache, steps), f'CUDA graphs for steps of {sorted(steps)} rows'

    def step(self, ids: Sequence[int], position: int) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Hidden states and logits after each of ``ids``; None if no graph fits this step."""
        start = self._cache.length
        count = min((rows for rows in self._steps if rows >= len(ids)), default=None)
        if count is None:
            return None
        if start + count > self._capacity or self._buffers != _addresses(self._cache):
            if not self._exceeded:
                self._exceeded = True
                _log.warning(
                    'a prompt and answer of %d tokens exceed the %d that CUDA graphs were captured '
                    'for: steps run eagerly; lower window.max_images or the length of the task',
                    start + count,
                    self._capacity,
                )
            return None
        step, graph, logits = self._steps[count]
        step.place(ids, position)
        graph.replay()
        self._cache.crop(start + len(ids))
        return step.hidden[: len(ids)], logits[: len(ids)]


def _capture(step: FixedStep) -> tuple[FixedStep, Any, torch.Tensor]:
    step.place([0], 0)
    stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP_RUNS):
            eager = step.run().clone()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        logits = step.run()
    graph.replay()
    torch.cuda.synchronize()
    if not torch.allclose(logits.float(), eager.float(), rtol=1e-2, atol=1e-2):
        raise RuntimeError('a captured step gives other numbers than the same step run eagerly')
    return step, graph, logits


def _addresses(cache: PrefixCache) -> tuple[int, ...]:
    return tuple(layer.keys.data_ptr() for layer in cache.layers if layer.keys is not None)
