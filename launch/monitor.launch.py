"""Starts the monitor, and with ``supervisor:=true`` the supervisor, beside a running robot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterFile
from launch_ros.substitutions import FindPackageShare

PACKAGE = 'progress_monitor'
BOOLEAN = ('true', 'false')
RESPAWN_DELAY_S = 2.0


def generate_launch_description() -> LaunchDescription:
    """Describe the arguments; the nodes are made once their values are known."""
    params_file = PathJoinSubstitution([FindPackageShare(PACKAGE), 'config', 'monitor.yaml'])
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'namespace', default_value='', description='Namespace of the nodes.'
            ),
            DeclareLaunchArgument(
                'use_sim_time',
                default_value='false',
                choices=BOOLEAN,
                description='Take the time from /clock.',
            ),
            DeclareLaunchArgument(
                'params_file',
                default_value=params_file,
                description='YAML file with parameters of progress_monitor and supervisor.',
            ),
            DeclareLaunchArgument(
                'image_topic',
                default_value='',
                description='Camera topic, sensor_msgs/Image or CompressedImage; several '
                'separated by commas. Empty: image_topics of params_file.',
            ),
            DeclareLaunchArgument(
                'task',
                default_value='',
                description='Task to watch, in words. Empty: task of params_file.',
            ),
            DeclareLaunchArgument(
                'model',
                default_value='',
                description='Folder of a checkpoint, or its name on the Hugging Face hub, from '
                'which it is then fetched. Empty: model.path of params_file; where that names '
                'none either, nothing is fetched and ~/status says what is missing.',
            ),
            DeclareLaunchArgument(
                'quantization',
                default_value='',
                choices=('', 'auto', 'none', 'nf4', 'int8'),
                description='How the weights are kept. Empty: model.quantization of params_file.',
            ),
            DeclareLaunchArgument(
                'autostart',
                default_value='true',
                choices=BOOLEAN,
                description='Configure and activate the monitor; false leaves that to a '
                'lifecycle manager.',
            ),
            DeclareLaunchArgument(
                'supervisor',
                default_value='false',
                choices=BOOLEAN,
                description='Start the supervisor, which asks the robot to replan after a stall.',
            ),
            DeclareLaunchArgument(
                'replan_service',
                default_value='',
                description='std_srvs/Trigger service that makes the robot plan anew. '
                'Empty: replan_service of params_file.',
            ),
            DeclareLaunchArgument(
                'policy_file',
                default_value='',
                description="YAML file with the supervisor's recovery policy, by its full path. "
                'Empty: policy_file of params_file.',
            ),
            DeclareLaunchArgument(
                'respawn',
                default_value='false',
                choices=BOOLEAN,
                description='Start a node again, after 2 s, that ended by itself. Leave it false '
                'where a lifecycle manager has to configure the monitor anew.',
            ),
            DeclareLaunchArgument(
                'log_level',
                default_value='info',
                choices=('debug', 'info', 'warn', 'error', 'fatal'),
                description='Least severity that the nodes log.',
            ),
            OpaqueFunction(function=make_nodes),
        ]
    )


def make_nodes(context: LaunchContext) -> list[Node]:
    """Make the nodes. An argument that was left empty leaves the params_file's value alone.

    :raises RuntimeError: if there is no such file; launch by itself would start without it.
    """

    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    params_file = Path(value('params_file')).expanduser()
    if not params_file.is_file():
        raise RuntimeError(f'params_file: {params_file}: no such file')
    common: dict[str, Any] = {'use_sim_time': value('use_sim_time') == 'true'}
    monitor: dict[str, Any] = {**common, 'autostart': value('autostart') == 'true'}
    topics = [topic.strip() for topic in value('image_topic').split(',') if topic.strip()]
    if topics:
        monitor['image_topics'] = topics
    for argument, parameter in (
        ('task', 'task'),
        ('model', 'model.path'),
        ('quantization', 'model.quantization'),
    ):
        if value(argument):
            monitor[parameter] = value(argument)
    supervisor = dict(common)
    for argument in ('replan_service', 'policy_file'):
        if value(argument):
            supervisor[argument] = value(argument)

    def place(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
        return {
            'package': PACKAGE,
            'name': name,
            'namespace': value('namespace'),
            'parameters': [ParameterFile(str(params_file)), parameters],
            'arguments': ['--ros-args', '--log-level', value('log_level')],
            'output': 'screen',
            'emulate_tty': True,
            'respawn': value('respawn') == 'true',
            'respawn_delay': RESPAWN_DELAY_S,
        }

    nodes: list[Node] = [
        LifecycleNode(executable='monitor_node', **place('progress_monitor', monitor))
    ]
    if value('supervisor') == 'true':
        nodes.append(Node(executable='supervisor_node', **place('supervisor', supervisor)))
    return nodes
