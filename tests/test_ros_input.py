"""What the monitor node says when no usable frames come, over DDS."""

from __future__ import annotations

import itertools
import struct
import zlib
from array import array
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy')

from ros_helpers import (
    MONITOR,
    QUICK,
    Probe,
    fresh_domain,
    image_message,
    monitor_command,
    picture,
    running,
)
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from progress_monitor.msg import MonitorStatus
from progress_monitor.srv import SetTask


@pytest.fixture(scope='module')
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probe]:
    command = monitor_command(task='Lift the block.', evidence__frozen_after=1.0)
    with running(tmp_path_factory.mktemp('node'), fresh_domain(), command) as (started, _):
        yield started


@pytest.fixture
def probe(node: Probe) -> Probe:
    """The node with good frames and a fresh start."""
    node.show, node.next_message = 0.2, None
    request = SetTask.Request(task='Lift the block.')
    assert node.call(SetTask, f'{MONITOR}/set_task', request).success
    count = len(node.progress)
    node.wait(lambda: len(node.progress) > count, what='a tick with good frames')
    node.stalls.clear()
    return node


def says(probe: Probe, evidence: int, *words: str) -> MonitorStatus:
    """The status that says so, be it the newest or one that comes."""
    seen = max(len(probe.status) - 1, 0)

    def said(status: MonitorStatus) -> bool:
        return status.evidence == evidence and all(word in status.message for word in words)

    def found() -> MonitorStatus | None:
        return next((status for status in probe.status[seen:] if said(status)), None)

    return probe.wait(found, what=f'evidence {evidence} with {words}')


def test_a_silent_topic_is_named_with_its_publishers_and_their_qos(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    command = monitor_command(task='Lift the block.', image_topics=['/quiet/image'])
    with running(tmp_path_factory.mktemp('node'), fresh_domain(), command) as (probe, _):
        status = says(
            probe, MonitorStatus.EVIDENCE_NO_PUBLISHER, '/quiet/image: 0 publishers', 'image_topics'
        )
        assert status.state == MonitorStatus.STATE_STALE
        quiet = probe.node.create_publisher(Image, '/quiet/image', 1)
        status = says(
            probe,
            MonitorStatus.EVIDENCE_NO_FRAMES,
            '/quiet/image: 1 publisher, nothing arrives',
            'node probe',
            'reliable, volatile',
        )
        assert status.state == MonitorStatus.STATE_STALE
        probe.node.destroy_publisher(quiet)
        probe.node.create_publisher(String, '/quiet/image', 1)
        says(probe, MonitorStatus.EVIDENCE_NO_FRAMES, 'std_msgs/msg/String is no image')


@pytest.mark.parametrize(
    ('encoding', 'words'),
    [('16UC1', 'is a depth'), ('32FC1', 'is a depth'), ('yuv420', 'is not known as a colour')],
)
def test_encodings_that_are_no_colour_image(probe: Probe, encoding: str, words: str) -> None:
    probe.next_message = lambda stamp: image_message(picture(0.2), stamp, encoding)
    status = says(probe, MonitorStatus.EVIDENCE_UNREADABLE, '/cell/image', encoding, words)
    assert status.state == MonitorStatus.STATE_STALE
    assert not probe.stalls
    probe.next_message = None
    says(probe, MonitorStatus.EVIDENCE_GOOD)


def test_a_damaged_message_is_refused_and_survived(probe: Probe) -> None:
    def damaged(stamp: Any) -> Image:
        message = image_message(picture(0.2), stamp)
        message.data = array('B', b'123')
        return message

    probe.next_message = damaged
    says(probe, MonitorStatus.EVIDENCE_UNREADABLE, '3 bytes of data')
    probe.next_message = None
    says(probe, MonitorStatus.EVIDENCE_GOOD)


def png(width: int, height: int, rows: bytes) -> bytes:
    """A picture of one bit a pixel."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack('>I', zlib.crc32(name + data))
        return struct.pack('>I', len(data)) + name + data + check

    head = struct.pack('>IIBBBBB', width, height, 1, 0, 0, 0, 0)
    parts = ((b'IHDR', head), (b'IDAT', zlib.compress(rows, 1)), (b'IEND', b''))
    return b'\x89PNG\r\n\x1a\n' + b''.join(chunk(*part) for part in parts)


def test_pictures_that_are_too_large_are_refused_by_name(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    jpeg = cv2.imencode('.jpg', np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    at = jpeg.index(b'\xff\xc0') + 5
    bad = [
        ('65500x65500', jpeg[:at] + struct.pack('>HH', 65500, 65500) + jpeg[at + 4 :]),
        ('40000x40000', png(40000, 40000, b'')),
        ('12000x12000', png(12000, 12000, bytes(12000 * 1501))),
    ]
    within = png(7900, 7900, bytes(7900 * 989))
    command = monitor_command(task='Lift the block.', image_topics=['/cell/image/compressed'])
    with running(tmp_path_factory.mktemp('node'), fresh_domain(), command) as (probe, _):
        publisher = probe.node.create_publisher(CompressedImage, '/cell/image/compressed', 1)

        def publish(data: bytes) -> None:
            message = CompressedImage(format='x' * 100_000, data=array('B', data))
            message.header.stamp = probe.node.get_clock().now().to_msg()
            publisher.publish(message)

        for size, data in bad:

            def refused(size: str = size, data: bytes = data) -> bool:
                publish(data)
                status = probe.status[-1] if probe.status else MonitorStatus()
                unreadable = status.evidence == MonitorStatus.EVIDENCE_UNREADABLE
                return unreadable and size in status.message and len(status.message) < 1000

            probe.wait(refused, what=f'a refusal of {size}')
        publish(within)
        assert probe.set_parameter('max_image_pixels', 1024).successful

        def refused_now() -> bool:
            publish(png(64, 64, bytes(64 * 9)))
            return '64x64 pixels is above max_image_pixels (1024)' in probe.status[-1].message

        probe.wait(refused_now, what='the changed bound')


def test_frames_without_a_stamp_are_refused(probe: Probe) -> None:
    def unstamped(stamp: Any) -> Image:
        message = image_message(picture(0.2), stamp)
        message.header.stamp.sec = message.header.stamp.nanosec = 0
        return message

    probe.next_message = unstamped
    says(probe, MonitorStatus.EVIDENCE_STAMP_JUMP, 'header.stamp is 0')


def test_a_frozen_camera_is_stale_and_never_a_stall(probe: Probe) -> None:
    same = picture(0.2)
    probe.next_message = lambda stamp: image_message(same, stamp)
    assert says(probe, MonitorStatus.EVIDENCE_FROZEN).state == MonitorStatus.STATE_STALE
    probe.wait_on(1.5)  # longer than the allowance
    assert not probe.stalls


def test_a_camera_that_stops_is_too_old_and_then_without_frames(probe: Probe) -> None:
    # A topic is silent after three seconds at the least: until then its frames are too old.
    usual = QUICK['evidence.frame_timeout']
    assert probe.set_parameter('evidence.frame_timeout', 1.0).successful
    probe.progress.clear()
    try:
        probe.wait(lambda: len(probe.progress) > 2, what='ticks by the changed parameter')
        probe.show = None
        assert says(probe, MonitorStatus.EVIDENCE_TOO_OLD).state == MonitorStatus.STATE_STALE
        says(probe, MonitorStatus.EVIDENCE_NO_FRAMES, 'nothing arrives any more')
        assert not probe.stalls
    finally:
        assert probe.set_parameter('evidence.frame_timeout', usual).successful


def test_compressed_images_are_taken_by_the_type_that_is_published(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """The topic's name says nothing of compression, and the publisher comes after the node."""
    command = monitor_command(task='Lift the block.', image_topics=['/camera/image'])
    with running(tmp_path_factory.mktemp('node'), fresh_domain(), command) as (probe, _):
        probe.wait_state(MonitorStatus.STATE_STALE)
        publisher = probe.node.create_publisher(CompressedImage, '/camera/image', 1)

        def publish() -> bool:
            message = CompressedImage(format='png')
            message.header.stamp = probe.node.get_clock().now().to_msg()
            image = picture(0.5, seed=message.header.stamp.nanosec)
            message.data = array('B', cv2.imencode('.png', image[..., ::-1])[1].tobytes())
            publisher.publish(message)
            return bool(probe.progress)

        probe.wait(publish, what='progress from compressed frames')
        assert probe.progress[-1].progress == pytest.approx(0.5, abs=0.02)


def test_two_cameras_of_different_size_and_two_that_are_missing(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    command = monitor_command(
        task='Lift the block.',
        image_topics=['/wide/image', '/cell/image', '/missing/image', '/gone/image'],
    )
    with running(tmp_path_factory.mktemp('node'), fresh_domain(), command) as (probe, (node,)):
        publisher = probe.node.create_publisher(Image, '/wide/image', 1)
        probe.show = 0.4
        wide = np.tile(picture(0.4), (1, 3, 1))

        def publish() -> bool:
            stamp = probe.node.get_clock().now().to_msg()
            noise = np.random.default_rng(stamp.nanosec).integers(0, 3, wide.shape)
            publisher.publish(image_message(wide + noise.astype(np.uint8), stamp))
            frames = [tick.frames for tick in probe.progress]
            return any(after - before == 2 for before, after in itertools.pairwise(frames))

        probe.wait(publish, what='a window that grows by a frame of each')
        assert probe.progress[-1].progress == pytest.approx(0.4, abs=0.02)
        for missing in ('/missing/image', '/gone/image'):
            says(probe, MonitorStatus.EVIDENCE_GOOD, f'{missing}: 0 publishers')
            assert f'{missing}: 0 publishers' in node.output()


def test_simulated_time_is_used_and_its_absence_is_said(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    # However fast simulated time runs beside the model, this is no test of stalls by standstill.
    command = monitor_command(task='Lift the block.', use_sim_time=True, stall__allowance=3000.0)
    with running(tmp_path_factory.mktemp('node'), fresh_domain(), command) as (probe, processes):
        says(probe, MonitorStatus.EVIDENCE_NO_FRAMES, 'nobody publishes /clock')
        clock = probe.node.create_publisher(Clock, '/clock', 1)
        camera = probe.node.create_publisher(Image, '/cell/image', 1)
        now = [100]

        def advance() -> None:
            now[0] += 1
            tick = Clock()
            tick.clock.sec, tick.clock.nanosec = divmod(now[0] * 50_000_000, 1_000_000_000)
            clock.publish(tick)
            camera.publish(image_message(picture(0.3, seed=now[0]), tick.clock))

        def ticking() -> bool:
            advance()
            return len(probe.progress) > 5

        probe.wait(ticking, what='ticks in simulated time')
        stamp = probe.progress[-1].header.stamp
        assert stamp.sec * 20 <= now[0]
        assert probe.status[-1].stamp.sec * 20 <= now[0] + 20

        probe.progress.clear()
        now[0] = 20
        probe.wait(ticking, what='ticks after the clock went back')
        assert not probe.stalls
        assert 'the ROS clock went back' in processes[0].output()
