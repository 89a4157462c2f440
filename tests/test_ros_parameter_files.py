"""The parameter file for robots is what the declarations say, and the node takes it."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip('rclpy')

from ros_helpers import TESTS, arguments, fresh_domain, running

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


@pytest.mark.parametrize(
    ('command', 'given', 'meant'),
    [
        (['ros_fake_monitor.py', 'picture'], 'stall.alowance', 'stall.allowance'),
        (['-m', 'progress_monitor.ros.supervisor_node'], 'cooldown_s', 'cool_down_s'),
    ],
)
def test_a_misspelt_parameter_is_named(
    tmp_path: Path, command: list[str], given: str, meant: str
) -> None:
    values = arguments({given: 5.0, 'use_sim_time': False})
    program = [str(TESTS / item) if item.endswith('.py') else item for item in command]
    with running(tmp_path, fresh_domain(), [*program, *values]) as (probe, (process,)):
        said = f'{given}: no such parameter, nothing reads it; did you mean {meant}?'
        probe.wait(lambda: said in process.output(), what=said)
        assert 'use_sim_time: no such' not in process.output()
