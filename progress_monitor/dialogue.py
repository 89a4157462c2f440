"""Questions on their way to the model, and the answers matched to them by id."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from progress_monitor.strategies.strategy import Question
from progress_monitor.types import (
    Backend,
    BackendState,
    Completion,
    Failure,
    Generated,
    Request,
    Scored,
    View,
)

_READY = (BackendState.READY, BackendState.BUSY)
_ids = itertools.count(1)


@dataclass(frozen=True, eq=False)
class Reply:
    """What became of one question: an answer, or a failure and its reason."""

    view: View
    question: Question
    answer: Generated | Scored | None
    failure: Failure | None = None
    message: str = ''


class Dialogue:
    """One question a session is on its way at a time; none is ever answered by another's answer."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._pending: dict[int, tuple[Question, View]] = {}

    @property
    def waits(self) -> bool:
        """Whether a question is on its way."""
        return bool(self._pending)

    @property
    def ready(self) -> bool:
        """Whether the model takes questions."""
        return self._backend.status().state in _READY

    def free(self, sessions: Iterable[str]) -> bool:
        """Whether a question of one of ``sessions`` may be asked."""
        taken = {question.session for question, _ in self._pending.values()}
        return any(session not in taken for session in sessions)

    def ask(self, questions: Iterable[Question], view: View, task: str) -> list[str]:
        """Ask those of ``questions`` on ``task`` whose session is free; those sessions."""
        asked: list[str] = []
        for question in questions:
            if not self.free([question.session]):
                continue
            request = Request(
                next(_ids), question.session, question.parts, question.want, question.chat, task
            )
            self._pending[request.id] = question, view
            try:
                self._backend.submit(request)
            except RuntimeError:  # it ceased to be ready since it was asked for its status
                del self._pending[request.id]
                return asked
            asked.append(question.session)
        return asked

    def replies(self) -> Iterator[Reply]:
        """What has come in since the last call, each once."""
        while (completion := self._backend.poll()) is not None:
            reply = self._match(completion)
            if reply is not None:
                yield reply

    def forget(self) -> None:
        """Cancel what is on its way: the task, or the time line, is another now."""
        for request_id in self._pending:
            self._backend.cancel(request_id)
        self._pending.clear()

    def _match(self, completion: Completion) -> Reply | None:
        asked = self._pending.pop(completion.request_id, None)
        if asked is None:
            return None
        question, view = asked
        return Reply(view, question, completion.answer, completion.failure, completion.message)
