"""Subscriptions to the cameras, and what is wrong when nothing usable comes from them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)
from rclpy.subscription import Subscription
from rclpy.timer import Timer
from rclpy.topic_endpoint_info import TopicEndpointInfo
from sensor_msgs.msg import CompressedImage, Image

from progress_monitor.node_config import NodeConfig
from progress_monitor.pictures.errors import quoted
from progress_monitor.ros.images import ImageError, ImageReader
from progress_monitor.ros.publishers import Publishers, Recurrence
from progress_monitor.types import Evidence, Frame, new_uid

# A queue would hand over old frames: only the newest is of use.
CAMERA_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)
RAW = 'sensor_msgs/msg/Image'
COMPRESSED = 'sensor_msgs/msg/CompressedImage'
_TYPES: dict[str, type[Any]] = {RAW: Image, COMPRESSED: CompressedImage}
_LEAST_SILENCE_S = 3.0
# Frozen pictures, motion and changes of view are told apart well below so many pictures a second.
_LONGEST_PERIOD_S = 0.1


@dataclass(frozen=True)
class Problem:
    """Why a camera is of no use. ``message`` names the topic."""

    evidence: Evidence
    message: str


@dataclass(frozen=True)
class Intake:
    """What is taken of a camera's stream.

    :ivar max_pixels: frames are shrunk to so many pixels.
    :ivar max_image_pixels: larger pictures are refused.
    :ivar period_s: shortest time from one picture that is read to the next, s.
    :ivar silence_s: time without a message after which something is wrong, s.
    :ivar frame_timeout_s: age from which a frame is too old, s.
    """

    max_pixels: int
    max_image_pixels: int
    period_s: float
    silence_s: float
    frame_timeout_s: float

    @classmethod
    def of(cls, config: NodeConfig) -> Intake:
        """Read as often as the window and the check of freshness need, and no more."""
        timeout = config.evidence.frame_timeout
        return cls(
            config.model.max_pixels,
            config.max_image_pixels,
            min(_LONGEST_PERIOD_S, config.window.sample_period / 4.0, timeout / 4.0),
            max(_LEAST_SILENCE_S, timeout),
            timeout,
        )


class _Gate(ReentrantCallbackGroup):
    """Keeps the executor from taking messages, hence from copying them, until one is due.

    Meanwhile the middleware replaces the waiting message by each newer one.
    """

    is_open = True

    def can_execute(self, entity: Any) -> bool:
        return self.is_open


@dataclass(frozen=True)
class _Read:
    """A message that was read: a frame, or a problem."""

    stamp_ns: int
    frame_id: str
    frame: Frame | None
    problem: Problem | None


class Camera:
    """One image topic, of which the newest message is read whenever one is due.

    Reading goes on in a thread of its own, one message at a time: OpenCV works outside Python's
    lock, so a large picture holds up nothing else. All callbacks, ``on_frame`` too, run in the
    executor.

    :ivar frame_id: coordinate frame that the newest frame names.
    :ivar stamp_ns: stamp of the newest frame.
    :ivar received: messages that were published, as far as the middleware numbers them.
    :ivar heard_s: monotonic time of the last message, of the subscription where none came.
    :ivar problem: set while what comes cannot be used.
    """

    def __init__(
        self, node: Node, topic: str, intake: Intake, on_frame: Callable[[Frame], None]
    ) -> None:
        self.topic = topic
        self.name = node.resolve_topic_name(topic)
        self.frame_id = ''
        self.stamp_ns = 0
        self.received = 0
        self.heard_s = time.monotonic()
        self.problem: Problem | None = None
        self._node = node
        self._on_frame = on_frame
        self._publishers = Publishers()
        self._frame_changes = Recurrence()
        self._reading: Future[_Read] | None = None
        self._reader_thread = ThreadPoolExecutor(1, 'picture')
        self._closing = threading.Lock()
        self._is_closed = False
        self._gate = _Gate()
        self._set(intake)
        self._read_done = node.create_guard_condition(self._deliver)
        self._timer = self._create_timer()
        self._type = COMPRESSED if topic.endswith('/compressed') else RAW
        self._type = self._published_type() or self._type
        self._subscription = self._subscribe()

    def close(self) -> None:
        """Stop listening. A picture that is being read is finished and thrown away."""
        self._node.destroy_subscription(self._subscription)
        self._node.destroy_timer(self._timer)
        with self._closing:
            self._is_closed = True
            self._node.destroy_guard_condition(self._read_done)
        self._reader_thread.shutdown(wait=False, cancel_futures=True)

    def configure(self, intake: Intake) -> None:
        """Go on with another intake; what was learned of the camera's bit depth is forgotten."""
        if intake == self._intake:
            return
        self._set(intake)
        self._node.destroy_timer(self._timer)
        self._timer = self._create_timer()

    def problem_now(self) -> Problem | None:
        """What is wrong with this camera now, as far as ROS knows; None: nothing."""
        if time.monotonic() - self.heard_s < self._intake.silence_s:
            return self._crowd() or self.problem
        publishers = self._node.get_publishers_info_by_topic(self.name)
        if not publishers:
            message = f'{self.name}: 0 publishers; start the camera or correct image_topics'
            return Problem(Evidence.NO_PUBLISHER, message)
        published = self._published_type()
        if published and published != self._type:
            self._node.destroy_subscription(self._subscription)
            self._type = published
            self._subscription = self._subscribe()
        described = self._described(publishers)
        count = f'{len(publishers)} publisher{"s" if len(publishers) > 1 else ""}'
        what = 'nothing arrives any more' if self.received else 'nothing arrives'
        return Problem(Evidence.NO_FRAMES, f'{self.name}: {count}, {what} ({described})')

    def _crowd(self) -> Problem | None:
        """Pictures of two cameras in turn, which nobody can judge as one."""
        frames = self._frame_changes.goes_on
        if not frames and not self._publishers.several:
            return None
        publishers = self._node.get_publishers_info_by_topic(self.name)
        if len(publishers) > 1:
            message = (
                f'{self.name}: {len(publishers)} publishers send pictures; stop one, or give each '
                f'a topic of its own ({self._described(publishers)})'
            )
        elif frames:
            message = (
                f'{self.name}: header.frame_id changes again and again, last to '
                f'{quoted(self.frame_id)}; give each camera a topic of its own'
            )
        else:
            return None
        return Problem(Evidence.VIEW_CHANGED, message)

    def _described(self, publishers: Sequence[TopicEndpointInfo]) -> str:
        return '; '.join(self._describe(info) for info in publishers)

    def _set(self, intake: Intake) -> None:
        self._intake = intake
        self._reader = ImageReader(intake.max_pixels, intake.max_image_pixels)

    def _create_timer(self) -> Timer:
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        return self._node.create_timer(self._intake.period_s, self._open, clock=steady)

    def _subscribe(self) -> Subscription[Any]:
        return self._node.create_subscription(
            _TYPES[self._type],
            self.topic,
            self._receive,
            CAMERA_QOS,
            callback_group=self._gate,
        )

    def _published_type(self) -> str:
        types = {info.topic_type for info in self._node.get_publishers_info_by_topic(self.name)}
        known = [kind for kind in (RAW, COMPRESSED) if kind in types]
        return self._type if self._type in known else (known[0] if known else '')

    def _describe(self, info: TopicEndpointInfo) -> str:
        qos = info.qos_profile
        parts = [
            f'node {info.node_name}',
            f'{qos.reliability.name.lower()}, {qos.durability.name.lower()}',
        ]
        if info.topic_type not in _TYPES:
            parts.append(f'type {info.topic_type} is no image')
        compatibility, reason = qos_check_compatible(qos, CAMERA_QOS)
        if compatibility is QoSCompatibility.ERROR:
            parts.append(f'incompatible QoS: {reason.strip()}')
        return ', '.join(parts)

    def _receive(self, message: Image | CompressedImage, info: Mapping[str, Any]) -> None:
        self._gate.is_open = False
        self.received += self._publishers.hear(info.get('publication_sequence_number'))
        self.heard_s = time.monotonic()
        stamp = message.header.stamp
        if stamp.sec == 0 and stamp.nanosec == 0:
            problem = 'header.stamp is 0; the driver must set it'
            self.problem = Problem(Evidence.STAMP_JUMP, f'{self.name}: {problem}')
            return
        self._reading = self._reader_thread.submit(self._read, self._reader, message)
        self._reading.add_done_callback(self._wake)

    def _read(self, reader: ImageReader, message: Image | CompressedImage) -> _Read:
        """In the reader's thread."""
        stamp = message.header.stamp
        stamp_ns = stamp.sec * 1_000_000_000 + stamp.nanosec
        frame, problem = None, None
        try:
            frame = Frame(new_uid(), self.name, stamp_ns, reader.read(message))
        except ImageError as error:
            problem = Problem(Evidence.UNREADABLE, f'{self.name}: {error}')
        return _Read(stamp_ns, message.header.frame_id, frame, problem)

    def _wake(self, done: Future[_Read]) -> None:
        """In the reader's thread."""
        with self._closing:
            if not self._is_closed:
                self._read_done.trigger()

    def _deliver(self) -> None:
        reading, self._reading = self._reading, None
        if reading is None or reading.cancelled():
            return
        read = reading.result()
        self.problem = read.problem
        if self.frame_id not in ('', read.frame_id):
            self._frame_changes.note()
        self.frame_id = read.frame_id
        if read.frame is not None and self._crowd() is None:
            self.stamp_ns = read.stamp_ns
            self._on_frame(read.frame)

    def _open(self) -> None:
        self._gate.is_open = self._reading is None
