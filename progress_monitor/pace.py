"""How often a model of known cost is shown something new."""

from __future__ import annotations

import math

from progress_monitor.types import Capabilities

_HEADROOM = 1.25


def paced_period(
    wanted_s: float, longest_s: float, capabilities: Capabilities
) -> tuple[float, str]:
    """Time between samples, s, that the model can keep up with, and a word where it was changed.

    Every sample is encoded once, so a model whose cost of one more frame exceeds the period falls
    behind for ever. The period is then lengthened to what it can do, ``longest_s`` at most. A
    model whose cost is not known keeps the period that was asked for.
    """
    needed = capabilities.frame_ms * 1e-3 * _HEADROOM
    if not math.isfinite(needed) or needed <= wanted_s:
        return wanted_s, ''
    period = min(needed, max(longest_s, wanted_s))
    note = (
        f'one more frame costs the model {capabilities.frame_ms * 1e-3:.1f} s: samples are '
        f'{period:.1f} s apart instead of {wanted_s:g} s'
    )
    return period, note
