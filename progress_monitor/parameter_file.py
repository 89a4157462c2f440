"""ROS 2 parameter files without ROS: the same YAML for the node and for the offline tools."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from progress_monitor.parameters import ParameterError

_KEY = 'ros__parameters'


def read_parameters(path: Path, node: str) -> dict[str, Any]:
    """The values that ``path`` gives to ``node``, by dotted name; later entries win.

    An entry counts if the last part of its name is the node's or a wildcard.

    :raises OSError: if the file cannot be read.
    :raises ParameterError: if it is no ROS 2 parameter file.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except yaml.YAMLError as error:
        raise ParameterError(f'{path}: {" ".join(str(error).split())}') from error
    if not isinstance(content, Mapping):
        raise ParameterError(f'{path}: no ROS 2 parameter file; it must name nodes')
    values: dict[str, Any] = {}
    for name, entry in content.items():
        if not isinstance(entry, Mapping) or not isinstance(entry.get(_KEY), Mapping):
            raise ParameterError(f'{path}: {name}: {_KEY} is missing below it')
        if str(name).rstrip('/').rsplit('/', 1)[-1] in (node, '**', '*'):
            values.update(_flat(entry[_KEY], ''))
    return values


def _flat(group: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in group.items():
        if isinstance(value, Mapping):
            values.update(_flat(value, f'{prefix}{name}.'))
        else:
            values[f'{prefix}{name}'] = value
    return values
