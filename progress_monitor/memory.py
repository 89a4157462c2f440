"""The remembered plan: which steps the task has, which are done, which came back.

Built from the model's own answers alone: the steps that it says remain, those that vanish from its
list and those that return. It is what tells near-identical frames at different points of a task
apart, and it lives outside the model's process, so a restart of that changes nothing here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise

from progress_monitor.config import MemoryConfig
from progress_monitor.steps import likeness
from progress_monitor.types import PlanStep, StepStatus

_DONE_SENTENCE = 'Steps done so far: '
# Answers agree for this long at the most, s: by then the task may have gone on to the next step.
_LONGEST_WAIT_S = 3.0
# A pause makes no slow model: the shortest of so many intervals is its pace.
_INTERVALS = 3


def done_sentence(steps: Sequence[str]) -> str:
    """The fixed sentence that tells the model which steps are done."""
    return _DONE_SENTENCE + ('; '.join(step.rstrip('. ') for step in steps) or 'none') + '.'


@dataclass
class _Entry:
    text: str
    first_seen_ns: int
    last_seen_ns: int
    seen: int = 1
    missing: int = 0
    back: int = 0
    done: bool = False
    undone: bool = False


class PlanMemory:
    """Steps in the order of the plan, at most ``memory.max_steps`` of them."""

    def __init__(self, config: MemoryConfig) -> None:
        self._config = config
        self.clear()

    def clear(self) -> None:
        """Forget the plan and the chain of thought."""
        self._entries: list[_Entry] = []
        self._stamps: deque[int] = deque(maxlen=_INTERVALS + 1)
        self._current = ''
        self._thought = ''

    def copy(self) -> PlanMemory:
        """The same plan, to be kept apart from this one from now on."""
        return deepcopy(self)

    def configure(self, config: MemoryConfig) -> None:
        """Keep the plan by other parameters from now on."""
        self._config = config
        self._shrink()

    @property
    def thought(self) -> str:
        """The newest chain of thought, at most ``memory.max_thought`` characters of it."""
        return self._thought

    @thought.setter
    def thought(self, text: str) -> None:
        kept = text[: self._config.max_thought]
        # A line that is cut in the middle would be read as another step.
        whole = kept if len(kept) == len(text) else kept.rpartition('\n')[0] or kept
        self._thought = whole.strip()

    @property
    def current(self) -> str:
        """Text of the first remaining step in the newest answer; empty: none, or not known."""
        return self._current

    @property
    def undone(self) -> bool:
        """Whether a step that was done is needed again."""
        return any(entry.undone and not entry.done for entry in self._entries)

    @property
    def done_steps(self) -> int:
        """How many steps are done."""
        return sum(entry.done for entry in self._entries)

    def steps(self) -> tuple[PlanStep, ...]:
        """The plan as it is published."""
        return tuple(
            PlanStep(entry.text, self._status(entry), entry.first_seen_ns, entry.last_seen_ns)
            for entry in self._entries
        )

    def prompt_text(self) -> str:
        """The fixed sentence that tells the model what is done."""
        return done_sentence([entry.text for entry in self._entries if entry.done])

    def update(self, remaining: tuple[str, ...], stamp_ns: int) -> None:
        """Take in the steps that one answer says remain, in its order."""
        needed = self._agreeing(stamp_ns)
        partners = self._assign(remaining)
        matched = {index for index in partners if index is not None}
        for index, entry in enumerate(self._entries):
            if index in matched:
                self._present(entry, stamp_ns, needed)
            else:
                self._absent(entry, needed)
        self._insert(remaining, partners, stamp_ns)
        # A step that was named once and never again was a slip of the model, not something done.
        self._entries = [entry for entry in self._entries if entry.done or entry.missing < needed]
        self._shrink()
        self._current = remaining[0] if remaining else ''

    def _agreeing(self, stamp_ns: int) -> int:
        """How many answers must agree: ``memory.confirm``, and fewer of a slow model."""
        if self._stamps and stamp_ns <= self._stamps[-1]:
            self._stamps.clear()
        self._stamps.append(stamp_ns)
        intervals = [after - before for before, after in pairwise(self._stamps)]
        if not intervals:
            return self._config.confirm
        return max(min(self._config.confirm, round(_LONGEST_WAIT_S * 1e9) // min(intervals)), 1)

    @staticmethod
    def _present(entry: _Entry, stamp_ns: int, needed: int) -> None:
        entry.seen += 1
        entry.missing = 0
        entry.last_seen_ns = stamp_ns
        if entry.done:
            entry.back += 1
            if entry.back >= needed:
                entry.done, entry.undone = False, True

    @staticmethod
    def _absent(entry: _Entry, needed: int) -> None:
        entry.missing += 1
        entry.back = 0
        established = entry.seen >= needed
        if not entry.done and established and entry.missing >= needed:
            entry.done, entry.undone = True, False

    def _insert(
        self, remaining: tuple[str, ...], partners: list[int | None], stamp_ns: int
    ) -> None:
        """Put new steps where the answer has them: before the known step that follows them."""
        added: list[tuple[int, _Entry]] = []
        position = len(self._entries)
        for text, partner in zip(reversed(remaining), reversed(partners)):  # noqa: B905
            if partner is None:
                added.append((position, _Entry(text, stamp_ns, stamp_ns)))
            else:
                position = min(position, partner)
        for position, entry in added:
            self._entries.insert(position, entry)

    def _assign(self, remaining: tuple[str, ...]) -> list[int | None]:
        """Pair the named steps with known ones, one to one, the likest first.

        Between equal wordings the place counted from the end decides: of three like steps, the one
        that vanishes first is the first.
        """
        pairs = []
        for i, text in enumerate(remaining):
            for j, entry in enumerate(self._entries):
                score = likeness(text, entry.text, self._config.similarity)
                if score > 0.0:
                    shift = abs((len(remaining) - i) - (len(self._entries) - j))
                    pairs.append((-score, shift, -j, i, j))
        partners: list[int | None] = [None] * len(remaining)
        taken: set[int] = set()
        for _, _, _, i, j in sorted(pairs):
            if partners[i] is None and j not in taken:
                partners[i] = j
                taken.add(j)
        return partners

    def _shrink(self) -> None:
        """Give up the step that was named longest ago, a finished one first."""
        while len(self._entries) > self._config.max_steps:
            oldest = min(self._entries, key=lambda entry: (not entry.done, entry.last_seen_ns))
            self._entries.remove(oldest)

    def _status(self, entry: _Entry) -> StepStatus:
        if entry.done:
            return StepStatus.DONE
        if entry.undone:
            return StepStatus.UNDONE
        first = next((item for item in self._entries if not item.done), None)
        return StepStatus.IN_PROGRESS if entry is first else StepStatus.PENDING
