"""What has been said of the task, in order: reports wait until they are taken."""

from __future__ import annotations

from dataclasses import replace

from progress_monitor.types import RecoveryHint, StallCause, StallReport, SuccessReport

Report = StallReport | SuccessReport

_ORDER = (StallCause.NO_CHANGE, StallCause.REGRESSION, StallCause.LOOPING)


class Reports:
    """The newest report of each kind, and those that nobody has taken yet, oldest first."""

    def __init__(self) -> None:
        self.stall: StallReport | None = None
        self.success: SuccessReport | None = None
        self._waiting: list[Report] = []

    @property
    def stalled(self) -> bool:
        return self.stall is not None and self.stall.stalled

    def take(self) -> list[Report]:
        """All reports since the last call, in the order in which they were made."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def says_more(self, cause: StallCause) -> bool:
        """Whether ``cause`` is news: none stands, or one that says less.

        Looping says more than its falls and its standing still.
        """
        old = self.stall
        return old is None or not old.stalled or _ORDER.index(cause) > _ORDER.index(old.cause)

    def call(self, report: StallReport) -> None:
        """Report a stall; one that stands is released first."""
        if self.stall is not None and self.stall.stalled:
            self.release(
                f'It is told more exactly now: {report.explanation}',
                report.evidence_last_ns,
                report.progress,
                report.rate,
            )
        self.stall = report
        self._waiting.append(report)

    def release(self, why: str, stamp_ns: int | None, progress: float, rate: float) -> None:
        """End the stall that stands, if one does, under its own event id."""
        old = self.stall
        if old is None or not old.stalled:
            return
        self.stall = replace(
            old,
            stalled=False,
            cause=StallCause.NONE,
            evidence_last_ns=old.evidence_last_ns if stamp_ns is None else stamp_ns,
            progress=progress,
            rate=rate,
            hint=RecoveryHint.NONE,
            explanation=why,
        )
        self._waiting.append(self.stall)

    def succeed(self, report: SuccessReport) -> None:
        """Report a success, or its end."""
        self.success = report
        self._waiting.append(report)
