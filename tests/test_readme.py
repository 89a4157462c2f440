"""The README says what is true."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

pytest.importorskip('rclpy')

from progress_monitor_lab.demo.story import FAULTS
from progress_monitor_lab.parameter_table import with_tables
from progress_monitor_lab.sim.tasks import TASKS

ROOT = Path(__file__).parents[1]
README = (ROOT / 'README.md').read_text(encoding='utf-8')


def test_the_parameter_tables_are_those_of_the_declarations() -> None:
    assert README == with_tables(README), (
        'run scripts/with-env python -m progress_monitor_lab.parameter_table README.md'
    )


def test_a_readme_without_the_marks_is_refused() -> None:
    with pytest.raises(ValueError, match='marks'):
        with_tables('# nothing')


def test_the_two_commands_stand_on_lines_of_their_own() -> None:
    lines = [line.strip() for line in README.splitlines()]
    assert 'make demo' in lines
    assert 'make test' in lines


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r'(?:`|^    )make ([a-z][a-z-]*)', README, re.MULTILINE))
    assert {'demo', 'test', 'check-demo'} <= targets
    for target in targets:
        asked = subprocess.run(
            ['make', '--question', '--no-print-directory', target],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert 'No rule' not in asked.stderr, target


def test_every_linked_file_exists() -> None:
    links = [link for link in re.findall(r'\]\(([^)]+)\)', README) if '://' not in link]
    assert links
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_every_task_and_fault_is_named() -> None:
    for name in (*TASKS, *FAULTS):
        assert f'`{name}`' in README
