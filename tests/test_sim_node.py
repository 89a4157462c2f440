"""The simulated cell's node over DDS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy')
pytest.importorskip('metaworld')

from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters
from ros_helpers import LATCHED, Probe, Process, arguments, fresh_domain, running
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from progress_monitor.msg import GroundTruth, MonitorStatus

NODE = ['-m', 'progress_monitor_lab.sim.node']


class Ear:
    """What a probe hears of the cell."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.images: list[Image] = []
        self.truths: list[GroundTruth] = []
        probe.node.create_subscription(Image, '/cell/image', self.images.append, 100)
        probe.node.create_subscription(GroundTruth, '/cell/ground_truth', self.truths.append, 100)

    def wait_frames(self, count: int) -> None:
        goal = len(self.images) + count
        self.probe.wait(
            lambda: len(self.images) >= goal and len(self.truths) >= goal, 180.0, 'images'
        )

    def wait_shown_since_fault(self, count: int) -> None:
        """Wait for pictures and truths that are newer than the first truth with the fault."""
        since = next(stamp_ns(truth.stamp) for truth in self.truths if truth.fault)

        def enough() -> bool:
            images = sum(stamp_ns(image.header.stamp) > since for image in self.images)
            return images >= count <= sum(stamp_ns(truth.stamp) > since for truth in self.truths)

        self.probe.wait(enough, 180.0, 'images')

    def pixels(self, number: int) -> Any:
        return np.frombuffer(self.images[number].data, np.uint8)


@contextmanager
def cell(tmp_path: Path, **values: Any) -> Iterator[tuple[Ear, Process]]:
    command = [*NODE, *arguments({'image_size': 64, **values})]
    with running(tmp_path, fresh_domain(), command) as (probe, processes):
        yield Ear(probe), processes[0]


def stamp_ns(stamp: Any) -> int:
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def test_pictures_and_truth_come_in_real_time_with_one_stamp(tmp_path: Path) -> None:
    with cell(tmp_path, task='drawer_open', seed=2) as (ear, process):
        ear.wait_frames(1)
        begun_ns = ear.probe.node.get_clock().now().nanoseconds
        ear.wait_frames(20)
        newest = ear.images[-1]
        now_ns = ear.probe.node.get_clock().now().nanoseconds
        assert begun_ns < stamp_ns(newest.header.stamp) <= now_ns
        assert (newest.encoding, newest.width, newest.height, newest.step) == ('rgb8', 64, 64, 192)
        assert newest.header.frame_id
        assert ear.pixels(-1).std() > 10.0
        stamps = {stamp_ns(image.header.stamp) for image in ear.images}

        def truths() -> set[int]:
            return {stamp_ns(truth.stamp) for truth in ear.truths}

        ear.probe.wait(lambda: len(stamps & truths()) >= len(stamps) - 2, what='their truths')
        # 10 Hz; a machine that is too busy leaves pictures out and never hurries after them.
        assert np.median(np.diff(sorted(truths()))) > 0.08e9
        truth = ear.truths[-1]
        assert truth.task == 'drawer_open'
        assert truth.instruction == 'open the drawer'
        assert truth.stage == truth.remaining_steps[0]
        assert truth.progress > 0.0
        assert [t.step for t in ear.truths] == sorted({t.step for t in ear.truths})
        assert process.stop() == 0


def test_a_replan_frees_a_robot_that_a_camera_shows_standing_still(tmp_path: Path) -> None:
    with cell(tmp_path, fault='freeze_robot', fault_at=0.2) as (ear, _):
        ear.probe.wait(lambda: ear.truths and ear.truths[-1].fault, 180.0, 'the fault')
        assert ear.truths[-1].fault == 'freeze_robot'
        ear.wait_shown_since_fault(10)
        # Its camera still delivers: no two pictures are the same.
        assert not np.array_equal(ear.pixels(-1), ear.pixels(-2))
        assert ear.truths[-1].progress == pytest.approx(ear.truths[-4].progress, abs=0.02)
        before = ear.truths[-1].progress
        answer = ear.probe.call(Trigger, '/cell/replan', Trigger.Request())
        assert answer.success
        ear.probe.wait(lambda: ear.truths[-1].progress > before + 0.1, 180.0, 'progress')
        assert ear.truths[-1].replans == 1
        assert ear.truths[-1].fault == ''


def test_a_frozen_camera_repeats_its_picture_under_new_stamps(tmp_path: Path) -> None:
    with cell(tmp_path, fault='freeze_camera', fault_at=0.2) as (ear, _):
        ear.probe.wait(lambda: ear.truths and ear.truths[-1].fault, 180.0, 'the fault')
        ear.wait_shown_since_fault(3)
        assert np.array_equal(ear.pixels(-1), ear.pixels(-2))
        assert stamp_ns(ear.images[-1].header.stamp) > stamp_ns(ear.images[-2].header.stamp)


def test_the_robot_waits_for_the_monitors_model(tmp_path: Path) -> None:
    with cell(tmp_path, wait_for='/watcher') as (ear, process):
        publisher = ear.probe.node.create_publisher(MonitorStatus, '/watcher/status', LATCHED)
        publisher.publish(MonitorStatus(state=MonitorStatus.STATE_LOADING))
        ear.probe.wait(lambda: 'waits until' in process.output(), 180.0, 'the node')
        for _ in range(20):  # the node is at work, and the robot is not
            ear.probe.call(GetParameters, '/cell/get_parameters', GetParameters.Request())
        released_ns = ear.probe.node.get_clock().now().nanoseconds
        publisher.publish(MonitorStatus(state=MonitorStatus.STATE_STALE))
        ear.wait_frames(2)
        assert ear.truths[0].step == 0
        assert stamp_ns(ear.truths[0].stamp) > released_ns


def test_a_parameter_that_would_have_no_effect_is_refused(tmp_path: Path) -> None:
    with cell(tmp_path) as (ear, _):
        ear.wait_frames(1)
        value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value='push')
        request = SetParameters.Request(parameters=[Parameter(name='task', value=value)])
        result = ear.probe.call(SetParameters, '/cell/set_parameters', request).results[0]
        assert not result.successful
        assert 'task: read at start only' in result.reason


@pytest.mark.parametrize(
    ('values', 'said'),
    [
        ({'task': 'fly'}, "task: 'fly' is not one of pick_place"),
        ({'fault': 'explode'}, "fault: 'explode' is not one of none"),
        ({'task': 'door_open', 'fault': 'drop'}, 'fault: drop cannot happen in task door_open'),
        ({'speed': 0.0}, 'speed: 0.0 must be above 0'),
        ({'seed': 'one'}, "seed: expected int, got str 'one'"),
    ],
)
def test_wrong_parameters_end_the_node_with_a_sentence(
    values: dict[str, Any], said: str, tmp_path: Path
) -> None:
    process = Process(fresh_domain(), [*NODE, *arguments(values)], tmp_path / 'log')
    assert process.child.wait(180) == 2
    assert said in process.output()
    assert 'Traceback' not in process.output()
