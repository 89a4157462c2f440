"""Answers of the model, kept outside the repository, so that judging anew costs no inference."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from progress_monitor.types import (
    NAN,
    Backend,
    BackendState,
    BackendStatus,
    Capabilities,
    Completion,
    DecodeStats,
    Finish,
    Frame,
    Generate,
    Generated,
    Request,
    Scored,
)
from progress_monitor.vlm.pictures import laid_out


class MeteredBackend:
    """Adds up what the answers of ``backend`` have cost."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._spent_ms = 0.0
        self.capabilities, self.status = backend.capabilities, backend.status
        self.submit, self.cancel, self.close = backend.submit, backend.cancel, backend.close

    def poll(self) -> Completion | None:
        completion = self._backend.poll()
        if completion is not None and completion.answer is not None:
            self._spent_ms += completion.answer.stats.total_ms
        return completion

    def take(self) -> float:
        """Milliseconds spent since the last call."""
        spent, self._spent_ms = self._spent_ms, 0.0
        return spent


class RememberingBackend:
    """Answers inside ``submit``: from the folder if the very same prompt was answered before.

    The time that an answer took is kept with it: the processor time of this process, which a busy
    machine disturbs less than the time on the wall.

    :param load: makes the model's backend; called at the first prompt that is new.
    :param folder: of one checkpoint's answers; several processes may share it, each with a
        ``writer`` of its own.
    """

    def __init__(self, load: Callable[[], Backend], folder: Path, writer: str) -> None:
        self._load = load
        self._model: Backend | None = None
        self._known: dict[str, Generated | Scored] = {}
        self._hashes: dict[int, bytes] = {}
        self._done: list[Completion] = []
        folder.mkdir(parents=True, exist_ok=True)
        for file in sorted(folder.glob('*.jsonl')):
            for line in file.read_text().splitlines():
                try:
                    key, kept = json.loads(line)
                except ValueError:
                    # The last line of a run that was cut off.
                    continue
                self._known[key] = _read(kept)
        self._file = folder / f'{writer.replace("/", "of")}.jsonl'

    def status(self) -> BackendStatus:
        return BackendStatus(BackendState.READY)

    def capabilities(self) -> Capabilities | None:
        return Capabilities()

    def submit(self, request: Request) -> None:
        key = self._key(request)
        if key not in self._known:
            self._model = self._model or self._load()
            started = time.process_time()
            self._model.submit(request)
            completion = self._model.poll()
            cost = round((time.process_time() - started) * 1e3, 3)
            assert completion is not None
            if completion.answer is None:
                self._done.append(completion)
                return
            stats = dataclasses.replace(completion.answer.stats, total_ms=cost)
            self._known[key] = dataclasses.replace(completion.answer, stats=stats)
            with self._file.open('a') as file:
                file.write(json.dumps([key, _kept(self._known[key])]) + '\n')
        self._done.append(Completion(request.id, self._known[key]))

    def cancel(self, request_id: int) -> None:
        self._done = [item for item in self._done if item.request_id != request_id]

    def poll(self) -> Completion | None:
        return self._done.pop(0) if self._done else None

    def close(self) -> None:
        if self._model is not None:
            self._model.close()

    def _key(self, request: Request) -> str:
        shown = {frame.uid: self._hashes.get(frame.uid) or _hash(frame) for frame in request.frames}
        kind = 'generate' if isinstance(request.want, Generate) else repr(request.want)
        digest = hashlib.sha256(f'{kind} {request.chat}'.encode())
        for part in laid_out(request.parts):
            if isinstance(part, str):
                digest.update(part.encode())
            else:
                digest.update(b''.join(shown[frame.uid] for frame in part.frames))
        self._hashes = shown
        return digest.hexdigest()[:24]


def _kept(answer: Generated | Scored) -> dict[str, Any]:
    distance = None if answer.scene_distance != answer.scene_distance else answer.scene_distance
    common = {'distance': distance, 'ms': answer.stats.total_ms}
    if isinstance(answer, Scored):
        return {'scores': answer.log_probabilities, **common}
    number = [(value, round(share, 5)) for value, share in answer.number if share >= 1e-5]
    return {
        'text': answer.text,
        'finish': answer.finish.value,
        'number': number,
        **common,
    }


def _read(kept: dict[str, Any]) -> Generated | Scored:
    stats = DecodeStats(kept['ms'])
    distance = NAN if kept['distance'] is None else kept['distance']
    if 'scores' in kept:
        return Scored(tuple(kept['scores']), stats, distance)
    number = tuple((value, share) for value, share in kept['number'])
    return Generated(kept['text'], (), Finish(kept['finish']), stats, number, distance)


def _hash(frame: Frame) -> bytes:
    return hashlib.sha256(frame.image.tobytes()).digest()[:16]
