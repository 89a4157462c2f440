"""Frames are named once a process, wherever they come from: the vision cache knows no other key."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1] / 'progress_monitor'


def test_every_frame_of_the_package_takes_its_name_from_one_counter():
    """A demonstration's picture must never be taken for a camera's of the same number."""
    named = {}
    for path in ROOT.rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == 'Frame':
                named.setdefault(ast.unparse(node.args[0]), set()).add(
                    path.relative_to(ROOT).parts[0]
                )
    shown_to_nobody_else = {'adapt', 'backends', 'vlm'}
    assert named.pop('new_uid()') >= {'ros', 'strategies'}
    assert set().union(*named.values()) - shown_to_nobody_else <= {'offline'}
