"""The examples of the integration guide and the behaviours, over DDS, in processes of their own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy')

import ros_helpers
from py_trees.common import Status
from py_trees.trees import BehaviourTree
from rclpy.action import ActionClient, ActionServer
from rclpy.node import Node
from rclpy.task import Future
from ros_fake_robot import FakeRobot
from ros_helpers import Process, arguments, monitor_command, world_of
from std_msgs.msg import String
from std_srvs.srv import Trigger

from progress_monitor import action
from progress_monitor.msg import MonitorStatus, Progress
from progress_monitor.msg import RecoveryEvent as Event
from progress_monitor.ros import sent_goal
from progress_monitor.ros.behaviours import IsStalled, IsSucceeded, MonitorTask, Replan

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / 'examples'
SUPERVISOR = ['-m', 'progress_monitor.ros.supervisor_node']


class World(ros_helpers.World):
    """A domain with examples and supervisors."""

    def example(self, name: str, *more: str) -> Process:
        return self.start(['-u', str(EXAMPLES / name), *more])

    def supervise(self, **values: Any) -> Process:
        given = {'state_file': str(self.folder / 'record.json'), **values}
        return self.start([*SUPERVISOR, *arguments(given)])


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with world_of(World, tmp_path) as made:
        yield made


def test_a_plain_script_follows_a_task_to_its_end(world: World) -> None:
    world.start(monitor_command())
    world.probe.show = 0.3
    script = world.example('watch_task.py', 'Lift the block.')
    world.probe.wait(lambda: '30% Grasp the block.' in script.output(), what='feedback')
    world.probe.show = 1.0
    world.probe.wait(lambda: script.child.poll() is not None, what='the end')
    assert script.child.returncode == 0
    assert script.output().rstrip().endswith('done')


def test_a_plain_script_ends_with_a_monitor_that_was_killed(world: World) -> None:
    monitor = world.start(monitor_command())
    world.probe.show = 0.3
    script = world.example('watch_task.py', 'Lift the block.')
    world.probe.wait(lambda: '30%' in script.output(), what='feedback')
    monitor.child.kill()
    world.probe.wait(lambda: script.child.poll() is not None, what='the end')
    assert script.child.returncode == 1
    assert script.output().rstrip().endswith('the monitor is gone')


def test_an_own_tree_replans_acknowledges_and_ends_on_success(world: World) -> None:
    robot = FakeRobot(world.probe.node)
    robot.offer_replan()
    robot.status(MonitorStatus.STATE_STALLED)
    robot.stall('a')
    tree = world.example('own_tree.py')
    world.probe.wait(lambda: robot.acknowledged, what='acknowledgement')
    assert set(robot.acknowledged_events) == {'a'}
    assert robot.replans == 1
    robot.stall('a', stalled=False)
    robot.succeed()
    world.probe.wait(lambda: tree.child.poll() is not None, what='the end')
    assert 'the task has succeeded' in tree.output()
    assert tree.child.returncode == 0


def test_an_action_server_is_the_rung(world: World) -> None:
    robot = FakeRobot(world.probe.node)
    robot.stall('a')
    world.supervise(policy_file=str(EXAMPLES / 'action_rung.yaml'))
    world.probe.wait(lambda: Event.KIND_NO_SERVER in robot.kinds(), what='that it waits')
    world.example('action_server.py')
    world.probe.wait(lambda: robot.acknowledged, what='acknowledgement')
    world.probe.wait(lambda: Event.KIND_DONE in robot.kinds(), what='that it is done')
    assert robot.kinds()[-2:] == [Event.KIND_HOME, Event.KIND_DONE]
    assert robot.events[-1].target == '/arm/home'
    assert robot.events[-1].attempt == 1


@pytest.mark.parametrize(
    ('change', 'named'),
    [
        (('MonitorTask', 'NoSuchTask'), 'actions.home.type'),
        (('task: home', 'task: 3'), 'actions.home.goal'),
        (('task: home', 'tusk: home'), 'actions.home.goal'),
    ],
)
def test_an_action_that_is_not_there_is_named(
    world: World, tmp_path: Path, change: tuple[str, str], named: str
) -> None:
    policy = tmp_path / 'policy.yaml'
    policy.write_text((EXAMPLES / 'action_rung.yaml').read_text().replace(*change))
    supervisor = world.supervise(policy_file=str(policy))
    world.probe.wait(lambda: supervisor.child.poll() is not None, what='its end')
    assert supervisor.child.returncode == 2
    assert named in supervisor.output()
    assert 'Traceback' not in supervisor.output()


def test_a_policy_server_replans_on_a_trigger(world: World) -> None:
    robot = FakeRobot(world.probe.node)
    robot.stall('a')
    world.example('policy_server.py')
    world.supervise(replan_service='/robot/replan')
    world.probe.wait(lambda: robot.acknowledged, what='acknowledgement')
    world.probe.wait(lambda: Event.KIND_REPLANNED in robot.kinds(), what='that it has replanned')
    assert 'a new chunk is asked for' in robot.events[-1].message


def test_the_bridge_speaks_as_a_critic_of_openral(world: World) -> None:
    node = world.probe.node
    scores: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []
    node.create_subscription(
        String, '/openral/critic/score', lambda item: scores.append(json.loads(item.data)), 10
    )
    node.create_subscription(
        String, '/openral/failure/critic', lambda item: failures.append(json.loads(item.data)), 10
    )
    robot = FakeRobot(node)
    progress = node.create_publisher(Progress, '/progress_monitor/progress', 10)
    world.start([str(ROOT / 'tests' / 'openral_stub.py')])
    unknown = Progress(task_id='task', progress=float('nan'))
    known = Progress(task_id='task', progress=0.5)

    def heard() -> bool:
        progress.publish(unknown)
        progress.publish(known)
        return bool(scores)

    world.probe.wait(heard, what='a score')
    assert all(item['score'] == 0.5 for item in scores)
    assert scores[0]['threshold'] == 0.8
    robot.stall('a', progress=0.9)
    world.probe.wait(lambda: failures, what='the stall')
    robot.stall('a', progress=0.9)
    robot.succeed()
    world.probe.wait(lambda: len(failures) == 2, what='the success')
    stall, success = (json.loads(item['evidence_json']) for item in failures)
    assert [item['kind'] for item in failures] == [4, 4]
    assert [item['severity'] for item in failures] == [2, 2]
    assert stall['score'] < stall['threshold'] <= success['score']
    assert (stall['event_id'], success['event_id']) == ('a', 'done')


def test_the_bridge_says_that_openral_is_missing(world: World) -> None:
    bridge = world.start(['-m', 'progress_monitor.ros.openral_bridge'])
    world.probe.wait(lambda: bridge.child.poll() is not None, what='its end')
    assert bridge.child.returncode == 2
    assert 'openral_msgs is not installed' in bridge.output()


def test_the_task_behaviour_runs_to_its_result_and_cancels_when_interrupted(world: World) -> None:
    probe = world.probe
    world.start(monitor_command())
    probe.show = 0.3
    task = MonitorTask('lift', task='Lift the block.')
    tree = BehaviourTree(task)
    tree.setup(node=probe.node)

    def ticked(status: Status) -> bool:
        tree.tick()
        return bool(task.status is status)

    def fed_back() -> bool:
        tree.tick()
        return '30%' in str(task.feedback_message)

    probe.wait(fed_back, what='feedback')
    task.stop(Status.INVALID)
    probe.wait_state(MonitorStatus.STATE_IDLE)
    probe.wait(fed_back, what='feedback of another goal')
    probe.show = 1.0
    probe.wait(lambda: ticked(Status.SUCCESS), what='success')
    assert task.result is not None and task.result.succeeded


@pytest.mark.parametrize('accepted', [False, True])
def test_a_goal_whose_acceptance_no_tick_has_seen_is_cancelled(
    world: World, accepted: bool
) -> None:
    """Interrupted before the answer to the goal has arrived, or after it and before a tick."""
    probe = world.probe
    world.start(monitor_command())
    probe.show = 0.3
    task = MonitorTask('lift', task='Lift the block.')
    task.setup(node=probe.node)

    def sent() -> bool:
        task.feedback_message = ''
        task.tick_once()
        return not task.feedback_message

    def watched() -> bool:
        return bool(probe.status) and probe.status[-1].task == 'Lift the block.'

    probe.wait(sent, what='that the goal is sent')
    if accepted:
        probe.wait(lambda: '30%' in task.feedback_message, what='feedback, without a tick')
    task.stop(Status.INVALID)
    probe.wait(watched, what='that the goal is watched')
    probe.wait(lambda: not watched(), what='that it is cancelled')
    probe.wait_state(MonitorStatus.STATE_IDLE)


def test_a_goal_that_a_monitor_started_anew_does_not_know_is_no_longer_awaited(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sent_goal, 'ASK_AGAIN_S', 0.5)
    probe = world.probe
    monitor = world.start(monitor_command())
    probe.show = 0.3
    task = MonitorTask('lift', task='Lift the block.')
    task.setup(node=probe.node)
    probe.wait(lambda: '30%' in (task.tick_once(), task.feedback_message)[1], what='feedback')
    monitor.child.kill()
    monitor.child.wait()
    world.start(monitor_command())
    probe.wait(lambda: (task.tick_once(), task.status)[1] is Status.FAILURE, what='the failure')
    assert 'knows nothing of the goal any more' in task.feedback_message


def test_a_goal_is_watched_to_its_end_where_its_acceptance_is_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = ActionClient.send_goal_async

    def answer_is_lost(*given: Any) -> Future[Any]:
        send(*given)
        return Future()

    monkeypatch.setattr(ActionClient, 'send_goal_async', answer_is_lost)
    monkeypatch.setattr(sent_goal, 'ASK_AGAIN_S', 1.0)
    probe = world.probe
    world.start(monitor_command())
    probe.show = 0.3
    task = MonitorTask('lift', task='Lift the block.')
    task.setup(node=probe.node)
    probe.wait(lambda: '30%' in (task.tick_once(), task.feedback_message)[1], what='feedback')
    probe.show = 1.0
    probe.wait(lambda: (task.tick_once(), task.status)[1] is Status.SUCCESS, what='success')
    assert task.result is not None and task.result.succeeded


def test_servers_that_are_gone_are_no_longer_awaited(world: World) -> None:
    probe = world.probe
    waiting: list[MonitorTask | Replan] = [
        MonitorTask('lift', task='Lift the block.'),
        Replan(service='/robot/replan'),
    ]
    # Nobody spins it: it never answers.
    server = Node('progress_monitor', context=probe.context)
    monitor = ActionServer(server, action.MonitorTask, '~/monitor_task', lambda handle: None)
    server.create_service(Trigger, '/robot/replan', lambda request, response: response)
    for behaviour in waiting:
        behaviour.setup(node=probe.node)

    def ticked() -> list[Status]:
        for behaviour in waiting:
            if behaviour.status is not Status.FAILURE:
                behaviour.feedback_message = ''
                behaviour.tick_once()
        return [behaviour.status for behaviour in waiting]

    def asked() -> bool:
        return ticked() and not any(behaviour.feedback_message for behaviour in waiting)

    probe.wait(asked, what='goal and call')
    monitor.destroy()
    server.destroy_node()
    probe.wait(lambda: ticked() == [Status.FAILURE] * 2, what='the failures')
    said = [behaviour.feedback_message for behaviour in waiting]
    assert said == ['the monitor is gone', '/robot/replan is gone and has not answered']


def test_a_stall_that_nobody_stands_by_is_none(world: World) -> None:
    probe = world.probe
    robot = FakeRobot(probe.node)
    stalled = IsStalled(causes=['NO_CHANGE'])
    stalled.setup(node=probe.node)

    def status() -> Status:
        stalled.tick_once()
        return stalled.status

    robot.stall('a')
    robot.status(MonitorStatus.STATE_STALLED, task_id='another')
    probe.wait(lambda: 'another task' in (status(), stalled.feedback_message)[1], what='a refusal')
    robot.status(MonitorStatus.STATE_STALE, message='no frames')
    probe.wait(lambda: 'no frames' in (status(), stalled.feedback_message)[1], what='a refusal')
    assert stalled.status is Status.FAILURE
    robot.status(MonitorStatus.STATE_STALLED)
    probe.wait(lambda: status() is Status.SUCCESS, what='the stall')
    robot.status(MonitorStatus.STATE_PROGRESSING, message='on its way')
    probe.wait(lambda: 'on its way' in (status(), stalled.feedback_message)[1], what='a refusal')
    assert stalled.status is Status.FAILURE


def test_a_success_of_before_the_monitor_was_started_anew_is_none(world: World) -> None:
    probe = world.probe
    robot = FakeRobot(probe.node)
    succeeded = IsSucceeded()
    succeeded.setup(node=probe.node)

    def status() -> Status:
        succeeded.tick_once()
        return succeeded.status

    robot.status(MonitorStatus.STATE_SUCCEEDED)
    robot.succeed()
    probe.wait(lambda: status() is Status.SUCCESS, what='the success')
    robot.fall_silent()
    robot.speak()
    robot.status(MonitorStatus.STATE_PROGRESSING, message='on its way')
    probe.wait(lambda: 'on its way' in (status(), succeeded.feedback_message)[1], what='a refusal')
    assert succeeded.status is Status.FAILURE


def test_a_behaviour_without_a_node_says_what_it_wants() -> None:
    with pytest.raises(KeyError, match='setup needs the rclpy node'):
        IsStalled().setup()


def test_the_guide_shows_the_examples_as_they_are() -> None:
    guide = (ROOT / 'docs' / 'integration.md').read_text(encoding='utf-8')
    shown = re.findall(r'<!-- (examples/\S+|config/\S+) -->\n```\w+\n(.*?)```', guide, re.DOTALL)
    assert {name for name, _ in shown} >= {f'examples/{path.name}' for path in EXAMPLES.iterdir()}
    for name, text in shown:
        assert text == (ROOT / name).read_text(encoding='utf-8'), name
