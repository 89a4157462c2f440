"""What a server with the OpenAI interface answers, read."""

from __future__ import annotations

import math
from typing import Any

from progress_monitor.types import DecodeStats, Finish, Generate, Generated
from progress_monitor.vlm.number import number_distribution

_DIGITS = '0123456789'


def stats_of(reply: dict[str, Any], total_ms: float) -> DecodeStats:
    """What the answer cost, as far as the server says."""
    usage = reply.get('usage')
    tokens = usage.get('prompt_tokens') if isinstance(usage, dict) else None
    return DecodeStats(total_ms=total_ms, prompt_tokens=tokens if isinstance(tokens, int) else 0)


def generated(choice: dict[str, Any], want: Generate, stats: DecodeStats) -> Generated:
    """The text with its stop, and the distribution of its number where the server gives that."""
    text = _text(choice['message'])
    finish = Finish.TOKEN_LIMIT if choice.get('finish_reason') == 'length' else Finish.END
    ends = next((stop for stop in want.stop if text.endswith(stop)), None)
    if ends is None and finish is Finish.END:
        ends = _stop_left_out(choice, text, want)
        text += ends or ''
    if ends is not None:
        finish = Finish.STOP
    number = _number(choice, text, want.number_tag) if want.number_tag else ()
    return Generated(text, (), finish, stats, number)


def _text(message: dict[str, Any]) -> str:
    """What was answered; where that is nothing, the thought that came to no answer."""
    content = message.get('content') or ''
    if isinstance(content, list):
        content = ''.join(str(part.get('text') or '') for part in content)
    thought = message.get('reasoning_content') or message.get('reasoning')
    return f'<think>{thought}' if thought and not content else str(content)


def _stop_left_out(choice: dict[str, Any], text: str, want: Generate) -> str | None:
    """The stop at which the text ended, where the server has cut it off; None: at none of them.

    vLLM names it in ``stop_reason`` and SGLang in ``matched_stop``. Others (llama.cpp, Ollama) say
    only that they stopped: then it is the one that closes the tag that is open.
    """
    for name in ('stop_reason', 'matched_stop'):
        if choice.get(name) in want.stop:
            return str(choice[name])
    if choice.get('finish_reason') != 'stop':
        return None
    for stop in want.stop:
        opened = text.rfind(stop.replace('</', '<'))
        if stop.startswith('</') and opened > text.rfind('</'):
            return stop
    return None


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
    # The stop may be left out of the tokens, or its last token hold more than the stop.
    if not said or not (text.startswith(said) or said.startswith(text)):
        return ()
    return number_distribution([*pieces, text[len(said) :]], [*digits, [0.0] * 10], tag)


def _probability(logarithm: float | None) -> float:
    if logarithm is None or math.isnan(logarithm):
        return 0.0
    return math.exp(min(float(logarithm), 0.0))


def scores(choice: dict[str, Any], continuations: tuple[str, ...]) -> tuple[float, ...] | None:
    """Log-probabilities of the first token; None if one of ``continuations`` is not given."""
    content = (choice.get('logprobs') or {}).get('content') or []
    top = (content[0].get('top_logprobs') or ()) if content else ()
    given = {str(item['token']): item['logprob'] for item in top if item['logprob'] is not None}
    found = [given.get(text, math.nan) for text in continuations]
    return tuple(map(float, found)) if all(map(math.isfinite, found)) else None
