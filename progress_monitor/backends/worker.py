"""A backend in a process of its own: it cannot block the node, nor take it down."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any

from progress_monitor.backends.messages import (
    DATAGRAM_BYTES,
    FrameStore,
    ProtocolError,
    decode,
    encode,
    read_answer,
)
from progress_monitor.types import BackendState, BackendStatus, Completion, Prompt
from progress_monitor.vlm.config import ModelConfig

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0
DEFAULT_ENGINE = 'progress_monitor.vlm.engine:load_engine'
_LOG = logging.getLogger(__name__)


class WorkerBackend:
    """Answers prompts in a freshly started Python process, and keeps that process alive.

    A worker that dies, misses its deadline, reports a failure or sends something unreadable is
    ended with SIGKILL and reported as FAILED; after a delay that doubles from 0.5 s to 30 s with
    every failure in a row, another is LOADING. An answer makes the delay short again.
    The worker ends with this process, however that ends, and shared memory has no name that
    could be left behind.

    Everything happens inside ``status``, ``submit`` and ``poll``, which never wait; call one of
    them a few times a second. They may be called from several threads.
    """

    def __init__(self, config: ModelConfig, engine: str = DEFAULT_ENGINE) -> None:
        """Start the first worker.

        :param engine: ``module:function`` that makes the worker's ``Engine`` from ``config``.
        """
        self._config = config
        self._engine = engine
        self._lock = threading.RLock()
        self._store = FrameStore(config.max_pixels * 3)
        self._completions: list[Completion] = []
        self._failures = 0
        self._request = 0
        self._chosen = config.quantization
        self._choice: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._status = BackendStatus(BackendState.LOADING, model=config.path)
        self._start()

    @property
    def pid(self) -> int | None:
        """Process id of the running worker; None while there is none."""
        with self._lock:
            alive = self._status.state not in (BackendState.FAILED, BackendState.STOPPED)
            return self._process.pid if self._process is not None and alive else None

    def status(self) -> BackendStatus:
        """The state now; while FAILED and LOADING again, ``message`` says what failed."""
        with self._lock:
            self._advance()
            return self._status

    def submit(self, prompt: Prompt) -> None:
        """Hand ``prompt`` to the worker.

        :raises RuntimeError: if the backend is not READY.
        :raises ValueError: if a frame is larger than ``model.max_pixels``, or there are too many.
        """
        with self._lock:
            self._advance()
            if self._status.state is not BackendState.READY:
                raise RuntimeError(f'the model is {self._status.state.value}, not ready')
            frames = self._store.put(prompt)
            self._request += 1
            message = {'request': self._request, 'frames': frames, 'text': prompt.text}
            self._due = time.monotonic() + self._config.deadline_s
            self._set(BackendState.BUSY)
            try:
                self._channel.send(encode({'kind': 'prompt', **message}))
            except OSError as error:
                self._fail(f'the worker cannot be reached ({error})')

    def poll(self) -> Completion | None:
        """The next completion, once; a prompt that was lost to a failure completes with it."""
        with self._lock:
            self._advance()
            return self._completions.pop(0) if self._completions else None

    def close(self) -> None:
        """End the worker and give its memory back. May be called again."""
        with self._lock:
            if self._status.state is BackendState.STOPPED:
                return
            self._end()
            if self._process is not None:
                self._process.wait()
            self._store.close()
            self._completions.clear()
            self._status = BackendStatus(
                BackendState.STOPPED, restarts=self._status.restarts, model=self._config.path
            )

    def _advance(self) -> None:
        state = self._status.state
        if state is BackendState.STOPPED:
            return
        if state is BackendState.FAILED:
            ended = self._process is None or self._process.poll() is not None
            if ended and time.monotonic() >= self._due:
                self._set(BackendState.LOADING, restarts=self._status.restarts + 1)
                self._start()
            return
        try:
            self._receive()
        except ProtocolError as error:
            self._fail(str(error))
            return
        if self._status.state is BackendState.FAILED:
            return
        assert self._process is not None
        if (code := self._process.poll()) is not None:
            self._fail(_death(code))
        elif time.monotonic() >= self._due and self._status.state is not BackendState.READY:
            busy = self._status.state is BackendState.BUSY
            name = 'deadline_s' if busy else 'load_deadline_s'
            bound = self._config.deadline_s if busy else self._config.load_deadline_s
            doing = 'answered' if busy else 'loaded'
            self._fail(f'the model has not {doing} within model.{name} ({bound:g} s)', late=True)

    def _receive(self) -> None:
        while self._status.state is not BackendState.FAILED:
            try:
                datagram = self._channel.recv(DATAGRAM_BYTES)
            except BlockingIOError:
                return
            except OSError:
                datagram = b''
            if not datagram:
                return
            self._handle(decode(datagram))

    def _handle(self, message: dict[str, Any]) -> None:
        kind = message['kind']
        if kind == 'failed':
            self._fail(str(message.get('error', 'the worker failed')))
        elif kind == 'ready' and self._status.state is BackendState.LOADING:
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
                quantization=str(message.get('quantization', '')),
                device=str(message.get('device', '')),
                memory_mb=_memory(message),
                restarts=self._status.restarts,
            )
            self._chosen = self._status.quantization
        elif kind == 'answer' and self._status.state is BackendState.BUSY:
            self._completions.append(Completion(read_answer(message, self._request)))
            self._failures = 0
            self._set(BackendState.READY, memory_mb=_memory(message))
        else:
            raise ProtocolError(f'the worker sent {kind!r} while {self._status.state.value}')

    def _set(self, state: BackendState, **changes: Any) -> None:
        self._status = dataclasses.replace(self._status, state=state, **changes)

    def _fail(self, reason: str, late: bool = False) -> None:
        busy = self._status.state is BackendState.BUSY
        self._end()
        delay = min(FIRST_DELAY_S * 2**self._failures, LONGEST_DELAY_S)
        self._failures += 1
        self._due = time.monotonic() + delay
        if busy:
            self._completions.append(Completion(None, reason, late=late))
        self._set(BackendState.FAILED, message=reason, memory_mb=math.nan)
        _LOG.error('%s; starting again in %g s', reason, delay)

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        lifeline_read, lifeline_write = os.pipe()
        config = dataclasses.asdict(self._config)
        config['quantization'] = self._chosen
        setup = {
            'channel': theirs.fileno(),
            'lifeline': lifeline_read,
            'frames': self._store.descriptor,
            'slot_bytes': self._store.slot_bytes,
            'parent': os.getpid(),
            'config': config,
            'engine': self._engine,
        }
        # Waiting threads that spin would fight with the rest of the robot for its cores: measured
        # on two busy cores, a tick took three times as long.
        environment = {
            **os.environ,
            'PYTHONPATH': os.pathsep.join(path or os.getcwd() for path in sys.path),
            'OMP_NUM_THREADS': str(self._config.threads),
            'MKL_NUM_THREADS': str(self._config.threads),
            'OMP_WAIT_POLICY': 'PASSIVE',
        }
        self._process = None
        self._channel = ours
        self._lifeline = lifeline_write
        self._due = time.monotonic() + self._config.load_deadline_s
        try:
            self._process = subprocess.Popen(
                [sys.executable, '-m', 'progress_monitor.backends.worker_main', json.dumps(setup)],
                pass_fds=(theirs.fileno(), lifeline_read, self._store.descriptor),
                env=environment,
                stdin=subprocess.DEVNULL,
            )
        except OSError as error:
            self._fail(f'the worker cannot be started ({error})')
        finally:
            theirs.close()
            os.close(lifeline_read)

    def _end(self) -> None:
        if self._status.state in (BackendState.FAILED, BackendState.STOPPED):
            return
        if self._process is not None:
            self._process.kill()
        self._channel.close()
        os.close(self._lifeline)


def _death(code: int) -> str:
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        hint = '; the system may be out of memory' if -code == signal.SIGKILL else ''
        return f'the worker was ended by {name}{hint}'
    return f'the worker ended by itself with exit code {code}'


def _memory(message: dict[str, Any]) -> float:
    value = message.get('memory_mb')
    return float(value) if isinstance(value, (int, float)) else math.nan
