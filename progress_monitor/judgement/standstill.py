"""Standstill, by the numbers that are named and by their expected values.

A greedy decoder names the likeliest digits. Where two numbers are about as likely it flickers
between them while the mean of their distribution stands still: to weigh what a model could have
said by its probability is finer and scatters less (Liu et al. 2023, G-Eval, arXiv 2303.16634).
"""

from __future__ import annotations

import math

from progress_monitor.config import MonitorConfig
from progress_monitor.judgement.looping import LoopRule
from progress_monitor.judgement.rest import STEP_NATS
from progress_monitor.judgement.signal import Sample
from progress_monitor.judgement.stall import StallRule
from progress_monitor.judgement.tick import Tick
from progress_monitor.judgement.track import Track
from progress_monitor.types import NAN


class Standstill:
    """The stall rule over both series; a stall of either is one.

    The expected values say nothing before the decoder has given a distribution; one that is missing
    now and then is made up for by the number itself. They call no stall where the level of the
    numbers has risen by the minimum gain within the allowance. A stall ends when the numbers rise.

    :param named: the numbers as the model names them.
    """

    def __init__(self, config: MonitorConfig, named: Track) -> None:
        self._gain = config.stall.minimum_gain
        self._named = named
        self._expected = Track(config.signal)
        self._newest = NAN
        self._steps: list[tuple[float, int]] = []
        self._second = StallRule(config.stall)
        self.rule = StallRule(config.stall)

    @property
    def cannot_tell(self) -> bool:
        """Whether the longest allowance has passed and neither series tells gain from stall."""
        return self.rule.cannot_tell and (self._second.cannot_tell or not self._known)

    @property
    def _known(self) -> bool:
        return math.isfinite(self._newest)

    def clear(self) -> None:
        """Forget the expected values and measure from the next tick; a call that stands, stands."""
        self._expected.signal.clear()
        self._newest = NAN
        self._second.restart()
        if not self.rule.active:
            self.rule.restart()

    def restart(self) -> None:
        """Take a new baseline from the next tick."""
        self.rule.restart()
        self._second.restart()

    def rest(self, time: float) -> None:
        """Nothing has moved since ``time``: what was gained later was a change of mind."""
        self.rule.rest(time)
        self._second.rest(time)

    def add(self, tick: Tick, time: float, held: bool) -> None:
        """Take in the expected value of one tick.

        :param time: observed time, s; :param held: whether the number is kept because nothing
            moves.
        """
        estimate = tick.estimate
        given = math.isfinite(estimate.expected)
        if not self._known and not given:
            return
        if held and self._known:
            self._expected.keep(time, estimate.stamp_ns, self._newest, NAN)
            return
        self._newest = estimate.expected if given else estimate.progress
        self._expected.add(time, estimate.stamp_ns, self._newest, NAN, tick.frames)

    def update(
        self, tick: Tick, sample: Sample, allowance: float, loop: LoopRule, held: bool
    ) -> bool:
        """Judge the newest tick and return whether the task stands still.

        :param allowance: for the present step, s; :param held: whether the number is kept because
            nothing moves.
        """
        stood = self.rule.active
        against = self._steps_done(tick, sample, allowance)
        hangs = _judged(self.rule, self._named, allowance, loop, against, held)
        if stood and not hangs:
            self._second.restart()
        if not self._known:
            return hangs
        second = _judged(self._second, self._expected, allowance, loop, against, held)
        if second and not stood and not hangs and not self._has_gained(sample, allowance):
            self.rule.take_over(self._second, sample)
        return self.rule.active

    def _steps_done(self, tick: Tick, sample: Sample, allowance: float) -> float:
        """Evidence of the plan that work went on within the allowance, nats."""
        self._steps.append((sample.time, tick.done_steps))
        while self._steps[0][0] < sample.time - allowance:
            self._steps.pop(0)
        return STEP_NATS * (tick.done_steps - self._steps[0][1])

    def _has_gained(self, sample: Sample, allowance: float) -> bool:
        since = sample.time - allowance
        before = next(item for item in self._named.signal.samples if item.time >= since)
        return sample.level - before.level >= self._gain


def _judged(
    rule: StallRule, track: Track, allowance: float, loop: LoopRule, against: float, held: bool
) -> bool:
    signal = track.signal
    return rule.update(
        signal.samples,
        track.series,
        allowance,
        signal.interval(),
        track.noise,
        loop,
        against=against,
        held=held,
    )
