"""What the node and its worker say to each other: JSON datagrams."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

from progress_monitor.backends.frames import FrameStore, FrameView
from progress_monitor.types import (
    Capabilities,
    Clip,
    DecodeStats,
    Finish,
    Generate,
    Generated,
    Part,
    Request,
    Score,
    Scored,
)

DATAGRAM_BYTES = 1 << 20
# A datagram must fit the kernel's default send buffer; a character may take six bytes.
TEXT_CHARACTERS = 24_000


class ProtocolError(RuntimeError):
    """The other side has sent something that is no message."""


def encode(message: dict[str, Any]) -> bytes:
    """One message as a datagram."""
    return json.dumps(message).encode()


def decode(datagram: bytes) -> dict[str, Any]:
    """Read a datagram.

    :raises ProtocolError: if it is no message.
    """
    try:
        message = json.loads(datagram)
    except ValueError as error:
        raise ProtocolError('the worker sent something that is no message') from error
    if not isinstance(message, dict) or not isinstance(message.get('kind'), str):
        raise ProtocolError('the worker sent something that is no message')
    return message


def text_refusal(request: Request) -> str:
    """Why the texts of ``request`` cannot be sent; empty: they can."""
    parts = [request.task, *(part for part in request.parts if isinstance(part, str))]
    if isinstance(request.want, Score):
        parts += request.want.continuations
    length = sum(map(len, parts))
    if length > TEXT_CHARACTERS:
        return f'a question of {length} characters; at most {TEXT_CHARACTERS} can be asked'
    return ''


def request_message(request: Request, store: FrameStore) -> dict[str, Any]:
    """The message that carries ``request``, with its frames put into ``store``."""
    frames = iter(store.put(request.frames))

    def described(part: Part) -> Any:
        if isinstance(part, Clip):
            return {'clip': [next(frames) for _ in part.frames]}
        return part if isinstance(part, str) else next(frames)

    want = dataclasses.asdict(request.want)
    kind = 'generate' if isinstance(request.want, Generate) else 'score'
    return {
        'kind': 'request',
        'id': request.id,
        'session': request.session,
        'chat': request.chat,
        'task': request.task,
        'parts': [described(part) for part in request.parts],
        kind: want,
    }


def read_request(message: dict[str, Any], frames: FrameView) -> Request:
    """The request that ``message`` carries."""
    want: Generate | Score
    if 'generate' in message:
        values = message['generate']
        want = Generate(**{**values, 'stop': tuple(values['stop'])})
    else:
        want = Score(tuple(message['score']['continuations']))

    def shown(part: Any) -> Part:
        if isinstance(part, dict):
            return Clip(tuple(frames.frame(item) for item in part['clip']))
        return part if isinstance(part, str) else frames.frame(part)

    parts = tuple(shown(part) for part in message['parts'])
    return Request(message['id'], message['session'], parts, want, message['chat'], message['task'])


def answer_message(request: int, answer: Generated | Scored, memory_mb: float) -> dict[str, Any]:
    """The message that carries ``answer``."""
    values = dataclasses.asdict(answer)
    if isinstance(answer, Generated):
        values['finish'] = answer.finish.value
    return {'kind': 'answer', 'id': request, 'memory_mb': memory_mb, 'answer': values}


def read_answer(message: dict[str, Any]) -> Generated | Scored:
    """The answer that ``message`` carries.

    :raises ProtocolError: if it is not an answer in every field.
    """
    try:
        values = message['answer']
        stats = DecodeStats(
            **{
                field.name: _number(int if field.type == 'int' else float)(
                    values['stats'][field.name]
                )
                for field in dataclasses.fields(DecodeStats)
            }
        )
        if 'log_probabilities' in values:
            scores = tuple(map(_number(float), values['log_probabilities']))
            distance = _number(float)(values['scene_distance'])
            doubtful = values['end_doubtful'] is True
            return Scored(scores, stats, distance, _text(values['adapter']), doubtful)
        return Generated(
            text=_text(values['text']),
            token_ids=tuple(map(_number(int), values['token_ids'])),
            finish=Finish(values['finish']),
            stats=stats,
            number=tuple(
                (_number(float)(value), _number(float)(probability))
                for value, probability in values['number']
            ),
            scene_distance=_number(float)(values['scene_distance']),
            adapter=_text(values['adapter']),
            end_doubtful=values['end_doubtful'] is True,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProtocolError('the worker sent an answer that cannot be read') from error


def answers(request: Request, answer: Generated | Scored) -> bool:
    """Whether ``answer`` is of the kind, and in the number, that ``request`` wants."""
    if isinstance(request.want, Score):
        wanted = len(request.want.continuations)
        return isinstance(answer, Scored) and len(answer.log_probabilities) == wanted
    return isinstance(answer, Generated)


def read_capabilities(message: dict[str, Any]) -> Capabilities:
    """The capabilities in a worker's report that it is ready.

    :raises ProtocolError: if they cannot be read.
    """
    try:
        return Capabilities(**message['capabilities'])
    except (KeyError, TypeError) as error:
        raise ProtocolError('the worker sent capabilities that cannot be read') from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _number(kind: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(value)
        return kind(value)

    return read
