"""What a server with the OpenAI interface answers, read."""

from __future__ import annotations

import math
from typing import Any

from progress_monitor.types import DecodeStats, Finish, Generate, Generated
from progress_monitor.vlm.number import number_distribution

_DIGITS = '0123456789'


def stats_of(reply: dict[str, Any], total_ms: float) -> DecodeStats:
    """What the answer cost, as far as the server says."""
    usage = reply.get('usage') or {}
    return DecodeStats(total_ms=total_ms, prompt_tokens=int(usage.get('prompt_tokens') or 0))


def generated(choice: dict[str, Any], want: Generate, stats: DecodeStats) -> Generated:
    """The text with its stop, and the distribution of its number where the server gives that."""
    text = str(choice['message']['content'] or '')
    reason, stopped_at = choice.get('finish_reason'), choice.get('stop_reason')
    finish = {'length': Finish.TOKEN_LIMIT, 'stop': Finish.END}.get(str(reason), Finish.END)
    ends = next((stop for stop in want.stop if text.endswith(stop)), None)
    if isinstance(stopped_at, str) and stopped_at in want.stop and ends is None:
        text, ends = text + stopped_at, stopped_at
    if ends is not None:
        finish = Finish.STOP
    number = _number(choice, text, want.number_tag) if want.number_tag else ()
    return Generated(text, (), finish, stats, number)


def _number(choice: dict[str, Any], text: str, tag: str) -> tuple[tuple[float, float], ...]:
    """The distribution of the number in ``tag``; empty where the server gives no probabilities.

    A digit that is not among the likeliest that the server names counts as impossible.
    """
    content = (choice.get('logprobs') or {}).get('content') or []
    pieces, digits = [], []
    for item in content:
        pieces.append(str(item['token']))
        likeliest = {str(top['token']): top['logprob'] for top in item.get('top_logprobs') or ()}
        digits.append([_probability(likeliest.get(digit)) for digit in _DIGITS])
    said = ''.join(pieces)
    if not said or not text.startswith(said):
        return ()
    # What the server leaves out of the tokens, the stop, ends the tag.
    return number_distribution([*pieces, text[len(said) :]], [*digits, [0.0] * 10], tag)


def _probability(logarithm: float | None) -> float:
    return 0.0 if logarithm is None else math.exp(min(float(logarithm), 0.0))


def scores(choice: dict[str, Any], continuations: tuple[str, ...]) -> tuple[float, ...] | None:
    """Log-probabilities of the first token; None if one of ``continuations`` is not given."""
    content = (choice.get('logprobs') or {}).get('content') or []
    top = (content[0].get('top_logprobs') or ()) if content else ()
    given = {str(item['token']): float(item['logprob']) for item in top}
    found = [given.get(text, math.nan) for text in continuations]
    return tuple(found) if all(map(math.isfinite, found)) else None
