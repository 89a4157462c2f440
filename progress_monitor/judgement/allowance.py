from __future__ import annotations

from progress_monitor.config import MonitorConfig
from progress_monitor.parameters import ParameterError
from progress_monitor.steps import likeness
from progress_monitor.types import Task


def parse_step_allowances(entries: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    """Read "text of the step=seconds" entries.

    :raises ParameterError: if an entry has no text, or no positive number of seconds.
    """
    parsed = []
    for entry in entries:
        text, separator, seconds = entry.rpartition('=')
        try:
            value = float(seconds)
        except ValueError:
            value = -1.0
        if not separator or not text.strip() or not 0.0 < value < 1e6:
            raise ParameterError(
                f'stall.step_allowances: {entry!r} is not of the form "text of the step=seconds"'
            )
        parsed.append((text.strip(), value))
    return tuple(parsed)


class StepAllowances:
    """How long each step may go without visible progress, s."""

    def __init__(self, config: MonitorConfig, task: Task) -> None:
        self._default = task.allowance_s if task.allowance_s > 0.0 else config.stall.allowance
        self._similarity = config.memory.similarity
        self._entries = parse_step_allowances(config.stall.step_allowances)

    def of(self, step: str) -> float:
        """Allowance of ``step``, by the entry whose text is likest to it."""
        own = self.named(step)
        return self._default if own is None else own

    def named(self, step: str) -> float | None:
        """The allowance that an entry gives to ``step``; None without one."""
        scored = [
            (likeness(step, text, self._similarity), seconds) for text, seconds in self._entries
        ]
        best = max(scored, default=(0.0, 0.0))
        return best[1] if step and best[0] > 0.0 else None
