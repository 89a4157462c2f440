"""A backend in a process of its own: it cannot block the node, nor take it down."""

from __future__ import annotations

import dataclasses
import logging
import math
import threading
import time
from collections import deque
from typing import Any

from progress_monitor.backends.frames import FrameStore
from progress_monitor.backends.messages import (
    ProtocolError,
    answers,
    read_answer,
    read_capabilities,
    request_message,
    text_refusal,
)
from progress_monitor.backends.process import WorkerProcess
from progress_monitor.types import (
    BackendState,
    BackendStatus,
    Capabilities,
    Completion,
    Failure,
    Request,
)
from progress_monitor.vlm.config import ModelConfig

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0
DEFAULT_ENGINE = 'progress_monitor.vlm.engine:load_engine'
WAITING_REQUESTS = 8
LATE_IN_A_ROW = 2
_UNLOADED = (BackendState.DOWNLOADING, BackendState.LOADING)
_DOWN = (BackendState.FAILED, BackendState.STOPPED)
_LOG = logging.getLogger(__name__)


class WorkerBackend:
    """Answers requests in a freshly started Python process, and keeps that process alive.

    A worker that dies, misses its deadline, reports a failure or sends something unreadable is
    ended with SIGKILL and reported as FAILED; after a delay that doubles from 0.5 s to 30 s with
    every failure in a row, another is LOADING. An answer makes the delay short again. A worker
    that is late twice with no answer between stays FAILED: loading it again would end likewise.

    Requests wait here and are sent one at a time, so that a failure costs the one that was being
    answered and no other.

    Everything happens inside ``status``, ``submit``, ``cancel`` and ``poll``, which never wait;
    call one of them a few times a second. They may be called from several threads.
    """

    def __init__(
        self,
        config: ModelConfig,
        engine: str = DEFAULT_ENGINE,
        images: tuple[int, int] = (5, 17),
    ) -> None:
        """Start the first worker.

        :param engine: ``module:function`` that makes the worker's ``Engine`` from ``config`` and
            ``images``.
        :param images: fewest and most frames of a window, for which the engine gets ready.
        """
        self._images = images
        self._config = config
        self._engine = engine
        self._lock = threading.RLock()
        self._store = FrameStore(config.max_pixels * 3)
        self._completions: deque[Completion] = deque()
        self._waiting: deque[Request] = deque()
        self._asked: Request | None = None
        self._cancelled = False
        self._failures = 0
        self._late = 0
        self._chosen = config.quantization
        self._choice: str | None = None
        self._capabilities: Capabilities | None = None
        self._worker: WorkerProcess | None = None
        self._status = BackendStatus(
            BackendState.LOADING, model=config.path, profile=config.profile
        )
        self._start()

    @property
    def pid(self) -> int | None:
        """Process id of the running worker; None while there is none."""
        with self._lock:
            alive = self._worker is not None and self._status.state not in _DOWN
            return self._worker.pid if self._worker is not None and alive else None

    def capabilities(self) -> Capabilities | None:
        """What the model can do; None until it was ready for the first time."""
        return self._capabilities

    def status(self) -> BackendStatus:
        """The state now; while FAILED and LOADING again, ``message`` says what failed."""
        with self._lock:
            self._advance()
            return self._status

    def submit(self, request: Request) -> None:
        """Hand ``request`` to the worker, once those before it are answered.

        What cannot be sent at all completes as REFUSED.

        :raises RuntimeError: if the model is not ready, or too many requests wait already.
        """
        with self._lock:
            self._advance()
            if self._status.state not in (BackendState.READY, BackendState.BUSY):
                raise RuntimeError(f'the model is {self._status.state.value}, not ready')
            if len(self._waiting) >= WAITING_REQUESTS:
                raise RuntimeError(f'{len(self._waiting)} requests wait already')
            refusal = text_refusal(request) or self._store.refusal(request.frames)
            if refusal:
                self._complete(request, None, Failure.REFUSED, refusal)
                return
            self._waiting.append(request)
            self._send_next()

    def poll(self) -> Completion | None:
        """The next completion, once; a request that was lost to a failure completes with it."""
        with self._lock:
            self._advance()
            return self._completions.popleft() if self._completions else None

    def cancel(self, request_id: int) -> None:
        """Forget a request: it will not complete. What is being answered is answered to no end."""
        with self._lock:
            self._waiting = deque(item for item in self._waiting if item.id != request_id)
            self._completions = deque(
                item for item in self._completions if item.request_id != request_id
            )
            if self._asked is not None and self._asked.id == request_id:
                self._cancelled = True

    def close(self) -> None:
        """End the worker and give its memory back. May be called again."""
        with self._lock:
            if self._status.state is BackendState.STOPPED:
                return
            if self._worker is not None:
                self._worker.end()
                self._worker.wait()
            self._store.close()
            self._completions.clear()
            self._waiting.clear()
            self._status = BackendStatus(
                BackendState.STOPPED, restarts=self._status.restarts, model=self._config.path
            )

    def _advance(self) -> None:
        state = self._status.state
        if state is BackendState.STOPPED:
            return
        if state is BackendState.FAILED:
            ended = self._worker is None or self._worker.gone
            if ended and time.monotonic() >= self._due:
                self._set(BackendState.LOADING, restarts=self._status.restarts + 1)
                self._start()
            return
        assert self._worker is not None
        try:
            while self._status.state is not BackendState.FAILED:
                message = self._worker.receive()
                if message is None:
                    break
                self._handle(message)
        except ProtocolError as error:
            self._fail(str(error))
        if self._status.state is BackendState.FAILED:
            return
        if death := self._worker.death():
            self._fail(death)
        elif time.monotonic() >= self._due and self._status.state is not BackendState.READY:
            self._fail(self._lateness(), late=True)

    def _lateness(self) -> str:
        if self._status.state is BackendState.BUSY:
            what, name, bound = 'answered', 'deadline_s', self._config.deadline_s
        else:
            what, name, bound = 'loaded', 'load_deadline_s', self._config.load_deadline_s
        return f'the model has not {what} within model.{name} ({bound:g} s)'

    def _handle(self, message: dict[str, Any]) -> None:
        kind, state = message['kind'], self._status.state
        if kind == 'failed':
            self._fail(str(message.get('error', 'the worker failed')))
        elif kind == 'downloading' and state in _UNLOADED:
            self._due = math.inf
            self._set(BackendState.DOWNLOADING, message=str(message.get('text', '')))
        elif kind == 'loading' and state in _UNLOADED:
            self._due = time.monotonic() + self._config.load_deadline_s
            self._set(BackendState.LOADING)
        elif kind == 'ready' and state in _UNLOADED:
            self._take_ready(message)
        elif kind in ('answer', 'refused') and self._asked is not None:
            self._take_outcome(kind, message)
        else:
            raise ProtocolError(f'the worker sent {kind!r} while {state.value}')

    def _take_ready(self, message: dict[str, Any]) -> None:
        self._capabilities = read_capabilities(message)
        notes = [str(note) for note in message.get('notes', [])]
        if self._choice is not None:
            notes.insert(0, self._choice)
        elif self._config.quantization == 'auto' and notes:
            self._choice = notes[0]
        for note in notes:
            _LOG.info('%s: %s', self._config.path, note)
        self._status = BackendStatus(
            BackendState.READY,
            message='; '.join(notes),
            model=str(message.get('model', '')),
            revision=str(message.get('revision', '')),
            quantization=str(message.get('quantization', '')),
            device=str(message.get('device', '')),
            profile=self._config.profile,
            max_pixels=self._capabilities.max_pixels,
            memory_mb=_memory(message),
            restarts=self._status.restarts,
        )
        self._chosen = self._status.quantization

    def _take_outcome(self, kind: str, message: dict[str, Any]) -> None:
        assert self._asked is not None
        if message.get('id') != self._asked.id:
            raise ProtocolError('the worker answered another question')
        answer = read_answer(message) if kind == 'answer' else None
        if answer is not None and not answers(self._asked, answer):
            raise ProtocolError('the worker sent an answer of another kind than was asked for')
        request, cancelled = self._asked, self._cancelled
        self._asked, self._cancelled = None, False
        if answer is not None:
            self._failures = self._late = 0
        if not cancelled:
            failure = Failure.REFUSED if answer is None else None
            self._complete(request, answer, failure, str(message.get('error', '')))
        self._set(BackendState.READY, memory_mb=_memory(message))
        self._send_next()

    def _complete(
        self, request: Request, answer: Any, failure: Failure | None = None, message: str = ''
    ) -> None:
        self._completions.append(Completion(request.id, answer, failure, message))

    def _send_next(self) -> None:
        if self._asked is not None or not self._waiting:
            return
        assert self._worker is not None
        self._asked = request = self._waiting.popleft()
        self._due = time.monotonic() + self._config.deadline_s
        self._set(BackendState.BUSY)
        try:
            self._worker.send(request_message(request, self._store))
        except OSError as error:
            self._fail(f'the worker cannot be reached ({error})')

    def _set(self, state: BackendState, **changes: Any) -> None:
        self._status = dataclasses.replace(self._status, state=state, **changes)

    def _fail(self, reason: str, late: bool = False) -> None:
        if self._worker is not None:
            self._worker.end()
        delay = min(FIRST_DELAY_S * 2**self._failures, LONGEST_DELAY_S)
        self._failures += 1
        self._late = self._late + 1 if late else 0
        if self._late >= LATE_IN_A_ROW:
            self._due = math.inf
            reason += (
                '; this was the second time with no answer between, so it is not started again: '
                'raise the deadline, or lower model.max_pixels or window.max_images'
            )
            _LOG.error('%s', reason)
        else:
            self._due = time.monotonic() + delay
            _LOG.error('%s; starting again in %g s', reason, delay)
        if self._asked is not None and not self._cancelled:
            self._complete(self._asked, None, Failure.LATE if late else Failure.LOST, reason)
        for request in self._waiting:
            self._complete(request, None, Failure.LOST, reason)
        self._asked, self._cancelled = None, False
        self._waiting.clear()
        self._set(BackendState.FAILED, message=reason, memory_mb=math.nan)

    def _start(self) -> None:
        config = dataclasses.asdict(self._config)
        config['quantization'] = self._chosen
        setup = {
            'slot_bytes': self._store.slot_bytes,
            'config': config,
            'engine': self._engine,
            'images': self._images,
        }
        self._worker = None
        self._due = time.monotonic() + self._config.load_deadline_s
        try:
            self._worker = WorkerProcess(setup, self._store.descriptor, self._config.threads)
        except OSError as error:
            self._fail(f'the worker cannot be started ({error})')


def _memory(message: dict[str, Any]) -> float:
    value = message.get('memory_mb')
    return float(value) if isinstance(value, (int, float)) else math.nan
