"""Lifecycle and parameters of the monitor node, over DDS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip('rclpy')

from lifecycle_msgs.msg import Transition
from ros_helpers import (
    ACTIVE,
    INACTIVE,
    MONITOR,
    QUICK,
    UNCONFIGURED,
    Probe,
    fresh_domain,
    monitor_command,
    running,
)
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from progress_monitor.msg import MonitorStatus
from progress_monitor.srv import SetTask


def test_each_bad_parameter_refuses_configure_by_name(tmp_path: Path) -> None:
    """All are bad at once; each is mended when configure has named it."""
    bad = {
        'image_topics': (['bad topic'], ['/cell/image'], "image_topics: 'bad topic'"),
        'window.min_images': (0, 5, 'window.min_images: 0 is below its minimum 2'),
        'stall.allowance': (-1.0, 1.0, 'stall.allowance: -1.0 must be above 0.0'),
        'window.policy': ('newest', 'growing', "window.policy: 'newest' is not one of"),
        'model.quantization': (4, 'none', 'model.quantization: expected str'),
        'model.adapters': ('a', ['a'], "model.adapters: expected list, got str 'a'"),
        'stall.step_allowances': (['Lift'], ['Lift=3'], 'stall.step_allowances'),
    }
    command = monitor_command(**{name: values[0] for name, values in bad.items()})
    with running(tmp_path, fresh_domain(), command) as (probe, processes):
        expected = dict(bad)
        # The node starts itself, and says why it could not.
        while expected:
            named = probe.wait(
                lambda: [
                    name
                    for name, values in expected.items()
                    if probe.state() == MonitorStatus.STATE_ERROR
                    and values[2] in probe.status[-1].message
                ],
                what=f'a refusal that names one of {list(expected)}',
            )
            good = expected.pop(named[0])[1]
            assert probe.set_parameter(named[0], good).successful
            assert probe.transition(Transition.TRANSITION_CONFIGURE) is (not expected)
        assert probe.lifecycle() == INACTIVE
        output = processes[0].output()
    assert 'Traceback' not in output
    for _, _, reason in bad.values():
        assert reason in output


@pytest.mark.parametrize('topic', ['/cell//image', '{robot}/image', f'/{"long" * 70}'])
def test_a_name_that_only_the_middleware_refuses_is_named(tmp_path: Path, topic: str) -> None:
    command = monitor_command(image_topics=[topic])
    with running(tmp_path, fresh_domain(), command) as (probe, _):
        status = probe.wait_state(MonitorStatus.STATE_ERROR)
        assert status.message.startswith(f'not configured: image_topics: {topic!r}: ')
        assert '.c:' not in status.message


def test_more_images_than_can_be_shown_at_once_are_refused(tmp_path: Path) -> None:
    topics = [f'/camera_{number}/image' for number in range(3)]
    command = monitor_command(image_topics=topics, window__min_images=64, window__max_images=64)
    with running(tmp_path, fresh_domain(), command) as (probe, processes):
        status = probe.wait_state(MonitorStatus.STATE_ERROR)
        assert 'window.min_images: 64 with 3 cameras' in status.message
        assert probe.set_parameter('window.min_images', 5).successful
        assert probe.transition(Transition.TRANSITION_CONFIGURE)
        refused = probe.set_parameter('window.min_images', 64)
        assert not refused.successful
        assert 'window.min_images: 64 with 3 cameras' in refused.reason
        assert probe.transition(Transition.TRANSITION_ACTIVATE)
        assert processes[0].child.poll() is None


def test_what_a_transition_raises_is_said_in_the_status(tmp_path: Path) -> None:
    with running(tmp_path, fresh_domain(), monitor_command('broken')) as (probe, _):
        status = probe.wait_state(MonitorStatus.STATE_ERROR)
        assert 'on_configure failed' in status.message
        assert 'no room for frames' in status.message
        assert probe.lifecycle() == UNCONFIGURED


def test_a_node_that_is_shut_down_says_that_it_cannot_come_back(tmp_path: Path) -> None:
    with running(tmp_path, fresh_domain(), monitor_command(task='Lift the block.')) as (probe, _):
        probe.show = 0.3
        probe.wait(lambda: probe.progress, what='a tick')
        assert probe.transition(Transition.TRANSITION_ACTIVE_SHUTDOWN)
        probe.wait(lambda: 'only a new process' in probe.status[-1].message, what='the status')
        for number in range(1, 8):
            assert not probe.transition(number)
        answer = probe.call(SetTask, f'{MONITOR}/set_task', SetTask.Request(task='Lift.'))
        assert 'shut down' in answer.message


def test_a_task_at_start_that_is_too_long_refuses_configure(tmp_path: Path) -> None:
    command = monitor_command(task='Lift ' * 2000, model__path='\x1b[31mred')
    with running(tmp_path, fresh_domain(), command) as (probe, processes):
        status = probe.wait_state(MonitorStatus.STATE_ERROR)
        assert 'not configured: task: the text has 9999 characters' in status.message
        assert '\x1b[31mred' not in processes[0].output()


def test_a_clock_that_stands_at_0_is_told_from_one_that_nobody_publishes(tmp_path: Path) -> None:
    command = monitor_command(use_sim_time=True, task='Lift the block.')
    with running(tmp_path, fresh_domain(), command) as (probe, _):
        probe.show = 0.2
        probe.wait(
            lambda: probe.status and 'nobody publishes /clock' in probe.status[-1].message,
            what='the missing clock',
        )
        probe.status.clear()
        probe.wait(lambda: len(probe.status) > 4, what='a status that pictures do not change')
        assert all('nobody publishes /clock' in status.message for status in probe.status)
        clock = probe.node.create_publisher(Clock, '/clock', 10)

        def said(text: str) -> bool:
            clock.publish(Clock())
            return text in probe.status[-1].message

        probe.wait(lambda: said('paused at 0'), what='the clock that stands')
        assert probe.status[-1].state == MonitorStatus.STATE_STALE
        assert probe.status[-1].evidence == MonitorStatus.EVIDENCE_NO_FRAMES


def test_what_is_judged_carries_the_frame_of_the_camera_that_saw_it(tmp_path: Path) -> None:
    """The first camera is dead: progress, stall and picture speak of the second one's frames."""
    command = monitor_command(
        image_topics=['/dead/image', '/cell/image'], task='Lift the block.', stall__allowance=0.5
    )
    with running(tmp_path, fresh_domain(), command) as (probe, _):
        images: list[Image] = []
        probe.node.create_subscription(Image, f'{MONITOR}/overlay/image', images.append, 1)
        probe.show = 0.2
        stall = probe.wait(lambda: probe.stalls and probe.stalls[-1], what='a stall')
        probe.wait(lambda: images, what='a picture')
        assert probe.progress[-1].header.frame_id == 'camera'
        assert stall.header.frame_id == 'camera'
        assert images[-1].header.frame_id == 'camera'


@pytest.fixture(scope='module')
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probe]:
    command = monitor_command(autostart=False)
    with running(tmp_path_factory.mktemp('node'), fresh_domain(), command) as (started, _):
        yield started


@pytest.fixture
def probe(node: Probe) -> Probe:
    """The running node, unconfigured, whatever the test before has left."""
    if node.lifecycle() == ACTIVE:
        assert node.transition(Transition.TRANSITION_DEACTIVATE)
    if node.lifecycle() == INACTIVE:
        assert node.transition(Transition.TRANSITION_CLEANUP)
    allowance = QUICK['stall.allowance']
    assert node.set_parameter('stall.allowance', allowance).successful
    return node


def test_the_status_says_that_the_node_waits_to_be_configured(probe: Probe) -> None:
    status = probe.wait_state(MonitorStatus.STATE_IDLE)
    assert status.message == 'not configured'
    assert probe.lifecycle() == UNCONFIGURED


def test_bad_values_are_refused_at_once_when_set(probe: Probe) -> None:
    result = probe.set_parameter('stall.allowance', -3.0)
    assert not result.successful
    assert result.reason == 'stall.allowance: -3.0 must be above 0.0'
    assert probe.get_parameter('stall.allowance').double_value == 1.0


def test_services_say_that_the_node_is_not_configured(probe: Probe) -> None:
    answer = probe.call(SetTask, f'{MONITOR}/set_task', SetTask.Request(task='Lift the block.'))
    assert not answer.success
    assert 'not configured' in answer.message


def test_the_lifecycle_turns_any_number_of_times(probe: Probe) -> None:
    for _ in range(3):
        for number, reached in (
            (Transition.TRANSITION_CONFIGURE, INACTIVE),
            (Transition.TRANSITION_ACTIVATE, ACTIVE),
            (Transition.TRANSITION_DEACTIVATE, INACTIVE),
            (Transition.TRANSITION_CLEANUP, UNCONFIGURED),
        ):
            assert probe.transition(number)
            assert probe.lifecycle() == reached


def test_parameters_while_configured(probe: Probe) -> None:
    """Judgement's parameters may change on the run; the model's and the cameras' may not."""
    assert probe.transition(Transition.TRANSITION_CONFIGURE)
    for name, value, reason in (
        ('model.path', 'elsewhere', 'clean it up first'),
        ('image_topics', ['/other'], 'clean it up first'),
        ('task', 'Lift the block.', 'call ~/set_task'),
        ('window.max_images', 3, 'window.max_images'),
        ('stall.step_allowances', ['Lift'], 'stall.step_allowances'),
    ):
        result = probe.set_parameter(name, value)
        assert not result.successful
        assert reason in result.reason
    assert probe.set_parameter('stall.allowance', 7.0).successful
    assert probe.get_parameter('stall.allowance').double_value == 7.0
    assert probe.transition(Transition.TRANSITION_CLEANUP)


def test_the_status_goes_on_while_nothing_else_happens(probe: Probe) -> None:
    count = len(probe.status)
    probe.wait(lambda: len(probe.status) >= count + 4, what='four messages')
