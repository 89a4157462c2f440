"""The streaming decoder: plain greedy decoding's tokens at a part of its cost."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from progress_monitor.types import Answer, DecodeStats, Frame, Prompt
from progress_monitor.vlm.cache import PrefixCache, VisionCache
from progress_monitor.vlm.drafting import Draft
from progress_monitor.vlm.errors import VLMError
from progress_monitor.vlm.graphs import StepGraphs
from progress_monitor.vlm.loading import VLM
from progress_monitor.vlm.number import expected_number
from progress_monitor.vlm.prompt import PromptTokens
from progress_monitor.vlm.text import TextTower
from progress_monitor.vlm.vision import VisionEncoder

STOP = ('</progress>',)
STEP_ROWS = {'cuda': 4, 'cpu': 8}


class StopRule:
    """Ends an answer at an end-of-text token or once one of the ``stop`` strings is complete."""

    def __init__(self, vlm: VLM, stop: Sequence[str] = STOP) -> None:
        self._tokenizer = vlm.tokenizer
        self._ends = vlm.end_tokens
        self._stop = tuple(stop)
        self._reach = max((len(text) for text in self._stop), default=0)
        self._pieces: dict[int, str] = {}

    def piece(self, token: int) -> str:
        """The text of one token."""
        found = self._pieces.get(token)
        if found is None:
            found = self._pieces[token] = self._tokenizer.decode([token])
        return found

    def finish(self, answer: Sequence[int]) -> str | None:
        """``'end'`` or ``'tag'`` if ``answer`` is complete with its last token."""
        if answer[-1] in self._ends:
            return 'end'
        last = self.piece(answer[-1])
        if not any(text[-1] in last for text in self._stop):
            return None
        tail = ''.join(self.piece(token) for token in answer[-self._reach :])
        return 'tag' if any(text in tail for text in self._stop) else None


class StreamingDecoder:
    """Answers one prompt after the other; what two prompts share is computed once.

    The contract: the tokens of every answer are those of ``model.generate(do_sample=False)`` on
    the same prompt up to the same stop. Three things make it cheap. A frame's vision features
    are kept while the frame is in the window. Key-value states are kept for the longest common
    beginning of this prompt and the last. The last answer is appended to the new prompt as a
    draft, checked in the same forward pass, and what differs is decoded in steps of at most
    ``step_rows`` rows that check the rest of the draft: by default 4, as many as every fused 4-bit
    kernel takes, and 8 on the CPU, where a row costs a tenth of a step. Not re-entrant.

    Equality holds as far as floating-point sums do not depend on how many rows are computed
    together: exactly but for ties in float32, not always in 16 bits.
    """

    def __init__(
        self,
        vlm: VLM,
        max_new_tokens: int = 256,
        stop: Sequence[str] = STOP,
        step_rows: int | None = None,
    ) -> None:
        self._vlm = vlm
        self._encoder = VisionEncoder(vlm)
        self._text = TextTower(vlm.model)
        self._max_new_tokens = max_new_tokens
        self._step_rows = step_rows or STEP_ROWS.get(vlm.device.type, 4)
        self._rule = StopRule(vlm, stop)
        digits = vlm.tokenizer.convert_tokens_to_ids(list('0123456789'))
        self._digits = torch.tensor(digits, device=vlm.device)
        self._graphs: StepGraphs | None = None
        self._cache = PrefixCache(self._text.layers)
        self._vision = VisionCache()
        self._last: tuple[int, ...] = ()

    def forget(self) -> None:
        """Forget everything that was kept from earlier prompts and answers."""
        self._cache.remember(np.empty(0, np.int64))
        self._vision.keep(())
        self._last = ()

    def suggest(self, tokens: Sequence[int]) -> None:
        """Take ``tokens`` as the draft of the next answer, in place of the last answer."""
        self._last = tuple(tokens)

    def use_graphs(self, capacity: int) -> str:
        """Capture decode steps as CUDA graphs for prompts and answers of ``capacity`` tokens.

        Needs one answer to have been decoded. Returns what was done, or why steps stay eager.
        """
        self._graphs, report = StepGraphs.capture(
            self._text, self._cache, capacity, (1, self._step_rows)
        )
        return report

    @torch.inference_mode()
    def answer(self, prompt: Prompt, time_limit_s: float = math.inf) -> Answer:
        """Decode the answer to ``prompt`` within ``time_limit_s`` of wall time.

        At the limit the answer so far is returned; one forward pass is never interrupted.

        :raises ValueError: if a frame's size does not suit the model.
        :raises VLMError: if the model's output is not finite.
        """
        try:
            return self._answer(prompt, time.perf_counter() + time_limit_s)
        except ValueError:
            raise
        except Exception:
            self.forget()
            raise

    def _answer(self, prompt: Prompt, end_time: float) -> Answer:
        started = time.perf_counter()
        tokens = self._vlm.prompts.build(prompt)
        encoded = self._encode(prompt.frames)
        seen = time.perf_counter()
        length = len(tokens.ids)
        reused = min(self._cache.common_prefix(tokens.keys), length - 1)
        self._cache.crop(reused)
        draft = Draft(self._last)
        proposal = draft.proposal(self._max_new_tokens - 1)
        logits = self._prefill(tokens, prompt.frames, reused, proposal)
        rows = self._read(logits)
        filled = time.perf_counter()
        answer: list[int] = []
        digits: list[Sequence[float]] = []
        forwards, drafted, accepted = 1, 0, 0
        finish = None
        while True:
            drafted += len(proposal)
            known = len(answer)
            for index, (token, probabilities) in enumerate(rows):
                answer.append(token)
                digits.append(probabilities)
                agreed = index < len(proposal) and proposal[index] == token
                accepted += agreed
                finish = self._finish(answer)
                if finish is not None or not agreed:
                    break
            self._cache.crop(length + len(answer) - 1)
            if finish is None and time.perf_counter() >= end_time:
                finish = 'time_limit'
            if finish is not None:
                break
            draft.advance(answer, len(answer) - known)
            room = self._max_new_tokens - len(answer) - 1
            proposal = draft.proposal(min(self._step_rows - 1, room))
            rows = self._read(
                self._step((answer[-1], *proposal), tokens.next_position + len(answer) - 1)
            )
            forwards += 1
        self._cache.remember(np.concatenate([tokens.keys, np.asarray(answer[:-1], np.int64)]))
        self._last = tuple(answer)
        number, spread = expected_number([self._rule.piece(token) for token in answer], digits)
        text = self._vlm.tokenizer.decode(answer, skip_special_tokens=True)
        finished = time.perf_counter()
        return Answer(
            text=text,
            token_ids=tuple(answer),
            finish=finish,
            number=number,
            number_std=spread,
            stats=DecodeStats(
                total_ms=(finished - started) * 1e3,
                vision_ms=(seen - started) * 1e3,
                prefill_ms=(filled - seen) * 1e3,
                forwards=forwards,
                prompt_tokens=length,
                reused_tokens=reused,
                drafted_tokens=drafted,
                accepted_tokens=accepted,
                frames_encoded=encoded,
            ),
        )

    def _finish(self, answer: Sequence[int]) -> str | None:
        finish = self._rule.finish(answer)
        if finish is None and len(answer) >= self._max_new_tokens:
            return 'token_limit'
        return finish

    def _encode(self, frames: Sequence[Frame]) -> int:
        """Make sure that the features of ``frames``, and of no others, are held."""
        self._vision.keep(frame.uid for frame in frames)
        held = self._vision.features
        missing = {frame.uid: frame.image for frame in frames if frame.uid not in held}
        for uid, image in missing.items():
            held[uid] = self._encoder.encode(image)
        return len(missing)

    def _prefill(
        self, tokens: PromptTokens, frames: Sequence[Frame], reused: int, draft: Sequence[int]
    ) -> torch.Tensor:
        """Logits after the prompt's last token and after every token of ``draft``."""
        ids = np.concatenate([tokens.ids[reused:], np.asarray(draft, np.int64)])
        embeddings = self._text.embed(torch.from_numpy(ids).to(self._vlm.device)[None])
        visible = [
            (max(start, reused) - reused, stop - reused, self._vision.features[frame.uid])
            for (start, stop), frame in zip(tokens.spans, frames, strict=True)
            if stop > reused
        ]
        rows = None
        deepstack: tuple[torch.Tensor, ...] = ()
        if visible:
            for start, stop, features in visible:
                embeddings[0, start:stop] = features.embedding[start - stop :]
            spans = [np.arange(start, stop) for start, stop, _ in visible]
            rows = torch.from_numpy(np.concatenate(spans)).to(self._vlm.device)
            deepstack = tuple(
                torch.cat(
                    [features.deepstack[layer][start - stop :] for start, stop, features in visible]
                )
                for layer in range(len(visible[0][2].deepstack))
            )
        ahead = tokens.next_position + np.arange(len(draft))
        positions = np.concatenate(
            [tokens.positions[:, reused:], np.broadcast_to(ahead, (3, len(draft)))], axis=1
        )
        return self._text.logits(
            self._forward(embeddings, positions, len(draft) + 1, rows, deepstack)
        )

    def _step(self, ids: Sequence[int], position: int) -> torch.Tensor:
        """Logits after every one of ``ids``, the first of which stands at ``position``."""
        if self._graphs is not None:
            logits = self._graphs.step(ids, position)
            if logits is not None:
                return logits
        row = torch.tensor([ids], device=self._vlm.device)
        positions = np.broadcast_to(position + np.arange(len(ids)), (3, len(ids)))
        return self._text.logits(self._forward(self._text.embed(row), positions, len(ids)))

    def _forward(
        self,
        embeddings: torch.Tensor,
        positions: NDArray[np.int64],
        wanted: int,
        image_rows: torch.Tensor | None = None,
        deepstack: tuple[torch.Tensor, ...] = (),
    ) -> torch.Tensor:
        device = self._vlm.device
        new, past = embeddings.shape[1], self._cache.length
        mask = None
        if past and new > 1:
            mask = torch.ones((1, 1, new, past + new), dtype=torch.bool, device=device).tril(past)
        place = torch.from_numpy(np.ascontiguousarray(positions)).to(device)[:, None]
        return self._text.forward(
            embeddings, place, self._cache, mask, wanted, image_rows, deepstack
        )

    def _read(self, logits: torch.Tensor) -> list[tuple[int, list[float]]]:
        """The greedy token of every row, and its probabilities of the ten digits."""
        best = logits.argmax(-1, keepdim=True)
        top = logits.gather(-1, best).float()
        digits = logits[:, self._digits].float().softmax(-1)
        rows = torch.cat([best.float(), top, digits], dim=-1).tolist()
        if not all(math.isfinite(row[1]) for row in rows):
            raise VLMError(
                'the model gives numbers that are not finite; its weights are damaged, or '
                'model.dtype float16 is too narrow for it: take bfloat16 or float32'
            )
        return [(int(row[0]), row[2:]) for row in rows]
