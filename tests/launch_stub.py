"""Loads the launch files where launch and launch_ros are not installed: stand-ins that record."""

from __future__ import annotations

import runpy
import sys
import types
from pathlib import Path
from typing import Any

LAUNCH = Path(__file__).parent.parent / 'launch'


class Recorded:
    """An action or a substitution: its class's name and what it was made with."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self.arguments = arguments
        self.keywords = keywords

    def items(self) -> Any:
        return self.keywords.items()


class LaunchConfiguration(Recorded):
    """Its value is looked up in a plain dictionary, which stands for the launch context."""

    def perform(self, context: dict[str, str]) -> str:
        return context[self.arguments[0]]


def kind(name: str) -> type[Recorded]:
    return type(name, (Recorded,), {})


MODULES: dict[str, dict[str, type]] = {
    'launch': {name: kind(name) for name in ('LaunchContext', 'LaunchDescription')},
    'launch.actions': {
        name: kind(name)
        for name in ('DeclareLaunchArgument', 'IncludeLaunchDescription', 'OpaqueFunction')
    },
    'launch.substitutions': {
        'LaunchConfiguration': LaunchConfiguration,
        'PathJoinSubstitution': kind('PathJoinSubstitution'),
    },
    'launch_ros': {},
    'launch_ros.actions': {name: kind(name) for name in ('LifecycleNode', 'Node')},
    'launch_ros.parameter_descriptions': {'ParameterFile': kind('ParameterFile')},
    'launch_ros.substitutions': {'FindPackageShare': kind('FindPackageShare')},
}


def load(name: str, monkeypatch: Any) -> types.SimpleNamespace:
    """Execute ``launch/<name>.launch.py`` against the stand-ins."""
    for module_name, members in MODULES.items():
        module = types.ModuleType(module_name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, module_name, module)
    return types.SimpleNamespace(**runpy.run_path(str(LAUNCH / f'{name}.launch.py')))


def defaults(description: Any) -> dict[str, str]:
    """The declared arguments by name; a default that is a substitution becomes ``<name>``."""
    found = {}
    for entity in description.arguments[0]:
        if type(entity).__name__ == 'DeclareLaunchArgument':
            name = entity.arguments[0]
            default = entity.keywords['default_value']
            found[name] = default if isinstance(default, str) else f'<{name}>'
    return found
