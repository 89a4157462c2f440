"""Recordings of runs that never were, for the demo's tests."""

from __future__ import annotations

import cv2
import numpy as np

from progress_monitor.recovery import Kind
from progress_monitor.types import Evidence, PlanStep, StallCause, State, StepStatus
from progress_monitor_lab.demo.recording import (
    FrameRow,
    Recording,
    RecoveryRow,
    StallRow,
    StatusRow,
    SuccessRow,
    TickRow,
    TruthRow,
)

SECOND = 1_000_000_000
START = 1_000 * SECOND


def at(seconds: float) -> int:
    return START + round(seconds * SECOND)


def recording(
    fault: str = 'drop',
    injected: float | None = 4.0,
    calls: tuple[float, ...] = (7.0,),
    replanned: float | None = 7.2,
    done: float | None = 15.0,
    success: float | None = 15.5,
    until: float = 17.0,
) -> Recording:
    """A run of ``until`` seconds at 10 Hz; times in s from the first picture, None: never."""
    found = Recording('pick_place', fault, 3, 'pick up the puck')
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    jpeg = cv2.imencode('.jpg', picture)[1].tobytes()
    for number in range(round(until * 10)):
        seconds = number / 10
        active = injected is not None and injected <= seconds < (replanned or until + 1)
        truth = TruthRow(
            stamp_ns=at(seconds),
            progress=min(1.0, seconds / (done or 30.0)),
            stage='Reach the puck',
            done=done is not None and seconds >= done,
            fault=fault if active else '',
            replans=int(replanned is not None and seconds >= replanned),
        )
        found.truths.append(truth)
        found.frames.append(FrameRow(at(seconds), jpeg))
        if number % 5 == 0:
            _add_tick(found, truth, calls, success)
    for number, seconds in enumerate(calls):
        found.stalls.append(
            StallRow(
                at(seconds), f'e{number}', True, StallCause.REGRESSION, 'Reach', 'Progress was lost'
            )
        )
        if replanned is not None:
            row = StallRow(at(replanned), f'e{number}', False, StallCause.NONE, '', 'ended')
            found.stalls.append(row)
    if replanned is not None:
        found.recoveries.append(RecoveryRow(at(replanned), Kind.REPLANNED, 1, 'starts over'))
    if success is not None:
        found.successes.append(SuccessRow(at(success), True))
    return found


def _add_tick(
    found: Recording, truth: TruthRow, calls: tuple[float, ...], success: float | None
) -> None:
    now_ns = truth.stamp_ns + 200_000_000
    seconds = found.seconds(now_ns)
    state = State.PROGRESSING
    if success is not None and seconds >= success:
        state = State.SUCCEEDED
    elif any(call <= seconds < call + 1.0 for call in calls):
        state = State.STALLED
    plan = (PlanStep('Reach the puck.', StepStatus.IN_PROGRESS, now_ns, now_ns),)
    found.ticks.append(
        TickRow(
            at_ns=now_ns,
            stamp_ns=truth.stamp_ns,
            state=state,
            progress=truth.progress + 0.02,
            spread=0.01,
            remaining_steps=('Reach the puck.',),
            plan=plan,
            reasoning='The following steps are required:\n1. Reach the puck.',
            inference_ms=120.0 + len(found.ticks) % 3,
            age_s=0.2,
        )
    )
    found.statuses.append(
        StatusRow(
            now_ns, state, Evidence.GOOD, 'Fine.', truth.progress, 'small_cell', 'none', 'cpu'
        )
    )
