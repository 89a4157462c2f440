"""Starts the simulated cell with its camera, and the monitor and the supervisor that watch it."""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from progress_monitor_lab.sim.tasks import TASKS

PACKAGE = 'progress_monitor'
BOOLEAN = ('true', 'false')


def generate_launch_description() -> LaunchDescription:
    """Describe the arguments; those of the monitor that are not here keep their defaults."""
    share = FindPackageShare(PACKAGE)
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'namespace', default_value='', description='Namespace of the nodes.'
            ),
            DeclareLaunchArgument(
                'cell_task',
                default_value='bin_picking',
                choices=tuple(TASKS),
                description='What the robot of the cell does; the monitor is given its wording.',
            ),
            DeclareLaunchArgument(
                'fault',
                default_value='drop',
                description='What goes wrong; none plays the task without a fault.',
            ),
            DeclareLaunchArgument(
                'seed', default_value='0', description='Seed of the cell: scene, camera and light.'
            ),
            DeclareLaunchArgument(
                'params_file',
                default_value=PathJoinSubstitution([share, 'config', 'cell.yaml']),
                description='YAML file with parameters of progress_monitor and supervisor.',
            ),
            DeclareLaunchArgument(
                'model',
                default_value=PathJoinSubstitution([share, 'models', 'small_cell']),
                description='Folder of the checkpoint.',
            ),
            DeclareLaunchArgument(
                'supervisor',
                default_value='true',
                choices=BOOLEAN,
                description='Start the supervisor, which asks the cell to replan after a stall.',
            ),
            DeclareLaunchArgument(
                'respawn',
                default_value='false',
                choices=BOOLEAN,
                description='Start monitor or supervisor again, after 2 s, if one ends by itself.',
            ),
            DeclareLaunchArgument(
                'log_level',
                default_value='info',
                choices=('debug', 'info', 'warn', 'error', 'fatal'),
                description='Least severity that the nodes log.',
            ),
            OpaqueFunction(function=make_cell),
        ]
    )


def whole_number(name: str, text: str) -> int:
    """The value of the argument ``name``.

    :raises RuntimeError: in one sentence, which launch prints instead of a traceback.
    """
    if not (text.isascii() and text.isdigit()):
        raise RuntimeError(f'{name}:={text}: not a whole number; give one from 0 up')
    return int(text)


def make_cell(context: LaunchContext) -> list[Node | IncludeLaunchDescription]:
    """Make the cell's node and include the monitor's launch file."""

    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    task = value('cell_task')
    cell = Node(
        package=PACKAGE,
        executable='cell_node',
        name='cell',
        namespace=value('namespace'),
        parameters=[
            {
                'task': task,
                'fault': value('fault'),
                'seed': whole_number('seed', value('seed')),
                'wait_for': 'progress_monitor',
            }
        ],
        arguments=['--ros-args', '--log-level', value('log_level')],
        output='screen',
        emulate_tty=True,
    )
    monitor = IncludeLaunchDescription(
        PathJoinSubstitution([FindPackageShare(PACKAGE), 'launch', 'monitor.launch.py']),
        launch_arguments={
            'namespace': value('namespace'),
            'params_file': value('params_file'),
            'image_topic': 'cell/image',
            'task': TASKS[task].instruction,
            'model': value('model'),
            'supervisor': value('supervisor'),
            'replan_service': 'cell/replan',
            'respawn': value('respawn'),
            'log_level': value('log_level'),
        }.items(),
    )
    return [cell, monitor]
