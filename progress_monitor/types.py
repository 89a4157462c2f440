"""What passes between the rooms: frozen dataclasses and enums, plain Python and NumPy.

Times are integers in nanoseconds of the ROS clock (``*_ns``); durations are seconds in float.
Progress is 0..1, and NaN where it is unknown. Enum values equal those of the ROS messages.
"""

from __future__ import annotations

import enum
import itertools
import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

NAN = math.nan


class State(enum.IntEnum):
    """State of the monitor, as in ``MonitorStatus.msg``."""

    UNKNOWN = 0
    IDLE = 1
    LOADING = 2
    OBSERVING = 3
    PROGRESSING = 4
    STALLED = 5
    REGRESSING = 6
    SUCCEEDED = 7
    UNSURE = 8
    STALE = 9
    ERROR = 10


class Evidence(enum.IntEnum):
    """What the frames or the answer are worth, as in ``MonitorStatus.msg``."""

    UNKNOWN = 0
    GOOD = 1
    NO_PUBLISHER = 2
    NO_FRAMES = 3
    TOO_OLD = 4
    FROZEN = 5
    STAMP_JUMP = 6
    BLACK = 7
    OVEREXPOSED = 8
    COVERED = 9
    VIEW_CHANGED = 10
    UNREADABLE = 11
    REFUSED = 12
    NO_NUMBER = 13
    CONTRADICTION = 14
    MODEL_LATE = 15
    UNKNOWN_SCENE = 16
    CUT_SHORT = 17


class StallCause(enum.IntEnum):
    """Why the task hangs, as in ``Stall.msg``."""

    UNKNOWN = 0
    NONE = 1
    NO_CHANGE = 2
    REGRESSION = 3
    LOOPING = 4


class RecoveryHint(enum.IntEnum):
    """What a supervisor may try first, as in ``Stall.msg``."""

    UNKNOWN = 0
    NONE = 1
    WAIT = 2
    RETRY = 3
    REPLAN = 4
    ASK_PERSON = 5


class StepStatus(enum.IntEnum):
    """Status of one step of the plan, as in ``Step.msg``."""

    UNKNOWN = 0
    PENDING = 1
    IN_PROGRESS = 2
    DONE = 3
    UNDONE = 4


class Verdict(enum.IntEnum):
    """What a strategy's answer says of success."""

    UNKNOWN = 0
    NOT_DONE = 1
    DONE = 2


class Finish(enum.Enum):
    """Why a generated text ended."""

    STOP = 'stop'
    END = 'end'
    TOKEN_LIMIT = 'token_limit'  # noqa: S105
    TIME_LIMIT = 'time_limit'


class Failure(enum.Enum):
    """Why a request has no answer.

    REFUSED: this request cannot be answered, and the model lives; LATE: past its deadline;
    LOST: the model's process died, or was ended, before it was answered.
    """

    REFUSED = 'refused'
    LATE = 'late'
    LOST = 'lost'


@dataclass(frozen=True, eq=False)
class Frame:
    """One camera image.

    ``image`` is (height, width, 3) uint8 RGB and is not written to after construction;
    ``uid`` is unique per frame within a process and is the key of the vision cache.
    """

    uid: int
    camera: str
    stamp_ns: int
    image: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames of one camera, oldest first, that the model is shown as a video.

    A video's frames are merged in pairs, the last one with itself where their number is odd, and
    each pair is told with its time since the first frame.
    """

    frames: tuple[Frame, ...]


Part = str | Frame | Clip

_uids = itertools.count(1)


def new_uid() -> int:
    """A number for a frame that no other frame of this process has."""
    return next(_uids)


@dataclass(frozen=True)
class Task:
    """The task being watched. ``allowance_s`` 0 takes the parameter's."""

    task_id: str
    text: str
    allowance_s: float = 0.0


@dataclass(frozen=True)
class Generate:
    """A text is wanted, decoded greedily up to and with one of ``stop``, or the end of the text.

    ``max_new_tokens`` 0 takes ``model.max_new_tokens``, which also bounds it. ``number_tag`` names
    the tag whose number's distribution is wanted (``progress`` for ``<progress>``); empty: none.
    """

    stop: tuple[str, ...] = ()
    max_new_tokens: int = 0
    number_tag: str = ''


@dataclass(frozen=True)
class Score:
    """The log-probability of each of ``continuations`` after the prompt is wanted, and no text."""

    continuations: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Request:
    """One question to the model.

    ``parts`` are texts, frames and clips in the order in which the model reads them. With ``chat``
    they make one user turn of the checkpoint's chat template, after which the assistant speaks;
    without it the user turn is left open and the prompt ends with the last part (TOPReward's
    "template off"). ``session`` names the kind of question: each has a key-value cache and a draft
    of its own. ``id`` is unique within a backend's life. ``task`` is the text of the task that is
    asked about, by which a model with several adapters takes the one that was made for it.
    """

    id: int
    session: str
    parts: tuple[Part, ...]
    want: Generate | Score
    chat: bool = True
    task: str = ''

    @property
    def frames(self) -> tuple[Frame, ...]:
        """The frames among the parts, those of clips included, in order."""
        found: list[Frame] = []
        for part in self.parts:
            if isinstance(part, Clip):
                found += part.frames
            elif isinstance(part, Frame):
                found.append(part)
        return tuple(found)


@dataclass(frozen=True)
class DecodeStats:
    """What one answer cost. Times in milliseconds of wall time."""

    total_ms: float
    vision_ms: float = 0.0
    prefill_ms: float = 0.0
    forwards: int = 0
    prompt_tokens: int = 0
    reused_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    frames_encoded: int = 0


@dataclass(frozen=True)
class Generated:
    """The model's text, greedily decoded.

    ``number`` is the distribution of the number in the wanted tag as pairs of (value, probability),
    in the tag's own unit, probabilities summing to 1; empty: not wanted, or the text holds none.
    ``scene_distance`` says how far the newest frame lies from the scenes that the checkpoint
    knows, above 1 where it knows no such scene; NaN where that cannot be told. ``adapter`` names
    the adapter that answered, for a person; empty: the bare checkpoint. ``end_doubtful``: its own
    report has found that it takes unfinished work for done.
    """

    text: str
    token_ids: tuple[int, ...]
    finish: Finish
    stats: DecodeStats
    number: tuple[tuple[float, float], ...] = ()
    scene_distance: float = NAN
    adapter: str = ''
    end_doubtful: bool = False


@dataclass(frozen=True)
class Scored:
    """Natural logarithms of the probability of each continuation, in the order asked for."""

    log_probabilities: tuple[float, ...]
    stats: DecodeStats
    scene_distance: float = NAN
    adapter: str = ''
    end_doubtful: bool = False


@dataclass(frozen=True)
class Capabilities:
    """What a loaded model can do, and what a tick costs it.

    Both sides of a frame are brought to multiples of ``frame_multiple`` pixels by the model room.
    ``clips`` says whether the model can be shown clips. ``tick_ms`` is the measured cost of a
    window of five new frames with a short answer, ``frame_ms`` that of one more frame; NaN where
    not measured. ``max_pixels`` is the most pixels of a frame that the model is shown, which may
    be fewer than configured where the deadline asks for it, and ``max_tokens`` the most of a prompt
    and its answer together; 0 where not known.
    """

    architecture: str = ''
    frame_multiple: int = 32
    scores: bool = True
    raw_prompts: bool = True
    clips: bool = False
    max_pixels: int = 0
    max_tokens: int = 0
    tick_ms: float = NAN
    frame_ms: float = NAN


@dataclass(frozen=True, eq=False)
class View:
    """What a strategy has selected to show: frames in the order shown, and the newest stamp."""

    frames: tuple[Frame, ...]
    stamp_ns: int


@dataclass(frozen=True)
class Recollection:
    """What a strategy may tell the model besides frames.

    ``done`` is the plan's sentence on the steps done so far, empty where the model is not told;
    ``thought`` is the chain of thought of the previous tick, empty before the first.
    """

    task: str
    done: str = ''
    thought: str = ''


class BackendState(enum.Enum):
    """What the model's process is doing."""

    STOPPED = 'stopped'
    DOWNLOADING = 'downloading'
    LOADING = 'loading'
    READY = 'ready'
    BUSY = 'busy'
    FAILED = 'failed'


@dataclass(frozen=True)
class BackendStatus:
    """Report on the model and its process. ``message`` says what failed and what to do.

    ``profile`` names the known checkpoint's settings that are in use, and ``max_pixels`` is the
    most pixels of a frame that the model is shown now (0: the parameter's).
    """

    state: BackendState
    message: str = ''
    model: str = ''
    revision: str = ''
    profile: str = ''
    max_pixels: int = 0
    quantization: str = ''
    device: str = ''
    memory_mb: float = NAN
    restarts: int = 0


@dataclass(frozen=True)
class Completion:
    """Outcome of the request of that id: an answer, or a failure and what it was, in a sentence."""

    request_id: int
    answer: Generated | Scored | None
    failure: Failure | None = None
    message: str = ''


class Backend(Protocol):
    """Where requests are answered: a worker process, this one (offline tools), or a server.

    ``submit`` never blocks on the model in a worker. Every request that was submitted completes
    once, unless it is cancelled; one that cannot be answered completes with a failure. ``submit``
    raises ``RuntimeError`` while the model is not ready. After a failure of its own the backend
    starts again by itself. ``capabilities`` is None until the model is ready for the first time.
    """

    def capabilities(self) -> Capabilities | None: ...

    def status(self) -> BackendStatus: ...

    def submit(self, request: Request) -> None: ...

    def poll(self) -> Completion | None: ...

    def cancel(self, request_id: int) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Estimate:
    """What a strategy reads from one answer.

    ``remaining_steps`` is None where the answer held no readable list; an empty tuple says that
    nothing remains. ``evidence`` is GOOD, REFUSED, NO_NUMBER, CUT_SHORT, CONTRADICTION or
    UNKNOWN_SCENE; a scene that the model does not know has no figures. ``verdict`` is what the
    strategy takes the answer to say of success, and ``success_probability`` a second opinion where
    the strategy has one. ``thought`` is the chain of thought to be remembered, for strategies that
    have one. ``expected`` is the mean of the number's own distribution, 0..1, where the decoder
    gives it: of two numbers that are about as likely the answer names either in turn.
    """

    stamp_ns: int
    progress: float
    spread: float
    remaining_steps: tuple[str, ...] | None
    evidence: Evidence
    reasoning: str
    success_probability: float = NAN
    verdict: Verdict = Verdict.UNKNOWN
    thought: str = ''
    expected: float = NAN


@dataclass(frozen=True)
class PlanStep:
    """One step of the remembered plan."""

    text: str
    status: StepStatus
    first_seen_ns: int
    last_seen_ns: int


@dataclass(frozen=True)
class StallReport:
    """Content of ``Stall.msg``.

    ``noise`` is the standard deviation of the progress numbers, 0..1, and ``confidence`` the
    probability, 0..1, that the evidence gives to the call.
    """

    stalled: bool
    cause: StallCause
    event_id: str
    since_ns: int
    evidence_first_ns: int
    evidence_last_ns: int
    progress: float
    rate: float
    step: str
    hint: RecoveryHint
    explanation: str
    task_id: str = ''
    noise: float = NAN
    confidence: float = NAN


@dataclass(frozen=True)
class SuccessReport:
    """Content of ``Success.msg``.

    ``confidence`` is the share of the last ticks that say so, and ``noise`` the standard deviation
    of the progress numbers, both 0..1.
    """

    succeeded: bool
    event_id: str
    stamp_ns: int
    progress: float
    confidence: float
    task_id: str = ''
    noise: float = NAN


@dataclass(frozen=True)
class MonitorUpdate:
    """What one call of ``ProgressMonitor.tick`` found.

    ``estimate``, ``answer`` and ``camera`` (that of the newest frame which the estimate speaks of)
    are set when an answer arrived in this call; ``stalls`` and ``successes`` hold what changed
    since the last one, in order. ``finish`` is how the last generated answer ended, ``noise`` the
    standard deviation of progress as the judge has learned it, and ``confidence`` how sure the
    judge is of the state; NaN where not known. ``prompt_hash``, ``model_revision`` and ``adapter``
    (of the last answer) name what the numbers came from; empty where not known.
    """

    now_ns: int
    state: State
    evidence: Evidence
    message: str
    task: Task | None
    progress: float = NAN
    rate: float = NAN
    noise: float = NAN
    confidence: float = NAN
    estimate: Estimate | None = None
    answer: Generated | Scored | None = None
    camera: str = ''
    finish: str = ''
    window: tuple[Frame, ...] = ()
    plan: tuple[PlanStep, ...] = ()
    thought: str = ''
    prompt_hash: str = ''
    model_revision: str = ''
    adapter: str = ''
    stalls: tuple[StallReport, ...] = ()
    successes: tuple[SuccessReport, ...] = ()
    ticks: int = 0
    frames_received: int = 0
    frames_skipped: int = 0
    backend: BackendStatus = field(default_factory=lambda: BackendStatus(BackendState.STOPPED))
