"""The number in a tag as a distribution, from the decoder's own probabilities of the digits."""

from __future__ import annotations

import itertools
import math
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
    number, digits = _decoded(pieces, digit_probabilities, tag)
    if not digits or float(number) > _LARGEST:
        return ()
    unit = 10.0 ** -len(number.partition('.')[2])
    masses: dict[float, float] = {}
    reached = 1.0
    for place, shares in digits.items():
        for digit, share in enumerate(shares):
            if digit != int(number[place]) and share > 0.0:
                value = _nearest(f'{number[:place]}{digit}', float(number), unit)
                masses[value] = masses.get(value, 0.0) + reached * share
        reached *= shares[int(number[place])]
    masses[float(number)] = masses.get(float(number), 0.0) + reached
    whole = sum(masses.values())
    return tuple((value, mass / whole) for value, mass in sorted(masses.items()))


def mean_of_digits(
    pieces: Sequence[str], digit_probabilities: Sequence[Sequence[float]], tag: str
) -> float:
    """Expected value of a number of two digits in ``<tag>``; any other, such as 100, as it stands.

    NaN where there is none. For a model that always writes two and has learnt them with a spread. A
    number that leaves the decoded one at its tens is put at the middle of its own ten, or at 100
    where it begins with a 1 and that is nearer. The parameters are those of
    ``number_distribution``.
    """
    number, digits = _decoded(pieces, digit_probabilities, tag)
    if not number:
        return math.nan
    if not digits or not re.fullmatch(r'\d\d', number):
        return float(number)
    tens, ones = digits.values()
    means = [10.0 * ten + 4.5 for ten in range(10)]
    if _LARGEST - float(number) < abs(means[1] - float(number)):
        means[1] = _LARGEST
    means[int(number[0])] = 10.0 * int(number[0]) + sum(
        one * share for one, share in enumerate(ones)
    )
    return sum(mean * share for mean, share in zip(means, tens, strict=True))


def _decoded(
    pieces: Sequence[str], digit_probabilities: Sequence[Sequence[float]], tag: str
) -> tuple[str, dict[int, list[float]]]:
    """The first number in ``<tag>``, and the shares of the ten digits at each place of a digit.

    Without shares where there is no number, or a digit is no token of its own.
    """
    name = re.escape(tag)
    text = ''.join(pieces)
    match = re.search(rf'<{name}>\s*\+?(\d+(?:\.\d+)?)\s*%?\s*</{name}>', text, re.IGNORECASE)
    if not tag or match is None:
        return '', {}
    starts = dict(zip(itertools.accumulate(map(len, pieces), initial=0), itertools.count()))
    found: dict[int, list[float]] = {}
    for place, character in enumerate(match[1]):
        if character == '.':
            continue
        index = starts.get(match.start(1) + place)
        if index is None or index >= len(pieces) or pieces[index] != character:
            return match[1], {}
        total = sum(digit_probabilities[index])
        if not total > 0.0:
            return match[1], {}
        found[place] = [probability / total for probability in digit_probabilities[index]]
    return match[1], found


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
