"""How to ask the model and how to read its answers, one strategy a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from progress_monitor.config import MonitorConfig
from progress_monitor.strategies.combined import Combined
from progress_monitor.strategies.procvlm import ProcVLM
from progress_monitor.strategies.progresslm import ProgressLM
from progress_monitor.strategies.recurrent import Recurrent
from progress_monitor.strategies.strategy import Strategy
from progress_monitor.strategies.topreward import TopReward


def _share(config: MonitorConfig) -> float:
    """Share of the token's reading in the progress of ``combined``."""
    calibrated = config.topreward.floor < 0.0 and config.topreward.ceiling < 0.0
    return config.combined.token_share if calibrated else 0.0


Make = Callable[[MonitorConfig, str, Sequence[str]], Strategy]

STRATEGIES: dict[str, Make] = {
    'procvlm': lambda config, model, cameras: ProcVLM(config, config.procvlm),
    'topreward': lambda config, model, cameras: TopReward(config, config.topreward, cameras),
    'progresslm': lambda config, model, cameras: ProgressLM(
        config, config.progresslm, model, cameras
    ),
    'recurrent': lambda config, model, cameras: Recurrent(config, config.recurrent, cameras),
    'combined': lambda config, model, cameras: Combined(
        ProcVLM(config, config.procvlm),
        TopReward(config, config.topreward, cameras),
        _share(config),
    ),
}


def make_strategy(
    config: MonitorConfig, model_name: str = '', cameras: Sequence[str] = ()
) -> Strategy:
    """The strategy that ``config`` names, for a model of that name and for ``cameras``.

    :raises ParameterError: if its parameters cannot be used, or it takes fewer cameras.
    """
    return STRATEGIES[config.strategy](config, model_name, cameras)
