"""The worker process: loads the model, answers prompts, and ends with its parent."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import threading
from dataclasses import asdict
from importlib import import_module
from typing import Any

from progress_monitor.backends.frames import FrameView
from progress_monitor.backends.messages import (
    DATAGRAM_BYTES,
    answer_message,
    decode,
    encode,
    read_request,
)
from progress_monitor.vlm.config import ModelConfig
from progress_monitor.vlm.engine import Engine
from progress_monitor.vlm.errors import RequestRefused, VLMError
from progress_monitor.vlm.hub import prepare

DECODING_SHARE = 0.8
_NICENESS = 5
_PARENT_CHECK_S = 1.0


def main() -> None:
    """Serve until the parent closes the channel. Called with one JSON argument."""
    setup = json.loads(sys.argv[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(
        target=_end_with_parent, args=(setup['lifeline'], setup['parent']), daemon=True
    ).start()
    os.nice(_NICENESS)
    channel = socket.socket(fileno=setup['channel'])
    frames = FrameView(setup['frames'], setup['slot_bytes'])
    config = ModelConfig(**setup['config'])
    try:
        prepare(config, lambda done, total: _say_download(channel, done, total))
        channel.send(encode({'kind': 'loading'}))
        engine = _load(setup['engine'], config, setup['images'])
        channel.send(encode(_ready(engine)))
        while datagram := channel.recv(DATAGRAM_BYTES):
            request = read_request(decode(datagram), frames)
            try:
                answer = engine.answer(request, config.deadline_s * DECODING_SHARE)
                reply = answer_message(request.id, answer, engine.memory_mb())
            except RequestRefused as error:
                reply = {'kind': 'refused', 'id': request.id, 'error': str(error)}
                reply['memory_mb'] = engine.memory_mb()
            channel.send(encode(reply))
    except Exception as error:
        _report(channel, error)
        os._exit(1)
    os._exit(0)


def _load(name: str, config: ModelConfig, images: list[int]) -> Engine:
    module, function = name.split(':')
    engine: Engine = getattr(import_module(module), function)(config, *images)
    return engine


def _say_download(channel: socket.socket, done: int, total: int) -> None:
    share = f' ({done / total:.0%})' if total else ''
    text = f'The model is being downloaded: {done / 1e6:.0f} of {total / 1e6:.0f} MB{share}.'
    channel.send(encode({'kind': 'downloading', 'text': text}))


def _ready(engine: Engine) -> dict[str, Any]:
    info = engine.info
    return {
        'kind': 'ready',
        'model': info.model,
        'revision': info.revision,
        'quantization': info.quantization,
        'device': info.device,
        'notes': list(info.notes),
        'capabilities': asdict(engine.capabilities()),
        'memory_mb': engine.memory_mb(),
    }


def _report(channel: socket.socket, error: Exception) -> None:
    if isinstance(error, (VLMError, ValueError)):
        text = str(error)
    elif isinstance(error, ImportError):
        text = f'{error}; install the requirements for machine learning'
    elif isinstance(error, MemoryError):
        text = 'out of memory'
    else:
        text = f'{type(error).__name__}: {str(error)[:500]}'
    try:
        channel.send(encode({'kind': 'failed', 'error': text}))
    except OSError:
        pass


def _end_with_parent(lifeline: int, parent: int) -> None:
    """End this process, busy or not, once the parent is gone however it went.

    The parent holds the only other end of ``lifeline``; the check of its process id covers a
    copy of that end that was inherited by somebody else.
    """
    # Not select(), which takes no descriptor from 1024 on: the parent may have inherited many.
    ended = select.poll()
    ended.register(lifeline, select.POLLIN)
    while os.getppid() == parent:
        if ended.poll(_PARENT_CHECK_S * 1000.0):
            break
    os._exit(1)


if __name__ == '__main__':
    main()
