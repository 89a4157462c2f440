"""All rules together, over the series of estimates of one task."""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from progress_monitor.config import MonitorConfig
from progress_monitor.judgement.allowance import StepAllowances
from progress_monitor.judgement.clock import ObservedClock, Suspension
from progress_monitor.judgement.leap import LeapGuard
from progress_monitor.judgement.looping import LoopRule
from progress_monitor.judgement.regression import RegressionRule
from progress_monitor.judgement.reports import Report, Reports
from progress_monitor.judgement.rest import RestEvidence
from progress_monitor.judgement.signal import Sample
from progress_monitor.judgement.stall import onset
from progress_monitor.judgement.standstill import Standstill
from progress_monitor.judgement.success import SuccessRule
from progress_monitor.judgement.tick import Tick
from progress_monitor.judgement.track import Track
from progress_monitor.judgement.words import UNDONE, explain, hint
from progress_monitor.types import (
    NAN,
    Estimate,
    StallCause,
    StallReport,
    State,
    SuccessReport,
    Task,
    Verdict,
)

MOST_ODDS = 30.0
SETTLED_BY = 2
"""Answers that speak of a rest from which on others are a change of mind, whatever they say."""


class Judge:
    """Judges one task; make a new one for the next.

    Time is *observed time* (``clock.py``): the ROS clock of the acquisition stamps, which stands
    still over a gap between ticks and while ``hold`` says that there is nothing to judge by. So
    neither silence nor a jump of the clock makes a stall.
    """

    def __init__(self, config: MonitorConfig, task: Task) -> None:
        self._config = config
        self._task = task
        self._allowances = StepAllowances(config, task)
        stall, regression = config.stall, config.regression
        self._clock = ObservedClock()
        self._suspension = Suspension(stall.grace_period)
        self._track = Track(config.signal)
        self._rest = RestEvidence(config.evidence.still_after)
        self._standstill = Standstill(config, self._track)
        self._regression = RegressionRule(
            regression, max(stall.minimum_gain, 0.25 * regression.drop), stall.release
        )
        self._loop = LoopRule(stall)
        self._success = SuccessRule(config.success, regression)
        self._leap = LeapGuard()
        self._reports = Reports()
        self._progress_at_rest = NAN
        self._counted_ns: deque[int] = deque(maxlen=SETTLED_BY)
        self._moved = False
        self._allowance = 0.0

    @property
    def stall(self) -> StallReport | None:
        """The newest report on a stall, released or not; None before the first."""
        return self._reports.stall

    @property
    def success(self) -> SuccessReport | None:
        """The newest report on success; None before the first."""
        return self._reports.success

    @property
    def progress(self) -> float:
        """Filtered progress, 0..1; NaN before the first tick."""
        return self._track.signal.value()

    @property
    def rate(self) -> float:
        """Filtered rate, 1/s; NaN before three ticks."""
        return self._track.signal.rate()

    @property
    def noise(self) -> float:
        """Standard deviation of the progress numbers, 0..1; NaN before three ticks."""
        return self._track.noise.scatter if len(self._track.signal.samples) >= 3 else NAN

    @property
    def confidence(self) -> float:
        """How sure the evidence makes of what is said of the task, 0..1; NaN before any."""
        if self._success.active:
            return self._success.confidence
        if self._reports.stall is not None and self._reports.stall.stalled:
            return self._reports.stall.confidence
        if not self._track.signal.samples:
            return NAN
        odds = self._standstill.rule.test.odds
        return 1.0 - _probability(odds) if math.isfinite(odds) else 1.0

    @property
    def doubt(self) -> str:
        """Why it cannot be told whether the task goes on; empty where it can."""
        leap = self._leap
        if math.isfinite(leap.doubted):
            return (
                f'The model says {leap.doubted:.0%} at once, after {leap.before:.0%} at the most: '
                'that counts if it stays so for an allowance.'
            )
        told = not self._standstill.cannot_tell
        if told or self._success.active or self._reports.stalled:
            return ''
        points = 100.0 * self._track.noise.scatter
        return (
            f'The progress numbers scatter by {points:.1f} points, too much '
            f'to tell slow progress from none within {self._config.stall.longest:g} allowances.'
        )

    def take_reports(self) -> list[Report]:
        """Every report since the last call, oldest first."""
        return self._reports.take()

    def state(self, now_ns: int) -> State:
        """What the series says, were there nothing wrong with the evidence.

        It is UNSURE when the numbers scatter too much to tell; ``doubt`` says so in words.
        """
        if self._success.active:
            return State.SUCCEEDED
        report = self._reports.stall
        if report is not None and report.stalled:
            lost = report.cause is StallCause.REGRESSION
            return State.REGRESSING if lost else State.STALLED
        if self._clock.stamp_ns is None or self._suspension.covers(now_ns):
            return State.OBSERVING
        return State.UNSURE if self.doubt else State.PROGRESSING

    def hold(self) -> None:
        """There is nothing to judge by: observed time stands still until the next estimate."""
        self._clock.hold()

    def rebase(self) -> None:
        """Measure from the next estimate on; calls that stand, stand."""
        self._track.signal.clear()
        self._standstill.clear()
        self._clock.hold()
        self._rest.restart()
        self._progress_at_rest = NAN
        self._counted_ns.clear()
        if not self._regression.active:
            self._regression.restart()
        self._loop.restart()
        self._leap.pause()

    def clock_went_back(self) -> None:
        """The stamps start again earlier: forget those that were seen."""
        self._leap.restart()
        self._clock.forget()
        self._suspension.forget()
        self.rebase()

    def recover(self, now_ns: int, duration_s: float) -> None:
        """A recovery starts: end stall and success, suspend judgement, then measure anew.

        What is ended is reported. A ``duration_s`` of 0 takes the grace period.
        """
        self._release('A recovery has been started.')
        if self._success.active and self._reports.success is not None:
            stamp_ns = self._clock.stamp_ns or now_ns
            self._report_success(False, self._reports.success.event_id, stamp_ns)
        self._success.recover()
        self._leap.restart()
        self._track.signal.clear()
        self._standstill.clear()
        self._restart_rules()
        self._clock.hold()
        self._suspension.begin(now_ns, duration_s)

    def withdraw(self, why: str) -> None:
        """What was said is given up: end the stall; a success stays what it was."""
        self._release(why)

    def doubts(self, estimate: Estimate, step: str) -> bool:
        """Whether an estimate, the next to be added, is a leap that does not count yet.

        One without steps is none: a score may rise from nothing to all at once.
        """
        told = estimate.remaining_steps is not None and math.isfinite(estimate.progress)
        if not told or not self._clock.is_new(estimate.stamp_ns):
            return False
        time, allowance = estimate.stamp_ns * 1e-9, self._allowances.of(step)
        return self._leap.doubts(estimate.progress, time, allowance)

    def add(self, tick: Tick) -> bool:
        """Take in one usable estimate; one whose stamp is not newer than the last is ignored.

        :returns: whether the answer is evidence: False where it is ignored or has leapt, and where
            it differs from what is kept while nothing moves, unless it makes the task done.
        """
        stamp_ns = tick.estimate.stamp_ns
        if not math.isfinite(tick.estimate.progress):
            self.hold()
            return False
        if not self._clock.is_new(stamp_ns):
            return False
        first = self._clock.stamp_ns is None
        self._see_first_motion(tick, first)
        time = self._clock.advance(stamp_ns)
        held = self._is_held(tick, time) or tick.leapt
        sample = self._filter(tick, time, held)
        if held and self._success.active:
            kept = replace(
                tick.estimate,
                progress=self._progress_at_rest,
                remaining_steps=(),
                verdict=Verdict.DONE,
            )
            tick = replace(tick, estimate=kept)
        if first:
            self._suspension.start(stamp_ns)
        was_done = self._success.active
        suspended = self._suspension.covers(stamp_ns)
        if not suspended and self._suspension.ended(stamp_ns):
            self._restart_rules()
        if (tick.leapt or not self._judge_success(tick, sample)) and not suspended:
            self._judge_motion(tick, sample, held)
        return not held or (self._success.active and not was_done)

    def _see_first_motion(self, tick: Tick, first: bool) -> None:
        """What was said before the first motion of all counts no more from there on."""
        if tick.resting_since_ns is None and not self._moved:
            self._moved = True
            if not first:
                self._leap.restart()
                self.rebase()

    def _is_held(self, tick: Tick, time: float) -> bool:
        """Whether progress is what it was: nothing moves, and the numbers do not outweigh that."""
        if tick.resting_since_ns is None:
            self._rest.restart()
            return False
        if not self._is_settled(tick.resting_since_ns):
            return False
        rested = (tick.estimate.stamp_ns - tick.resting_since_ns) * 1e-9
        return not self._rest.add(time, tick, rested)

    def _is_settled(self, resting_since_ns: int) -> bool:
        """Whether what the model says of the rest is known, so that more is a change of mind.

        A slow model's last answer may speak of a time when something still moved; and if it leaps,
        a second one must confirm it.
        """
        if not self._moved:
            return bool(self._counted_ns)
        spoken = sum(stamp_ns >= resting_since_ns for stamp_ns in self._counted_ns)
        return spoken == SETTLED_BY or (spoken > 0 and not self._track.signal.leaps)

    def _filter(self, tick: Tick, time: float, held: bool) -> Sample:
        estimate = tick.estimate
        stamp_ns, spread = estimate.stamp_ns, estimate.spread
        self._standstill.add(tick, time, held)
        if held:
            return self._track.keep(time, stamp_ns, self._progress_at_rest, spread)
        sample = self._track.add(time, stamp_ns, estimate.progress, spread, tick.frames)
        self._progress_at_rest = self._track.signal.value()
        self._counted_ns.append(stamp_ns)
        return sample

    def _restart_rules(self) -> None:
        self._standstill.restart()
        self._regression.restart()
        self._loop.restart()
        self._allowance = 0.0

    def _judge_success(self, tick: Tick, sample: Sample) -> bool:
        """Return whether the task is done, or has just been undone: nothing else is judged then."""
        estimate = tick.estimate
        before = self._success.active
        allowance = self._allowances.of(tick.step)
        now = self._success.update(estimate, allowance, self._track.noise)
        if now == before:
            return now
        if now:
            self._release('The task is done.')
            self._restart_rules()
            self._report_success(True, self._event('success', sample), sample.stamp_ns)
            return True
        old = self._reports.success
        event_id = old.event_id if old is not None else self._event('success', sample)
        self._report_success(False, event_id, sample.stamp_ns)
        self._regression.force(sample)
        step = estimate.remaining_steps[0] if estimate.remaining_steps else ''
        self._call(StallCause.REGRESSION, replace(tick, step=step), sample, UNDONE)
        return True

    def _judge_motion(self, tick: Tick, sample: Sample, held: bool) -> None:
        since = self._standstill.rule.since
        allowance = max(self._allowances.of(tick.step), self._allowance)
        numbers = self._track.series[1]
        lost = self._regression.update(sample, numbers, tick.undone, self._track.noise)
        looping = self._loop.update(sample, allowance, self._track.noise)
        if lost:
            # What was reached before the fall is no baseline for the climb after it.
            self._standstill.restart()
        if held and tick.resting_since_ns is not None:
            self._standstill.rest(self._rest_from(tick.resting_since_ns, sample))
        hung = not lost and self._standstill.update(tick, sample, allowance, self._loop, held)
        # A step that may take longer keeps its allowance until progress is seen.
        self._allowance = allowance if self._standstill.rule.since == since else 0.0
        if looping:
            self._call(StallCause.LOOPING, tick, sample)
        elif lost:
            self._call(StallCause.REGRESSION, tick, sample)
        elif hung:
            cause = StallCause.LOOPING if self._standstill.rule.in_circles else StallCause.NO_CHANGE
            self._call(cause, tick, sample)
        else:
            self._release('Progress is being made again.')

    def _rest_from(self, stamp_ns: int, sample: Sample) -> float:
        """Observed time of the first tick of a rest."""
        samples = reversed(self._track.signal.samples)
        seen = itertools.takewhile(lambda item: item.stamp_ns >= stamp_ns, samples)
        return min((item.time for item in seen), default=sample.time)

    def _call(self, cause: StallCause, tick: Tick, sample: Sample, why: str = '') -> None:
        """Report a stall, unless the same cause is being reported already."""
        if not self._reports.says_more(cause):
            return
        start = self._onset(cause, sample)
        named = self._allowances.named(tick.step) is not None
        self._reports.call(
            StallReport(
                stalled=True,
                cause=cause,
                event_id=self._event('stall', sample),
                since_ns=start.stamp_ns,
                evidence_first_ns=start.stamp_ns,
                evidence_last_ns=sample.stamp_ns,
                progress=self.progress,
                rate=self.rate,
                step=tick.step,
                hint=hint(cause, waits=tick.never_moved or named),
                explanation=explain(cause, tick.step, start, sample, why),
                task_id=self._task.task_id,
                noise=self.noise,
                confidence=self._sureness(cause, start, sample),
            )
        )

    def _sureness(self, cause: StallCause, start: Sample, sample: Sample) -> float:
        """Probability of the call by the evidence that it was made on."""
        if cause is StallCause.NO_CHANGE:
            odds = self._standstill.rule.test.odds
            return _probability(odds) if math.isfinite(odds) else 1.0
        fallen = start.level - sample.level
        scatter = max(self._track.noise.of_mean(self._config.regression.confirm), 1e-6)
        return _probability(0.5 * (fallen / scatter) ** 2)

    def _onset(self, cause: StallCause, sample: Sample) -> Sample:
        samples: Sequence[Sample] = list(self._track.signal.samples)
        if cause is StallCause.REGRESSION:
            return self._regression.onset(samples)
        if cause is StallCause.LOOPING:
            since = self._loop.since
            return next((item for item in samples if item.time >= since), sample)
        stood = self._standstill.rule.baseline
        baseline = sample.level if stood is None else stood
        return onset(samples, baseline, 0.5 * self._config.stall.minimum_gain)

    def _event(self, kind: str, sample: Sample) -> str:
        return f'{self._task.task_id}/{kind}/{sample.stamp_ns}'

    def _release(self, why: str) -> None:
        if self._reports.stalled:
            self._reports.release(why, self._clock.stamp_ns, self.progress, self.rate)

    def _report_success(self, succeeded: bool, event_id: str, stamp_ns: int) -> None:
        self._reports.succeed(
            SuccessReport(
                succeeded,
                event_id,
                stamp_ns,
                self.progress,
                self._success.confidence,
                task_id=self._task.task_id,
                noise=self.noise,
            )
        )


def _probability(odds: float) -> float:
    """Probability of log-odds in nats."""
    return 1.0 / (1.0 + math.exp(-min(max(odds, -MOST_ODDS), MOST_ODDS)))
