"""Parameters of the strategies, a group each."""

from __future__ import annotations

from dataclasses import dataclass

from progress_monitor.parameters import parameter


@dataclass(frozen=True)
class ProcVLMConfig:
    """ProcVLM: text and a progress tag."""

    prompt: str = parameter(
        'procvlm', 'Prompt: a name among strategies/prompts, or the path of a text file.'
    )


@dataclass(frozen=True)
class TopRewardConfig:
    """TOPReward: the log-probability of True."""

    prompt: str = parameter(
        'topreward', 'Prompt: a name among strategies/prompts, or the path of a text file.'
    )
    sample_period: float = parameter(
        0.5, 'Time from one frame to the next, s; the method takes 2 a second.',
        above=0.0, maximum=60.0,
    )  # fmt: skip
    frames: int = parameter(
        8,
        'Frames shown of all cameras together, always as many: the reading grows with their '
        'number even where nothing moves.',
        minimum=1,
        maximum=64,
    )
    video: bool = parameter(
        False,
        'Show the frames as a video, in pairs with time stamps, as the published client does: half '
        'the tokens. For Qwen3-VL and one camera; floor and ceiling are to be calibrated with it.',
    )
    floor: float = parameter(
        0.0,
        'Log-probability at 0 % from calibration runs; 0: the lowest median of three readings '
        'within floor_period of the task.',
        maximum=0.0,
    )
    floor_period: float = parameter(
        5.0, 'Time from the first reading in which the floor is learnt, s.',
        minimum=0.0, maximum=600.0,
    )  # fmt: skip
    ceiling: float = parameter(
        0.0,
        'Log-probability at 100 % and of success, from calibration runs; 0: not calibrated, and '
        'no verdict on success is given.',
        maximum=0.0,
    )
    readings: int = parameter(
        3, 'Newest readings whose mean is held against ceiling.', minimum=1, maximum=50
    )


@dataclass(frozen=True)
class ProgressLMConfig:
    """ProgressLM: one frame held against a demonstration."""

    prompt: str = parameter(
        'auto',
        'Prompt: progresslm_sft, progresslm_rl, progresslm_eval, progresslm_nothink or '
        'progresslm_short, each with _visual or _text added by the demonstration; auto: rl for '
        'checkpoints with RL in their name, sft otherwise; or the path of a text file.',
    )
    demonstration: str = parameter('', 'Folder with demonstration.yaml.')
    camera: str = parameter(
        '', 'Topic of the camera that took the demonstration; needed where there are several.'
    )


@dataclass(frozen=True)
class RecurrentConfig:
    """Recurrent reasoning: the newest snippet and the chain of thought so far."""

    prompt: str = parameter(
        'recurrent', 'Prompt: a name among strategies/prompts, or the path of a text file.'
    )
    frames: int = parameter(4, 'Frames of a snippet, of each camera.', minimum=1, maximum=64)
    sample_period: float = parameter(
        1.0, 'Time from one frame to the next, s.', above=0.0, maximum=60.0
    )


@dataclass(frozen=True)
class CombinedConfig:
    """Text and token together, the token by its measured share."""

    token_share: float = parameter(
        0.0,
        "Share of the token's progress between floor and ceiling, as bench token_reading measures "
        'it; it counts only with both calibrated. 0: the text leads alone.',
        minimum=0.0,
        maximum=1.0,
    )
