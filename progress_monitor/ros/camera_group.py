"""The cameras of an active node, together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from rclpy.node import Node

from progress_monitor.parameters import ParameterError
from progress_monitor.printable import printable
from progress_monitor.ros.cameras import Camera, Intake, Problem
from progress_monitor.ros.names import full_name
from progress_monitor.types import Evidence, Frame

_CHECK_PERIOD_S = 0.5
_CLOCK = '/clock'


def camera_names(node: Node, topics: Sequence[str]) -> tuple[str, ...]:
    """The full names of ``topics``, by which cameras are known.

    :raises ParameterError: if there is none, one is no topic's name, or one is named twice.
    """
    if not topics:
        raise ParameterError('image_topics: empty; name at least one camera topic')
    names = [full_name(node, 'image_topics', topic) for topic in topics]
    if len(set(names)) < len(names):
        raise ParameterError(f'image_topics: a topic is named twice: {", ".join(names)}')
    return tuple(names)


class CameraGroup:
    """Subscriptions to ``topics``; each frame goes to ``on_frame``.

    ``problems`` is what was last found wrong with any of them.

    :param intake: how their pictures are taken in.
    """

    def __init__(
        self,
        node: Node,
        topics: Sequence[str],
        intake: Intake,
        on_frame: Callable[[Frame], None],
    ) -> None:
        self.problems: tuple[Problem, ...] = ()
        self._node = node
        self._timeout_ns = round(intake.frame_timeout_s * 1e9)
        self._on_frame = on_frame
        self._frames: dict[str, Frame] = {}
        self._check_due = 0.0
        self._known: set[tuple[str, Evidence]] = set()
        self._cameras = [Camera(node, topic, intake, self._receive) for topic in topics]

    def __iter__(self) -> Iterator[Camera]:
        return iter(self._cameras)

    def __len__(self) -> int:
        return len(self._cameras)

    def configure(self, intake: Intake) -> None:
        """Take pictures in by changed parameters from now on."""
        self._timeout_ns = round(intake.frame_timeout_s * 1e9)
        for camera in self._cameras:
            camera.configure(intake)

    def close(self) -> None:
        """Stop listening."""
        for camera in self._cameras:
            camera.close()

    def frame_id(self, name: str) -> str:
        """Frame of the camera of that name; of the first one where none has it."""
        known = {camera.name: camera.frame_id for camera in self._cameras}
        return known.get(name, self._cameras[0].frame_id)

    def shown(self) -> Frame | None:
        """The newest frame of the first camera that still delivers; None before any frame."""
        newest_ns = max((frame.stamp_ns for frame in self._frames.values()), default=0)
        for camera in self._cameras:
            frame = self._frames.get(camera.name)
            if frame is not None and newest_ns - frame.stamp_ns <= self._timeout_ns:
                return frame
        return None

    def check(self, now_ns: int) -> bool:
        """See what only ROS knows of the cameras; whether it was time to. Sets ``problems``."""
        if time.monotonic() < self._check_due:
            return False
        self._check_due = time.monotonic() + _CHECK_PERIOD_S
        found = {
            camera.name: problem
            for camera in self._cameras
            if (problem := camera.problem_now()) is not None
        }
        if now_ns == 0:
            problem = Problem(Evidence.NO_FRAMES, self._clock_problem())
            found = {camera.name: problem for camera in self._cameras}
        known, self._known = self._known, {(name, found[name].evidence) for name in found}
        news = [found[name].message for name, kind in sorted(self._known - known)]
        for message in dict.fromkeys(news):
            self._node.get_logger().warning(printable(message))
        self.problems = tuple(found.values())
        return True

    @property
    def all_useless(self) -> bool:
        """Whether no camera was of any use when last looked at."""
        return bool(self.problems) and len(self.problems) == len(self._cameras)

    @property
    def said(self) -> str:
        """What is wrong, in one line."""
        return '; '.join(dict.fromkeys(problem.message for problem in self.problems))

    def _clock_problem(self) -> str:
        publishers = self._node.count_publishers(_CLOCK)
        if not publishers:
            return 'use_sim_time is set and nobody publishes /clock'
        count = f'{publishers} publisher{"s" if publishers > 1 else ""}'
        return (
            f'use_sim_time is set and the time is 0 (/clock: {count}): the simulation has not '
            'started, or is paused at 0'
        )

    def _receive(self, frame: Frame) -> None:
        self._frames[frame.camera] = frame
        # Before the clock has begun no stamp can be told from one that is wrong.
        if self._node.get_clock().now().nanoseconds:
            self._on_frame(frame)
