"""The recovery policy as a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from progress_monitor.parameters import ParameterError
from progress_monitor.recovery.policy import load


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_the_example_policy_can_be_used() -> None:
    policy = load(Path(__file__).parent.parent / 'config' / 'recovery.yaml')
    assert policy.rule('NO_CHANGE', 'any') is not None
    assert policy.targets


@pytest.mark.parametrize(
    ('text', 'named'),
    [
        ('[', 'is not YAML'),
        ('3', 'expected a mapping'),
        ('rules: []', 'rules: expected a list'),
        ('rungs: []', 'rungs: no such entry'),
        ('rules: [{ladder: [climb]}]', r'rules\[0\].ladder\[0\].do: .climb.'),
        ('rules: [{ladder: [retry]}]', r'rules\[0\].ladder\[0\]: retry is not described'),
        ('rules: [{ladder: [wait]}]', r'rules\[0\].ladder\[0\]: wait needs seconds'),
        ('rules: [{ladder: [ask_person, ask_person]}]', 'nothing can follow'),
        ('rules: [{cause: LAZY, ladder: [ask_person]}]', r'rules\[0\].cause: .LAZY.'),
        ('budget: -1\nrules: [{ladder: [ask_person]}]', 'budget: -1'),
        ('budget: true\nrules: [{ladder: [ask_person]}]', 'budget: True'),
        ('cool_down_s: .nan\nrules: [{ladder: [ask_person]}]', 'cool_down_s: nan'),
        ('actions: {home: {}}\nrules: [{ladder: [home]}]', 'actions.home: expected exactly one'),
        ('actions: {home: {service: "a b"}}\nrules: [{ladder: [home]}]', 'actions.home.service'),
        ('actions: {home: {action: /a}}\nrules: [{ladder: [home]}]', 'actions.home.type'),
        (
            'actions: {home: {service: /a, goal: {}}}\nrules: [{ladder: [home]}]',
            'actions.home.goal: only an action',
        ),
        ('actions: {fly: {service: /a}}\nrules: [{ladder: [home]}]', 'actions.fly: no such entry'),
    ],
)
def test_a_wrong_policy_names_file_and_entry(tmp_path: Path, text: str, named: str) -> None:
    path = write(tmp_path / 'policy.yaml', text)
    with pytest.raises(ParameterError, match=named) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_a_missing_policy_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r'nothere\.yaml: No such file'):
        load(tmp_path / 'nothere.yaml')
