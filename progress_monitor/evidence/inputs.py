"""What all cameras together are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from progress_monitor.config import CameraConfig, EvidenceConfig
from progress_monitor.evidence.camera import CameraWatch
from progress_monitor.types import Evidence, Frame


@dataclass(frozen=True)
class InputReport:
    """The best that any camera offers, a word on those that offer less, and the good ones.

    ``view_stood_ns`` is told once after a camera was moved: what it showed after that stamp was
    taken for the view before.
    """

    evidence: Evidence
    message: str
    live: tuple[str, ...] = ()
    jumped: tuple[str, ...] = ()
    view_stood_ns: int | None = None

    @property
    def usable(self) -> bool:
        """Whether there is something to judge by."""
        return self.evidence is Evidence.GOOD


@dataclass(frozen=True)
class Rest:
    """Since when nothing moves, None while something does, and whether nothing ever has.

    ``since_ns`` is set only where that is a while ago, or always was so.
    """

    since_ns: int | None
    never_moved: bool


class Inputs:
    """Follows the streams of all cameras.

    :param cameras: names of the cameras that are expected.
    """

    def __init__(
        self,
        config: EvidenceConfig,
        known: CameraConfig,
        cameras: Sequence[str],
        now_ns: int,
    ) -> None:
        self._config = config
        self._known = known
        self._watches: dict[str, CameraWatch] = {}
        self._expected = tuple(cameras)
        self._told: tuple[Evidence, str] | None = None
        self._live: tuple[str, ...] = ()
        self.restart(now_ns)

    def restart(self, now_ns: int) -> None:
        """A new time line, or a new task: begin anew with what is known of each camera."""
        self._told = None
        self._live = ()
        self._seen: set[str] = set()
        self._started_ns = now_ns
        for watch in self._watches.values():
            watch.restart()

    def observe(self, frame: Frame) -> bool:
        """Take in a frame; whether it shows something new and usable."""
        self._told = None
        watch = self._watches.get(frame.camera)
        if watch is None:
            known = self._known
            watch = CameraWatch(self._config, frame.camera, known.noise_free, known.stabilise)
            self._watches[frame.camera] = watch
        self._seen.add(frame.camera)
        return watch.observe(frame.stamp_ns, frame.image)

    def shown(self, frame: Frame) -> Frame:
        """The newest ``frame`` of a camera as the model is to see it.

        One that was observed before the parameters of the cameras changed is shown as it is.
        """
        watch = self._watches.get(frame.camera)
        if watch is None:
            return frame
        image = watch.shown(frame.image)
        return frame if image is frame.image else replace(frame, image=image)

    def note(self, evidence: Evidence, message: str) -> None:
        """Say what only ROS knows of the input; holds until the next frame, or GOOD."""
        self._told = None if evidence is Evidence.GOOD else (evidence, message)

    def report(self, now_ns: int) -> InputReport:
        """What the input is worth at ``now_ns`` of the ROS clock."""
        if self._told is not None:
            return InputReport(*self._told)
        names = [*self._expected, *(name for name in self._watches if name not in self._expected)]
        names = [name for name in names if name in self._expected or name in self._seen]
        verdicts: dict[str, tuple[Evidence, str]] = {}
        jumped, stood = [], []
        for name in names:
            watch = self._watches.get(name)
            if watch is None or name not in self._seen:
                verdicts[name] = (Evidence.NO_FRAMES, f'camera {name}: no frame yet')
                continue
            if watch.check_ahead(now_ns):
                jumped.append(name)
            lost_ns = watch.take_view_loss()
            if lost_ns is not None:
                stood.append(lost_ns)
            verdicts[name] = watch.verdict(now_ns)
        live = tuple(name for name in names if verdicts[name][0] is Evidence.GOOD)
        self._live = live
        stood_ns = min(stood, default=None)
        said = '; '.join(text for _, text in verdicts.values() if text)
        if live:
            return InputReport(Evidence.GOOD, said, live, tuple(jumped), stood_ns)
        if not self._seen:
            waited = (now_ns - self._started_ns) * 1e-9
            if waited <= self._config.frame_timeout:
                return InputReport(Evidence.UNKNOWN, 'Waiting for the first frame.')
            return InputReport(Evidence.NO_FRAMES, said or 'no camera has delivered a frame yet')
        worst = next(kind for kind, _ in verdicts.values() if kind is not Evidence.GOOD)
        return InputReport(worst, said, jumped=tuple(jumped), view_stood_ns=stood_ns)

    def rest(self, stamp_ns: int) -> Rest:
        """Whether anything moved before any camera at ``stamp_ns``, and since when nothing has."""
        watches = [self._watches[name] for name in self._live if name in self._watches]
        moved_ns = max((watch.resting_since_ns for watch in watches), default=stamp_ns)
        resting = (stamp_ns - moved_ns) * 1e-9 >= self._config.still_after
        never = bool(watches) and not any(watch.has_moved for watch in watches)
        return Rest(moved_ns if resting or never else None, never)
