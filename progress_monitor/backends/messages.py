"""What the node and its worker say to each other: JSON datagrams, and frames by slot.

Frames lie in one anonymous shared memory file of equal slots. The node writes them, the worker
reads them; a slot belongs to one frame for as long as that frame is in the window.
"""

from __future__ import annotations

import dataclasses
import json
import mmap
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from progress_monitor.types import Answer, DecodeStats, Frame, Prompt

SLOTS = 64
DATAGRAM_BYTES = 1 << 20
FINISHES = ('tag', 'end', 'token_limit', 'time_limit')


class ProtocolError(RuntimeError):
    """The other side has sent something that is no message."""


class FrameStore:
    """The node's side of the shared frames: each is copied in once."""

    def __init__(self, slot_bytes: int) -> None:
        """Reserve ``SLOTS`` slots; memory is taken as they are first written."""
        self.slot_bytes = slot_bytes
        self.descriptor = os.memfd_create('progress_monitor_frames')
        os.ftruncate(self.descriptor, SLOTS * slot_bytes)
        self._memory = mmap.mmap(self.descriptor, SLOTS * slot_bytes)
        self._slots: dict[int, int] = {}

    def put(self, prompt: Prompt) -> list[list[Any]]:
        """Copy in the frames that are not there yet and describe all of them for a message.

        Frames that are not in ``prompt`` lose their slots.

        :raises ValueError: if there are too many frames, or one is too large.
        """
        wanted = {frame.uid for frame in prompt.frames}
        if len(wanted) > SLOTS:
            raise ValueError(
                f'window.max_images: {len(wanted)} frames; at most {SLOTS} can be shown'
            )
        for frame in prompt.frames:
            if frame.image.nbytes > self.slot_bytes:
                height, width = frame.image.shape[:2]
                raise ValueError(
                    f'model.max_pixels: a frame of {width} x {height} of {frame.camera} is above '
                    'it; resize it with progress_monitor.window.resize_for_model'
                )
        self._slots = {uid: slot for uid, slot in self._slots.items() if uid in wanted}
        free = (slot for slot in range(SLOTS) if slot not in set(self._slots.values()))
        described = []
        for frame in prompt.frames:
            if frame.uid not in self._slots:
                slot = next(free)
                start = slot * self.slot_bytes
                place = np.frombuffer(self._memory, np.uint8, frame.image.nbytes, start)
                place.reshape(frame.image.shape)[...] = frame.image
                del place
                self._slots[frame.uid] = slot
            height, width = frame.image.shape[:2]
            described.append(
                [frame.uid, frame.camera, frame.stamp_ns, self._slots[frame.uid], height, width]
            )
        return described

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()
        os.close(self.descriptor)


class FrameView:
    """The worker's side of the shared frames."""

    def __init__(self, descriptor: int, slot_bytes: int) -> None:
        self._slot_bytes = slot_bytes
        self._memory = mmap.mmap(descriptor, SLOTS * slot_bytes, prot=mmap.PROT_READ)

    def frames(self, described: list[list[Any]]) -> tuple[Frame, ...]:
        """Frames as ``FrameStore.put`` described them; their images are the shared memory."""
        return tuple(
            Frame(uid, camera, stamp_ns, self._image(slot, height, width))
            for uid, camera, stamp_ns, slot, height, width in described
        )

    def _image(self, slot: int, height: int, width: int) -> NDArray[np.uint8]:
        flat = np.frombuffer(self._memory, np.uint8, height * width * 3, slot * self._slot_bytes)
        return flat.reshape(height, width, 3)


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


def answer_message(request: int, answer: Answer, memory_mb: float) -> dict[str, Any]:
    """The message that carries ``answer``."""
    values = dataclasses.asdict(answer)
    return {'kind': 'answer', 'request': request, 'memory_mb': memory_mb, 'answer': values}


def read_answer(message: dict[str, Any], request: int) -> Answer:
    """The answer that ``message`` carries to ``request``.

    :raises ProtocolError: if it answers something else or is not an answer in every field.
    """
    try:
        if message['request'] != request:
            raise ProtocolError('the worker answered another question')
        values = message['answer']
        stats = DecodeStats(
            **{
                field.name: _number(int if field.type == 'int' else float)(
                    values['stats'][field.name]
                )
                for field in dataclasses.fields(DecodeStats)
            }
        )
        text, finish = values['text'], values['finish']
        if not isinstance(text, str) or finish not in FINISHES:
            raise ProtocolError('the worker sent an answer that cannot be read')
        return Answer(
            text=text,
            token_ids=tuple(_number(int)(token) for token in values['token_ids']),
            finish=finish,
            stats=stats,
            number=_number(float)(values['number']),
            number_std=_number(float)(values['number_std']),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ProtocolError('the worker sent an answer that cannot be read') from error


def _number(kind: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(value)
        return kind(value)

    return read
