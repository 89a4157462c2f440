"""Parameters of the monitor itself; those of the model and of ROS stand in their own rooms."""

from __future__ import annotations

from dataclasses import dataclass, field

from progress_monitor.parameters import parameter
from progress_monitor.strategy_config import (
    CombinedConfig,
    ProcVLMConfig,
    ProgressLMConfig,
    RecurrentConfig,
    TopRewardConfig,
)

POLICIES = ('growing', 'sliding', 'anchored')


@dataclass(frozen=True)
class WindowConfig:
    """Which frames the model is shown. The bounds count images over all cameras."""

    policy: str = parameter(
        'growing',
        'How the window moves on: growing (from min_images to max_images, then back to the newest '
        'min_images, or to all that were not shown yet), sliding (the newest max_images) or '
        'anchored (min_images-1 fixed images and the newest one; new ones are fixed after '
        'max_images-min_images samples).',
        choices=POLICIES,
    )
    min_images: int = parameter(
        5, 'Fewest images once that many are there; until then one is shown.', minimum=2, maximum=64
    )
    max_images: int = parameter(17, 'Most images shown at once.', minimum=2, maximum=64)
    sample_period: float = parameter(
        0.5, 'Time from one sample to the next, s.', above=0.0, maximum=60.0
    )
    longest_period: float = parameter(
        5.0,
        'Longest time from one sample to the next that a slow model may be given instead, s; with '
        'a model that needs more for one more frame, windows are cut to the newest min_images.',
        above=0.0,
        maximum=60.0,
    )


@dataclass(frozen=True)
class MemoryConfig:
    """The remembered plan."""

    in_prompt: bool = parameter(
        False,
        'Tell the model which steps are done; only for a model trained with that sentence.',
    )
    confirm: int = parameter(
        2,
        'Successive answers that must agree before a step counts as done, or as undone again; '
        'fewer of a model that would need more than 3 s for them.',
        minimum=1,
        maximum=10,
    )
    similarity: float = parameter(
        80.0,
        'Likeness of two wordings, 0..100, from which they may name the same step.',
        minimum=0.0,
        maximum=100.0,
    )
    max_steps: int = parameter(16, 'Most steps remembered.', minimum=1, maximum=200)
    max_thought: int = parameter(
        4000, 'Most characters of a chain of thought remembered.', minimum=100, maximum=16000
    )


@dataclass(frozen=True)
class SignalConfig:
    """Filter of the progress that the model names tick by tick."""

    ticks: int = parameter(
        5,
        'Ticks in the running median; a step in progress is seen after (ticks+1)/2 of them.',
        minimum=1,
        maximum=50,
    )
    leap: float = parameter(
        0.2,
        'A newest answer that differs by more than this from both before it is not published '
        'until the next one confirms it, 0..1.',
        above=0.0,
        maximum=1.0,
    )
    rate_period: float = parameter(
        3.0, 'Time over which the rate of progress is taken, s.', above=0.0, maximum=600.0
    )


@dataclass(frozen=True)
class StallConfig:
    """When the task counts as hanging, and when as going on again."""

    allowance: float = parameter(
        15.0, 'Time within which minimum_gain must be made, s.', above=0.0, maximum=3600.0
    )
    minimum_gain: float = parameter(
        0.03,
        'Progress that must be made within the allowance, 0..1. Noise of the estimate up to a '
        'quarter of it changes no call; more makes calls later.',
        above=0.0,
        maximum=1.0,
    )
    longest: float = parameter(
        6.0,
        'Allowances after which the state is UNSURE, if the noise of the estimate has let neither '
        'progress nor a stall be seen until then.',
        minimum=1.0,
        maximum=100.0,
    )
    confirm: int = parameter(3, 'Ticks that must agree on a stall.', minimum=1, maximum=50)
    confirm_of: int = parameter(4, 'Ticks among which confirm are counted.', minimum=1, maximum=50)
    release: int = parameter(
        2, 'Successive ticks of new progress that end a stall.', minimum=1, maximum=50
    )
    grace_period: float = parameter(
        3.0,
        'Time after a start, and after a recovery that names no duration, in which no stall or '
        'regression is called, s.',
        minimum=0.0,
        maximum=3600.0,
    )
    step_allowances: tuple[str, ...] = parameter(
        (),
        'Steps that may take longer without visible progress, each as "text of the step=seconds".',
    )
    loop_allowances: float = parameter(
        3.0,
        'Going up and down for this many allowances without net gain counts as looping.',
        minimum=1.0,
        maximum=100.0,
    )
    loop_swing: float = parameter(
        0.1, 'Least rise or fall that counts as a swing of a loop, 0..1.', above=0.0, maximum=1.0
    )


@dataclass(frozen=True)
class RegressionConfig:
    """When progress counts as lost."""

    drop: float = parameter(
        0.15, 'Fall below the best progress so far that counts, 0..1.', above=0.0, maximum=1.0
    )
    confirm: int = parameter(5, 'Ticks that must agree on the fall.', minimum=1, maximum=50)
    confirm_of: int = parameter(6, 'Ticks among which confirm are counted.', minimum=1, maximum=50)


@dataclass(frozen=True)
class SuccessConfig:
    """When the task counts as done. No remaining step is always asked for as well."""

    progress: float = parameter(
        0.95, 'Least progress of a finished task, 0..1.', above=0.0, maximum=1.0
    )
    probability: float = parameter(
        0.5,
        'Least probability of success, where the strategy offers one, 0..1.',
        minimum=0.0,
        maximum=1.0,
    )
    confirm: int = parameter(3, 'Ticks that must agree on success.', minimum=1, maximum=50)
    confirm_of: int = parameter(4, 'Ticks among which confirm are counted.', minimum=1, maximum=50)


@dataclass(frozen=True)
class CameraConfig:
    """What is known of the cameras beforehand."""

    noise_free: str = parameter(
        'auto',
        'Whether the cameras have no sensor noise and repeat their picture when nothing moves, as '
        'a simulator or a compressed video does: yes, no, or auto to learn it from the pictures; '
        'until it is known, a picture that repeats itself counts as frozen.',
        choices=('auto', 'yes', 'no'),
    )
    stabilise: bool = parameter(
        True,
        'Show the model the view of a camera that sways, or was knocked, as if it stood still; a '
        'camera that travels, as on a wrist, is left as it is. False: always as it is.',
    )


@dataclass(frozen=True)
class EvidenceConfig:
    """When the input or the model is not worth judging by."""

    frame_timeout: float = parameter(
        1.0, 'Age from which the newest frame is too old, s.', above=0.0, maximum=600.0
    )
    frozen_after: float = parameter(
        1.0,
        'Time over which a camera delivers one and the same picture before it counts as frozen, s.',
        above=0.0,
        maximum=600.0,
    )
    stamp_tolerance: float = parameter(
        0.5, 'How far stamps may lie ahead of the ROS clock, s.', minimum=0.0, maximum=600.0
    )
    black_below: float = parameter(
        12.0, 'Mean grey level below which a picture is black.', minimum=0.0, maximum=255.0
    )
    overexposed_above: float = parameter(
        243.0, 'Mean grey level above which a picture is over-exposed.', minimum=0.0, maximum=255.0
    )
    uniform_below: float = parameter(
        4.0,
        'Spread of the grey levels (standard deviation) below which a picture shows nothing.',
        minimum=0.0,
        maximum=255.0,
    )
    covered_detail: float = parameter(
        0.3,
        'Share of its usual fine detail below which a picture counts as covered or out of focus.',
        minimum=0.0,
        maximum=1.0,
    )
    confirm_frames: int = parameter(
        3,
        'Successive frames that must be bad, repeated or out of order before that counts.',
        minimum=1,
        maximum=100,
    )
    settle: float = parameter(
        2.0,
        'Time after a fixed camera was moved or shows another view in which nothing is judged, s.',
        minimum=0.0,
        maximum=600.0,
    )
    motion_levels: float = parameter(
        4.0,
        'Grey levels by which a cell of the 32 x 32 thumbnail must differ to have moved; above the '
        'noise of the camera.',
        above=0.0,
        maximum=255.0,
    )
    motion_cells: int = parameter(
        3, 'Cells of the 32 x 32 thumbnail that must have moved.', minimum=1, maximum=1024
    )
    still_after: float = parameter(
        3.0,
        'Time without visible motion that speaks against progress by six nats, s; a number that '
        'rises steadily is believed all the same. Make it long where work cannot be seen.',
        above=0.0,
        maximum=3600.0,
    )
    confirm: int = parameter(
        2, 'Unusable answers among the last three that make the state UNSURE.', minimum=1, maximum=3
    )
    trust_again: int = parameter(
        10,
        'Successive good answers after which a model that refused is listened to again.',
        minimum=1,
        maximum=1000,
    )
    answer_timeout: float = parameter(
        10.0, 'Time without an answer after which the model is late, s.', above=0.0, maximum=3600.0
    )


@dataclass(frozen=True)
class MonitorConfig:
    """All parameters of ``ProgressMonitor``."""

    strategy: str = parameter(
        'procvlm',
        'How the model is asked and its answer read.',
        choices=('procvlm', 'topreward', 'progresslm', 'recurrent', 'combined'),
    )
    window: WindowConfig = field(default_factory=WindowConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    signal: SignalConfig = field(default_factory=SignalConfig)
    stall: StallConfig = field(default_factory=StallConfig)
    regression: RegressionConfig = field(default_factory=RegressionConfig)
    success: SuccessConfig = field(default_factory=SuccessConfig)
    procvlm: ProcVLMConfig = field(default_factory=ProcVLMConfig)
    topreward: TopRewardConfig = field(default_factory=TopRewardConfig)
    progresslm: ProgressLMConfig = field(default_factory=ProgressLMConfig)
    recurrent: RecurrentConfig = field(default_factory=RecurrentConfig)
    combined: CombinedConfig = field(default_factory=CombinedConfig)
    camera: CameraConfig = field(default_factory=CameraConfig)
    evidence: EvidenceConfig = field(default_factory=EvidenceConfig)
