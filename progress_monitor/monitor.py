"""The monitor: frames in, judgement out. Used by the node and by every offline tool alike."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from progress_monitor.config import MonitorConfig
from progress_monitor.evidence.camera import CameraWatch
from progress_monitor.judgement.allowance import parse_step_allowances
from progress_monitor.judgement.judge import Judge
from progress_monitor.judgement.tick import Tick
from progress_monitor.memory import PlanMemory
from progress_monitor.strategies import STRATEGIES
from progress_monitor.types import (
    NAN,
    Answer,
    Backend,
    BackendState,
    BackendStatus,
    Estimate,
    Evidence,
    Frame,
    MonitorUpdate,
    StallReport,
    State,
    StepStatus,
    SuccessReport,
    Task,
)
from progress_monitor.window import FrameWindow

_MESSAGES = {
    Evidence.REFUSED: 'The model says that the task does not fit what it sees.',
    Evidence.NO_NUMBER: 'The answer of the model holds no readable progress.',
    Evidence.CONTRADICTION: 'The answer of the model contradicts itself.',
}
_STATE_MESSAGES = {
    State.OBSERVING: 'Watching; nothing is judged yet.',
    State.PROGRESSING: 'The task makes progress.',
    State.SUCCEEDED: 'The task is done.',
}


@dataclass(frozen=True)
class _Asked:
    """A question on its way: to which task and window it belongs."""

    epoch: int
    stamp_ns: int
    window: tuple[Frame, ...]


class ProgressMonitor:
    """Watches one task at a time.

    All times are those of the ROS clock. Nothing blocks on the model, unless the backend answers
    inside ``submit``; then the answer is judged in the same ``tick``. Frames should have gone
    through ``window.resize_for_model``.

    :param cameras: names of the cameras that are expected, in the order in which they are shown.
    :raises ParameterError: if parameters contradict each other.
    """

    def __init__(
        self, config: MonitorConfig, backend: Backend, cameras: Sequence[str] = ()
    ) -> None:
        parse_step_allowances(config.stall.step_allowances)
        self._config = config
        self._backend = backend
        self._expected = tuple(cameras)
        self._strategy = STRATEGIES[config.strategy]()
        self._window = FrameWindow(config.window, cameras)
        self._memory = PlanMemory(config.memory)
        self._task: Task | None = None
        self._epoch = 0
        self._asked: _Asked | None = None
        self._owed_stalls: list[StallReport] = []
        self._owed_successes: list[SuccessReport] = []
        self._live: list[str] = []
        self._last_now_ns: int | None = None
        self._noted: tuple[Evidence, str] | None = None
        self._start_watching(0)

    def set_task(self, task: Task | None, now_ns: int) -> None:
        """Watch ``task`` from now on; None stops watching.

        :raises ValueError: if the task has no text.
        """
        if task is not None and not task.text.strip():
            raise ValueError('task: the text is empty; say what the robot is to do')
        if self._judge is not None:
            self._judge.withdraw()
            self._note_reports()
        self._task = task
        self._start_watching(now_ns)

    def reset(self, now_ns: int) -> None:
        """Forget all that was seen of the task and watch it anew."""
        self.set_task(self._task, now_ns)

    def observe(self, frame: Frame) -> None:
        """Take in a frame of any camera; cheap, and never asks the model."""
        self._noted = None
        watch = self._watches.get(frame.camera)
        if watch is None:
            watch = self._watches[frame.camera] = CameraWatch(self._config.evidence, frame.camera)
        if watch.observe(frame.stamp_ns, frame.image):
            self._window.observe(frame)
        else:
            self._window.count()

    def note_input(self, evidence: Evidence, message: str) -> None:
        """Say what only ROS knows about the input; holds until the next frame, or GOOD."""
        self._noted = None if evidence is Evidence.GOOD else (evidence, message)

    def acknowledge_recovery(self, now_ns: int, duration_s: float = 0.0) -> None:
        """A recovery starts: suspend judgement for ``duration_s`` (0: the grace period)."""
        if self._judge is not None:
            self._judge.recover(now_ns, duration_s)
            self._note_reports()

    def tick(self, now_ns: int) -> MonitorUpdate:
        """Poll the model, judge, and ask the next question when one is due."""
        if self._last_now_ns is not None:
            self._check_clock(now_ns)
        self._last_now_ns = now_ns
        arrived = self._collect()
        input_evidence, message = self._input(now_ns)
        usable = input_evidence is Evidence.GOOD
        if self._judge is not None and not usable:
            self._judge.hold()
            if input_evidence is Evidence.VIEW_CHANGED:
                self._judge.rebase()
        if usable and self._ask(now_ns):
            arrived = self._collect() or arrived
        return self._update(now_ns, input_evidence, message, arrived)

    def _start_watching(self, now_ns: int) -> None:
        self._epoch += 1
        self._started_ns = now_ns
        self._window.clear()
        self._memory.clear()
        self._judge = Judge(self._config, self._task) if self._task is not None else None
        self._watches: dict[str, CameraWatch] = {}
        self._answers: deque[Evidence] = deque(maxlen=3)
        self._refused = False
        self._good_answers = 0
        self._waiting_since_ns: int | None = None
        self._ticks = 0
        self._shown: tuple[Frame, ...] = ()

    def _note_reports(self) -> None:
        """Owe the listeners whatever the judge has newly reported."""
        assert self._judge is not None
        for report in self._judge.take_reports():
            if isinstance(report, StallReport):
                self._owed_stalls.append(report)
            else:
                self._owed_successes.append(report)

    def _check_clock(self, now_ns: int) -> None:
        """A clock that went back starts the time line again; the plan stays."""
        assert self._last_now_ns is not None
        tolerance_ns = round(self._config.evidence.stamp_tolerance * 1e9)
        if now_ns >= self._last_now_ns - tolerance_ns:
            return
        self._window.restart()
        self._watches.clear()
        self._waiting_since_ns = None
        self._started_ns = now_ns
        self._epoch += 1
        if self._judge is not None:
            self._judge.clock_went_back()

    def _collect(self) -> tuple[Estimate, Answer] | None:
        """Take the model's answer, if there is one, into memory and judgement."""
        completion = self._backend.poll()
        if completion is None:
            return None
        asked, self._asked = self._asked, None
        if asked is None or asked.epoch != self._epoch or self._judge is None:
            return None
        self._waiting_since_ns = None
        if completion.answer is None or completion.late:
            self._weigh(Evidence.MODEL_LATE if completion.late else Evidence.NO_NUMBER)
            self._judge.hold()
            return None
        estimate = self._strategy.read(completion.answer, asked.stamp_ns)
        self._ticks += 1
        self._shown = asked.window
        self._weigh(estimate.evidence)
        if estimate.evidence is Evidence.GOOD and not self._refused:
            rest_ns = self._still_since_ns(asked.stamp_ns)
            steps = estimate.remaining_steps
            news = steps == () or rest_ns is None or not self._memory.steps()
            if steps is not None and news:
                self._memory.update(steps, estimate.stamp_ns)
            self._judge.add(
                Tick(
                    estimate,
                    self._memory.current,
                    self._memory.undone,
                    sum(step.status is StepStatus.DONE for step in self._memory.steps()),
                    rest_ns,
                    not any(watch.has_moved for watch in self._watches.values()),
                    len(asked.window),
                )
            )
        else:
            self._judge.hold()
        return estimate, completion.answer

    def _still_since_ns(self, stamp_ns: int) -> int | None:
        """Stamp since which no camera has seen anything move, if that is a while ago or always."""
        watches = [self._watches[name] for name in self._live if name in self._watches]
        moved_ns = max((watch.resting_since_ns for watch in watches), default=stamp_ns)
        resting = (stamp_ns - moved_ns) * 1e-9 >= self._config.evidence.still_after
        always = bool(watches) and not any(watch.has_moved for watch in watches)
        return moved_ns if resting or always else None

    def _weigh(self, evidence: Evidence) -> None:
        """Count an answer. A model that has refused must earn its trust back."""
        self._answers.append(evidence)
        self._good_answers = self._good_answers + 1 if evidence is Evidence.GOOD else 0
        refusals = sum(item is Evidence.REFUSED for item in self._answers)
        if refusals >= self._config.evidence.confirm:
            self._refused = True
        elif self._good_answers >= self._config.evidence.trust_again:
            self._refused = False

    def _input(self, now_ns: int) -> tuple[Evidence, str]:
        """The best that any camera offers, and a word on those that offer less."""
        if self._noted is not None:
            return self._noted
        names = [*self._expected, *(name for name in self._watches if name not in self._expected)]
        verdicts: dict[str, tuple[Evidence, str]] = {}
        for name in names:
            watch = self._watches.get(name)
            if watch is None:
                verdicts[name] = (Evidence.NO_FRAMES, f'camera {name}: no frame yet')
                continue
            if watch.check_ahead(now_ns):
                self._window.drop(name)
            verdicts[name] = watch.verdict(now_ns)
        self._live = [name for name in names if verdicts[name][0] is Evidence.GOOD]
        said = '; '.join(text for _, text in verdicts.values() if text)
        if self._live:
            return Evidence.GOOD, said
        waited = (now_ns - self._started_ns) * 1e-9
        if not self._watches:
            if waited <= self._config.evidence.frame_timeout:
                return Evidence.UNKNOWN, 'Waiting for the first frame.'
            return Evidence.NO_FRAMES, said or 'no camera has delivered a frame yet'
        worst = next(kind for kind, _ in verdicts.values() if kind is not Evidence.GOOD)
        return worst, said

    def _ask(self, now_ns: int) -> bool:
        """Ask the model about the newest frames if that is due; whether it was."""
        if self._task is None or self._backend.status().state is not BackendState.READY:
            return False
        if not self._window.due(self._live):
            return False
        frames = self._window.sample(self._live)
        told = self._memory.prompt_text() if self._config.memory.in_prompt else ''
        prompt = self._strategy.prompt(frames, self._task.text, told)
        stamp_ns = max(frame.stamp_ns for frame in frames)
        try:
            self._backend.submit(prompt)
        except RuntimeError:  # it ceased to be ready since it was asked for its status
            return False
        self._asked = _Asked(self._epoch, stamp_ns, frames)
        self._waiting_since_ns = now_ns
        return True

    def _update(
        self,
        now_ns: int,
        input_evidence: Evidence,
        said: str,
        arrived: tuple[Estimate, Answer] | None,
    ) -> MonitorUpdate:
        backend = self._backend.status()
        state, evidence, message = self._state(now_ns, input_evidence, said, backend)
        judge = self._judge
        if judge is not None:
            self._note_reports()
        return MonitorUpdate(
            now_ns=now_ns,
            state=state,
            evidence=evidence,
            message=message,
            task=self._task,
            progress=judge.progress if judge is not None else NAN,
            rate=judge.rate if judge is not None else NAN,
            noise=judge.noise if judge is not None else NAN,
            confidence=judge.confidence if judge is not None else NAN,
            estimate=arrived[0] if arrived is not None else None,
            answer=arrived[1] if arrived is not None else None,
            window=self._shown,
            plan=self._memory.steps(),
            stall=self._owed_stalls.pop(0) if self._owed_stalls else None,
            success=self._owed_successes.pop(0) if self._owed_successes else None,
            ticks=self._ticks,
            frames_received=self._window.frames_received,
            frames_skipped=self._window.frames_skipped,
            backend=backend,
        )

    def _state(
        self, now_ns: int, input_evidence: Evidence, said: str, backend: BackendStatus
    ) -> tuple[State, Evidence, str]:
        judge = self._judge
        if judge is None:
            return State.IDLE, input_evidence, 'No task.'
        if backend.state is BackendState.FAILED:
            return State.ERROR, input_evidence, backend.message or 'The model has failed.'
        if backend.state in (BackendState.LOADING, BackendState.STOPPED):
            judge.hold()
            return State.LOADING, input_evidence, backend.message or 'The model is being loaded.'
        if input_evidence is Evidence.UNKNOWN:
            return State.OBSERVING, input_evidence, said
        if input_evidence is Evidence.VIEW_CHANGED:
            return State.UNSURE, input_evidence, said
        if input_evidence is not Evidence.GOOD:
            return State.STALE, input_evidence, said
        doubt = self._doubt(now_ns)
        if doubt is not None:
            judge.hold()
            return State.UNSURE, doubt[0], doubt[1]
        state = judge.state(now_ns)
        message = _STATE_MESSAGES.get(state, judge.doubt)
        if judge.stall is not None and judge.stall.stalled and not message:
            message = judge.stall.explanation
        return state, Evidence.GOOD, f'{message} ({said})' if said else message

    def _doubt(self, now_ns: int) -> tuple[Evidence, str] | None:
        """Why the model is not worth listening to, if so."""
        waiting = self._waiting_since_ns
        timeout = self._config.evidence.answer_timeout
        if waiting is not None and (now_ns - waiting) * 1e-9 > timeout:
            return Evidence.MODEL_LATE, f'No answer of the model for more than {timeout:g} s.'
        bad = [item for item in self._answers if item is not Evidence.GOOD]
        if len(bad) >= min(self._config.evidence.confirm, self._answers.maxlen or 1):
            kind = bad[-1]
            return kind, _MESSAGES.get(kind, 'The model has not answered in time.')
        if self._refused:
            return Evidence.REFUSED, _MESSAGES[Evidence.REFUSED]
        return None
