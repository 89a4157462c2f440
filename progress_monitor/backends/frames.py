"""Frames by slot in one anonymous shared memory file: the node writes them, the worker reads them.

A frame is copied in once, and keeps its slot until another needs it.
"""

from __future__ import annotations

import mmap
import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from progress_monitor.types import Frame

SLOTS = 128
FRAMES_PER_REQUEST = 64


class FrameStore:
    """The node's side of the shared frames. A frame loses its slot when it was used longest ago."""

    def __init__(self, slot_bytes: int) -> None:
        """Reserve ``SLOTS`` slots; memory is taken as they are first written."""
        self.slot_bytes = slot_bytes
        self.descriptor = os.memfd_create('progress_monitor_frames')
        os.ftruncate(self.descriptor, SLOTS * slot_bytes)
        self._memory = mmap.mmap(self.descriptor, SLOTS * slot_bytes)
        self._slots: OrderedDict[int, int] = OrderedDict()

    def refusal(self, frames: Sequence[Frame]) -> str:
        """Why ``frames`` cannot be shown together; empty: they can."""
        count = len({frame.uid for frame in frames})
        if count > FRAMES_PER_REQUEST:
            return (
                f'{count} frames at once; at most {FRAMES_PER_REQUEST} can be shown: lower '
                'window.max_images'
            )
        for frame in frames:
            if frame.image.nbytes > self.slot_bytes:
                height, width = frame.image.shape[:2]
                return (
                    f'a frame of {width} x {height} pixels of {frame.camera} is larger than '
                    'model.max_pixels allows; shrink it first'
                )
        return ''

    def put(self, frames: Sequence[Frame]) -> list[list[Any]]:
        """Copy in the frames that are not there yet and describe all of them for a message."""
        wanted = {frame.uid for frame in frames}
        for uid in wanted & self._slots.keys():
            self._slots.move_to_end(uid)
        described = []
        for frame in frames:
            if frame.uid not in self._slots:
                self._slots[frame.uid] = slot = self._free_slot()
                start = slot * self.slot_bytes
                place = np.frombuffer(self._memory, np.uint8, frame.image.nbytes, start)
                place.reshape(frame.image.shape)[...] = frame.image
                del place
            height, width = frame.image.shape[:2]
            described.append(
                [frame.uid, frame.camera, frame.stamp_ns, self._slots[frame.uid], height, width]
            )
        return described

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()
        os.close(self.descriptor)

    def _free_slot(self) -> int:
        if len(self._slots) < SLOTS:
            return len(self._slots)
        return self._slots.popitem(last=False)[1]


class FrameView:
    """The worker's side of the shared frames."""

    def __init__(self, descriptor: int, slot_bytes: int) -> None:
        self._slot_bytes = slot_bytes
        self._memory = mmap.mmap(descriptor, SLOTS * slot_bytes, prot=mmap.PROT_READ)

    def frame(self, described: Sequence[Any]) -> Frame:
        """A frame as ``FrameStore.put`` described it; its image is the shared memory."""
        uid, camera, stamp_ns, slot, height, width = described
        return Frame(uid, camera, stamp_ns, self._image(slot, height, width))

    def _image(self, slot: int, height: int, width: int) -> NDArray[np.uint8]:
        flat = np.frombuffer(self._memory, np.uint8, height * width * 3, slot * self._slot_bytes)
        return flat.reshape(height, width, 3)
