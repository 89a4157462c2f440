"""Profiles of known checkpoints: found by name or sizes, and weaker than what a user gives."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from vlm_checkpoints import tiny_folder

from progress_monitor.node_config import NodeConfig
from progress_monitor.parameters import ParameterError, build
from progress_monitor.vlm.profiles import governed, profiles, resolve

SMALL_CELL = Path(__file__).parent.parent / 'models' / 'small_cell'


@pytest.mark.parametrize('name', sorted(profiles()))
def test_every_profile_holds_parameters_of_the_node(name: str) -> None:
    config = build(NodeConfig, resolve({'model.profile': name}, ''))
    assert config.model.profile == name


@pytest.mark.parametrize(
    ('path', 'name'),
    [
        ('ce-amtic/ProcVLM-2B', 'procvlm_2b'),
        ('/data/procvlm-2b/', 'procvlm_2b'),
        ('/cache/models--ce-amtic--ProcVLM-2B/snapshots/0123', 'procvlm_2b'),
        ('Qwen/Qwen3-VL-2B-Instruct', 'qwen3_vl_2b'),
        (str(SMALL_CELL), 'small_cell'),
        ('/no/such/folder', 'none'),
    ],
)
def test_a_checkpoint_is_known_by_its_name(path: str, name: str) -> None:
    assert resolve({}, path)['model.profile'] == name


def test_a_fine_tuned_copy_is_known_by_its_sizes(tmp_path: Path) -> None:
    folder = shutil.copytree(SMALL_CELL, tmp_path / 'my-cell')
    assert resolve({}, str(folder))['model.profile'] == 'small_cell'
    old = {'model_type': 'qwen2_5_vl', 'hidden_size': 2048, 'num_hidden_layers': 36}
    (folder / 'config.json').write_text(json.dumps(old))
    assert resolve({}, str(folder))['model.profile'] == 'progresslm_3b'
    assert resolve({}, str(tiny_folder(0))) == {'model.profile': 'none'}


def test_what_is_given_wins_even_where_it_is_the_default() -> None:
    default = NodeConfig().model.max_pixels
    assert resolve({}, 'ce-amtic/ProcVLM-2B')['model.max_pixels'] == 512 * 512
    given = resolve({'model.max_pixels': default}, 'ce-amtic/ProcVLM-2B')
    assert given['model.max_pixels'] == default
    assert 'model.max_pixels' in governed()


def test_economy_is_a_quarter_and_none_is_nothing() -> None:
    economy = resolve({'model.profile': 'procvlm_2b_economy'}, 'ce-amtic/ProcVLM-2B')
    assert economy['model.max_pixels'] == 256 * 256
    assert resolve({'model.profile': 'none'}, 'ce-amtic/ProcVLM-2B') == {'model.profile': 'none'}


def test_an_unknown_profile_is_named() -> None:
    with pytest.raises(ParameterError, match=r"model\.profile: 'procvlm' is not one of auto, none"):
        resolve({'model.profile': 'procvlm'}, '')


def test_a_null_is_no_value():
    """As ``ros2 param dump`` writes what has none; ROS reads it as a text."""
    given = {'window.max_images': None, 'strategy': 'null', 'task': 'null', 'model.path': 'x'}
    found = resolve(given, 'x')
    assert found == {'task': 'null', 'model.path': 'x', 'model.profile': 'none'}
    assert resolve(given, 'ce-amtic/ProcVLM-2B')['window.max_images'] == 17
