"""What the cameras have shown: frames sampled in time, oldest first, whatever the model does.

A sample is one frame of each camera that delivers. It is taken as its frames arrive, so a model
that is slow, or still loading, changes nothing of what it may be shown later. Which of the samples
it is shown is the strategy's choice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from progress_monitor.types import Frame

Sample = tuple[Frame, ...]

GAP_SAMPLES = 4.0
GAP_NS = 2_000_000_000
_NS = 1_000_000_000


class FrameHistory:
    """A bounded ring of samples ``period_s`` apart.

    After a gap of several periods it starts anew: no model knows windows of frames that far apart.

    :param period_s: shortest time from one sample to the next, s.
    :param capacity: most samples kept.
    :param cameras: names in the order in which their frames stand in a sample; cameras that are
        not named follow in the order of their first frame.
    :param silence_s: age from which a camera's newest frame is in no sample any more, s.
    :param shown: what becomes of a frame that is taken into a sample.
    """

    def __init__(
        self,
        period_s: float,
        capacity: int,
        cameras: Sequence[str] = (),
        silence_s: float = 1.0,
        shown: Callable[[Frame], Frame] = lambda frame: frame,
    ) -> None:
        self._show = shown
        self._expected = tuple(cameras)
        self._silence_ns = round(silence_s * _NS)
        self._samples: deque[Sample] = deque(maxlen=capacity)
        self.set_period(period_s)
        self.clear()

    @property
    def samples(self) -> Sequence[Sample]:
        """All samples, oldest first."""
        return self._samples

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest sample; None before the first."""
        return max(frame.stamp_ns for frame in self._samples[-1]) if self._samples else None

    @property
    def unshown(self) -> int:
        """Frames that were received and may yet be shown for the first time."""
        held = {frame.uid for sample in self._samples for frame in sample}
        held |= {frame.uid for frame in self._newest.values()}
        return len(held - self._shown)

    @property
    def received(self) -> int:
        """Frames received since the last ``clear``, those not worth showing included."""
        return self._received

    @property
    def skipped(self) -> int:
        """Frames received that were not, and will not be, shown."""
        return self._received - self._shown_count - self.unshown

    def set_period(self, period_s: float) -> None:
        """Take samples ``period_s`` apart from now on."""
        self._period_ns = round(period_s * _NS)

    def clear(self) -> None:
        """Forget all frames and start counting again."""
        self._received = 0
        self._shown_count = 0
        self._shown: set[int] = set()
        self.restart()

    def restart(self) -> None:
        """Forget all frames but keep counting."""
        self._cameras = list(self._expected)
        self._newest: dict[str, Frame] = {}
        self._first_ns: int | None = None
        self._samples.clear()

    def count(self) -> None:
        """Count a frame that is received but not worth showing."""
        self._received += 1

    def drop(self, camera: str) -> None:
        """Give up a camera's newest frame, so that older stamps are taken again."""
        self._newest.pop(camera, None)

    def forget_after(self, stamp_ns: int) -> None:
        """Forget the samples that hold frames newer than ``stamp_ns``."""
        while self._samples and any(frame.stamp_ns > stamp_ns for frame in self._samples[-1]):
            self._samples.pop()

    def observe(self, frame: Frame) -> None:
        """Take in a frame; one that is not newer than its camera's newest is only counted."""
        self._received += 1
        known = self._newest.get(frame.camera)
        if known is not None and frame.stamp_ns <= known.stamp_ns:
            return
        if frame.camera not in self._cameras:
            self._cameras.append(frame.camera)
        self._newest[frame.camera] = frame
        if self._first_ns is None:
            self._first_ns = frame.stamp_ns
        self._sample(max(item.stamp_ns for item in self._newest.values()))

    def mark_shown(self, frames: Sequence[Frame]) -> None:
        """Note that the model is shown ``frames``."""
        held = {frame.uid for sample in self._samples for frame in sample}
        held |= {frame.uid for frame in self._newest.values()}
        shown = {frame.uid for frame in frames}
        self._shown_count += len(shown - self._shown)
        self._shown = (self._shown & held) | shown

    def _sample(self, now_ns: int) -> None:
        """Take a sample if one is due and every camera that delivers has contributed to it."""
        last = self.newest_ns
        if last is not None and now_ns - last < self._period_ns:
            return
        if not self._complete(now_ns, last):
            return
        if last is not None and now_ns - last > max(GAP_SAMPLES * self._period_ns, GAP_NS):
            self._samples.clear()
        self._samples.append(
            tuple(
                self._show(self._newest[name])
                for name in self._cameras
                if name in self._newest and now_ns - self._newest[name].stamp_ns < self._silence_ns
            )
        )

    def _complete(self, now_ns: int, last: int | None) -> bool:
        """Whether no camera is still to be waited for, half a period at most."""
        if last is None:
            assert self._first_ns is not None
            missing = any(name not in self._newest for name in self._cameras)
            return not missing or now_ns - self._first_ns >= self._period_ns // 2
        waited_for = (
            frame
            for frame in self._newest.values()
            if now_ns - frame.stamp_ns < self._silence_ns and frame.stamp_ns <= last
        )
        return next(waited_for, None) is None or now_ns - last >= self._period_ns * 3 // 2
