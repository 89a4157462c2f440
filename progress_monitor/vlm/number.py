"""The number in the progress tag as a distribution, from the decoder's own probabilities."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

NAN = math.nan
TAG_NUMBER = re.compile(r'<progress>\s*([+-]?)(\d+)(?:\.(\d+))?\s*%?\s*</progress>', re.IGNORECASE)
_NEIGHBOUR = 10.0


def expected_number(
    pieces: Sequence[str], digit_probabilities: Sequence[Sequence[float]]
) -> tuple[float, float]:
    """Expected value and standard deviation of the number in the tag of an answer.

    ``pieces`` holds the text of every token and ``digit_probabilities`` the probabilities of the
    digits 0..9 at that token, given the tokens before it. Returns (NaN, NaN) where the answer has
    no number, or where a digit of it is no token of its own.

    Only the decoded digits are followed, so what would come after another digit is not known
    without further forwards. The mass of such a digit is put at the number with that digit which
    lies nearest to the decoded one, if it is within 10 points (a neighbouring decade: 39 beside
    41), and otherwise at the middle of the numbers that begin with it. Numbers without a decimal
    point are taken to have two digits or to be 100, others any number of digits before the point.
    Probabilities are normalised over the ten digits.
    """
    text = ''.join(pieces)
    match = TAG_NUMBER.search(text)
    if match is None or match[1] == '-':
        return NAN, NAN
    integer, fraction = match[2], match[3] or ''
    first = match.start(2)
    starts: dict[int, int] = {}
    position = 0
    for token, piece in enumerate(pieces):
        starts[position] = token
        position += len(piece)
    decoded = float(f'{integer}.{fraction or 0}')
    outcomes: list[tuple[float, float, float]] = []
    mass = 1.0
    digits = [(first + i, i) for i in range(len(integer))]
    digits += [(first + len(integer) + 1 + i, len(integer) + i) for i in range(len(fraction))]
    for place, rank in digits:
        index = starts.get(place)
        if index is None or pieces[index] != text[place]:
            return NAN, NAN
        probabilities = digit_probabilities[index]
        total = sum(probabilities)
        if not total > 0.0:
            return NAN, NAN
        decoded_digit = int(text[place])
        for digit in range(10):
            share = probabilities[digit] / total
            if digit != decoded_digit and share > 0.0:
                mean, variance = _elsewhere(integer, fraction, rank, digit, decoded)
                outcomes.append((mass * share, mean, variance))
        mass *= probabilities[decoded_digit] / total
    outcomes.append((mass, decoded, 0.0))
    total = sum(weight for weight, _, _ in outcomes)
    mean = sum(weight * value for weight, value, _ in outcomes) / total
    square = sum(weight * (spread + (value - mean) ** 2) for weight, value, spread in outcomes)
    return min(max(mean, 0.0), 100.0), math.sqrt(square / total)


def _elsewhere(
    integer: str, fraction: str, rank: int, digit: int, decoded: float
) -> tuple[float, float]:
    """Mean and variance of the numbers that share the first ``rank`` digits and go on otherwise."""
    ranges = _ranges(integer, fraction, rank, digit)
    distances = [max(low - decoded, decoded - high, 0.0) for low, high in ranges]
    low, high = ranges[distances.index(min(distances))]
    if min(distances) <= _NEIGHBOUR:
        return min(max(decoded, low), high), 0.0
    return (low + high) / 2, (high - low) ** 2 / 12


def _ranges(integer: str, fraction: str, rank: int, digit: int) -> list[tuple[float, float]]:
    if rank >= len(integer):
        place = rank - len(integer)
        unit = 10.0 ** -(place + 1)
        kept = float(f'{integer}.{fraction[:place]}0')
        return [(kept + digit * unit, kept + (digit + 1) * unit)]
    prefix = int(integer[:rank] + str(digit))
    if rank >= 2:
        return [(float(min(prefix, 100)), float(min(prefix, 100)))]
    size = 1.0 if fraction else 0.0
    if rank == 1:
        ranges = [(float(prefix), prefix + size)]
        return [*ranges, (100.0, 100.0)] if prefix == 10 else ranges
    ranges = [(prefix * 10.0, prefix * 10.0 + 9.0 + size)]
    if fraction:
        ranges.append((float(prefix), prefix + 1.0))
    if digit == 1:
        ranges.append((100.0, 100.0))
    return ranges
