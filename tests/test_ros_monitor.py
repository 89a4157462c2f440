"""Progress, stall, success, services and the overlay of the monitor node, over DDS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from ros_helpers import (
    ACTIVE,
    LATCHED,
    MONITOR,
    QUICK,
    Probe,
    Process,
    fresh_domain,
    image_message,
    monitor_command,
    picture,
    running,
)
from sensor_msgs.msg import Image
from std_msgs.msg import Float32, String
from std_srvs.srv import Trigger
from visualization_msgs.msg import MarkerArray

from progress_monitor.action import MonitorTask
from progress_monitor.msg import MonitorStatus, Stall, Step
from progress_monitor.ros.messages import to_ns
from progress_monitor.srv import AcknowledgeRecovery, SetTask


@pytest.fixture(scope='module')
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Probe, Process]]:
    folder = tmp_path_factory.mktemp('node')
    with running(folder, fresh_domain(), monitor_command()) as (probe, processes):
        yield probe, processes[0]


@pytest.fixture
def process(started: tuple[Probe, Process]) -> Process:
    return started[1]


@pytest.fixture
def probe(started: tuple[Probe, Process]) -> Probe:
    """The running node with nothing heard yet and no task."""
    node = started[0]
    node.show = 0.2
    if node.lifecycle() != ACTIVE:
        assert node.transition(Transition.TRANSITION_ACTIVATE)
    set_task(node, '')
    node.wait_state(MonitorStatus.STATE_IDLE)
    node.wait(lambda: not node.stalls or not node.stalls[-1].stalled, what='the release')
    for heard in (node.progress, node.stalls, node.successes):
        heard.clear()
    return node


def set_task(probe: Probe, task: str, task_id: str = '') -> str:
    request = SetTask.Request(task=task, task_id=task_id)
    answer = probe.call(SetTask, f'{MONITOR}/set_task', request)
    assert answer.success
    return str(answer.task_id)


def stall(probe: Probe) -> Stall:
    probe.wait(lambda: probe.stalls and probe.stalls[-1].stalled, what='a stall')
    return probe.stalls[-1]


def test_without_a_task_nothing_is_judged(probe: Probe) -> None:
    status = probe.status[-1]
    assert (status.task, status.task_id) == ('', '')
    received = probe.status[-1].frames_received
    probe.wait(lambda: probe.status[-1].frames_received > received + 5, what='frames')
    idle_ns = to_ns(status.stamp)
    assert not any(to_ns(item.header.stamp) > idle_ns for item in probe.progress)


def test_every_tick_publishes_progress_with_its_stamp(probe: Probe) -> None:
    values: list[float] = []
    listener = probe.node.create_subscription(
        Float32, f'{MONITOR}/progress_value', lambda message: values.append(message.data), 10
    )
    task_id = set_task(probe, 'Lift the block.')
    probe.show = 0.3
    probe.wait(lambda: len(probe.progress) >= 8, what='eight ticks')
    message = probe.progress[-1]
    assert message.task_id == task_id
    assert message.task == 'Lift the block.'
    assert message.progress == pytest.approx(0.3, abs=0.02)
    assert message.remaining_steps == ['Grasp the block.', 'Lift the block.']
    assert message.steps_known
    assert message.answerable
    assert [step.text for step in message.plan] == message.remaining_steps
    assert message.plan[0].status == Step.IN_PROGRESS
    assert message.frames in range(5, 18)
    assert message.age_s >= 0.0
    assert message.header.frame_id == 'camera'
    stamps = [(item.header.stamp.sec, item.header.stamp.nanosec) for item in probe.progress]
    assert stamps == sorted(set(stamps))
    probe.wait(lambda: values and values[-1] == pytest.approx(0.3, abs=0.02), what='the number')
    probe.node.destroy_subscription(listener)


def test_a_stall_is_published_once_and_released_by_progress(probe: Probe) -> None:
    task_id = set_task(probe, 'Lift the block.')
    held = stall(probe)
    assert held.task_id == task_id
    assert held.event_id
    assert held.cause == Stall.CAUSE_NO_CHANGE
    assert held.step == 'Grasp the block.'
    assert held.explanation
    probe.wait_state(MonitorStatus.STATE_STALLED)
    ticks = len(probe.progress)
    probe.wait(lambda: len(probe.progress) > ticks + 5, what='more ticks of the same stall')
    assert len(probe.stalls) == 1

    probe.show = 0.6
    probe.wait(lambda: not probe.stalls[-1].stalled, what='the release')
    assert probe.stalls[-1].event_id == held.event_id
    assert probe.stalls[-1].cause == Stall.CAUSE_NONE


def test_a_lost_object_is_a_regression(probe: Probe) -> None:
    set_task(probe, 'Lift the block.')
    for progress in (0.3, 0.5, 0.7):
        probe.show = progress
        count = len(probe.progress)
        probe.wait(lambda count=count: len(probe.progress) >= count + 4, what='ticks')
    probe.show = 0.2
    # On a slow machine the wait for ticks is a standstill, which comes first then.
    probe.wait(
        lambda: probe.stalls and probe.stalls[-1].cause == Stall.CAUSE_REGRESSION,
        what='the regression',
    )
    probe.wait_state(MonitorStatus.STATE_REGRESSING)


def test_success_is_latched_for_late_joiners_as_is_the_status(probe: Probe) -> None:
    task_id = set_task(probe, 'Lift the block.')
    probe.show = 1.0
    probe.wait(lambda: probe.successes and probe.successes[-1].succeeded, what='success')
    assert probe.successes[-1].task_id == task_id
    probe.wait_state(MonitorStatus.STATE_SUCCEEDED)

    late = Probe(probe.context.get_domain_id())
    try:
        late.wait(lambda: late.successes and late.status, what='what is latched')
        assert late.successes[-1].event_id == probe.successes[-1].event_id
        # A subscription that asks for transient local matches no other publisher.
        assert late.status[-1].task_id == task_id
    finally:
        late.close()
    assert not probe.stalls


def test_a_new_task_takes_the_old_stall_back(probe: Probe) -> None:
    old = set_task(probe, 'Lift the block.', 'old')
    held = stall(probe)
    set_task(probe, 'Push the block.', 'new')
    probe.wait(lambda: not probe.stalls[-1].stalled, what='the release')
    assert probe.stalls[-1].event_id == held.event_id
    assert probe.stalls[-1].task_id == old


def test_white_space_stops_watching(probe: Probe) -> None:
    set_task(probe, 'Lift the block.')
    probe.wait(lambda: probe.progress, what='a tick')
    assert set_task(probe, ' \n') == ''
    probe.wait_state(MonitorStatus.STATE_IDLE)


def test_a_recovery_is_acknowledged_by_its_event(probe: Probe) -> None:
    def acknowledge(event_id: str, duration_s: float) -> AcknowledgeRecovery.Response:
        request = AcknowledgeRecovery.Request(event_id=event_id, duration_s=duration_s)
        return probe.call(AcknowledgeRecovery, f'{MONITOR}/acknowledge_recovery', request)

    set_task(probe, 'Lift the block.')
    held = stall(probe)
    assert 'not the present stall' in acknowledge('another', 0.0).message
    assert 'duration_s' in acknowledge(held.event_id, -1.0).message
    assert probe.stalls[-1].stalled
    assert acknowledge(held.event_id, 60.0).success
    probe.wait(lambda: not probe.stalls[-1].stalled, what='the release')
    ticks = len(probe.progress)
    # More than the allowance of one second goes by while judgement is suspended.
    probe.wait(lambda: len(probe.progress) > ticks + 20, what='ticks without judgement')
    assert not probe.stalls[-1].stalled


def test_reset_starts_anew_with_the_same_task(probe: Probe) -> None:
    task_id = set_task(probe, 'Lift the block.')
    stall(probe)
    assert probe.call(Trigger, f'{MONITOR}/reset', Trigger.Request()).success
    probe.wait(lambda: not probe.stalls[-1].stalled, what='the release')
    probe.wait(lambda: probe.status[-1].ticks < 8, what='a fresh count of ticks')
    assert probe.status[-1].task_id == task_id


def test_unreadable_answers_make_it_unsure_and_nothing_else(probe: Probe) -> None:
    set_task(probe, 'Lift the block.')
    probe.wait(lambda: probe.progress, what='a tick')
    probe.show = -1.0
    probe.wait(
        lambda: probe.status[-1].evidence == MonitorStatus.EVIDENCE_REFUSED, what='a refusal'
    )
    assert probe.status[-1].state == MonitorStatus.STATE_UNSURE
    probe.wait(lambda: not probe.progress[-1].answerable, what='a refusal')
    assert np.isnan(probe.progress[-1].progress)
    probe.show = -2.0
    probe.wait(
        lambda: probe.status[-1].evidence == MonitorStatus.EVIDENCE_NO_NUMBER,
        what='an unreadable answer',
    )
    ticks = len(probe.progress)
    probe.wait(lambda: len(probe.progress) > ticks + 15, what='ticks beyond the allowance')
    assert not probe.stalls
    assert not probe.successes


def test_an_allowance_may_be_changed_on_the_run(probe: Probe) -> None:
    set_task(probe, 'Lift the block.')
    assert probe.set_parameter('stall.allowance', 600.0).successful
    try:
        probe.wait(lambda: not probe.stalls or not probe.stalls[-1].stalled, what='the release')
        probe.stalls.clear()
        probe.progress.clear()
        probe.wait(lambda: len(probe.progress) > 20, what='ticks beyond the old allowance')
        assert not probe.stalls
    finally:
        probe.set_parameter('stall.allowance', QUICK['stall.allowance'])


def test_a_changed_parameter_takes_the_stall_back_and_keeps_the_plan(probe: Probe) -> None:
    """A goal that stops on a stall must not be ended by one that nobody upholds any more."""
    task_id = set_task(probe, 'Lift the block.')
    held = stall(probe)
    plan = [step.text for step in probe.progress[-1].plan]
    assert plan
    assert probe.set_parameter('stall.allowance', 600.0).successful
    try:
        probe.wait(lambda: not probe.stalls[-1].stalled, what='the release')
        assert (probe.stalls[-1].event_id, probe.stalls[-1].task_id) == (held.event_id, task_id)
        probe.progress.clear()
        probe.wait(lambda: probe.progress, what='a tick')
        assert [step.text for step in probe.progress[0].plan] == plan
        request = AcknowledgeRecovery.Request(event_id=held.event_id)
        answer = probe.call(AcknowledgeRecovery, f'{MONITOR}/acknowledge_recovery', request)
        assert 'not the present stall' in answer.message
        result = probe.send_goal(task='Lift the block.', stop_on_stall=True).get_result_async()
        probe.progress.clear()
        probe.wait(lambda: len(probe.progress) > 5, what='ticks of the goal')
        assert not result.done()
        assert probe.stalls[-1].stalled is False
    finally:
        probe.set_parameter('stall.allowance', QUICK['stall.allowance'])


def test_a_cosmetic_or_refused_parameter_changes_nothing_of_a_stall(probe: Probe) -> None:
    set_task(probe, 'Lift the block.')
    stall(probe)
    ticks = probe.status[-1].ticks
    assert probe.set_parameter('marker_frame', 'base_link').successful
    assert not probe.set_parameter('stall.step_allowances', ['Lift']).successful
    assert not probe.set_parameter('window.max_images', 3).successful
    probe.wait(lambda: probe.status[-1].ticks > ticks + 5, what='more ticks')
    assert [message.stalled for message in probe.stalls] == [True]
    assert probe.set_parameter('marker_frame', '').successful


def test_strategy_and_task_change_at_the_next_tick(probe: Probe) -> None:
    kept = set_task(probe, 'Lift the block.')
    probe.wait(lambda: probe.progress, what='a tick')
    before = probe.progress[-1].prompt_hash
    plan = [step.text for step in probe.progress[-1].plan]
    assert plan
    assert probe.set_parameter('recurrent.sample_period', 0.1).successful
    assert probe.set_parameter('strategy', 'recurrent').successful
    # One that was under way when the parameter was set may come after the reply to it.
    probe.progress.clear()
    probe.wait(lambda: len(probe.progress) >= 2, what='ticks of the other strategy')
    try:
        probe.wait(lambda: probe.status[-1].strategy == 'recurrent', what='its name')
        message = probe.progress[1]
        assert message.prompt_hash != before
        assert message.task_id == kept
        assert 'Lift the block.' in message.thought
        assert [step.text for step in message.plan] == plan
        other = set_task(probe, 'Push the button.')
        probe.wait(lambda: probe.progress[-1].task_id == other, what='the other task')
        first = next(item for item in probe.progress if item.task_id == other)
        assert 'Push the button.' in first.thought
        assert 'Lift' not in first.thought
        assert not first.plan
    finally:
        assert probe.set_parameter('strategy', 'procvlm').successful
    probe.progress.clear()
    probe.wait(lambda: len(probe.progress) >= 2, what='ticks of the first strategy')
    assert probe.progress[-1].prompt_hash == before


@pytest.mark.parametrize('text', ['Lift ' * 2000, '取' * 100_000], ids=['ascii', 'wide'])
def test_a_task_that_no_model_could_be_asked_about_is_refused(probe: Probe, text: str) -> None:
    kept = set_task(probe, 'Lift the block.')
    request = SetTask.Request(task=text)
    answer = probe.call(SetTask, f'{MONITOR}/set_task', request)
    assert not answer.success
    assert 'characters; at most' in answer.message
    result = probe.send_goal(task=text).get_result_async()
    probe.wait(result.done, what='the result')
    assert result.result().result.error_code == MonitorTask.Result.INVALID_GOAL
    probe.wait(lambda: probe.status[-1].task_id == kept, what='the task that was kept')
    probe.progress.clear()
    probe.wait(lambda: probe.progress, what='a tick of the same task')
    assert probe.progress[0].task_id == kept


def test_escape_sequences_of_a_task_do_not_reach_the_log(probe: Probe, process: Process) -> None:
    set_task(probe, 'Lift \x1b]0;owned\x07\x1b[2J\r\nthe block.')
    probe.wait(lambda: 'owned' in process.output(), what='the line in the log')
    line = next(line for line in process.output().splitlines() if 'owned' in line)
    assert 'the block.' in line
    assert line.isprintable()


def test_status_and_progress_say_what_the_numbers_came_from(probe: Probe) -> None:
    set_task(probe, 'Lift the block.')
    probe.wait(lambda: probe.progress and probe.status[-1].finish, what='a tick in the status')
    status, message = probe.status[-1], probe.progress[-1]
    assert (status.finish, message.finish) == ('stop', 'stop')
    assert status.strategy == 'procvlm'
    assert status.max_pixels == QUICK['model.max_pixels']
    assert np.isnan(status.tick_ms)
    assert np.isnan(message.success_probability)


def test_the_annotated_picture_carries_the_stamp_of_what_it_shows(probe: Probe) -> None:
    """Whatever the task's text; and calls are answered while it is drawn."""
    images: list[Image] = []
    listener = probe.node.create_subscription(Image, f'{MONITOR}/overlay/image', images.append, 1)
    sent: list[int] = []

    def stamped(stamp: Any) -> Image:
        stamp.nanosec = stamp.nanosec // 1000 * 1000 + 7
        sent.append(to_ns(stamp))
        return image_message(picture(0.2, seed=len(sent)), stamp)

    probe.next_message = stamped
    try:
        set_task(probe, 'x' * 3900)
        # The first may still be drawn from what was sent before.
        probe.wait(lambda: images and to_ns(images[-1].header.stamp) in sent, what='the first')
        images.clear()
        probe.wait(lambda: len(images) > 5, what='annotated pictures')
    finally:
        probe.next_message = None
        probe.node.destroy_subscription(listener)
    assert {to_ns(image.header.stamp) for image in images} <= set(sent)
    assert {image.header.frame_id for image in images} == {'camera'}


def test_overlay_and_markers_show_state_and_picture(probe: Probe) -> None:
    images: list[Image] = []
    texts: list[str] = []
    markers: list[MarkerArray] = []
    listeners = [
        probe.node.create_subscription(Image, f'{MONITOR}/overlay/image', images.append, 1),
        probe.node.create_subscription(
            String, f'{MONITOR}/overlay/text', lambda text: texts.append(text.data), LATCHED
        ),
        probe.node.create_subscription(MarkerArray, f'{MONITOR}/markers', markers.append, 1),
    ]
    set_task(probe, 'Lift the block.')
    stall(probe)
    probe.wait(lambda: images and texts and markers, what='the overlay')
    probe.wait(lambda: 'STALLED 20 %' in texts[-1], what='the state in the text')
    image = images[-1]
    assert image.encoding == 'rgb8'
    assert len(image.data) == image.step * image.height
    assert image.width > image.height
    assert markers[-1].markers[0].header.frame_id == 'camera'
    probe.wait(
        lambda: any('20 %' in marker.text for marker in markers[-1].markers), what='the markers'
    )
    for listener in listeners:
        probe.node.destroy_subscription(listener)


def test_five_diagnostic_tasks_and_a_stall_is_no_error(probe: Probe) -> None:
    arrays: list[DiagnosticArray] = []
    listener = probe.node.create_subscription(DiagnosticArray, '/diagnostics', arrays.append, 10)
    set_task(probe, 'Lift the block.')
    stall(probe)
    arrays.clear()
    ok = {DiagnosticStatus.OK}
    probe.wait(
        lambda: arrays and {status.level for status in arrays[-1].status} == ok,
        what='diagnostics without an error',
    )
    names = [status.name for status in arrays[-1].status]
    tasks = ['camera', 'inference', 'model', 'memory', 'messages']
    assert names == [f'progress_monitor: {name}' for name in tasks]
    assert probe.stalls[-1].stalled
    probe.node.destroy_subscription(listener)


def test_a_node_that_is_not_active_upholds_no_stall(probe: Probe) -> None:
    set_task(probe, 'Lift the block.')
    held = stall(probe)
    assert probe.transition(Transition.TRANSITION_DEACTIVATE)
    try:
        probe.wait(lambda: not probe.stalls[-1].stalled, what='the release')
        assert probe.stalls[-1].event_id == held.event_id
        assert probe.wait_state(MonitorStatus.STATE_IDLE).message == 'configured, not active'
    finally:
        assert probe.transition(Transition.TRANSITION_ACTIVATE)
    probe.wait(lambda: probe.status[-1].task == 'Lift the block.', what='the task again')
    assert [item.stalled for item in probe.stalls[:2]] == [True, False]
    assert all(item.event_id != held.event_id for item in probe.stalls[2:])
