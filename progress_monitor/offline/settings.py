"""The configuration with which a recording is watched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from progress_monitor.node_config import NodeConfig
from progress_monitor.offline.sources import Source
from progress_monitor.parameters import build
from progress_monitor.vlm.profiles import resolve


def settings_for(
    source: Source, values: Mapping[str, Any], model: str, adapters: Sequence[str] = ()
) -> NodeConfig:
    """What is given in ``values``, completed by the model's profile and what suits the source.

    ``adapters`` take the place of those in ``values``, if there are any.

    :raises ParameterError: naming the parameter that cannot be used.
    """
    given = {'camera.noise_free': source.noise_free, **values, 'model.path': model}
    if adapters:
        given['model.adapters'] = list(adapters)
    return build(NodeConfig, resolve(given, model))
