"""How to ask the model and how to read its answers, one strategy a file."""

from __future__ import annotations

from collections.abc import Callable

from progress_monitor.config import MonitorConfig
from progress_monitor.strategies.procvlm import ProcVLM
from progress_monitor.strategies.strategy import Strategy

STRATEGIES: dict[str, Callable[[MonitorConfig], Strategy]] = {'procvlm': ProcVLM}


def make_strategy(config: MonitorConfig) -> Strategy:
    """The strategy that ``config`` names.

    :raises ParameterError: if its parameters cannot be used.
    """
    return STRATEGIES[config.strategy](config)
