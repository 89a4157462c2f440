"""What models write, read: tags and numbers. Linear in the length of the text, whatever it holds.

No value is invented: what is not plainly a number in a closed tag is no number.
"""

from __future__ import annotations

import enum
import functools
import html
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from progress_monitor.types import NAN

_NUMBER = re.compile(r'([+-]?)(\d*)(?:[.,](\d*))?(%\.?|percent|)')
# 1,000 may be a thousand or one.
_GROUPED = re.compile(r'\d,\d{3}(?!\d)')
# A remark may follow: n/a (the object is missing).
_NO_ANSWER = re.compile(r'(?:n[/\\]a|n\.a)(?![^\W_])|(?:na|notapplicable)\.?$')
_THOUGHT_END = re.compile(r'</think(?:ing)?>|◁/think▷', re.IGNORECASE)
_THOUGHT_START = re.compile(r'<think(?:ing)?>|◁think▷', re.IGNORECASE)
_ESCAPES = re.compile(r'&(?:lt|gt|amp|percnt|nbsp|#\d{1,5}|#x[0-9a-f]{1,4});', re.IGNORECASE)
# Zero width, byte order and writing direction; they stand in the way of every comparison.
_UNSEEN = re.compile('[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]')
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_LONGEST_NUMBER = 40
_LONGEST_VALUE = 200


class Said(enum.Enum):
    """What a tag holds."""

    NUMBER = 'number'
    REFUSAL = 'refusal'
    UNREADABLE = 'unreadable'


@dataclass(frozen=True)
class Tag:
    """One tag of an answer.

    ``start`` is where it opens in the text; ``content`` what stands in it, stripped; ``value`` its
    number as written, without bounds (NaN unless ``said`` is NUMBER); ``percent`` whether a percent
    sign follows.
    """

    start: int
    content: str
    said: Said
    value: float = NAN
    percent: bool = False


def unescape(text: str) -> str:
    """``text`` with HTML's escapes put back, even twice escaped, and one newline as line end.

    What is not seen, such as spaces of no width, is left out.
    """
    for _ in range(2):
        text = _ESCAPES.sub(lambda match: html.unescape(match[0].lower()), text)
    return _UNSEEN.sub('', text).replace('\r\n', '\n').replace('\r', '\n')


def split_thought(text: str) -> tuple[str, str]:
    """What was thought and what was answered.

    The answer follows the last ``</think>``. A text that opens a thought and never closes it is a
    thought alone.
    """
    ends = [match.span() for match in _THOUGHT_END.finditer(text)]
    if ends:
        start, end = ends[-1]
        opening = _THOUGHT_START.search(text[:start])
        return text[opening.end() if opening else 0 : start].strip(), text[end:]
    opening = _THOUGHT_START.search(text)
    if opening:
        return text[opening.end() :].strip(), text[: opening.start()]
    return '', text


def find_tags(text: str, name: str) -> list[Tag]:
    """Every closed tag ``name`` in ``text``, in order; letters may be split by blanks."""
    tags: list[Tag] = []
    opened: tuple[int, int] | None = None
    for match in _tag_pattern(name).finditer(text):
        if not match[1]:
            opened = match.span()
        elif opened is not None:
            content = text[opened[1] : match.start()].strip()
            tags.append(_tag(opened[0], content))
            opened = None
    return tags


def first_readable(tags: Sequence[Tag]) -> Tag | None:
    """The first tag that holds a number or a refusal: an echoed prompt's holds neither."""
    return next((tag for tag in tags if tag.said is not Said.UNREADABLE), None)


def read_value(content: str) -> tuple[Said, float, bool]:
    """What ``content`` says, its number as written and whether a percent sign follows.

    Digits may be split by blanks (``8 4 . 1 3``) or of full width, and decimals may follow a
    comma. Two numbers beside each other, such as ``10 20`` or ``80-90``, are none.
    """
    if len(content) > _LONGEST_VALUE:
        return Said.UNREADABLE, NAN, False
    pieces = content.translate(_FULL_WIDTH).casefold().strip(' \t\n"\'`“”*').split()
    joined = ''.join(pieces)
    if _NO_ANSWER.match(joined):
        return Said.REFUSAL, NAN, False
    if len(joined) > _LONGEST_NUMBER or not joined.isascii() or _GROUPED.search(joined):
        return Said.UNREADABLE, NAN, False
    match = _NUMBER.fullmatch(joined)
    if match is None or not (match[2] or match[3]):
        return Said.UNREADABLE, NAN, False
    if any(len(run) > 1 for run in _split_digits(pieces)):
        return Said.UNREADABLE, NAN, False
    value = float(f'{match[1]}{match[2] or 0}.{match[3] or 0}')
    return Said.NUMBER, value, bool(match[4])


def as_share(value: float, percent: bool) -> float:
    """A score as 0..1: percent by its sign, or where it lies above 1; clamped."""
    return min(max(value / 100.0 if percent or value > 1.0 else value, 0.0), 1.0)


@dataclass(frozen=True)
class Digits:
    """What the probabilities of a number's digits say of it; all NaN where there are none.

    ``deviation`` is the standard deviation, ``reached`` the probability that the number reaches a
    threshold, and ``mean`` the expected value, clamped to 0..1.
    """

    deviation: float = NAN
    reached: float = NAN
    mean: float = NAN


def read_digits(number: Sequence[tuple[float, float]], scale: float, threshold: float) -> Digits:
    """Read pairs of (value, probability) as shares, ``value * scale``; ``threshold`` is one too."""
    total = sum(probability for _, probability in number)
    if not total > 0.0:
        return Digits()
    pairs = [(value * scale, probability / total) for value, probability in number]
    mean = sum(value * probability for value, probability in pairs)
    variance = sum(probability * (value - mean) ** 2 for value, probability in pairs)
    reached = sum(probability for value, probability in pairs if value >= threshold - 1e-9)
    return Digits(math.sqrt(variance), min(reached, 1.0), min(max(mean, 0.0), 1.0))


@functools.lru_cache(maxsize=16)
def _tag_pattern(name: str) -> re.Pattern[str]:
    letters = r'\s*'.join(re.escape(letter) for letter in name)
    return re.compile(rf'[<＜]\s*(?:([/／])\s*)?{letters}\s*[>＞]', re.IGNORECASE)


def _tag(start: int, content: str) -> Tag:
    said, value, percent = read_value(content)
    return Tag(start, content, said, value, percent)


def _split_digits(pieces: Sequence[str]) -> list[str]:
    """Digits that a blank parts from digits before or after them: each must be one alone."""
    parted: list[str] = []
    for left, right in itertools.pairwise(pieces):
        if left[-1].isdigit() and right[0].isdigit():
            before = re.split(r'\D', left)[-1]
            after = re.split(r'\D', right)[0]
            parted += [before, after]
    return parted
