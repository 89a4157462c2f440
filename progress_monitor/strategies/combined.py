"""A text strategy at its own pace, and TOPReward's reading on the samples between.

The text's progress leads. Between two texts it is moved by what the token reading has moved since
the text's frames, and it is drawn towards the token's by the share that was measured to leave the
least error. Disagreement widens the spread and lowers the probability of success, and success needs
both. A token that costs more than a text would take texts' time without telling as much, so it is
read only where it decides: once the text says done, or will if it gains as much again. Stamps of
the estimates never go back: a text that comes in late is published at the newest stamp read.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections import deque

from progress_monitor.strategies.strategy import History, Question, Strategy
from progress_monitor.strategies.topreward import TopReward
from progress_monitor.types import (
    NAN,
    Estimate,
    Evidence,
    Generated,
    Recollection,
    Scored,
    Verdict,
    View,
)

_MOST_READINGS = 256
_COSTS = 9


class Combined:
    """``ask`` gives both questions; ``read`` takes either answer, or both of one view."""

    name = 'combined'
    scores = True

    def __init__(self, text: Strategy, token: TopReward, share: float = 0.0) -> None:
        """``share`` is that of the token's progress, 0..1."""
        self._share = share
        self._text_ms: deque[float] = deque(maxlen=_COSTS)
        self._token_ms: deque[float] = deque(maxlen=_COSTS)
        self._text_strategy = text
        self._token_strategy = token
        self.prompt_hash = f'{text.prompt_hash}+{token.prompt_hash}'
        self.sessions = (*text.sessions, *token.sessions)
        self.sample_period_s = min(text.sample_period_s, token.sample_period_s)
        self.clips = token.clips
        self.shows = f'{text.shows}; {token.shows}'
        self.reset()

    def unsuited(self, model_name: str) -> str:
        """A warning if the checkpoint was not made for both; else empty."""
        said = (self._text_strategy.unsuited(model_name), self._token_strategy.unsuited(model_name))
        return '; '.join(warning for warning in said if warning)

    def reset(self) -> None:
        """Forget all readings."""
        self._text_strategy.reset()
        self._token_strategy.reset()
        self._text: Estimate | None = None
        self._gain = 0.0
        self._listens = False
        self._token: Estimate | None = None
        self._token_views: dict[int, View] = {}
        self._token_at: dict[int, float] = {}
        self._base = NAN
        self._newest_ns = 0

    def select(self, history: History, now_ns: int) -> View | None:
        """The text's view; the token's frames of the same moment are kept beside it."""
        view = self._text_strategy.select(history, now_ns)
        token = self._token_strategy.select(history, now_ns)
        if view is None:
            return None
        self._token_views = {} if token is None else {view.stamp_ns: token}
        return view

    def ask(self, view: View, memory: Recollection) -> tuple[Question, ...]:
        """The text's questions, and the token's where it has frames enough.

        A token reading means something only beside a text, so none is asked for until the newest
        text was readable, and one that is not asked for again is no longer held against it.
        """
        token = self._token_views.get(view.stamp_ns) if self._listens else None
        questions = self._text_strategy.ask(view, memory)
        if token is None:
            return questions
        if self._dear() and not self._is_due():
            self._token, self._token_at, self._base = None, {}, NAN
            return questions
        return questions + self._token_strategy.ask(token, memory)

    def read(self, answers: tuple[Generated | Scored, ...], view: View) -> Estimate:
        """Both readings as they are known after ``answers``."""
        for answer in answers:
            costs = self._token_ms if isinstance(answer, Scored) else self._text_ms
            costs.append(answer.stats.total_ms)
            if isinstance(answer, Scored):
                token = self._token_strategy.read((answer,), view)
                if math.isfinite(token.progress):
                    self._take_token(token)
                    while len(self._token_at) > _MOST_READINGS:
                        del self._token_at[min(self._token_at)]
            else:
                text = self._text_strategy.read((answer,), view)
                self._listens = math.isfinite(text.progress)
                if not self._listens:
                    self._newest_ns = max(self._newest_ns, view.stamp_ns)
                    return dataclasses.replace(text, stamp_ns=self._newest_ns)
                self._take_text(text)
        self._newest_ns = max(self._newest_ns, view.stamp_ns)
        return self._both()

    def _dear(self) -> bool:
        """Whether a token costs more than a text, as far as is known."""
        known = bool(self._token_ms and self._text_ms)
        return known and statistics.median(self._token_ms) > statistics.median(self._text_ms)

    def _is_due(self) -> bool:
        """Whether the next text may say that the task is done."""
        text = self._text
        return text is not None and (
            text.verdict is Verdict.DONE or text.progress + self._gain >= 1.0
        )

    def _take_token(self, token: Estimate) -> None:
        if self._token is None or token.stamp_ns >= self._token.stamp_ns:
            self._token = token
        self._token_at[token.stamp_ns] = token.progress
        self._find_base()

    def _take_text(self, text: Estimate) -> None:
        if self._text is not None:
            self._gain = text.progress - self._text.progress
        self._text = text
        self._find_base()

    def _find_base(self) -> None:
        """It moves from the reading of the text's own frames, or the newest one before."""
        if self._text is None:
            return
        newest_ns = self._text.stamp_ns
        base = max((stamp for stamp in self._token_at if stamp <= newest_ns), default=None)
        self._base = NAN if base is None else self._token_at[base]
        kept = newest_ns if base is None else base
        self._token_at = {stamp: v for stamp, v in self._token_at.items() if stamp >= kept}

    def _both(self) -> Estimate:
        text, token = self._text, self._token
        if text is None:  # the text was reset while a reading was on its way
            return Estimate(self._newest_ns, NAN, NAN, None, Evidence.NO_NUMBER, '')
        if token is None:
            return dataclasses.replace(text, stamp_ns=self._newest_ns, verdict=_veto(text.verdict))
        if not math.isfinite(self._base):
            # Nothing was read up to the text's frames: it moves from the first reading after them.
            self._base = self._token_at[min(self._token_at)]
        progress = text.progress + token.progress - self._base
        progress += self._share * (token.progress - progress)
        progress = min(max(progress, 0.0), 1.0)
        own = text.spread if math.isfinite(text.spread) else 0.0
        known = [
            value
            for value in (text.success_probability, token.success_probability)
            if math.isfinite(value)
        ]
        return dataclasses.replace(
            text,
            stamp_ns=self._newest_ns,
            progress=progress,
            expected=min(max(text.expected + progress - text.progress, 0.0), 1.0),
            spread=math.hypot(own, (text.progress - token.progress) / 2.0),
            success_probability=min(known, default=NAN),
            verdict=_agreed(text.verdict, token.verdict),
            reasoning=f'{text.reasoning}\n{token.reasoning}',
        )


def _veto(verdict: Verdict) -> Verdict:
    """A success that only the text has seen is not known."""
    return Verdict.UNKNOWN if verdict is Verdict.DONE else verdict


def _agreed(text: Verdict, token: Verdict) -> Verdict:
    """DONE needs both; the token's is UNKNOWN without calibration, and then only its probability
    (``success_probability``) stands against the text.
    """
    if Verdict.NOT_DONE in (text, token):
        return Verdict.NOT_DONE
    return text
