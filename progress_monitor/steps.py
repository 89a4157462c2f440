"""Whether two wordings name the same atomic step.

A model words one step in several ways, and two steps in nearly the same way: "Press the button
for the first time" and "... the second time" differ by one token and are different steps. So
likeness of the strings alone never decides: what is left over when the common words are taken away
must not be a number, a direction or another object.
"""

from __future__ import annotations

import functools
import re

from rapidfuzz import fuzz

_VERBS = {
    'approach': 'reach', 'get': 'reach', 'go': 'reach',
    'grab': 'grasp', 'grip': 'grasp', 'clasp': 'grasp', 'pick': 'grasp', 'take': 'grasp',
    'seize': 'grasp',
    'bring': 'move', 'transport': 'move', 'transfer': 'move',
    'carry': 'move', 'put': 'place', 'set': 'place', 'lay': 'place', 'position': 'place',
    'push': 'press', 'depress': 'press', 'drop': 'release', 'raise': 'lift', 'shut': 'close',
    'drag': 'pull', 'rotate': 'turn', 'twist': 'turn',
}  # fmt: skip
_NUMBERS = {
    'once': '1', 'twice': '2', 'thrice': '3', 'first': '1', 'second': '2', 'third': '3',
    'fourth': '4', 'fifth': '5', 'sixth': '6', 'seventh': '7', 'eighth': '8', 'ninth': '9',
    'tenth': '10', 'one': '1', 'two': '2', 'three': '3', 'four': '4', 'five': '5', 'six': '6',
    'seven': '7', 'eight': '8', 'nine': '9', 'ten': '10',
}  # fmt: skip
_IGNORED = frozenset(
    'a an the to in into on onto at of for with by towards toward its his it this that then and '
    'up time robot arm gripper using please now'.split()
)
_DISTINGUISHING = frozenset(
    'not from off out away again another other left right top bottom front back upper lower '
    'inside outside above below under down last remaining'.split()
)
_MOVABLE = frozenset('open closed close shut slowly carefully gently fully back'.split())
_PHRASES = (('let go of', 'release'), ('let go', 'release'), ('move to', 'reach'))


@functools.lru_cache(maxsize=1024)
def words(text: str) -> tuple[str, ...]:
    """Words of a step that carry meaning, in order, in one common form."""
    lowered = text.lower()
    for phrase, word in _PHRASES:
        lowered = re.sub(rf'\b{phrase}\b', word, lowered)
    tokens = re.findall(r'[a-z]+|\d+', re.sub(r'(\d+)(?:st|nd|rd|th)\b', r'\1', lowered))
    tokens = [_NUMBERS.get(token, token) for token in tokens]
    kept = [token for token in tokens if token not in _IGNORED] or tokens
    if kept:
        kept[0] = _VERBS.get(kept[0], kept[0])
    return tuple(kept)


def likeness(a: str, b: str, threshold: float) -> float:
    """How surely two texts name one step: 0 (they do not) or ``threshold`` .. 100."""
    if a == b:
        return 100.0
    first, second = list(words(a)), list(words(b))
    if first == second:
        return 99.0
    only_first = [word for word in first if not _contains(second, word)]
    only_second = [word for word in second if not _contains(first, word)]
    if only_first and only_second:
        return 0.0
    extra = only_first or only_second
    if any(word.isdigit() or word in _DISTINGUISHING for word in extra):
        return 0.0
    if _order(first, second) != _order(second, first):
        return 0.0
    score = min(fuzz.token_set_ratio(' '.join(first), ' '.join(second)), 98.0)
    # Each word that only one of them has makes a better partner preferable.
    score -= 3.0 * len(extra)
    return score if score >= threshold else 0.0


def _order(tokens: list[str], others: list[str]) -> list[str]:
    """Beginnings of the words that both have, in order: what is put on what."""
    return [word[:4] for word in tokens if word not in _MOVABLE and _contains(others, word)]


def _contains(tokens: list[str], word: str) -> bool:
    return any(_same_word(token, word) for token in tokens)


def _same_word(a: str, b: str) -> bool:
    """Equal up to inflection: a common beginning, so that lock and unlock stay two words."""
    if a == b:
        return True
    if a.isdigit() or b.isdigit():
        return False
    shared = 0
    for left, right in zip(a, b):  # noqa: B905
        if left != right:
            break
        shared += 1
    longest = max(len(a), len(b))
    return shared >= 4 and longest - shared <= 3 and fuzz.ratio(a, b) >= 75.0
