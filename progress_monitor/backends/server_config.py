"""Parameters of a remote model server."""

from __future__ import annotations

from dataclasses import dataclass

from progress_monitor.parameters import parameter


@dataclass(frozen=True)
class ServerConfig:
    """A server with the OpenAI interface (vLLM and its like)."""

    url: str = parameter(
        '', 'Address of the server, for example http://gpu-box:8000/v1; for the backend openai.'
    )
    model: str = parameter(
        '', 'Name under which the server knows the model, or an adapter of it. Empty: its only one.'
    )
    key_variable: str = parameter(
        '',
        'Name of the environment variable that holds the key of the server; the key itself is '
        'never a parameter. Empty: none is sent.',
    )
    cache_salt: str = parameter(
        '', 'Keeps the caches of several robots on one server apart. Empty: they are shared.'
    )
