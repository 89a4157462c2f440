from __future__ import annotations

from progress_monitor.config import MonitorConfig
from progress_monitor.parameters import ParameterError
from progress_monitor.steps import likeness
from progress_monitor.types import Task

_MOST_ENTRIES = 100
_LONGEST_ENTRY = 500


def parse_step_allowances(entries: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    """Read "text of the step=seconds" entries.

    :raises ParameterError: if an entry has no text, or no positive number of seconds; or if there
        are more, or longer ones, than can be compared with the step at every tick.
    """
    if len(entries) > _MOST_ENTRIES:
        raise ParameterError(
            f'stall.step_allowances: {len(entries)} entries; at most {_MOST_ENTRIES} are compared '
            'with a step'
        )
    parsed = []
    for entry in entries:
        text, separator, seconds = entry.rpartition('=')
        if len(entry) > _LONGEST_ENTRY:
            raise ParameterError(
                f'stall.step_allowances: {entry[:40]!r}... has {len(entry)} characters; at most '
                f'{_LONGEST_ENTRY} are compared with a step'
            )
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
