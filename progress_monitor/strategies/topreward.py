"""TOPReward: how sure a model is that the frames show the task completed (arXiv 2602.19313).

One forward and no text. The user turn is left open and ends in "The answer is:", so that " True"
and " False" are its continuations. The published scale, min-max over an episode, needs the
episode's end (``episode_progress``); live, the log-probability is placed between a floor and a
ceiling: the floor is calibrated or learnt in the first seconds of the task, the ceiling is
calibrated, or certainty (0). The reading grows with the number of frames even where nothing moves,
so their number is constant: no reading is taken until that many are there.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Sequence

from progress_monitor.config import MonitorConfig
from progress_monitor.parameters import ParameterError
from progress_monitor.strategies.checkpoints import unsuited
from progress_monitor.strategies.prompt_file import PromptFile
from progress_monitor.strategies.strategy import History, Question
from progress_monitor.strategy_config import TopRewardConfig
from progress_monitor.types import (
    NAN,
    Clip,
    Estimate,
    Evidence,
    Generated,
    Recollection,
    Score,
    Scored,
    Verdict,
    View,
)

CONTINUATIONS = (' True', ' False')
_LEAST_RANGE = 1e-3
_FLOOR_READINGS = 3


class TopReward:
    """Frames in time, those of one time by camera, then the statement, scored."""

    name = 'topreward'
    sessions = ('topreward',)
    scores = True
    checkpoints = ('qwen[23][^/]*vl', 'small_cell')

    def __init__(
        self,
        config: MonitorConfig,
        own: TopRewardConfig | None = None,
        cameras: Sequence[str] = (),
    ) -> None:
        """:raises ParameterError: if the prompt cannot be used, or a clip is of several cameras."""
        self._own = own or TopRewardConfig()
        self.clips = self._own.video
        if self.clips and len(cameras) > 1:
            raise ParameterError(
                f'topreward.video: a video is of one camera, and there are {len(cameras)}; set it '
                'to false to show their frames one by one'
            )
        self.prompt = PromptFile.load(self._own.prompt, ('frames', 'task'))
        self.prompt_hash = self.prompt.sha256
        self.sample_period_s = self._own.sample_period
        self.shows = f'newest {self._own.frames} every {self._own.sample_period:g} s'
        self.reset()

    def unsuited(self, model_name: str) -> str:
        """A warning if the checkpoint was not made for this; else empty."""
        return unsuited(self.name, model_name, self.checkpoints)

    def reset(self) -> None:
        """Forget the floor and the readings."""
        self._readings: deque[float] = deque(maxlen=max(self._own.readings, _FLOOR_READINGS))
        self._floor = NAN
        self._first_ns: int | None = None

    def select(self, history: History, now_ns: int) -> View | None:
        """The newest ``frames`` frames of all cameras; None until they are there.

        Their number does not change when a camera falls silent: the others' frames reach back
        further then.
        """
        count = self._own.frames
        frames = tuple(frame for sample in history.samples for frame in sample)[-count:]
        if len(frames) < count:
            return None
        if len(frames) == 1:
            # The published client shows a single frame twice.
            frames = frames * 2
        return View(frames, max(frame.stamp_ns for frame in frames))

    def ask(self, view: View, memory: Recollection) -> tuple[Question, ...]:
        """Ask for the log-probabilities of both continuations."""
        frames = (Clip(view.frames),) if self.clips else view.frames
        parts = self.prompt.parts({'frames': frames, 'task': memory.task})
        return (Question(self.name, parts, Score(CONTINUATIONS), chat=False),)

    def read(self, answers: tuple[Generated | Scored, ...], view: View) -> Estimate:
        """Progress between floor and ceiling; the verdict is UNKNOWN without a ceiling."""
        (answer,) = answers
        assert isinstance(answer, Scored)
        true, false = answer.log_probabilities
        if not (math.isfinite(true) and math.isfinite(false)):
            reasoning = f'log p(True) = {true}, log p(False) = {false}'
            return Estimate(view.stamp_ns, NAN, NAN, None, Evidence.NO_NUMBER, reasoning)
        self._readings.append(true)
        self._learn_floor(view.stamp_ns)
        progress = (true - self._floor) / max(self._own.ceiling - self._floor, _LEAST_RANGE)
        return Estimate(
            view.stamp_ns,
            min(max(progress, 0.0), 1.0),
            NAN,
            None,
            Evidence.GOOD,
            f'log p(True) = {true:.4f}, log p(False) = {false:.4f}, floor {self._floor:.4f}',
            success_probability=_logistic(true - false),
            verdict=self._verdict(),
        )

    def _learn_floor(self, stamp_ns: int) -> None:
        if self._own.floor < 0.0:
            self._floor = self._own.floor
            return
        if self._first_ns is None:
            self._first_ns = stamp_ns
        if stamp_ns - self._first_ns <= self._own.floor_period * 1e9:
            # A median, so that one low reading does not lift all that follow.
            low = statistics.median(list(self._readings)[-_FLOOR_READINGS:])
            self._floor = low if math.isnan(self._floor) else min(self._floor, low)

    def _verdict(self) -> Verdict:
        if self._own.ceiling >= 0.0:
            return Verdict.UNKNOWN
        newest = list(self._readings)[-self._own.readings :]
        enough = len(newest) == self._own.readings
        done = enough and statistics.fmean(newest) >= self._own.ceiling
        return Verdict.DONE if done else Verdict.NOT_DONE


def episode_progress(log_probabilities: Sequence[float]) -> tuple[float, ...]:
    """The published scale, 0..1: min-max over a whole episode; one value, or equal ones, give 1."""
    if not log_probabilities:
        return ()
    low, high = min(log_probabilities), max(log_probabilities)
    if high <= low:
        return (1.0,) * len(log_probabilities)
    return tuple((value - low) / (high - low) for value in log_probabilities)


def _logistic(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value)) if value >= 0.0 else 1.0 - _logistic(-value)
