"""Imports go one way: no room knows one above it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / 'progress_monitor'

# Lower rooms first; a room may import from its own level only itself.
LEVELS = (
    ('types', 'parameters', 'standard_streams'),
    ('strategy_config',),
    ('config',),
    ('steps', 'resize', 'yaml_file'),
    ('parameter_file',),
    ('evidence', 'history', 'memory', 'pictures', 'trust', 'judgement', 'strategies'),
    ('vlm',),
    ('backends',),
    ('node_config',),
    ('pace', 'dialogue'),
    ('watched',),
    ('monitor',),
    ('overlay', 'recovery'),
    ('offline', 'ros'),
    ('adapt',),
)
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
# What a room may be told by another although it does not lie above it.
# Pictures of a bag are decoded by the code that decodes those of a camera.
ALLOWED = {('backends', 'node_config'), ('offline', 'ros')}
HEAVY = ('torch', 'transformers', 'bitsandbytes', 'peft', 'accelerate')


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            if node.module == 'progress_monitor':
                yield from (f'progress_monitor.{alias.name}' for alias in node.names)


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix('.py')


SOURCES = sorted(path for path in PACKAGE.rglob('*.py') if room(path) not in ('__init__',))


def imported_rooms(path: Path) -> set[str]:
    names = (name.split('.') for name in imports(path))
    own = {parts[1] for parts in names if parts[0] == 'progress_monitor' and len(parts) > 1}
    return own - {'msg', 'srv', 'action', room(path)}


def test_no_room_imports_one_above_it_or_beside_it() -> None:
    wrong = [
        f'{path.relative_to(PACKAGE)} imports {other}'
        for path in SOURCES
        for other in imported_rooms(path) - {'printable'}
        if room(path) not in ('__main__', 'printable')
        and (room(path), other) not in ALLOWED
        and LEVEL[other] >= LEVEL[room(path)]
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ('package', 'rooms'),
    [
        ('progress_monitor_lab', ()),
        ('rclpy', ('ros',)),
        *((name, ('vlm', 'adapt')) for name in HEAVY),
    ],
)
def test_the_lab_ros_and_torch_are_imported_where_they_belong(
    package: str, rooms: tuple[str, ...]
) -> None:
    users = {
        str(path.relative_to(PACKAGE))
        for path in SOURCES
        if room(path) not in rooms and package in {name.split('.')[0] for name in imports(path)}
    }
    assert users == set()
