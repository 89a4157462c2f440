"""What the demo hears, row by row. Plain data: the verdict, the plots and the film need no ROS.

``at_ns`` is the ROS time at which a row arrived, ``stamp_ns`` the acquisition stamp of the frame
that it speaks of. Progress is 0..1, NaN where unknown.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from progress_monitor.recovery import Kind
from progress_monitor.types import Evidence, PlanStep, StallCause, State


@dataclasses.dataclass(frozen=True)
class TruthRow:
    """What the cell knows; ``fault`` is empty while none is active."""

    stamp_ns: int
    progress: float
    stage: str
    done: bool
    fault: str
    replans: int


@dataclasses.dataclass(frozen=True)
class TickRow:
    """One tick of the monitor."""

    at_ns: int
    stamp_ns: int
    state: State
    progress: float
    spread: float
    remaining_steps: tuple[str, ...]
    plan: tuple[PlanStep, ...]
    reasoning: str
    inference_ms: float
    age_s: float


@dataclasses.dataclass(frozen=True)
class StatusRow:
    """The monitor's status."""

    at_ns: int
    state: State
    evidence: Evidence
    message: str
    progress: float
    model: str
    quantization: str
    device: str


@dataclasses.dataclass(frozen=True)
class StallRow:
    """A stall that began or ended."""

    at_ns: int
    event_id: str
    stalled: bool
    cause: StallCause
    step: str
    explanation: str


@dataclasses.dataclass(frozen=True)
class SuccessRow:
    """A success, or one that is taken back."""

    at_ns: int
    succeeded: bool


@dataclasses.dataclass(frozen=True)
class RecoveryRow:
    """What the supervisor did."""

    at_ns: int
    kind: Kind
    attempt: int
    message: str


@dataclasses.dataclass(frozen=True)
class FrameRow:
    """One camera frame, as JPEG: a run's raw pictures would fill the memory."""

    stamp_ns: int
    jpeg: bytes


@dataclasses.dataclass
class Recording:
    """Everything heard in one run, each list in order of arrival."""

    task: str
    fault: str
    seed: int
    instruction: str
    truths: list[TruthRow] = dataclasses.field(default_factory=list)
    ticks: list[TickRow] = dataclasses.field(default_factory=list)
    statuses: list[StatusRow] = dataclasses.field(default_factory=list)
    stalls: list[StallRow] = dataclasses.field(default_factory=list)
    successes: list[SuccessRow] = dataclasses.field(default_factory=list)
    recoveries: list[RecoveryRow] = dataclasses.field(default_factory=list)
    frames: list[FrameRow] = dataclasses.field(default_factory=list)

    @property
    def start_ns(self) -> int:
        """The first picture's stamp, from which the demo's time is counted; 0: none came."""
        return self.truths[0].stamp_ns if self.truths else 0

    def seconds(self, at_ns: int) -> float:
        """Time since the first picture, s."""
        return (at_ns - self.start_ns) / 1e9

    @property
    def injected_ns(self) -> int | None:
        """When the fault began; None: it has not."""
        return next((row.stamp_ns for row in self.truths if row.fault), None)

    @property
    def done_ns(self) -> int | None:
        """When the task was truly done; None: it has not been."""
        return next((row.stamp_ns for row in self.truths if row.done), None)

    @property
    def replanned_ns(self) -> int | None:
        """When the robot first started over; None: it has not."""
        return next((row.stamp_ns for row in self.truths if row.replans), None)

    @property
    def calls(self) -> list[StallRow]:
        """The stalls that were called, without their releases."""
        return [row for row in self.stalls if row.stalled]


@dataclasses.dataclass(frozen=True)
class Event:
    """Something that happened, in words.

    ``kind`` is fault, stall, supervisor, replan, success or done.
    """

    at_ns: int
    kind: str
    text: str


_RECOVERY_WORDS = {
    Kind.WAIT: 'waits, in case the stall ends by itself',
    Kind.REPLAN: 'asks for a new plan',
    Kind.REPLANNED: 'the robot starts over from where it is',
    Kind.REPLAN_FAILED: 'the replan failed',
    Kind.ASK_PERSON: 'a person is needed',
}


def events(recording: Recording) -> list[Event]:
    """What a person wants to be told of a run, in order of time."""
    found: list[Event] = []
    injected_ns = recording.injected_ns
    if injected_ns is not None:
        found.append(Event(injected_ns, 'fault', f'fault injected: {recording.fault}'))
    for row in recording.calls:
        cause = row.cause.name.lower().replace('_', ' ')
        found.append(Event(row.at_ns, 'stall', f'stall called ({cause}): {row.explanation}'))
    for action in recording.recoveries:
        if action.kind in _RECOVERY_WORDS:
            kind = 'replan' if action.kind is Kind.REPLANNED else 'supervisor'
            text = f'supervisor: {_RECOVERY_WORDS[action.kind]}'
            found.append(Event(action.at_ns, kind, text))
    for success in recording.successes:
        text = 'success called' if success.succeeded else 'success taken back'
        found.append(Event(success.at_ns, 'success', text))
    if recording.done_ns is not None:
        found.append(Event(recording.done_ns, 'done', 'the task is truly done'))
    return sorted(found, key=lambda event: event.at_ns)


def write_rows(recording: Recording, path: Path) -> None:
    """Write every row but the pictures as JSON lines, in order of time."""
    lines = sorted(_lines(recording), key=lambda line: float(line['seconds']))
    with path.open('w', encoding='utf-8') as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False) + '\n')


def _lines(recording: Recording) -> Iterator[dict[str, Any]]:
    kinds: dict[str, Sequence[Any]] = {
        'truth': recording.truths,
        'tick': recording.ticks,
        'status': recording.statuses,
        'stall': recording.stalls,
        'success': recording.successes,
        'recovery': recording.recoveries,
    }
    for kind, rows in kinds.items():
        for row in rows:
            values = _plain(dataclasses.asdict(row))
            time_ns = values.get('at_ns', values.get('stamp_ns'))
            yield {'kind': kind, 'seconds': round(recording.seconds(time_ns), 3), **values}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (State, Evidence, StallCause, Kind)):
        return value.name
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
