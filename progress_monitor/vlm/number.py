"""The number in a tag as a distribution, from the decoder's own probabilities of the digits."""

from __future__ import annotations

import re
from collections.abc import Sequence

_LARGEST = 100.0


def number_distribution(
    pieces: Sequence[str], digit_probabilities: Sequence[Sequence[float]], tag: str
) -> tuple[tuple[float, float], ...]:
    """Pairs of (value, probability) of the first number in ``<tag>`` of an answer, by value.

    ``pieces`` holds the text of every token and ``digit_probabilities`` the probabilities of the
    digits 0..9 at that token, given the tokens before it. Empty where the tag holds no number, a
    number below 0 or above 100, or one of which a digit is no token of its own.

    Approximations: only the decoded digits are followed, so a number that leaves them at one digit
    is put at the nearest one to the decoded number, of 0..100, that begins so (39 beside 41, 100
    beside 98): its distance is a lower bound. Probabilities are normalised over the ten digits,
    so that a number which ends earlier or later is not seen but for 100.
    """
    text = ''.join(pieces)
    name = re.escape(tag)
    match = re.search(rf'<{name}>\s*\+?(\d+(?:\.\d+)?)\s*%?\s*</{name}>', text, re.IGNORECASE)
    if not tag or match is None or float(match[1]) > _LARGEST:
        return ()
    starts: dict[int, int] = {}
    position = 0
    for token, piece in enumerate(pieces):
        starts[position] = token
        position += len(piece)
    number = match[1]
    unit = 10.0 ** -len(number.partition('.')[2])
    masses: dict[float, float] = {}
    reached = 1.0
    for place, character in enumerate(number):
        if character == '.':
            continue
        index = starts.get(match.start(1) + place)
        if index is None or pieces[index] != character:
            return ()
        total = sum(digit_probabilities[index])
        if not total > 0.0:
            return ()
        for digit, probability in enumerate(digit_probabilities[index]):
            if digit != int(character) and probability > 0.0:
                value = _nearest(f'{number[:place]}{digit}', float(number), unit)
                masses[value] = masses.get(value, 0.0) + reached * probability / total
        reached *= digit_probabilities[index][int(character)] / total
    masses[float(number)] = masses.get(float(number), 0.0) + reached
    whole = sum(masses.values())
    return tuple((value, mass / whole) for value, mass in sorted(masses.items()))


def _nearest(prefix: str, decoded: float, unit: float) -> float:
    """The nearest number to ``decoded`` that begins with ``prefix``, in steps of ``unit``."""
    start = float(prefix)
    if '.' in prefix:
        spans = [(start, start + 10.0 ** -len(prefix.partition('.')[2]) - unit)]
    else:
        spans = [(start * scale, (start + 1.0) * scale - unit) for scale in (1.0, 10.0, 100.0)]
    allowed = [(low, min(high, _LARGEST)) for low, high in spans if low <= _LARGEST]
    if not allowed:
        return _LARGEST
    values = [round(min(max(decoded, low), high), 6) for low, high in allowed]
    return min(values, key=lambda value: abs(value - decoded))
