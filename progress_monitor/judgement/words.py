"""What is said to people and to a supervisor about a stall."""

from __future__ import annotations

from progress_monitor.judgement.signal import Sample
from progress_monitor.types import RecoveryHint, StallCause

UNDONE = 'The finished task was undone'


def hint(cause: StallCause, waits: bool) -> RecoveryHint:
    """What may help, by what is seen; how often it was tried is the supervisor's to count.

    :param waits: whether a rest may be in order: nothing has moved yet, or the step has an
        allowance of its own and is known to be slow.
    """
    if cause is not StallCause.NO_CHANGE:
        return RecoveryHint.REPLAN
    return RecoveryHint.WAIT if waits else RecoveryHint.RETRY


def explain(cause: StallCause, step: str, start: Sample, sample: Sample, why: str) -> str:
    """One sentence on a stall from ``start`` to ``sample``; ``why`` may begin it."""
    where = f' in the step "{step.rstrip(". ")}"' if step else ''
    seconds = sample.time - start.time
    if cause is StallCause.REGRESSION:
        return (
            f'{why or "Progress was lost"}: from {start.level:.0%} to {sample.progress:.0%} '
            f'within {seconds:.1f} s{where}.'
        )
    if cause is StallCause.LOOPING:
        return f'Up and down without net gain for {seconds:.1f} s at {sample.level:.0%}{where}.'
    return f'No progress for {seconds:.1f} s at {sample.level:.0%}{where}.'
