"""A backend without a model that answers inside ``submit``."""

from __future__ import annotations

from progress_monitor.types import (
    BackendState,
    BackendStatus,
    Capabilities,
    Completion,
    DecodeStats,
    Failure,
    Finish,
    Generated,
    Request,
    Scored,
)

Said = str | Generated | Scored | Failure


def generated(text: str, finish: Finish = Finish.STOP, percent: float | None = None) -> Generated:
    """An answer of a model; with ``percent``, its number is spread by a point to either side."""
    number = () if percent is None else ((percent - 1.0, 0.5), (percent + 1.0, 0.5))
    return Generated(text, (), finish, DecodeStats(total_ms=1.0), number)


def text_of(request: Request) -> str:
    """What a request says in words."""
    return ''.join(part for part in request.parts if isinstance(part, str))


class SynchronousBackend:
    """Answers with what ``answer`` returns; a ``Failure`` fails that request."""

    model = 'procvlm, made for tests'

    def __init__(self) -> None:
        self.state = BackendState.READY
        self.completions: list[Completion] = []

    def answer(self, request: Request) -> Said:
        raise NotImplementedError

    def capabilities(self) -> Capabilities | None:
        return Capabilities()

    def status(self) -> BackendStatus:
        return BackendStatus(self.state, model=self.model, quantization='none', device='cpu')

    def submit(self, request: Request) -> None:
        said = self.answer(request)
        if isinstance(said, Failure):
            self.completions.append(Completion(request.id, None, said, said.value))
        else:
            answer = generated(said) if isinstance(said, str) else said
            self.completions.append(Completion(request.id, answer))

    def poll(self) -> Completion | None:
        return self.completions.pop(0) if self.completions else None

    def cancel(self, request_id: int) -> None:
        self.completions = [item for item in self.completions if item.request_id != request_id]

    def close(self) -> None:
        self.state = BackendState.STOPPED
