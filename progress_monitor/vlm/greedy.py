"""The choice of the next token: the most probable one after the checkpoint's own penalty."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from progress_monitor.vlm.errors import VLMError
from progress_monitor.vlm.loading import VLM

# Processors that generate() also applies when decoding greedily, with the value of each that
# changes nothing.
_NEUTRAL = {
    'no_repeat_ngram_size': 0,
    'encoder_repetition_penalty': 1.0,
    'encoder_no_repeat_ngram_size': 0,
    'min_length': 0,
    'min_new_tokens': 0,
    'bad_words_ids': None,
    'sequence_bias': None,
    'suppress_tokens': None,
    'begin_suppress_tokens': None,
    'forced_bos_token_id': None,
    'forced_eos_token_id': None,
    'exponential_decay_length_penalty': None,
    'guidance_scale': 1.0,
}
Row = tuple[int, Sequence[float]]


class Greedy:
    """Greedy decoding with ``repetition_penalty`` of the checkpoint's generation configuration."""

    def __init__(self, vlm: VLM) -> None:
        settings = getattr(vlm.model, 'generation_config', None)
        penalty = getattr(vlm, 'repetition_penalty', None)
        if penalty is None:
            penalty = getattr(settings, 'repetition_penalty', None)
        self._penalty = float(penalty) if penalty is not None else 1.0
        ignored = [
            name
            for name, neutral in _NEUTRAL.items()
            if getattr(settings, name, None) not in (neutral, None)
        ]
        self.note = (
            "of the checkpoint's generation_config, "
            f'{", ".join(ignored)} {"is" if len(ignored) == 1 else "are"} not applied'
            if ignored
            else ''
        )
        digits = [vlm.tokenizer.convert_tokens_to_ids(digit) for digit in '0123456789']
        known = all(digit is not None and digit != vlm.tokenizer.unk_token_id for digit in digits)
        self._digits = torch.tensor(digits if known else [0] * 10, device=vlm.device)

    def read(
        self,
        logits: torch.Tensor,
        prompt: NDArray[np.int64],
        answer: Sequence[int],
        proposal: Sequence[int],
    ) -> list[Row]:
        """The token chosen at every row of ``logits``, and its probabilities of the ten digits.

        Row 0 stands behind ``prompt`` and ``answer``, row i behind the first i tokens of
        ``proposal`` as well.

        :raises VLMError: if the logits are not finite.
        """
        if self._penalty != 1.0:
            logits = self._penalised(logits.float(), prompt, answer, proposal)
        best = logits.argmax(-1, keepdim=True)
        top = logits.gather(-1, best).float()
        digits = logits[:, self._digits].float().softmax(-1)
        rows = torch.cat([best.float(), top, digits], dim=-1).tolist()
        if not all(math.isfinite(row[1]) for row in rows):
            raise not_finite()
        return [(int(row[0]), row[2:]) for row in rows]

    def _penalised(
        self,
        logits: torch.Tensor,
        prompt: NDArray[np.int64],
        answer: Sequence[int],
        proposal: Sequence[int],
    ) -> torch.Tensor:
        seen = torch.zeros(logits.shape, dtype=torch.bool, device=logits.device)
        past = np.concatenate([prompt, np.asarray(answer, np.int64)])
        seen[:, torch.from_numpy(np.unique(past)).to(logits.device)] = True
        for row, token in enumerate(proposal[: len(logits) - 1], start=1):
            seen[row:, token] = True
        changed = torch.where(logits < 0, logits * self._penalty, logits / self._penalty)
        return torch.where(seen, changed, logits)


def not_finite() -> VLMError:
    """The error of a model whose numbers overflow or are damaged."""
    return VLMError(
        'the model gives numbers that are not finite; its weights are damaged, or '
        'model.dtype float16 is too narrow for it: take bfloat16 or float32'
    )
