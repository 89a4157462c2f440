"""Subscriptions to the cameras, and what is wrong when nothing usable comes from them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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
from rclpy.topic_endpoint_info import TopicEndpointInfo
from sensor_msgs.msg import CompressedImage, Image

from progress_monitor.resize import shrink
from progress_monitor.ros.images import ImageError, to_rgb
from progress_monitor.types import Evidence, Frame

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

# Unique within the process, so that the worker's cache never meets one number for two frames.
_uids = itertools.count(1)


@dataclass(frozen=True)
class Problem:
    """Why a camera is of no use. ``message`` names the topic."""

    evidence: Evidence
    message: str


class Camera:
    """One image topic. Callbacks convert the frame, hand it on and return.

    ``received`` counts messages, ``heard_s`` is the monotonic time of the last one (of the
    subscription where none came), ``problem`` is set while what comes cannot be used.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        max_pixels: int,
        frame_timeout_s: float,
        on_frame: Callable[[Frame], None],
    ) -> None:
        self.topic = topic
        self.name = node.resolve_topic_name(topic)
        self.frame_id = ''
        self.stamp_ns = 0
        self.received = 0
        self.heard_s = time.monotonic()
        self.problem: Problem | None = None
        self._node = node
        self._max_pixels = max_pixels
        self._silence_s = max(_LEAST_SILENCE_S, frame_timeout_s)
        self._on_frame = on_frame
        self._type = COMPRESSED if topic.endswith('/compressed') else RAW
        self._type = self._published_type() or self._type
        self._subscription = self._subscribe()

    def close(self) -> None:
        """Stop listening."""
        self._node.destroy_subscription(self._subscription)

    def look(self) -> Problem | None:
        """What is wrong with this camera now, as far as ROS knows; None: nothing."""
        if time.monotonic() - self.heard_s < self._silence_s:
            return self.problem
        publishers = self._node.get_publishers_info_by_topic(self.name)
        if not publishers:
            message = f'{self.name}: 0 publishers; start the camera or correct image_topics'
            return Problem(Evidence.NO_PUBLISHER, message)
        published = self._published_type()
        if published and published != self._type:
            self._node.destroy_subscription(self._subscription)
            self._type = published
            self._subscription = self._subscribe()
        described = '; '.join(self._describe(info) for info in publishers)
        count = f'{len(publishers)} publisher{"s" if len(publishers) > 1 else ""}'
        what = 'nothing arrives any more' if self.received else 'nothing arrives'
        return Problem(Evidence.NO_FRAMES, f'{self.name}: {count}, {what} ({described})')

    def _subscribe(self) -> Subscription[Any]:
        return self._node.create_subscription(
            _TYPES[self._type], self.topic, self._receive, CAMERA_QOS
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

    def _receive(self, message: Image | CompressedImage) -> None:
        self.received += 1
        self.heard_s = time.monotonic()
        stamp = message.header.stamp
        stamp_ns = stamp.sec * 1_000_000_000 + stamp.nanosec
        try:
            if stamp_ns == 0:
                self._refuse(Evidence.STAMP_JUMP, 'header.stamp is 0; the driver must set it')
                return
            image = shrink(to_rgb(message), self._max_pixels)
        except ImageError as error:
            self._refuse(Evidence.UNREADABLE, str(error))
            return
        self.problem = None
        self.stamp_ns = stamp_ns
        self.frame_id = message.header.frame_id
        self._on_frame(Frame(next(_uids), self.name, stamp_ns, image))

    def _refuse(self, evidence: Evidence, reason: str) -> None:
        self.problem = Problem(evidence, f'{self.name}: {reason}')
