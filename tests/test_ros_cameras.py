"""One camera's subscription within this process: what is read of a stream, and when."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator

import pytest

rclpy = pytest.importorskip('rclpy')

from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from ros_helpers import fresh_domain, image_message, picture  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402

from progress_monitor.node_config import NodeConfig  # noqa: E402
from progress_monitor.ros import cameras  # noqa: E402
from progress_monitor.ros.cameras import CAMERA_QOS, Camera, Intake  # noqa: E402
from progress_monitor.types import Evidence, Frame  # noqa: E402


class Rig:
    """A camera under test and its publisher, in one executor."""

    def __init__(self, intake: Intake) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=fresh_domain())
        self.node = Node('rig', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.publisher = self.node.create_publisher(Image, '/cell/image', CAMERA_QOS)
        self.frames: list[Frame] = []
        self.camera = Camera(self.node, '/cell/image', intake, self.frames.append)
        self.sent = 0
        self.wait(lambda: self.publisher.get_subscription_count() == 1)

    def publish(self, frame_id: str = 'camera') -> None:
        self.sent += 1
        message = image_message(picture(0.2, seed=self.sent), self.node.get_clock().now().to_msg())
        message.header.frame_id = frame_id
        self.publisher.publish(message)

    def wait(self, until: Callable[[], bool], each: Callable[[], None] = lambda: None) -> None:
        deadline = time.monotonic() + 120
        while not until():
            assert time.monotonic() < deadline
            each()
            self.executor.spin_once(timeout_sec=0.01)

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig(Intake(64 * 64, 1_000_000, 0.2, 3.0, 1.0))
    yield made
    made.close()


def test_of_a_fast_stream_only_what_is_due_is_read_and_all_is_counted(rig: Rig) -> None:
    rig.wait(lambda: len(rig.frames) > 5, rig.publish)
    gaps = [b.stamp_ns - a.stamp_ns for a, b in zip(rig.frames, rig.frames[1:], strict=False)]
    assert min(gaps) > 0
    assert sum(gaps) / len(gaps) >= 0.15e9
    assert rig.sent > 2 * len(rig.frames)
    assert len(rig.frames) * 2 < rig.camera.received <= rig.sent
    assert rig.frames[-1].image.shape == (64, 64, 3)


def test_the_frame_of_the_newest_picture_is_known(rig: Rig) -> None:
    rig.wait(lambda: rig.camera.frame_id == 'wrist', lambda: rig.publish('wrist'))
    assert rig.camera.stamp_ns == rig.frames[-1].stamp_ns


def test_the_executor_goes_on_while_a_picture_is_read_and_closing_does_not_wait(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, release = threading.Event(), threading.Event()

    def read(self: object, message: Image) -> object:
        started.set()
        release.wait(30)
        return picture(0.2)

    monkeypatch.setattr(cameras.ImageReader, 'read', read)
    rig.wait(started.is_set, rig.publish)
    ticks: list[None] = []
    rig.node.create_timer(0.01, lambda: ticks.append(None))
    rig.wait(lambda: len(ticks) > 5)
    assert not rig.frames
    rig.camera.close()
    release.set()
    rig.wait(lambda: len(ticks) > 15)
    assert not rig.frames


def test_what_is_read_follows_the_window_and_the_check_of_freshness() -> None:
    assert Intake.of(NodeConfig()).period_s == pytest.approx(0.1)
    assert Intake.of(NodeConfig()).max_image_pixels == 64_000_000


@pytest.mark.parametrize(
    ('ahead', 'frames'), [(1000, ('camera', 'camera')), (0, ('left', 'right'))]
)
def test_two_publishers_on_one_topic_are_named_and_neither_is_believed(
    rig: Rig, ahead: int, frames: tuple[str, str]
) -> None:
    senders = (rig.publisher, rig.node.create_publisher(Image, '/cell/image', CAMERA_QOS))
    rig.wait(lambda: senders[1].get_subscription_count() == 1)
    for _ in range(ahead):
        rig.publish(frames[0])

    def either() -> None:
        which = random.randrange(2)
        rig.publisher = senders[which]
        rig.publish(frames[which])

    rig.wait(lambda: rig.camera.problem_now() is not None, either)
    problem = rig.camera.problem_now()
    assert problem is not None
    assert problem.evidence is Evidence.VIEW_CHANGED
    assert '/cell/image: 2 publishers send pictures' in problem.message
    believed, received = len(rig.frames), rig.camera.received
    rig.wait(lambda: rig.camera.received > received + 50, either)
    assert len(rig.frames) == believed
    rig.publisher = senders[0]
    rig.node.destroy_publisher(senders[1])
    rig.wait(lambda: rig.camera.problem_now() is None and len(rig.frames) > believed, rig.publish)


def test_one_publisher_that_sends_two_cameras_in_turn_is_not_believed(rig: Rig) -> None:
    def either() -> None:
        rig.publish(random.choice(('left', 'right')))

    rig.wait(lambda: rig.camera.problem_now() is not None, either)
    problem = rig.camera.problem_now()
    assert problem is not None
    assert problem.evidence is Evidence.VIEW_CHANGED
    assert '/cell/image: header.frame_id changes again and again' in problem.message
    believed, received = len(rig.frames), rig.camera.received
    rig.wait(lambda: rig.camera.received > received + 50, either)
    assert len(rig.frames) == believed
    rig.wait(lambda: rig.camera.problem_now() is None and len(rig.frames) > believed, rig.publish)
