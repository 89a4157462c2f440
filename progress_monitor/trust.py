"""Whether the model is worth listening to, by its last answers."""

from __future__ import annotations

from collections import deque

from progress_monitor.config import EvidenceConfig
from progress_monitor.types import Evidence

_REMEMBERED = 3
_SENTENCES = {
    Evidence.REFUSED: 'The model says that the task does not fit what it sees.',
    Evidence.NO_NUMBER: 'The answer of the model holds no readable progress.',
    Evidence.CONTRADICTION: 'The answer of the model contradicts itself.',
    Evidence.UNKNOWN_SCENE: 'This scene is unlike what the model knows.',
}


class ModelTrust:
    """Counts usable and unusable answers of one task.

    ``evidence.confirm`` unusable ones among the last three make a doubt. A model that has refused
    is listened to again after ``evidence.trust_again`` good answers in a row.
    """

    def __init__(self, config: EvidenceConfig) -> None:
        self._config = config
        self._answers: deque[tuple[Evidence, str]] = deque(maxlen=_REMEMBERED)
        self._refused = False
        self._good = 0
        self._waiting: dict[str, int] = {}

    @property
    def refused(self) -> bool:
        """Whether the model has refused and not answered well for long enough since."""
        return self._refused

    def asked(self, session: str, now_ns: int) -> None:
        """A question of ``session`` was asked; the wait counts from the first unanswered one."""
        self._waiting.setdefault(session, now_ns)

    def heard(self, session: str) -> None:
        """Nothing of ``session`` is being waited for any more."""
        self._waiting.pop(session, None)

    def forget_questions(self) -> None:
        """Nothing at all is being waited for any more."""
        self._waiting.clear()

    def weigh(self, evidence: Evidence, message: str = '') -> None:
        """Take in what one answer was worth, and why where the evidence alone does not say it."""
        self._answers.append((evidence, message))
        self._good = self._good + 1 if evidence is Evidence.GOOD else 0
        refusals = sum(kind is Evidence.REFUSED for kind, _ in self._answers)
        if refusals >= self._config.confirm:
            self._refused = True
        elif self._good >= self._config.trust_again:
            self._refused = False

    def doubt(self, now_ns: int) -> tuple[Evidence, str] | None:
        """Why the model is not worth listening to at ``now_ns``; None: it is."""
        timeout = self._config.answer_timeout
        waiting = min(self._waiting.values(), default=None)
        if waiting is not None and (now_ns - waiting) * 1e-9 > timeout:
            return Evidence.MODEL_LATE, f'No answer of the model for more than {timeout:g} s.'
        bad = [(kind, text) for kind, text in self._answers if kind is not Evidence.GOOD]
        if len(bad) >= min(self._config.confirm, _REMEMBERED):
            kind, text = bad[-1]
            return kind, text or _SENTENCES.get(kind, 'The model has not answered in time.')
        if self._refused:
            return Evidence.REFUSED, _SENTENCES[Evidence.REFUSED]
        return None
