"""Bags made for tests: small rosbag2 recordings of cameras, SQLite or MCAP."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

STORE = get_typestore(Stores.ROS2_JAZZY)
TYPES = STORE.types
# topic, stamp of the header in ns, picture
Shot = tuple[str, int, NDArray[np.uint8]]


def write_bag(
    folder: Path,
    shots: Iterable[Shot],
    storage: StoragePlugin = StoragePlugin.MCAP,
    late_ns: int = 50_000_000,
    encoding: str = 'rgb8',
) -> Path:
    """Write a bag, recorded ``late_ns`` late; topics that end in ``/compressed`` hold JPEG."""
    with Writer(folder, version=9, storage_plugin=storage) as writer:
        connections = {}
        log_ns = 0
        for topic, stamp_ns, picture in shots:
            compressed = topic.endswith('/compressed')
            kind = 'CompressedImage' if compressed else 'Image'
            name = f'sensor_msgs/msg/{kind}'
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, name, typestore=STORE)
            stamp = TYPES['builtin_interfaces/msg/Time'](
                sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9
            )
            header = TYPES['std_msgs/msg/Header'](stamp=stamp, frame_id='camera')
            if compressed:
                _, data = cv2.imencode('.jpg', picture[..., ::-1])
                message = TYPES[name](header=header, format='jpeg', data=data.reshape(-1))
            else:
                height, width = picture.shape[:2]
                message = TYPES[name](
                    header=header,
                    height=height,
                    width=width,
                    encoding=encoding,
                    is_bigendian=0,
                    step=width * 3,
                    data=picture.reshape(-1),
                )
            log_ns = max(stamp_ns + late_ns, log_ns + 1)
            writer.write(connections[topic], log_ns, STORE.serialize_cdr(message, name))
    return folder
