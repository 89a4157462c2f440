"""How to ask the model and how to read its answers, one strategy a file."""

from __future__ import annotations

from collections.abc import Callable

from progress_monitor.config import MonitorConfig
from progress_monitor.strategies.combined import Combined
from progress_monitor.strategies.procvlm import ProcVLM
from progress_monitor.strategies.progresslm import ProgressLM
from progress_monitor.strategies.recurrent import Recurrent
from progress_monitor.strategies.strategy import Strategy
from progress_monitor.strategies.topreward import TopReward

STRATEGIES: dict[str, Callable[[MonitorConfig, str], Strategy]] = {
    'procvlm': lambda config, model: ProcVLM(config, config.procvlm),
    'topreward': lambda config, model: TopReward(config, config.topreward),
    'progresslm': lambda config, model: ProgressLM(config, config.progresslm, model),
    'recurrent': lambda config, model: Recurrent(config, config.recurrent),
    'combined': lambda config, model: Combined(
        ProcVLM(config, config.procvlm), TopReward(config, config.topreward)
    ),
}


def make_strategy(config: MonitorConfig, model_name: str = '') -> Strategy:
    """The strategy that ``config`` names, for a model of that name.

    :raises ParameterError: if its parameters cannot be used.
    """
    return STRATEGIES[config.strategy](config, model_name)
