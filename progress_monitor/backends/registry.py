"""Which backend a configuration names."""

from __future__ import annotations

from collections.abc import Callable

from progress_monitor.backends.openai import OpenAIBackend
from progress_monitor.backends.worker import WorkerBackend
from progress_monitor.node_config import NodeConfig
from progress_monitor.parameters import ParameterError
from progress_monitor.types import Backend
from progress_monitor.vlm.adapter import check_configured
from progress_monitor.vlm.errors import VLMError

BACKENDS: dict[str, Callable[[NodeConfig], Backend]] = {
    'worker': lambda config: WorkerBackend(
        config.model, images=(config.window.min_images, config.window.max_images)
    ),
    'openai': lambda config: OpenAIBackend(
        config.server, config.model.deadline_s, config.model.max_new_tokens
    ),
}


def make_backend(config: NodeConfig) -> Backend:
    """The backend that ``config.backend`` names; it returns at once, still loading.

    :raises ParameterError: if its parameters cannot be used.
    """
    if config.backend == 'worker' and not config.model.path:
        raise ParameterError(
            'model.path: empty; give the folder of a checkpoint, or its name on the hub '
            '(launch argument model)'
        )
    if config.backend != 'worker' and config.model.adapters:
        raise ParameterError(
            f'model.adapters: a server ({config.backend}) has adapters of its own; name one as '
            'server.model'
        )
    try:
        check_configured(config.model)
    except VLMError as error:
        raise ParameterError(str(error)) from error
    return BACKENDS[config.backend](config)
