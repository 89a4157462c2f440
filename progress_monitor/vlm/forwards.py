"""Forward passes of one request: the prompt in chunks, then steps."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray

from progress_monitor.vlm.architectures.base import TextModel
from progress_monitor.vlm.cache import VisionCache
from progress_monitor.vlm.errors import RequestRefused
from progress_monitor.vlm.prompt import PromptTokens
from progress_monitor.vlm.sessions import Session
from progress_monitor.vlm.stopping import TimeLimit

_CHUNK_S = 0.5
_CHUNK_ROWS = (16, 1024)
_FIRST_CHUNK_ROWS = 64


class Forwards:
    """Runs the text model over a session's key-value states.

    A long prompt is taken in chunks, so that the time limit is looked at between them: on a CPU
    each of about half a second by the speed measured so far, elsewhere of 1024 rows. Rows do not
    depend on the rows computed beside them, so chunks change no result.
    """

    def __init__(self, text: TextModel, device: torch.device) -> None:
        self._text = text
        self._device = device
        self._chunk = _FIRST_CHUNK_ROWS if device.type == 'cpu' else _CHUNK_ROWS[1]
        self.count = 0

    def begin(
        self,
        session: Session,
        tokens: PromptTokens,
        vision: VisionCache,
        keep_hidden: bool = False,
    ) -> None:
        """Take the session's states back to what they share with the prompt ``tokens``.

        ``keep_hidden`` keeps the last hidden states in the session's cache; it must not change
        between the requests of one session.
        """
        self._keep_hidden = keep_hidden
        self._session = session
        self._tokens = tokens
        self._vision = vision
        self.count = 0
        shared = session.cache.common_prefix(tokens.keys)
        session.cache.crop(min(shared, len(tokens.ids) - 1))

    def prefill(self, draft: Sequence[int], limit: TimeLimit) -> torch.Tensor:
        """Logits after the prompt's last token and after every token of ``draft``.

        :raises RequestRefused: if the time is over before the last chunk.
        """
        cache, tokens = self._session.cache, self._tokens
        length = len(tokens.ids)
        total = length - cache.length
        try:
            limit.check('the new frames were seen')
            while length - cache.length > self._chunk:
                self._run(cache.length + self._chunk, (), 1)
                limit.check(f'{total - length + cache.length} of {total} new tokens were read')
        except RequestRefused:
            cache.remember(tokens.keys[: cache.length])
            raise
        return self._text.logits(self._run(length, draft, len(draft) + 1))

    def step(self, ids: Sequence[int], position: int) -> torch.Tensor:
        """Logits after every one of ``ids``, the first of which stands at ``position``."""
        self.count += 1
        if self._session.graphs is not None:
            start = self._session.cache.length
            found = self._session.graphs.step(ids, position)
            if found is not None:
                if self._keep_hidden:
                    self._session.cache.write_hidden(start, found[0])
                return found[1]
        row = torch.tensor([ids], device=self._device)
        positions = np.broadcast_to(position + np.arange(len(ids)), (3, len(ids)))
        return self._text.logits(self._forward(self._text.embed(row), positions, len(ids)))

    def _run(self, stop: int, draft: Sequence[int], wanted: int) -> torch.Tensor:
        """Hidden states of the last rows of the prompt from what is held to ``stop``."""
        started = perf_counter()
        tokens, start = self._tokens, self._session.cache.length
        ids = np.concatenate([tokens.ids[start:stop], np.asarray(draft, np.int64)])
        embeddings = self._text.embed(torch.from_numpy(ids).to(self._device)[None])
        rows, deepstack = self._insert_frames(embeddings, start, stop)
        ahead = tokens.next_position + np.arange(len(draft))
        positions = np.concatenate(
            [tokens.positions[:, start:stop], np.broadcast_to(ahead, (3, len(draft)))], axis=1
        )
        hidden = self._forward(embeddings, positions, wanted, rows, deepstack)
        self.count += 1
        if self._device.type == 'cpu':
            row_s = (perf_counter() - started) / len(ids)
            self._chunk = int(min(max(_CHUNK_S / row_s, _CHUNK_ROWS[0]), _CHUNK_ROWS[1]))
        return hidden

    def _insert_frames(
        self, embeddings: torch.Tensor, start: int, stop: int
    ) -> tuple[torch.Tensor | None, tuple[torch.Tensor, ...]]:
        """Write the frames' features over the image tokens; their rows and deepstack features."""
        spans: list[NDArray[np.int64]] = []
        layers: list[list[torch.Tensor]] = []
        tokens = self._tokens
        for first, last in tokens.spans:
            low, high = max(first, start), min(last, stop)
            if low >= high:
                continue
            features = self._vision.features[int(-1 - tokens.keys[first])]
            part = slice(low - first, high - first)
            embeddings[0, low - start : high - start] = features.embedding[part]
            spans.append(np.arange(low - start, high - start))
            layers.append([layer[part] for layer in features.deepstack])
        if not spans:
            return None, ()
        rows = torch.from_numpy(np.concatenate(spans)).to(self._device)
        return rows, tuple(torch.cat(parts) for parts in zip(*layers, strict=True))

    def _forward(
        self,
        embeddings: torch.Tensor,
        positions: NDArray[np.int64],
        wanted: int,
        image_rows: torch.Tensor | None = None,
        deepstack: tuple[torch.Tensor, ...] = (),
    ) -> torch.Tensor:
        cache = self._session.cache
        new, past = embeddings.shape[1], cache.length
        mask = None
        if past and new > 1:
            shape = (1, 1, new, past + new)
            mask = torch.ones(shape, dtype=torch.bool, device=self._device).tril(past)
        place = torch.from_numpy(np.ascontiguousarray(positions)).to(self._device)[:, None]
        rows = new if self._keep_hidden else wanted
        hidden = self._text.forward(embeddings, place, cache, mask, rows, image_rows, deepstack)
        if self._keep_hidden:
            cache.write_hidden(past, hidden)
        return hidden[-wanted:]
