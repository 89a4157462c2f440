"""Write ``config/monitor.yaml``: every parameter with its default, bounds and description.

``python -m progress_monitor.ros.parameter_files > config/monitor.yaml``
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator

from progress_monitor.node_config import NodeConfig
from progress_monitor.parameters import Declaration, declarations
from progress_monitor.ros.ros_parameters import constraints
from progress_monitor.ros.supervisor_node import SupervisorConfig
from progress_monitor.vlm.profiles import governed

_WIDTH = 96


def monitor_yaml() -> str:
    """The parameter file for a real robot."""
    lines = [
        '# Parameters of the monitor and the supervisor for a robot, at their defaults.',
        '# Of the monitor, model.*, server.*, backend, image_topics, task and autostart are fixed',
        '# while it is configured; the others may be changed on the run.',
        '# Those of the supervisor are read at its start. A parameter that is commented out is',
        '# set by the profile of the model, model.profile; written here, it wins over the profile.',
    ]
    for node, config in (('progress_monitor', NodeConfig), ('supervisor', SupervisorConfig)):
        lines += [f'/**/{node}:', '  ros__parameters:']
        group = ''
        items = sorted(declarations(config), key=lambda item: '.' in item.name)
        written = {item.name.rpartition('.')[0] for item in items if item.name not in governed()}
        for item in items:
            prefix, _, name = item.name.rpartition('.')
            if prefix != group:
                group = prefix
                # ROS refuses a group without a value.
                lines.append(f'    {group}:' if group in written else f'    # {group}:')
            lines += _entry(item, name, '      ' if group else '    ')
    return '\n'.join(lines) + '\n'


def _entry(item: Declaration, name: str, indent: str) -> Iterator[str]:
    bounds = constraints(item)
    text = f'{item.description} ({bounds})' if bounds else item.description
    for line in textwrap.wrap(text, _WIDTH - len(indent)):
        yield f'{indent}# {line}'
    written = json.dumps(list(item.default) if item.type is tuple else item.default)
    # A value in the file wins over the profile, so a default must not stand there as one.
    off = '# ' if item.name in governed() else ''
    yield f'{indent}{off}{name}: {written}'


if __name__ == '__main__':
    print(monitor_yaml(), end='')
