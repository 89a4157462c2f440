from __future__ import annotations

import io
import sys
import threading
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

rclpy = pytest.importorskip('rclpy')

from demonstration_videos import TASK  # noqa: E402
from rclpy.qos import qos_profile_sensor_data  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402

from progress_monitor.adapt.annotate import main  # noqa: E402
from progress_monitor.adapt.recording import Recording  # noqa: E402

TOPIC = '/annotate_live/image'


@pytest.fixture
def camera() -> Iterator[None]:
    """A camera that publishes until the test ends."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node('annotate_live_camera', context=context)
    publisher = node.create_publisher(Image, TOPIC, qos_profile_sensor_data)
    ended = threading.Event()

    def publish() -> None:
        while not ended.wait(0.05):
            message = Image(height=48, width=64, encoding='rgb8', step=192)
            message.header.stamp = node.get_clock().now().to_msg()
            message.data = array('B', [200] * (48 * 192))
            publisher.publish(message)

    thread = threading.Thread(target=publish)
    thread.start()
    yield
    ended.set()
    thread.join()
    node.destroy_node()
    rclpy.shutdown(context=context)


def test_live_cameras_are_recorded(
    camera: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / 'demo.json'
    arguments = ['--record', '1', '--topic', TOPIC, '--task', TASK, '--out', str(out)]
    # Nobody types: what was recorded stays, and nothing was said of it.
    monkeypatch.setattr(sys, 'stdin', io.StringIO(''))
    assert main([*arguments, '--terminal']) == 0
    (video,) = tmp_path.glob('demo_*_annotate_live_image.mp4')
    with Recording([video]) as recording:
        assert recording.duration_s > 0.3
        assert recording.picture(0, 0).mean() == pytest.approx(200, abs=6)


def test_a_camera_that_shows_nothing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr('progress_monitor.ros.live._WAIT_S', 1.2)
    arguments = ['--record', '1', '--topic', '/annotate_live/nothing', '--task', TASK]
    assert main([*arguments, '--out', str(tmp_path / 'demo.json'), '--terminal']) == 2
    assert '/annotate_live/nothing' in capsys.readouterr().err
