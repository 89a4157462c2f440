"""Whether the frames of a camera are worth judging by; cheap enough for every frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from progress_monitor.config import EvidenceConfig
from progress_monitor.evidence.light import LightWatch
from progress_monitor.evidence.motion import MotionWatch
from progress_monitor.evidence.repetition import RepetitionWatch
from progress_monitor.evidence.stabiliser import Stabiliser
from progress_monitor.evidence.stamps import StampWatch
from progress_monitor.evidence.thumbnail import grey_thumbnail
from progress_monitor.evidence.view import Mounting, ViewChange, ViewWatch
from progress_monitor.types import Evidence

_SENTENCES = {
    Evidence.BLACK: 'the picture is black',
    Evidence.OVEREXPOSED: 'the picture is over-exposed',
    Evidence.COVERED: 'the lens is covered or out of focus',
}
# Such stamps may be of another time, a recording's or that since the boot.
_ANOTHER_TIME_S = 12.0 * 3600.0


class CameraWatch:
    """Follows one camera's stream.

    :param noise_free: whether the source has no sensor noise, so that it repeats its picture when
        nothing moves: yes, no, or auto to learn it.
    :param stabilise: whether its motion is taken out of what the model is shown.
    """

    def __init__(
        self,
        config: EvidenceConfig,
        camera: str,
        noise_free: str = 'auto',
        stabilise: bool = True,
    ) -> None:
        self._config = config
        self._camera = camera
        self._repetition = RepetitionWatch(noise_free, config.confirm_frames)
        self._light = LightWatch(config)
        self._view = ViewWatch()
        self._stabilise = stabilise
        self._stabiliser = Stabiliser()
        self._start()

    def _start(self) -> None:
        self._stamps = StampWatch(self._config.stamp_tolerance, self._config.confirm_frames)
        self._motion = MotionWatch(self._config)
        self._bad: Evidence | None = None
        self._bad_frames = 0
        self._stabiliser.restart()
        self._change: ViewChange | None = None
        self._change_ns = 0
        self._view_stood_ns: int | None = None
        self._longest = 0

    @property
    def resting_since_ns(self) -> int:
        """Stamp since which nothing has moved in the picture; a slow motion adds up."""
        return self._motion.resting_since_ns

    @property
    def has_moved(self) -> bool:
        """Whether anything has moved in the picture since the first frame."""
        return self._motion.has_moved

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest frame; None before the first."""
        return self._stamps.newest_ns

    @property
    def mounting(self) -> Mounting:
        """Whether the camera stands or moves by itself, as far as is known."""
        return self._view.mounting

    @property
    def noise_free(self) -> bool | None:
        """Whether the source has no sensor noise; None: not known yet."""
        return self._repetition.noise_free

    def restart(self) -> None:
        """Begin anew, for a new task or a new time base, with what is known of the camera."""
        self._repetition.restart(0)
        self._view.restart()
        self._start()

    def observe(self, stamp_ns: int, image: NDArray[np.uint8]) -> bool:
        """Take in a frame; whether it shows something usable, and new.

        A repeated picture is new only from a source without noise: there it shows that nothing
        moves.

        :param image: (height, width, 3), (height, width, 1) or (height, width) uint8, of any size
            and the same from frame to frame; kept, so it must not be written to afterwards.
        """
        if not self._stamps.take(stamp_ns):
            if self._stamps.jumped:
                self._repetition.restart(stamp_ns)
                self._view.restart()
            return False
        if self._repetition.observe(stamp_ns, image):
            self._bad_frames += self._bad is not None
            return self._bad is None and self.noise_free is True
        grey = grey_thumbnail(image)
        bad = self._light.judge(grey)
        self._bad_frames = self._bad_frames + 1 if bad is not None else 0
        self._bad = bad
        if bad is None:
            self._longest = max(image.shape[:2])
            self._motion.observe(stamp_ns, grey)
            self._look_for_change(stamp_ns, grey)
        return bad is None

    def shown(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The newest ``image`` as the model is to see it: from where the camera stood at first.

        :param image: as for ``observe``, in colour.
        """
        return self._stabiliser.show(image, self._view.mounting) if self._stabilise else image

    def take_view_loss(self) -> int | None:
        """Stamp after which pictures showed a view that had changed unnoticed; told once."""
        stood_ns, self._view_stood_ns = self._view_stood_ns, None
        return stood_ns

    def verdict(self, now_ns: int) -> tuple[Evidence, str]:
        """What the stream is worth at ``now_ns`` of the ROS clock, and why, in one sentence."""
        name, config, newest_ns = self._camera, self._config, self._stamps.newest_ns
        if newest_ns is None:
            return Evidence.NO_FRAMES, f'camera {name}: no frame yet'
        if self._stamps.jumped:
            return (
                Evidence.STAMP_JUMP,
                f'camera {name}: stamps lie ahead of the ROS clock or jump back; '
                'check use_sim_time and the clocks of the machines',
            )
        age = (now_ns - newest_ns) * 1e-9
        if age > config.frame_timeout:
            if self._stamps.repeats >= config.confirm_frames:
                return Evidence.FROZEN, f'camera {name}: the stamps stand still for {age:.1f} s'
            if age > _ANOTHER_TIME_S:
                return (
                    Evidence.TOO_OLD,
                    f'camera {name}: the newest frame is {age / 3600.0:.0f} hours old; if frames '
                    'arrive, their stamps are of another time: set use_sim_time where a recording '
                    "is played, or check the driver's clock",
                )
            return Evidence.TOO_OLD, f'camera {name}: the newest frame is {age:.1f} s old'
        if self._bad is not None and self._bad_frames >= config.confirm_frames:
            return self._bad, f'camera {name}: {_SENTENCES[self._bad]}'
        frozen = self._frozen(newest_ns)
        if frozen:
            return Evidence.FROZEN, f'camera {name}: {frozen}'
        if self._change is not None:
            if 0.0 <= (now_ns - self._change_ns) * 1e-9 < config.settle:
                return Evidence.VIEW_CHANGED, f'camera {name}: {self._say_change(self._change)}'
            self._change = None
        if self._stabilise and self._stabiliser.active:
            return Evidence.GOOD, f'camera {name}: its motion is taken out of the picture'
        return Evidence.GOOD, ''

    def check_ahead(self, now_ns: int) -> bool:
        """Whether the newest stamp lies too far ahead of the clock; it is then forgotten."""
        if not self._stamps.check_ahead(now_ns):
            return False
        self._repetition.restart(now_ns)
        self._view.restart()
        return True

    def _look_for_change(self, stamp_ns: int, grey: NDArray[np.uint8]) -> None:
        if not self._view.due(stamp_ns):
            return
        change = self._view.observe(stamp_ns, grey)
        if change is not None:
            self._change, self._change_ns = change, stamp_ns
            self._view_stood_ns = change.stood_ns
            self._stabiliser.follow(change)
        elif self._view.mounting is Mounting.MOVING:
            self._change = None

    def _frozen(self, newest_ns: int) -> str:
        """Why the repeated picture is no evidence; empty if it is, or is not repeated."""
        same = (newest_ns - self._repetition.changed_ns) * 1e-9
        repeats = self._repetition.repeats
        if repeats < self._config.confirm_frames or same < self._config.frozen_after:
            return ''
        if self.noise_free is None:
            return (
                f'the same picture for {same:.1f} s; if nothing moves before a source without '
                'sensor noise (a simulator), set camera.noise_free to yes'
            )
        return '' if self.noise_free else f'the same picture for {same:.1f} s'

    def _say_change(self, change: ViewChange) -> str:
        if change.share is None or change.degrees is None or change.zoom is None:
            return 'the view is another one; nothing of the last picture is found in it'
        said = f'the view has moved by {change.share * self._longest:.0f} pixels'
        said += f' ({100.0 * change.share:.0f} % of the picture)'
        if abs(change.degrees) >= 1.0:
            said += f', turned by {abs(change.degrees):.0f} degrees'
        if abs(change.zoom - 1.0) >= 0.03:
            said += f', scaled by {change.zoom:.2f}'
        return said
