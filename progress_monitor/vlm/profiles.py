"""Defaults for known checkpoints, from ``model_profiles/*.yaml``. Imports no torch."""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from progress_monitor.parameters import ParameterError
from progress_monitor.vlm import hub

AUTO = 'auto'
# ROS reads the null of a parameter file as a text.
_NULLS = (None, 'null', '~')
NONE = 'none'
_FOLDER = Path(__file__).with_name('model_profiles')
_HUB_FOLDER = re.compile(r'models--.*--(?P<name>[^/]+)/snapshots/[^/]+/?$')


@dataclass(frozen=True)
class Profile:
    """Values that suit a checkpoint, by the parameters' dotted names.

    ``checkpoints`` are names of models without their owners, ``sizes`` fields of ``config.json``:
    by either one ``auto`` finds the profile. With neither it is taken by its name only.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    checkpoints: tuple[str, ...] = ()
    sizes: Mapping[str, Any] = field(default_factory=dict)


@functools.cache
def profiles() -> Mapping[str, Profile]:
    """Every profile by its name."""
    found = {}
    for path in sorted(_FOLDER.glob('*.yaml')):
        values = yaml.safe_load(path.read_text(encoding='utf-8'))
        values['checkpoints'] = tuple(values.get('checkpoints', ()))
        found[path.stem] = Profile(path.stem, **values)
    return found


def governed() -> frozenset[str]:
    """Names of the parameters that some profile sets."""
    return frozenset(name for item in profiles().values() for name in item.parameters)


def find(profile: str, model_path: str) -> Profile | None:
    """The profile that ``model.profile`` and the checkpoint's path or hub name lead to.

    ``auto`` compares the checkpoint's name, then the sizes in its ``config.json`` if that is on
    this machine; nothing is downloaded.

    :raises ParameterError: if there is no profile of that name.
    """
    if profile == NONE:
        return None
    if profile != AUTO:
        if profile not in profiles():
            raise ParameterError(
                f'model.profile: {profile!r} is not one of {", ".join((AUTO, NONE, *profiles()))}'
            )
        return profiles()[profile]
    name = _model_name(model_path).lower()
    for item in profiles().values():
        if name in (checkpoint.lower() for checkpoint in item.checkpoints):
            return item
    config = _config(model_path)
    for item in profiles().values():
        if item.sizes and all(_field(config, key) == value for key, value in item.sizes.items()):
            return item
    return None


def resolve(values: Mapping[str, Any], model_path: str) -> dict[str, Any]:
    """``values`` by the parameters' dotted names, completed by the checkpoint's profile.

    What is given in ``values`` wins, whatever it is; so they must hold only what a user gave, not
    defaults. A null is what ``ros2 param dump`` writes of a parameter that has no value.
    ``model.profile`` in the result is the name of the profile in force, or ``none``.

    :raises ParameterError: if ``model.profile`` names no profile.
    """
    values = {
        name: value
        for name, value in values.items()
        if name not in governed() or value not in _NULLS
    }
    profile = find(str(values.get('model.profile', AUTO)), model_path)
    if profile is None:
        return {**values, 'model.profile': NONE}
    return {**profile.parameters, **values, 'model.profile': profile.name}


def _model_name(model_path: str) -> str:
    if match := _HUB_FOLDER.search(model_path):
        return match['name']
    return Path(model_path.rstrip('/')).name


def _config(model_path: str) -> Mapping[str, Any]:
    folder = Path(os.path.expanduser(model_path))
    if not os.path.isdir(folder) and hub.is_hub_name(model_path):
        folder = hub.cached_snapshot(model_path) or folder
    try:
        config = json.loads((folder / 'config.json').read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _field(config: Mapping[str, Any], key: str) -> Any:
    """A field by its dotted name; older checkpoints keep those of ``text_config`` at the top."""
    group, _, name = key.rpartition('.')
    if not group:
        return config.get(name)
    return config.get(group, config).get(name)
