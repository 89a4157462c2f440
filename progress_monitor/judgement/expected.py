"""Standstill by the expected value of the number, where the decoder gives its distribution.

A greedy decoder names the likeliest digits. Where two numbers are about as likely it flickers
between them while their mean stands still: to weigh what a model could have said by its
probability is finer and scatters less (Liu et al. 2023, G-Eval, arXiv 2303.16634).
"""

from __future__ import annotations

import math

from progress_monitor.config import SignalConfig, StallConfig
from progress_monitor.judgement.looping import LoopRule
from progress_monitor.judgement.stall import StallRule
from progress_monitor.judgement.tick import Tick
from progress_monitor.judgement.track import Track
from progress_monitor.types import NAN


class ExpectedNumbers:
    """The stall rule over expected values: a second look at numbers that scatter.

    It says nothing before the decoder has given a distribution; one that is missing now and then
    is made up for by the number itself.
    """

    def __init__(self, signal: SignalConfig, stall: StallConfig) -> None:
        self._track = Track(signal)
        self._newest = NAN
        self.rule = StallRule(stall)

    @property
    def known(self) -> bool:
        """Whether the decoder has given a distribution since the numbers were forgotten."""
        return math.isfinite(self._newest)

    def clear(self) -> None:
        """Forget the numbers and measure from the next tick on."""
        self._track.signal.clear()
        self._newest = NAN
        self.rule.restart()

    def add(self, tick: Tick, time: float, held: bool) -> None:
        """Take in one tick.

        :param time: observed time, s; :param held: whether the number is kept because nothing
            moves.
        """
        estimate = tick.estimate
        if not self.known and not math.isfinite(estimate.expected):
            return
        if held and self.known:
            self._track.keep(time, estimate.stamp_ns, self._newest, NAN)
            return
        given = math.isfinite(estimate.expected)
        self._newest = estimate.expected if given else estimate.progress
        self._track.add(time, estimate.stamp_ns, self._newest, NAN, tick.frames)

    def hang(self, allowance: float, loop: LoopRule, against: float, held: bool) -> bool:
        """Judge the newest tick and return whether the expected value stands still.

        :param allowance: for the present step, s; :param against: evidence of other kinds that
            work goes on, nats; :param held: whether the number is kept because nothing moves.
        """
        if not self.known:
            return False
        signal = self._track.signal
        return self.rule.update(
            signal.samples,
            self._track.series,
            allowance,
            signal.interval(),
            self._track.noise,
            loop,
            against,
            held,
        )
