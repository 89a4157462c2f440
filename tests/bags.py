"""Bags made for tests: small recordings of cameras, of ROS 2 (SQLite or MCAP) and ROS 1."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags import rosbag1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

STORE = get_typestore(Stores.ROS2_JAZZY)
ROS_1 = get_typestore(Stores.ROS1_NOETIC)
# topic, stamp of the header in ns, picture
Shot = tuple[str, int, NDArray[np.uint8]]


def write_bag(
    folder: Path,
    shots: Iterable[Shot],
    storage: StoragePlugin = StoragePlugin.MCAP,
    late_ns: int = 50_000_000,
    encoding: str = 'rgb8',
    compression: CompressionMode = CompressionMode.NONE,
) -> Path:
    """Write a bag, recorded ``late_ns`` late; topics that end in ``/compressed`` hold JPEG."""
    writer = Writer(folder, version=9, storage_plugin=storage)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        for log_ns, topic, name, message in _messages(STORE, shots, late_ns, encoding):
            known = {item.topic: item for item in writer.connections}
            connection = known.get(topic) or writer.add_connection(topic, name, typestore=STORE)
            writer.write(connection, log_ns, STORE.serialize_cdr(message, name))
    return folder


def write_ros1_bag(path: Path, shots: Iterable[Shot]) -> Path:
    """Write a bag of ROS 1, as ``write_bag`` does."""
    with rosbag1.Writer(path) as writer:
        for log_ns, topic, name, message in _messages(ROS_1, shots, 50_000_000, 'rgb8'):
            known = {item.topic: item for item in writer.connections}
            connection = known.get(topic) or writer.add_connection(topic, name, typestore=ROS_1)
            writer.write(connection, log_ns, ROS_1.serialize_ros1(message, name))
    return path


def _messages(
    store: Any, shots: Iterable[Shot], late_ns: int, encoding: str
) -> Iterator[tuple[int, str, str, Any]]:
    """When each is recorded, its topic, type and message."""
    types = store.types
    counted = {'seq': 0} if store is ROS_1 else {}
    log_ns = 0
    for topic, stamp_ns, picture in shots:
        stamp = types['builtin_interfaces/msg/Time'](
            sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9
        )
        header = types['std_msgs/msg/Header'](**counted, stamp=stamp, frame_id='camera')
        if topic.endswith('/compressed'):
            name = 'sensor_msgs/msg/CompressedImage'
            _, data = cv2.imencode('.jpg', picture[..., ::-1])
            message = types[name](header=header, format='jpeg', data=data.reshape(-1))
        else:
            name = 'sensor_msgs/msg/Image'
            height, width = picture.shape[:2]
            message = types[name](
                header=header,
                height=height,
                width=width,
                encoding=encoding,
                is_bigendian=0,
                step=width * 3,
                data=picture.reshape(-1),
            )
        log_ns = max(stamp_ns + late_ns, log_ns + 1)
        yield log_ns, topic, name, message
