"""YAML that people write by hand, with the mistakes that they make."""

from __future__ import annotations

from pathlib import Path

import pytest

from progress_monitor.node_config import NodeConfig
from progress_monitor.parameter_file import read_parameters
from progress_monitor.parameters import ParameterError, build
from progress_monitor.recovery import policy
from progress_monitor.strategies.demonstration import Demonstration
from progress_monitor.yaml_file import read_yaml

BOMB = 'a: &a [x, x]\nb: &b [*a, *a]\n'


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (b'a:\n\tb: 1\n', 'line 2'),
        (b'a: {b: 1}\na: {c: 2}\n', r'a is given twice.*line 2'),
        (b'a: [', 'line 1'),
        (b'a: "\xff"\n', 'no UTF-8'),
        ('a: 1\n'.encode('utf-16'), 'no UTF-8'),
        (BOMB.encode(), r'aliases are not read.*line 2'),
        (b'[' * 500, 'nested too deeply'),
        (b'a: !!python/object/apply:os.getcwd []\n', 'constructor'),
        (b'a: 2020-13-45\n', 'month'),
        (b'#' * 1_000_001, 'more than 1000000 bytes'),
    ],
)
def test_each_mistake_is_named_with_the_file(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / 'mine.yaml'
    path.write_bytes(content)
    with pytest.raises(ParameterError, match=rf'mine\.yaml: .*{said}'):
        read_yaml(path)
    with pytest.raises(ParameterError, match=rf'policy_file: .*mine\.yaml: .*{said}'):
        policy.load(path)
    path.rename(tmp_path / 'demonstration.yaml')
    with pytest.raises(ParameterError, match=rf'demonstration\.yaml: .*{said}'):
        Demonstration.load(tmp_path)


def test_numbers_are_those_of_ros(tmp_path: Path) -> None:
    path = tmp_path / 'p.yaml'
    path.write_text('progress_monitor: {ros__parameters: {stall: {allowance: 1e1, longest: 2}}}\n')
    config = build(NodeConfig, read_parameters(path, 'progress_monitor'))
    assert (config.stall.allowance, config.stall.longest) == (10.0, 2.0)


def test_a_file_for_other_nodes_only_is_no_file_for_this_one(tmp_path: Path) -> None:
    path = tmp_path / 'p.yaml'
    path.write_text('progres_monitor: {ros__parameters: {stall: {allowance: 1.0}}}\n')
    with pytest.raises(ParameterError, match='holds nothing for the node progress_monitor'):
        read_parameters(path, 'progress_monitor')


@pytest.mark.parametrize('value', ['1' + '0' * 400, '-1' + '0' * 400])
def test_a_number_beyond_all_bounds_is_out_of_bounds(tmp_path: Path, value: str) -> None:
    path = tmp_path / 'policy.yaml'
    path.write_text(f'cool_down_s: {value}\nrules: [{{ladder: [ask_person]}}]\n')
    with pytest.raises(ParameterError, match='cool_down_s'):
        policy.load(path)
    folder = tmp_path / 'demonstration.yaml'
    folder.write_text(f'kind: text\ngoal: x\nsteps: [{{text: y, progress: {value}}}]\n')
    with pytest.raises(ParameterError, match='from 0 to 100'):
        Demonstration.load(tmp_path)
    with pytest.raises(ParameterError, match=r'stall\.allowance'):
        build(NodeConfig, {'stall.allowance': int(value)})
