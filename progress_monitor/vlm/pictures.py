"""What the vision tower sees in one run: a frame, or two frames that a video merges.

A clip is laid out as Qwen3-VL was trained with videos: before each pair of frames a text with the
pair's time, the mean of its two, in seconds since the first frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from progress_monitor.types import Clip, Frame, Part

_PAIRS = 1 << 62
_UID_BITS = 31


@dataclass(frozen=True, eq=False)
class Picture:
    """One frame, or the two of a pair; ``key`` tells it from every other of this process."""

    frames: tuple[Frame, ...]

    @property
    def key(self) -> int:
        """The frame's uid; a pair's is beyond those of frames, and has both uids in it."""
        first, last = self.frames[0].uid, self.frames[-1].uid
        return first if not self.merged else _PAIRS + (first << _UID_BITS) + last

    @property
    def merged(self) -> bool:
        """Whether it is of a video."""
        return len(self.frames) > 1


def laid_out(parts: Iterable[Part]) -> Iterator[str | Picture]:
    """Texts and pictures of ``parts``, in the order in which the model reads them."""
    for part in parts:
        if isinstance(part, Clip):
            yield from _pairs(part)
        elif isinstance(part, Frame):
            yield Picture((part,))
        else:
            yield part


def pictures_of(parts: Iterable[Part]) -> list[Picture]:
    """The pictures of ``parts`` alone."""
    return [part for part in laid_out(parts) if isinstance(part, Picture)]


def _pairs(clip: Clip) -> Iterator[str | Picture]:
    frames = clip.frames
    for index in range(0, len(frames), 2):
        pair = frames[index], frames[min(index + 1, len(frames) - 1)]
        ages_s = [(frame.stamp_ns - frames[0].stamp_ns) / 1e9 for frame in pair]
        yield f'<{sum(ages_s) / 2:.1f} seconds>'
        yield Picture(pair)
