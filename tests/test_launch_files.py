"""What the launch files hand to the nodes, and the parameter files; needs no launch_ros."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from launch_stub import defaults, load

from progress_monitor.node_config import NodeConfig
from progress_monitor.parameters import build, declarations
from progress_monitor.ros.supervisor_node import SupervisorConfig
from progress_monitor_lab.sim.node import CellConfig
from progress_monitor_lab.sim.tasks import TASKS

ROOT = Path(__file__).parent.parent
# A recovery policy is no parameter file.
PARAMETER_FILES = [path for path in sorted(ROOT.glob('config/*.yaml')) if path.stem != 'recovery']
CONFIGS = {'progress_monitor': NodeConfig, 'supervisor': SupervisorConfig, 'cell': CellConfig}


def flat(tree: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            values.update(flat(value, f'{prefix}{name}.'))
        else:
            values[prefix + name] = value
    return values


@pytest.mark.parametrize('path', PARAMETER_FILES, ids=lambda path: path.name)
def test_parameter_files_name_declared_parameters_with_usable_values(path: Path) -> None:
    nodes = yaml.safe_load(path.read_text(encoding='utf-8'))
    assert nodes
    for node, content in nodes.items():
        build(CONFIGS[node.rsplit('/', 1)[-1]], flat(content['ros__parameters']))


def made(name: str, monkeypatch: pytest.MonkeyPatch, **given: str) -> list[Any]:
    module = load(name, monkeypatch)
    declared = defaults(module.generate_launch_description())
    context = {**declared, 'params_file': str(PARAMETER_FILES[0]), **given}
    return list((module.make_nodes if name == 'monitor' else module.make_cell)(context))


def parameters(node: Any) -> dict[str, Any]:
    return {
        k: v
        for item in node.keywords['parameters']
        if isinstance(item, dict)
        for k, v in item.items()
    }


def test_a_parameter_file_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match=r'params_file: .*/gone\.yaml: no such file'):
        made('monitor', monkeypatch, params_file='~/gone.yaml')


def test_every_argument_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ('monitor', 'demo'):
        entities = load(name, monkeypatch).generate_launch_description().arguments[0]
        *arguments, last = entities
        assert type(last).__name__ == 'OpaqueFunction'
        assert all(entity.keywords['description'] for entity in arguments)


def test_arguments_left_empty_leave_the_parameter_file_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (monitor,) = made('monitor', monkeypatch)
    assert type(monitor).__name__ == 'LifecycleNode'
    assert parameters(monitor) == {'use_sim_time': False, 'autostart': True}
    assert monitor.keywords['respawn'] is False
    assert monitor.keywords['parameters'][0].arguments == (str(PARAMETER_FILES[0]),)


def test_arguments_reach_the_nodes_as_declared_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    monitor, supervisor = made(
        'monitor',
        monkeypatch,
        namespace='arm',
        use_sim_time='true',
        image_topic='/left/image, /right/image',
        task='Open the drawer.',
        model='a_folder',
        quantization='nf4',
        autostart='false',
        supervisor='true',
        replan_service='plan_again',
        policy_file='/etc/recovery.yaml',
        respawn='true',
        log_level='debug',
    )
    assert parameters(monitor) == {
        'use_sim_time': True,
        'autostart': False,
        'image_topics': ['/left/image', '/right/image'],
        'task': 'Open the drawer.',
        'model.path': 'a_folder',
        'model.quantization': 'nf4',
    }
    assert parameters(supervisor) == {
        'use_sim_time': True,
        'replan_service': 'plan_again',
        'policy_file': '/etc/recovery.yaml',
    }
    for node, name in ((monitor, 'progress_monitor'), (supervisor, 'supervisor')):
        assert (node.keywords['namespace'], node.keywords['name']) == ('arm', name)
        assert (node.keywords['respawn'], node.keywords['respawn_delay']) == (True, 2.0)
        assert node.keywords['arguments'] == ['--ros-args', '--log-level', 'debug']
        declared = {item.name for item in declarations(CONFIGS[name])} | {'use_sim_time'}
        assert set(parameters(node)) <= declared


def test_demo_shows_the_monitor_what_the_cell_does(monkeypatch: pytest.MonkeyPatch) -> None:
    cell, monitor = made('demo', monkeypatch, cell_task='drawer_open', seed='7', fault='none')
    values = parameters(cell)
    assert build(CellConfig, values) == CellConfig(
        task='drawer_open', seed=7, fault='none', wait_for='progress_monitor'
    )
    handed = dict(monitor.keywords['launch_arguments'])
    assert handed['task'] == TASKS['drawer_open'].instruction
    assert (handed['image_topic'], handed['replan_service']) == ('cell/image', 'cell/replan')
    known = defaults(load('monitor', monkeypatch).generate_launch_description())
    assert set(handed) <= set(known)


@pytest.mark.parametrize('seed', ['abc', '', '-1', '1.5', '²'])
def test_a_seed_that_is_no_number_is_refused_in_one_sentence(
    seed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RuntimeError, match=f'seed:={seed}: not a whole number'):
        made('demo', monkeypatch, seed=seed)
