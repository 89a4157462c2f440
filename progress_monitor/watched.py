"""One task that is being watched: its plan, its judge, and how far its answers are trusted."""

from __future__ import annotations

from dataclasses import replace

from progress_monitor.config import MonitorConfig
from progress_monitor.evidence.inputs import Rest
from progress_monitor.judgement.judge import Judge
from progress_monitor.judgement.reports import Report
from progress_monitor.judgement.tick import Tick
from progress_monitor.memory import PlanMemory
from progress_monitor.trust import ModelTrust
from progress_monitor.types import (
    NAN,
    Estimate,
    Evidence,
    Failure,
    Finish,
    Generated,
    Recollection,
    Scored,
    StallReport,
    SuccessReport,
    Task,
    Verdict,
    View,
)

# In units of the distance from which a scene is unknown.
UNKNOWN_FROM = 1.0
_FAILURES = {
    Failure.REFUSED: Evidence.NO_NUMBER,
    Failure.LATE: Evidence.MODEL_LATE,
    Failure.LOST: Evidence.MODEL_LATE,
}
_CUT = {
    Finish.TIME_LIMIT: 'time limit; raise model.deadline_s, or lower model.max_pixels or '
    'window.max_images',
    Finish.TOKEN_LIMIT: 'limit of tokens; raise model.max_new_tokens',
}
_END_DOUBTFUL = (
    'The adapter says that the task is done, and its report has found that it says so of '
    'unfinished work.'
)


class WatchedTask:
    """What is known of one task.

    ``ticks`` counts readable answers, ``shown`` is the view of the last one, ``finish`` how it
    ended and ``adapter`` the adapter that gave it.
    """

    def __init__(self, config: MonitorConfig, task: Task) -> None:
        self.task = task
        self.memory = PlanMemory(config.memory)
        self.judge = Judge(config, task)
        self.trust = ModelTrust(config.evidence)
        self.ticks = 0
        self.shown: View | None = None
        self.finish = ''
        self.adapter = ''
        self._config = config
        self._supposed: PlanMemory | None = None
        self._resting_since_ns: int | None = None
        self._withdrawn: list[Report] = []

    @property
    def current_stall(self) -> StallReport | None:
        """The stall that goes on; None: none does."""
        report = self.judge.stall
        return report if report is not None and report.stalled else None

    def recollection(self) -> Recollection:
        """What the model may be told of the task."""
        done = self.memory.prompt_text() if self._config.memory.in_prompt else ''
        return Recollection(self.task.text, done, self.memory.thought)

    def apply(self, config: MonitorConfig) -> None:
        """Judge by changed parameters from now on.

        The plan stays. A judge that is discarded withdraws what it has said: with another strategy
        the numbers have another scatter, and what the model refused it refused to another question.
        """
        old, self._config = self._config, config
        self.memory.configure(config.memory)
        self._supposed = None
        if (old.evidence, old.strategy) != (config.evidence, config.strategy):
            self.trust = ModelTrust(config.evidence)
        judged = ('strategy', 'signal', 'stall', 'regression', 'success', 'memory')
        if any(getattr(old, group) != getattr(config, group) for group in judged):
            self.judge.withdraw('The parameters were changed; judging starts anew.')
            self._withdrawn += self.judge.take_reports()
            self.judge = Judge(config, self.task)

    def take(
        self,
        estimate: Estimate,
        answer: Generated | Scored,
        view: View,
        session: str,
        rest: Rest,
    ) -> Estimate:
        """Take one readable answer into memory and judgement.

        :param rest: whether anything moves in the pictures.
        :returns: ``estimate`` as it counts: without its figures where the model does not know the
            scene, and without its verdict where its adapter is known to see the end too early.
        """
        self.ticks += 1
        self.shown = view
        self.adapter = answer.adapter
        self.trust.heard(session)
        if isinstance(answer, Generated):
            self.finish = answer.finish.value
        estimate, why = _weighed(estimate, answer)
        self.trust.weigh(estimate.evidence, why)
        if estimate.evidence is not Evidence.GOOD or self.trust.refused:
            self.judge.hold()
            return estimate
        leapt = self.judge.doubts(estimate, self.memory.current)
        plan = self._plan_during(rest, leapt)
        # A score repeats the list of the last text, which has been counted already.
        if estimate.remaining_steps is not None and isinstance(answer, Generated):
            plan.update(estimate.remaining_steps, estimate.stamp_ns)
        counts = self.judge.add(
            Tick(
                estimate,
                step=self.memory.current,
                undone=self.memory.undone,
                done_steps=self.memory.done_steps,
                supposed_steps=plan.done_steps,
                resting_since_ns=rest.since_ns,
                never_moved=rest.never_moved,
                frames=len(view.frames),
                leapt=leapt,
            )
        )
        if counts and plan is self._supposed:
            plan.thought = self.memory.thought
            self.memory, self._supposed = plan, None
        if estimate.thought and not leapt:
            self.memory.thought = estimate.thought
        return estimate

    def _plan_during(self, rest: Rest, leapt: bool) -> PlanMemory:
        """Where an answer's steps go: into the plan, or into one that is supposed while at rest.

        What is said while nothing moves may be a change of mind, and so may a leap. It becomes
        the plan when the judge takes such an answer for evidence, and is forgotten when something
        moves.
        """
        if (rest.since_ns is None and not leapt) or not self.memory.steps():
            self._supposed = None
            return self.memory
        if self._supposed is None or rest.since_ns != self._resting_since_ns:
            self._supposed = self.memory.copy()
        self._resting_since_ns = rest.since_ns
        return self._supposed

    def take_failure(self, session: str, failure: Failure | None, message: str) -> None:
        """Take note that a question of ``session`` has no answer."""
        self.trust.heard(session)
        kind = _FAILURES[failure or Failure.LOST]
        said = f'The model refuses the question: {message}.' if failure is Failure.REFUSED else ''
        self.trust.weigh(kind, said)
        self.judge.hold()

    def take_reports(self) -> tuple[list[StallReport], list[SuccessReport]]:
        """Reports of the judge that have not been taken yet, in order."""
        reports, self._withdrawn = [*self._withdrawn, *self.judge.take_reports()], []
        stalls = [report for report in reports if isinstance(report, StallReport)]
        return stalls, [report for report in reports if isinstance(report, SuccessReport)]


def _weighed(estimate: Estimate, answer: Generated | Scored) -> tuple[Estimate, str]:
    """What counts of an answer, and why it is worth no more where its evidence does not say it."""
    if answer.scene_distance > UNKNOWN_FROM:
        return _without_figures(estimate), ''
    if answer.end_doubtful and estimate.verdict is Verdict.DONE:
        doubtful = replace(estimate, evidence=Evidence.CONTRADICTION, verdict=Verdict.UNKNOWN)
        return doubtful, _END_DOUBTFUL
    cut = _CUT.get(answer.finish) if isinstance(answer, Generated) else None
    if estimate.evidence is Evidence.NO_NUMBER and cut is not None:
        return replace(estimate, evidence=Evidence.CUT_SHORT), f'The answer was cut by its {cut}.'
    return estimate, ''


def _without_figures(estimate: Estimate) -> Estimate:
    """What is left of an answer about a scene that the model does not know."""
    return replace(
        estimate,
        progress=NAN,
        spread=NAN,
        remaining_steps=None,
        evidence=Evidence.UNKNOWN_SCENE,
        success_probability=NAN,
        expected=NAN,
        verdict=Verdict.UNKNOWN,
    )
