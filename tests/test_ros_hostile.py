"""Messages that nobody can handle cost themselves and not the node, over DDS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip('rclpy')

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from ros_helpers import (
    ACTIVE,
    MONITOR,
    Probe,
    Process,
    arguments,
    fresh_domain,
    monitor_command,
    running,
)
from rosgraph_msgs.msg import Clock

SUPERVISOR = ['-m', 'progress_monitor.ros.supervisor_node', *arguments({'use_sim_time': True})]
NODES = (MONITOR, '/supervisor')
Started = tuple[Probe, list[Process]]


@pytest.fixture(scope='module')
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """Both nodes, with simulated time."""
    monitor = monitor_command(task='Lift the block.', use_sim_time=True)
    with running(tmp_path_factory.mktemp('nodes'), fresh_domain(), monitor, SUPERVISOR) as nodes:
        yield nodes


@pytest.mark.parametrize('node', NODES)
def test_a_parameter_of_an_unknown_type_is_refused(started: Started, node: str) -> None:
    probe, processes = started
    bad = [Parameter(name='use_sim_time', value=ParameterValue(type=99))]
    together = SetParametersAtomically.Request(parameters=bad)
    answer = probe.call(SetParametersAtomically, f'{node}/set_parameters_atomically', together)
    assert not answer.result.successful
    single = SetParameters.Request(parameters=bad)
    answer = probe.call(SetParameters, f'{node}/set_parameters', single)
    assert not any(result.successful for result in answer.results)
    log = processes[NODES.index(node)]
    assert '99 is not a valid' in log.output()
    assert 'Traceback' not in log.output()
    told: list[DiagnosticStatus] = []
    listener = probe.node.create_subscription(
        DiagnosticArray, '/diagnostics', lambda array: told.extend(array.status), 10
    )
    name = f'{node.lstrip("/")}: messages'
    warned = DiagnosticStatus.WARN
    probe.wait(
        lambda: any((item.name, item.level) == (name, warned) for item in told), what='the warning'
    )
    newest = next(item for item in reversed(told) if item.name == name)
    assert 'could not be handled' in newest.message
    assert int(newest.values[0].value) >= 2
    probe.node.destroy_subscription(listener)


def test_a_time_that_no_clock_can_show_is_passed_over(started: Started) -> None:
    probe, processes = started
    clock = probe.node.create_publisher(Clock, '/clock', 10)
    probe.wait(lambda: clock.get_subscription_count() == 2, what='both nodes')

    def shown(second: int) -> bool:
        clock.publish(Clock(clock=Time(sec=-second)))
        clock.publish(Clock(clock=Time(sec=second)))
        return bool(probe.status) and probe.status[-1].stamp.sec == second

    probe.wait(lambda: shown(7), what='the time that can be shown')
    said = '/clock: a message could not be handled'
    probe.wait(lambda: shown(8) and all(said in item.output() for item in processes), what=said)
    assert probe.lifecycle() == ACTIVE
