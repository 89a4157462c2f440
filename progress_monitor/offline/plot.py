"""Parts of a plot over time: states as bands, progress with its spread."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np

from progress_monitor.overlay import STATE_COLOURS
from progress_monitor.printable import printable
from progress_monitor.types import State

# No screen is wanted: plots go to files.
matplotlib.use('Agg')

PROGRESS_COLOUR = '#1f5fa8'
_LONGEST_TITLE = 120


def draw_states(axes: Any, states: Sequence[tuple[float, State]], end: float) -> None:
    """Draw each state as a band from its time, s, to the next one's, the last to ``end``."""
    named: set[State] = set()
    start = max(0.0, states[0][0]) if states else end
    for (_, state), (until, following) in itertools.pairwise([*states, (end, State.UNKNOWN)]):
        if following is state or until <= start:
            continue
        colour = tuple(channel / 255 for channel in STATE_COLOURS[state])
        label = state.name if state not in named else None
        alpha = 0.1 if state is State.OBSERVING else 0.22
        axes.axvspan(start, until, color=colour, alpha=alpha, linewidth=0, label=label)
        named.add(state)
        start = until


def draw_progress(
    axes: Any, seconds: Sequence[float], progress: Sequence[float], spread: Sequence[float]
) -> None:
    """Draw progress, 0..1, with its standard deviation; where it is unknown the line breaks."""
    time = np.asarray(seconds, float)
    value = np.asarray(progress, float) * 100.0
    deviation = np.nan_to_num(np.asarray(spread, float)) * 100.0
    axes.plot(time, value, color=PROGRESS_COLOUR, linewidth=1.8, label='monitor')
    axes.fill_between(
        time,
        value - deviation,
        value + deviation,
        color=PROGRESS_COLOUR,
        alpha=0.25,
        linewidth=0,
    )


def label_axes(axes: Any, title: str, end: float) -> None:
    """Name and bound the axes, with room for marks above 100 %."""
    axes.set_xlim(0.0, max(1.0, end))
    axes.set_ylim(-2.0, 118.0)
    axes.set_yticks(range(0, 101, 20))
    axes.set_xlabel('time, s')
    axes.set_ylabel('progress, %')
    # A dollar sign is one, and no formula.
    axes.set_title(printable(title, _LONGEST_TITLE), fontsize=11, parse_math=False)
    axes.legend(loc='lower right', framealpha=0.9, fontsize=9)
