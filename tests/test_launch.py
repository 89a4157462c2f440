"""The launch files, really launched: they start the installed nodes. Needs launch_ros."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip(
    'launch_ros', reason='launch_ros comes with a ROS 2 installation, not from PyPI'
)

from rcl_interfaces.srv import GetParameters
from ros_helpers import Probe, fresh_domain, running

from progress_monitor_lab.sim.tasks import TASKS

SERVICE = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

path, *given = sys.argv[1:]
service = LaunchService()
service.include_launch_description(LaunchDescription([IncludeLaunchDescription(
    PythonLaunchDescriptionSource(path),
    launch_arguments=[pair.split(':=', 1) for pair in given],
)]))
sys.exit(service.run())
"""
LAUNCH = Path(__file__).parent.parent / 'launch'


def command(name: str, *given: str) -> list[str]:
    return ['-c', SERVICE, str(LAUNCH / f'{name}.launch.py'), *given]


def values(probe: Probe, node: str, *names: str) -> list[object]:
    answer = probe.call(
        GetParameters, f'{node}/get_parameters', GetParameters.Request(names=list(names)), 60.0
    )
    fields = {1: 'bool_value', 3: 'double_value', 4: 'string_value', 9: 'string_array_value'}
    return [getattr(value, fields[value.type]) for value in answer.values]


def test_monitor_launch_starts_the_installed_nodes_with_its_arguments(tmp_path: Path) -> None:
    given = (
        'namespace:=arm',
        'image_topic:=/left,/right',
        'task:=12',
        'model:=no_such_folder',
        'autostart:=false',
        'supervisor:=true',
        'replan_service:=plan_again',
    )
    with running(tmp_path, fresh_domain(), command('monitor', *given)) as (probe, _):
        names = ('task', 'image_topics', 'model.path', 'model.quantization', 'autostart')
        assert values(probe, '/arm/progress_monitor', *names) == [
            '12',
            ['/left', '/right'],
            'no_such_folder',
            'auto',
            False,
        ]
        assert values(probe, '/arm/supervisor', 'replan_service') == ['plan_again']


def test_demo_launch_starts_the_cell_and_a_monitor_that_knows_its_task(tmp_path: Path) -> None:
    given = ('namespace:=arm', 'cell_task:=drawer_open', 'fault:=none')
    with running(tmp_path, fresh_domain(), command('demo', *given)) as (probe, _):
        assert values(probe, '/arm/cell', 'task', 'fault') == ['drawer_open', 'none']
        instruction = TASKS['drawer_open'].instruction
        assert values(probe, '/arm/progress_monitor', 'task') == [instruction]
        assert values(probe, '/arm/supervisor', 'replan_service') == ['cell/replan']
