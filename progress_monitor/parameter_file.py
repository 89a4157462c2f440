"""ROS 2 parameter files without ROS: the same YAML for the node and for the offline tools."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from progress_monitor.parameters import ParameterError
from progress_monitor.yaml_file import read_yaml

_KEY = 'ros__parameters'
# Parameters that ROS itself reads, of any node.
_OF_ROS = ('use_sim_time', 'start_type_description_service', 'qos_overrides.')


def read_parameters(path: Path, node: str) -> dict[str, Any]:
    """The values that ``path`` gives to ``node``, by dotted name; later entries win.

    An entry counts if the last part of its name is the node's or a wildcard. What ROS itself reads
    is left out.

    :raises OSError: if the file cannot be read.
    :raises ParameterError: if it is no ROS 2 parameter file, or none for that node.
    """
    content = read_yaml(path)
    if not isinstance(content, Mapping):
        raise ParameterError(f'{path}: no ROS 2 parameter file; it must name nodes')
    values: dict[str, Any] = {}
    meant = False
    for name, entry in content.items():
        if not isinstance(entry, Mapping) or not isinstance(entry.get(_KEY), Mapping):
            raise ParameterError(f'{path}: {name}: {_KEY} is missing below it')
        if str(name).rstrip('/').rsplit('/', 1)[-1] in (node, '**', '*'):
            given = _flat(path, entry[_KEY], '')
            values.update((key, given[key]) for key in given if not key.startswith(_OF_ROS))
            meant = True
    if not meant:
        raise ParameterError(f'{path}: holds nothing for the node {node}')
    return values


def _flat(path: Path, group: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in group.items():
        full = f'{prefix}{name}'
        below = _flat(path, value, f'{full}.') if isinstance(value, Mapping) else {full: value}
        twice = sorted(below.keys() & values.keys())
        if twice:
            raise ParameterError(f'{path}: {twice[0]} is given twice')
        values.update(below)
    return values
