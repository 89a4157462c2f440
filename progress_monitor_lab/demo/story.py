"""Whether the demo's story really happened, and what it measured. Plain functions, no ROS."""

from __future__ import annotations

import dataclasses
import enum
import math
import statistics
from typing import Any

from progress_monitor.types import State
from progress_monitor_lab.demo.recording import Recording

FAULTS = ('none', 'freeze_robot', 'drop', 'missed_grasp')
# The truth asks for a second of rest before it says done; the monitor may be sooner than that.
EARLY_SUCCESS_S = 3.0


class Ending(enum.Enum):
    """How far the story is."""

    PENDING = 'pending'
    HAPPENED = 'happened'
    LOST = 'lost'


@dataclasses.dataclass(frozen=True)
class Verdict:
    """``missing`` says in one sentence what the story lacks; empty when it happened."""

    ending: Ending
    missing: str = ''


def judge(recording: Recording) -> Verdict:
    """Compare what was called with what was true, as far as the recording goes.

    Without a fault: success, the task truly done, and no stall. With one: a stall or regression
    called after the injection, a replan that ran, then success with the task truly done.
    """
    wrong = _wrong_call(recording)
    if wrong:
        return Verdict(Ending.LOST, wrong)
    missing = _missing(recording)
    return Verdict(Ending.PENDING if missing else Ending.HAPPENED, missing)


def _wrong_call(recording: Recording) -> str:
    """A call that cannot be made good any more; empty: there is none."""
    injected_ns, done_ns = recording.injected_ns, recording.done_ns
    for call in recording.calls:
        if recording.fault == 'none':
            return f'A stall was called although nothing was wrong: {call.explanation}'
        if injected_ns is None or call.at_ns < injected_ns:
            return f'A stall was called before the fault was injected: {call.explanation}'
    success_ns = next((row.at_ns for row in recording.successes if row.succeeded), None)
    if success_ns is None or not recording.truths:
        return ''
    seen_ns = done_ns if done_ns is not None else recording.truths[-1].stamp_ns
    early_s = (seen_ns - success_ns) / 1e9
    if early_s > EARLY_SUCCESS_S:
        return f'Success was called {early_s:.1f} s or more before the task was done.'
    return ''


def _missing(recording: Recording) -> str:
    if not recording.truths:
        return 'The cell published nothing.'
    if not recording.ticks:
        return 'The monitor made no tick: no answer of the model arrived.'
    if recording.fault != 'none':
        if recording.injected_ns is None:
            return 'The fault never happened: the robot did not get far enough.'
        if not recording.calls:
            return 'The monitor did not call the fault.'
        if recording.replanned_ns is None:
            return 'The stall was called, but the robot was not made to replan.'
    if not recording.successes or not recording.successes[-1].succeeded:
        done = 'although the task is done' if recording.done_ns else 'and the task is not done'
        return f'The monitor did not call success, {done}.'
    if recording.done_ns is None:
        return 'The monitor called success, but the task is not done.'
    return ''


def summarise(recording: Recording, verdict: Verdict) -> dict[str, Any]:
    """Figures of a run. Times in s, ``mae`` in points of progress (0..100); None: unknown."""
    ticks = recording.ticks
    truth = {row.stamp_ns: row.progress for row in recording.truths}
    errors = [
        abs(tick.progress - truth[tick.stamp_ns]) * 100
        for tick in ticks
        if tick.stamp_ns in truth and math.isfinite(tick.progress)
    ]
    span_s = (ticks[-1].at_ns - ticks[0].at_ns) / 1e9 if len(ticks) > 1 else 0.0
    status = recording.statuses[-1] if recording.statuses else None
    happened = verdict.ending is Ending.HAPPENED
    return {
        'task': recording.task,
        'instruction': recording.instruction,
        'fault': recording.fault,
        'seed': recording.seed,
        'outcome': status.state.name.lower() if status else State.UNKNOWN.name.lower(),
        'story_happened': happened,
        'missing': verdict.missing,
        'injected_s': _after(recording, recording.injected_ns),
        'stall_detected_s': _detected(recording),
        'stall_causes': [row.cause.name.lower() for row in recording.calls],
        'stall_steps': [row.step for row in recording.calls],
        'stall_calls': len(recording.calls),
        'false_alarm': _false_alarm(recording),
        'replans': recording.truths[-1].replans if recording.truths else 0,
        'done_s': _after(recording, recording.done_ns),
        'success_s': _after(
            recording, next((row.at_ns for row in recording.successes if row.succeeded), None)
        ),
        'ticks': len(ticks),
        'ticks_per_s': _rounded((len(ticks) - 1) / span_s if span_s else math.nan),
        'tick_ms_median': _median([tick.inference_ms for tick in ticks]),
        'age_s_median': _median([tick.age_s for tick in ticks]),
        'mae': _rounded(statistics.fmean(errors) if errors else math.nan),
        'frames': len(recording.truths),
        'seconds': _after(recording, recording.truths[-1].stamp_ns if recording.truths else None),
        'model': status.model if status else '',
        'quantization': status.quantization if status else '',
        'device': status.device if status else '',
    }


def _detected(recording: Recording) -> float | None:
    """From the injection to the first call after it, s."""
    injected_ns = recording.injected_ns
    if injected_ns is None:
        return None
    later = [row.at_ns for row in recording.calls if row.at_ns >= injected_ns]
    return _rounded((later[0] - injected_ns) / 1e9) if later else None


def _false_alarm(recording: Recording) -> bool:
    """Whether a stall was called while nothing had gone wrong yet."""
    injected_ns = recording.injected_ns
    return any(injected_ns is None or row.at_ns < injected_ns for row in recording.calls)


def _after(recording: Recording, at_ns: int | None) -> float | None:
    return None if at_ns is None else _rounded(recording.seconds(at_ns))


def _median(values: list[float]) -> float | None:
    known = [value for value in values if math.isfinite(value)]
    return _rounded(statistics.median(known)) if known else None


def _rounded(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None
