"""A rosbag2 recording (SQLite or MCAP) or a ROS 1 bag, by the stamps that the cameras gave.

It needs no running ROS. Pictures are decoded by the same code as on the robot, which wants ROS's
message packages.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from progress_monitor.offline.sources.source import Picture, SourceKind, SourceOptions
from progress_monitor.printable import printable

_RAW = 'sensor_msgs/msg/Image'
_COMPRESSED = 'sensor_msgs/msg/CompressedImage'
_METADATA = 'metadata.yaml'
_STORED = ('.mcap', '.db3')
_ROS_1 = '.bag'
_TRANSPORT = '/compressed'
_USUAL_FPS = 10.0


class BagSource:
    """The pictures of one or more camera topics of a bag, in the order recorded; see ``Source``.

    :param topics: empty: all, but of a camera recorded raw and compressed the raw pictures only.
    :raises OSError: if the bag cannot be opened, or lacks a topic; the text names those it has.
    """

    def __init__(self, path: Path, topics: tuple[str, ...]) -> None:
        self.notes: list[str] = []
        self.noise_free = 'auto'
        self._path = path
        self._reader = _open_reader(path)
        found = {
            name: info
            for name, info in self._reader.topics.items()
            if info.msgtype in (_RAW, _COMPRESSED)
        }
        listed = ', '.join(found) or 'none'
        missing = [topic for topic in topics if topic not in found]
        if missing or not found:
            self._reader.close()
            wanted = f'no camera topic {missing[0]}' if missing else 'no camera topic'
            raise OSError(f'{path}: {wanted}; those that it has: {listed}')
        self.cameras = topics or tuple(name for name in found if _camera_of(name) not in found)
        self._connections = [
            connection
            for connection in self._reader.connections
            if connection.topic in self.cameras
        ]
        seconds = self._reader.duration * 1e-9
        count = found[self.cameras[0]].msgcount
        self.fps = (count - 1) / seconds if count > 1 and seconds > 0 else _USUAL_FPS

    def pictures(self) -> Iterator[Picture]:
        """All pictures that can be decoded. The stamp is the header's, not the recorder's."""
        read, refused, reason = 0, 0, ''
        decoder = _Decoder()
        try:
            for topic, message in self._messages():
                stamp = message.header.stamp
                stamp_ns = stamp.sec * 1_000_000_000 + stamp.nanosec
                image, why = decoder.decode(topic, message, stamp_ns)
                if image is None:
                    refused, reason = refused + 1, f'{topic}: {why}'
                    continue
                read += 1
                yield Picture(topic, stamp_ns, image)
        finally:
            self._reader.close()
        if refused:
            self.notes.append(f'{refused} pictures cannot be used; the last: {printable(reason)}')
        if read == 0:
            raise OSError(f'{self._path}: no picture can be read: {reason or "it holds none"}')

    def _messages(self) -> Iterator[tuple[str, Any]]:
        """Topic and message, up to the place where the file is damaged, if it is."""
        read = 0
        messages = self._reader.messages(self._connections)
        while True:
            try:
                connection, _, data = next(messages)
                message = self._reader.deserialize(data, connection.msgtype)
            except StopIteration:
                break
            except Exception as error:  # damaged files make the reader raise what it will
                self.notes.append(printable(f'{self._path}: {error or type(error).__name__}', 200))
                break
            read += 1
            yield connection.topic, message
        promised = sum(connection.msgcount for connection in self._connections)
        if read < promised:
            self.notes.append(
                f'{self._path}: {read} of {promised} messages can be read; it is cut short or '
                'damaged'
            )


def _open_reader(path: Path) -> Any:
    from rosbags.highlevel import AnyReader
    from rosbags.typesys import Stores, get_typestore

    store = Stores.ROS1_NOETIC if path.suffix == _ROS_1 else Stores.LATEST
    try:
        reader = AnyReader(_parts(path), default_typestore=get_typestore(store))
        reader.open()
    except Exception as error:  # as above
        raise OSError(
            f'{path}: no bag that can be read ({printable(str(error), 200)}); one that was cut '
            'short is mended with "mcap recover", "ros2 bag reindex" or "rosbag reindex"'
        ) from error
    return reader


def _parts(path: Path) -> list[Path]:
    """What to open: a recorder that was killed has written no metadata, but maybe whole files."""
    if path.is_dir() and not (path / _METADATA).is_file():
        return sorted(item for item in path.iterdir() if item.suffix in _STORED)
    return [path]


class _Decoder:
    """Reads messages as a camera's are read on the robot, each topic by a reader of its own.

    :raises OSError: if ROS's message packages are missing.
    """

    def __init__(self) -> None:
        try:
            from sensor_msgs.msg import CompressedImage, Image

            from progress_monitor.ros import images
        except ImportError as error:
            raise OSError(f'pictures of a bag need ROS 2: {error}; source its setup') from error
        self._raw, self._compressed, self._images = Image, CompressedImage, images
        self._readers: dict[str, Any] = {}

    def decode(
        self, topic: str, message: Any, stamp_ns: int
    ) -> tuple[NDArray[np.uint8] | None, str]:
        """The picture at its own size, or None and why there is none."""
        if stamp_ns == 0:
            return None, 'header.stamp is 0'
        if topic not in self._readers:
            most = self._images.DEFAULT_MAX_IMAGE_PIXELS
            self._readers[topic] = self._images.ImageReader(most, most)
        try:
            return self._readers[topic].read(self._told(message)), ''
        except self._images.ImageError as error:
            return None, str(error)

    def _told(self, message: Any) -> Any:
        """The message in ROS's own class."""
        data = array('B', message.data.tobytes())
        if hasattr(message, 'format'):
            return self._compressed(format=message.format, data=data)
        return self._raw(
            height=message.height,
            width=message.width,
            encoding=message.encoding,
            is_bigendian=message.is_bigendian,
            step=message.step,
            data=data,
        )


def _camera_of(topic: str) -> str:
    """The topic whose pictures these are, compressed, by the naming of image_transport."""
    return topic.removesuffix(_TRANSPORT) if topic.endswith(_TRANSPORT) else ''


def _accepts(path: Path) -> bool:
    if path.is_dir():
        return bool(_parts(path))
    return path.suffix in (*_STORED, _ROS_1)


def _open(path: Path, options: SourceOptions) -> BagSource:
    return BagSource(path, options.topics)


BAG = SourceKind('a rosbag2 recording or ROS 1 bag', ('topics',), _accepts, _open)
