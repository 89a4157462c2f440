"""The last answer as a draft of the next one.

Speculative decoding (Leviathan et al. 2023) with the previous tick's answer in the place of the
small model, as in prompt-lookup decoding: a draft never changes the outcome, only its cost.
"""

from __future__ import annotations

from collections.abc import Sequence

_TRUSTED_MATCH = 2


class Draft:
    """Proposes what comes next in an answer, from the tokens of an earlier answer.

    While the answer follows the draft token for token, so does the proposal. After a difference
    it continues behind the longest stretch of the draft that the answer now ends in; where no
    such stretch of two tokens exists, one token is taken to have replaced another.
    """

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens = tuple(tokens)
        self._next = 0

    def proposal(self, count: int) -> tuple[int, ...]:
        """The next tokens, at most ``count``; fewer or none where the draft ends."""
        return self._tokens[self._next : self._next + max(count, 0)]

    def advance(self, answer: Sequence[int], new: int) -> None:
        """Take note that ``answer`` has grown by its last ``new`` tokens."""
        for position in range(len(answer) - new, len(answer)):
            if self._next < len(self._tokens) and self._tokens[self._next] == answer[position]:
                self._next += 1
            else:
                self._next = self._resume(answer[: position + 1])

    def _resume(self, answer: Sequence[int]) -> int:
        aligned = self._next + 1
        best_length, best = _TRUSTED_MATCH - 1, aligned
        for end in range(1, len(self._tokens) + 1):
            length = 0
            while (
                length < min(end, len(answer))
                and self._tokens[end - 1 - length] == answer[-1 - length]
            ):
                length += 1
            nearer = abs(end - aligned) < abs(best - aligned)
            if length > best_length or (length == best_length >= _TRUSTED_MATCH and nearer):
                best_length, best = length, end
        return min(best, len(self._tokens))
