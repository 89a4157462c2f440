"""The list of remaining steps in an answer, in every style that models were seen to write.

A number is read as a list's only at a list's place, so that tasks and steps full of numbers
("box 2. Images show ...", "Press button 3.") stay whole. Where a text can be read in two ways, the
one that merges two steps is taken: it never takes a step for done that remains.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_MARKER = re.compile(
    r'(?:\bstep[ \t]{1,3})?'
    r'(?<![\w.,])(\(?)(\d{1,4})(\.\)|[.):：、．）]|[ \t]{1,3}[-–—](?=[ \t]))',
    re.IGNORECASE,
)
_BULLET = re.compile(r'^[ \t]{0,64}(?:[-*–—][ \t]|[•·‣▪◦])[ \t]{0,64}(\S.*)$', re.MULTILINE)
_CONCLUSION = re.compile(r'\b(?:therefore|thus|hence|so)\b', re.IGNORECASE)
_AFTER_ALL = re.compile(r'\b(?:progress|completion|percentage)\b', re.IGNORECASE)
_FINISHED = re.compile(
    r'\b(?:no|zero) (?:further|more|remaining|additional|other) (?:\w{1,30} )?(?:steps?|actions?)\b'
    r'|(?:^|[.!?:] )images? shows? the final result\b'
    r'|(?:^|[.!?:] )(?:this|the) task is (?:now |already )?(?:finished|complete|completed|done)\b',
    re.IGNORECASE,
)
_LEAD = re.compile(r'\b(?:steps?|actions?)\b[^.:：\n]{0,60}[:：][ \t]{0,8}(?=\S)', re.IGNORECASE)
_PROSE = re.compile(
    r'\b(?:only|next|remaining|last|final) (?:\w{1,30} )?(?:step|action) is (?:to )?(?=\S)',
    re.IGNORECASE,
)
_NOTHING = frozenset(('none', 'nothing', 'n/a', 'no action', 'no step'))
_SENTENCE_ENDS = '.!?;,)"\'”。；，'
_FINISHED_FROM = 95.0


@dataclass(frozen=True)
class _Marker:
    start: int
    end: int
    number: int
    style: str
    line_start: bool
    begins: bool
    follows: bool


def remaining_steps(text: str, percent: float) -> tuple[str, ...] | None:
    """Steps that ``text`` says remain; empty if it says that none does; None if it says neither.

    ``text`` is the answer before its tag with plain newlines. ``percent`` (NaN: unknown)
    decides for a text that holds both a list and the statement that nothing is left, as one does
    whose task is itself a list.
    """
    text = text.replace('**', '')
    listing = _before_conclusion(text)
    items = _numbered(listing) or tuple(item.strip() for item in _BULLET.findall(listing))
    finished = _FINISHED.search(' '.join(text.split())) is not None
    if finished and (not items or percent >= _FINISHED_FROM):
        return ()
    if items:
        # "2. No further steps are required." is no step.
        return _without_conclusion(tuple(item for item in items if not _FINISHED.match(item)))
    return _prose(listing)


def says_finished(text: str) -> bool:
    """Whether an answer without a tag opens with "This task is finished because ..."."""
    return text.lstrip()[:40].casefold().startswith('this task is finished because ')


def _numbered(text: str) -> tuple[str, ...]:
    markers = _markers(text)
    lines = _last_list([marker for marker in markers if marker.line_start])
    chain = _chain(markers)
    if len(lines) >= len(chain):
        chain = lines
    items = []
    for i, marker in enumerate(chain):
        following = chain[i + 1].start if i + 1 < len(chain) else len(text)
        item = text[marker.end : following].strip(' \t')
        item = item.partition('\n')[0].strip()
        if item:
            items.append(item)
    return tuple(items)


def _markers(text: str) -> list[_Marker]:
    found = []
    for match in _MARKER.finditer(text):
        style = f'{match[1]}{match[3].strip()}'
        end = match.end()
        following = text[end : end + 1]
        # 1.5 and 12:30 are numbers.
        if following.isdigit() or (following == '' and match[3] != ')'):
            continue
        before = match.start() - 1
        while before >= 0 and text[before] in ' \t':
            before -= 1
        line_start = before < 0 or text[before] == '\n'
        colon = not line_start and text[before] in ':：'
        enclosed = any(sign in style for sign in ')）、')
        follows = line_start or enclosed or text[before] in _SENTENCE_ENDS
        loose = ':' in style or '：' in style or style.lstrip('(') in '-–—'
        if loose and not line_start:
            continue
        number = int(match[2])
        found.append(
            _Marker(match.start(), end, number, style, line_start, line_start or colon, follows)
        )
    return found


def _last_list(lines: list[_Marker]) -> list[_Marker]:
    """Lines of the last list: from the last number one on, unless all lines are ones."""
    start = 0
    for i in range(1, len(lines)):
        if lines[i].number == 1 and lines[i - 1].number != 1:
            start = i
    return lines[start:]


def _chain(markers: list[_Marker]) -> list[_Marker]:
    """Markers that count up from the last number one that stands at a list's place."""
    first = next(
        (i for i in reversed(range(len(markers))) if markers[i].begins and markers[i].number == 1),
        None,
    )
    if first is None:
        return []
    style = markers[first].style
    chain = [markers[first]]
    rest = [item for item in markers[first + 1 :] if item.style == style and item.follows]
    at_line = {item.number for item in rest if item.line_start}
    for marker in rest:
        wanted = chain[-1].number + 1
        if marker.number == wanted and (marker.line_start or wanted not in at_line):
            chain.append(marker)
    return chain


def _before_conclusion(text: str) -> str:
    """``text`` up to its last conclusion, unless a list follows that."""
    matches = list(_CONCLUSION.finditer(text))
    for match in reversed(matches):
        before = match.start() - 1
        while before >= 0 and text[before] in ' \t':
            before -= 1
        opens = before < 0 or text[before] in '\n.!?;:。'
        comma = text[match.end() : match.end() + 1] == ','
        if not (opens or (comma and match[0].casefold() != 'so')):
            continue
        rest = text[match.start() :]
        if any(marker.begins for marker in _markers(rest)) or _BULLET.search(rest):
            return text
        return text[: match.start()].rstrip()
    return text


def _without_conclusion(items: tuple[str, ...]) -> tuple[str, ...]:
    """``items`` without a sentence on the progress that follows the last on its line."""
    if not items:
        return items
    head, separator, tail = items[-1].rpartition('. ')
    if separator and _AFTER_ALL.search(tail):
        return (*items[:-1], f'{head}.')
    return items


def _prose(text: str) -> tuple[str, ...] | None:
    """One action told in a sentence."""
    matches = [*_LEAD.finditer(text), *_PROSE.finditer(text)]
    if not matches:
        return None
    action = text[max(match.end() for match in matches) :].partition('\n')[0].strip()
    if action.rstrip('. ').casefold() in _NOTHING:
        return ()
    return _without_conclusion((action,)) if action else None
