"""The parameter file for robots is what the declarations say, and the node takes it."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip('rclpy')

from ros_helpers import TESTS, fresh_domain, running

from progress_monitor.ros.parameter_files import monitor_yaml

FILE = TESTS.parent / 'config' / 'monitor.yaml'


def test_the_file_is_up_to_date() -> None:
    written = FILE.read_text(encoding='utf-8')
    assert written == monitor_yaml(), 'run python -m progress_monitor.ros.parameter_files'


def test_the_node_takes_the_file(tmp_path: Path) -> None:
    node = str(TESTS / 'ros_fake_monitor.py')
    command = [node, 'picture', '--ros-args', '--params-file', str(FILE)]
    with running(tmp_path, fresh_domain(), command) as (probe, _):
        probe.wait(lambda: probe.status, what='a status')
        probe.wait(
            lambda: '/camera/color/image_raw: 0 publishers' in probe.status[-1].message,
            what='an active node',
        )
        assert probe.get_parameter('model.path').string_value == ''
