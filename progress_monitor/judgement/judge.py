"""All rules together, over the series of estimates of one task."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from progress_monitor.config import MonitorConfig
from progress_monitor.judgement.allowance import StepAllowances
from progress_monitor.judgement.regression import LoopRule, RegressionRule
from progress_monitor.judgement.signal import ProgressSignal, Sample
from progress_monitor.judgement.stall import StallRule, onset
from progress_monitor.judgement.success import SuccessRule
from progress_monitor.types import (
    NAN,
    Estimate,
    RecoveryHint,
    StallCause,
    StallReport,
    State,
    SuccessReport,
    Task,
    Verdict,
)

LEAST_GAP_S = 1.0
GAP_INTERVALS = 4.0


class Judge:
    """Judges one task; make a new one for the next.

    Time is *observed time*: the ROS clock of the acquisition stamps, which stands still over a gap
    of more than four usual intervals between ticks (and at least a second) and while ``hold`` says
    that there is nothing to judge by. So neither silence nor a jump of the clock makes a stall.
    """

    def __init__(self, config: MonitorConfig, task: Task) -> None:
        self._config = config
        self._task = task
        self._allowances = StepAllowances(config, task)
        stall, regression = config.stall, config.regression
        self._signal = ProgressSignal(config.signal)
        self._stall = StallRule(stall)
        self._regression = RegressionRule(
            regression, max(stall.minimum_gain, 0.25 * regression.drop), stall.release
        )
        self._loop = LoopRule(stall)
        self._success = SuccessRule(config.success, regression)
        self._time = 0.0
        self._held = True
        self._kept = NAN
        self._moved = False
        self._last_stamp_ns: int | None = None
        self._suspended_until_ns: int | None = None
        self._allowance = 0.0
        self._report: StallReport | None = None
        self._success_report: SuccessReport | None = None
        self._calls: Counter[tuple[StallCause, str]] = Counter()

    @property
    def stall(self) -> StallReport | None:
        """The newest report on a stall, released or not; None before the first."""
        return self._report

    @property
    def success(self) -> SuccessReport | None:
        """The newest report on success; None before the first."""
        return self._success_report

    @property
    def progress(self) -> float:
        """Filtered progress, 0..1; NaN before the first tick."""
        return self._signal.value()

    @property
    def rate(self) -> float:
        """Filtered rate, 1/s; NaN before three ticks."""
        return self._signal.rate()

    def state(self, now_ns: int) -> State:
        """What the series says, were there nothing wrong with the evidence."""
        if self._success.active:
            return State.SUCCEEDED
        if self._report is not None and self._report.stalled:
            lost = self._report.cause is StallCause.REGRESSION
            return State.REGRESSING if lost else State.STALLED
        if self._last_stamp_ns is None or self._suspended(now_ns):
            return State.OBSERVING
        return State.PROGRESSING

    def hold(self) -> None:
        """There is nothing to judge by: observed time stands still until the next estimate."""
        self._held = True

    def rebase(self) -> None:
        """Measure from the next estimate on; calls that stand, stand."""
        self._signal.clear()
        self._held = True
        self._kept = NAN
        if not self._stall.active:
            self._stall.restart()
        if not self._regression.active:
            self._regression.restart()
        self._loop.restart()

    def clock_went_back(self) -> None:
        """The stamps start again earlier: forget those that were seen."""
        self._last_stamp_ns = None
        self._suspended_until_ns = None
        self.rebase()

    def recover(self, now_ns: int, duration_s: float) -> None:
        """A recovery starts: end the stall, judge nothing for ``duration_s``, then measure anew.

        A ``duration_s`` of 0 takes the grace period.
        """
        duration = duration_s if duration_s > 0.0 else self._config.stall.grace_period
        self._release('A recovery has been started.')
        self._success.restart()
        self._signal.clear()
        self._restart_rules()
        self._held = True
        self._suspended_until_ns = now_ns + round(duration * 1e9)

    def withdraw(self, why: str) -> None:
        """What was said is given up: end the stall; a success stays what it was."""
        self._release(why)

    def add(
        self, estimate: Estimate, step: str, undone: bool, still_since_ns: int | None = None
    ) -> None:
        """Take in one usable estimate.

        Estimates whose stamp is not newer than the last one are ignored. Where nothing has moved
        for a while, progress is what it was: a model that then changes its mind shows how much
        its answer depends on the window, and says nothing of the task. It may still come to see
        that the task is done. A stall is measured from the last motion, if that is earlier than the
        last change of mind. What was said before the first motion of all is kept until then, and
        all is measured anew from there.

        :param step: the first remaining step; empty: none or not known.
        :param undone: whether the plan holds a step that was done and is needed again.
        :param still_since_ns: stamp of the last motion in the picture, if that was
            ``evidence.still_after`` ago or longer, or of the first frame, if nothing has moved
            since; else None.
        """
        if not math.isfinite(estimate.progress):
            self.hold()
            return
        first = self._last_stamp_ns is None
        if self._last_stamp_ns is not None and estimate.stamp_ns <= self._last_stamp_ns:
            return
        if still_since_ns is None and not self._moved:
            self._moved = True
            if not first:
                self.rebase()
        if still_since_ns is not None and math.isfinite(self._kept):
            if self._success.active:
                estimate = replace(
                    estimate,
                    progress=self._kept,
                    remaining_steps=(),
                    verdict=Verdict.DONE,
                )
            sample = self._take(replace(estimate, progress=self._kept))
        else:
            sample = self._take(estimate)
            self._kept = self._signal.value()
        if first and self._suspended_until_ns is None:
            grace_ns = round(self._config.stall.grace_period * 1e9)
            self._suspended_until_ns = estimate.stamp_ns + grace_ns
        if self._suspended(estimate.stamp_ns):
            self._judge_success(estimate, sample)
            return
        if self._suspended_until_ns is not None:
            self._suspended_until_ns = None
            self._restart_rules()
        if self._judge_success(estimate, sample):
            return
        self._judge_motion(sample, step, undone, still_since_ns)

    def _take(self, estimate: Estimate) -> Sample:
        """Advance observed time to the estimate and filter it."""
        if self._last_stamp_ns is not None and not self._held:
            passed = (estimate.stamp_ns - self._last_stamp_ns) * 1e-9
            usual = self._signal.interval()
            longest = GAP_INTERVALS * usual if math.isfinite(usual) else math.inf
            if passed <= max(longest, LEAST_GAP_S):
                self._time += passed
        self._held = False
        self._last_stamp_ns = estimate.stamp_ns
        return self._signal.add(self._time, estimate.stamp_ns, estimate.progress, estimate.spread)

    def _suspended(self, stamp_ns: int) -> bool:
        return self._suspended_until_ns is not None and stamp_ns < self._suspended_until_ns

    def _restart_rules(self) -> None:
        self._stall.restart()
        self._regression.restart()
        self._loop.restart()
        self._allowance = 0.0

    def _judge_success(self, estimate: Estimate, sample: Sample) -> bool:
        """Return whether the task is done, or has just been undone: nothing else is judged then."""
        before = self._success.active
        now = self._success.update(estimate)
        if now == before:
            return now
        if now:
            self._release('The task is done.')
            self._restart_rules()
        else:
            self._regression.force(sample)
            first_step = estimate.remaining_steps[0] if estimate.remaining_steps else ''
            self._call(StallCause.REGRESSION, first_step, sample, 'The finished task was undone')
        event_id = (
            f'{self._task.task_id}/success/{sample.stamp_ns}'
            if now or self._success_report is None
            else self._success_report.event_id
        )
        self._success_report = SuccessReport(
            now,
            event_id,
            sample.stamp_ns,
            self.progress,
            self._success.confidence,
            task_id=self._task.task_id,
        )
        return True

    def _judge_motion(
        self, sample: Sample, step: str, undone: bool, still_since_ns: int | None
    ) -> None:
        samples = self._signal.samples
        since = self._stall.since
        allowance = max(self._allowances.of(step), self._allowance)
        lost = self._regression.update(sample, undone)
        looping = self._loop.update(sample, allowance)
        if lost:
            # What was reached before the fall is no baseline for the climb after it.
            self._stall.restart()
        if still_since_ns is not None:
            seen = itertools.takewhile(
                lambda item: item.stamp_ns >= still_since_ns, reversed(samples)
            )
            self._stall.rest(min((item.time for item in seen), default=sample.time))
        hung = not lost and self._stall.update(samples, allowance, self._signal.interval())
        # A step that may take longer keeps its allowance until progress is seen.
        self._allowance = allowance if self._stall.since == since else 0.0
        if looping:
            self._call(StallCause.LOOPING, step, sample)
        elif lost:
            self._call(StallCause.REGRESSION, step, sample)
        elif hung:
            cause = StallCause.LOOPING if self._loop.falls >= 2 else StallCause.NO_CHANGE
            self._call(cause, step, sample)
        else:
            self._release('Progress is being made again.')

    def _call(self, cause: StallCause, step: str, sample: Sample, why: str = '') -> None:
        """Report a stall, unless the same cause is being reported already."""
        old = self._report
        if old is not None and old.stalled and (old.cause is cause or _outranks(old.cause, cause)):
            return
        self._calls[cause, step] += 1
        start = self._onset(cause, sample)
        self._report = StallReport(
            stalled=True,
            cause=cause,
            event_id=f'{self._task.task_id}/stall/{sample.stamp_ns}',
            since_ns=start.stamp_ns,
            evidence_first_ns=start.stamp_ns,
            evidence_last_ns=sample.stamp_ns,
            progress=self.progress,
            rate=self.rate,
            step=step,
            hint=_hint(cause, self._calls[cause, step]),
            explanation=self._explain(cause, step, start, sample, why),
            task_id=self._task.task_id,
        )

    def _onset(self, cause: StallCause, sample: Sample) -> Sample:
        samples: Sequence[Sample] = list(self._signal.samples)
        if cause is StallCause.REGRESSION:
            return self._regression.onset(samples)
        if cause is StallCause.LOOPING:
            since = self._loop.since
            return next((item for item in samples if item.time >= since), sample)
        baseline = self._stall.baseline if self._stall.baseline is not None else sample.level
        return onset(samples, baseline, 0.5 * self._config.stall.minimum_gain)

    def _explain(
        self, cause: StallCause, step: str, start: Sample, sample: Sample, why: str
    ) -> str:
        where = f' in the step "{step.rstrip(". ")}"' if step else ''
        seconds = sample.time - start.time
        if cause is StallCause.REGRESSION:
            text = why or 'Progress was lost'
            return (
                f'{text}: from {start.level:.0%} to {sample.progress:.0%} '
                f'within {seconds:.1f} s{where}.'
            )
        if cause is StallCause.LOOPING:
            return f'Up and down without net gain for {seconds:.1f} s at {sample.level:.0%}{where}.'
        return f'No progress for {seconds:.1f} s at {sample.level:.0%}{where}.'

    def _release(self, explanation: str) -> None:
        old = self._report
        if old is None or not old.stalled:
            return
        self._report = StallReport(
            stalled=False,
            cause=StallCause.NONE,
            event_id=old.event_id,
            since_ns=old.since_ns,
            evidence_first_ns=old.evidence_first_ns,
            evidence_last_ns=self._last_stamp_ns or old.evidence_last_ns,
            progress=self.progress,
            rate=self.rate,
            step=old.step,
            hint=RecoveryHint.NONE,
            explanation=explanation,
            task_id=self._task.task_id,
        )


def _outranks(active: StallCause, new: StallCause) -> bool:
    """Whether an active cause is kept: looping says more than its falls and its standing still."""
    order = (StallCause.NO_CHANGE, StallCause.REGRESSION, StallCause.LOOPING)
    return order.index(active) > order.index(new)


def _hint(cause: StallCause, calls: int) -> RecoveryHint:
    """Escalate while one step hangs again and again."""
    if calls >= 3:
        return RecoveryHint.ASK_PERSON
    if cause is StallCause.NO_CHANGE and calls == 1:
        return RecoveryHint.RETRY
    return RecoveryHint.REPLAN
