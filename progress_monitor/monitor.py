"""The monitor: frames in, judgement out. Used by the node and by every offline tool alike."""

from __future__ import annotations

from collections.abc import Sequence

from progress_monitor.config import MonitorConfig
from progress_monitor.dialogue import Dialogue, Reply
from progress_monitor.evidence.inputs import InputReport, Inputs
from progress_monitor.history import FrameHistory
from progress_monitor.judgement.allowance import parse_step_allowances
from progress_monitor.pace import paced_period
from progress_monitor.printable import is_unicode
from progress_monitor.strategies import STRATEGIES, make_strategy
from progress_monitor.strategies.selection import check_window
from progress_monitor.strategies.strategy import Strategy
from progress_monitor.types import (
    NAN,
    Backend,
    BackendState,
    BackendStatus,
    Capabilities,
    Estimate,
    Evidence,
    Frame,
    Generated,
    MonitorUpdate,
    Scored,
    StallReport,
    State,
    SuccessReport,
    Task,
    View,
)
from progress_monitor.watched import WatchedTask

TASK_CHARACTERS = 4000
TASK_ID_CHARACTERS = 200
HISTORY_SAMPLES = 64
_UNLOADED = (BackendState.DOWNLOADING, BackendState.LOADING, BackendState.STOPPED)
_STATE_MESSAGES = {
    State.OBSERVING: 'Watching; nothing is judged yet.',
    State.PROGRESSING: 'The task makes progress.',
    State.SUCCEEDED: 'The task is done.',
}
_Found = tuple[Estimate, Generated | Scored, View]


def validate(config: MonitorConfig, cameras: Sequence[str]) -> None:
    """Check what single parameters cannot say of each other; changes nothing.

    :raises ParameterError: naming the parameter that cannot be used.
    """
    parse_step_allowances(config.stall.step_allowances)
    check_window(config.window, len(cameras))
    make_strategy(config, cameras=cameras)


def check_task(task: Task) -> None:
    """Check whether ``task`` can be watched.

    :raises ValueError: if it has no text, one that is too long, or one that is not Unicode; or if
        its id, which every message carries, is too long or cannot be printed on a line.
    """
    if not task.text.strip():
        raise ValueError('task: the text is empty; say what the robot is to do')
    if len(task.text) > TASK_CHARACTERS:
        raise ValueError(
            f'task: the text has {len(task.text)} characters; at most {TASK_CHARACTERS} '
            'can be asked about'
        )
    if not is_unicode(task.text):
        raise ValueError('task: the text is not valid Unicode; type it anew')
    if len(task.task_id) > TASK_ID_CHARACTERS:
        raise ValueError(
            f'task_id: {len(task.task_id)} characters; at most {TASK_ID_CHARACTERS} are taken'
        )
    if not task.task_id.isprintable():
        raise ValueError('task_id: it holds line breaks or other characters that no id needs')


class ProgressMonitor:
    """Watches one task at a time.

    All times are those of the ROS clock. Nothing blocks on the model, unless the backend answers
    inside ``submit``; then the answer is judged in the same ``tick``.

    :param cameras: names of the cameras that are expected, in the order in which they are shown.
    :raises ParameterError: if parameters contradict each other.
    """

    def __init__(
        self, config: MonitorConfig, backend: Backend, cameras: Sequence[str] = ()
    ) -> None:
        validate(config, cameras)
        self._config = config
        self._backend = backend
        self._dialogue = Dialogue(backend)
        self._cameras = tuple(cameras)
        self._strategy = self._made_strategy()
        self._inputs = Inputs(config.evidence, config.camera, cameras, 0)
        self._history = FrameHistory(
            self._strategy.sample_period_s,
            HISTORY_SAMPLES,
            cameras,
            config.evidence.frame_timeout,
            lambda frame: self._inputs.shown(frame),
        )
        self._watched: WatchedTask | None = None
        self._capabilities: Capabilities | None = None
        self._pace = ''
        self._selected_ns: int | None = None
        self._last_now_ns: int | None = None
        self._stalls: list[StallReport] = []
        self._successes: list[SuccessReport] = []

    @property
    def current_stall(self) -> StallReport | None:
        """The stall of the present task that goes on; None: none does."""
        return self._watched.current_stall if self._watched is not None else None

    @property
    def unsuited(self) -> str:
        """A warning that the model was not made for the strategy; empty: it was, or is unknown."""
        return self._unsuited

    @property
    def task(self) -> Task | None:
        """The task that is being watched."""
        return self._watched.task if self._watched is not None else None

    def set_task(self, task: Task | None, now_ns: int) -> None:
        """Watch ``task`` from now on; None stops watching.

        What was said of the task before is withdrawn, and the frames seen so far are forgotten.

        :raises ValueError: if the task has no text, or one that is too long.
        """
        if task is not None:
            check_task(task)
        self._withdraw('The task is no longer watched.')
        self._watched = WatchedTask(self._config, task) if task is not None else None
        self._history.clear()
        self._inputs.restart(now_ns)
        self._ask_anew()

    def reset(self, now_ns: int) -> None:
        """Forget all that was seen of the task and watch it anew."""
        self.set_task(self.task, now_ns)

    def apply(self, config: MonitorConfig, now_ns: int) -> None:
        """Go on by changed parameters.

        Only what depends on a parameter that changed starts anew. The plan is kept; a judge that is
        discarded withdraws what it has said.

        :raises ParameterError: if they contradict each other; nothing is changed then.
        """
        validate(config, self._cameras)
        old, self._config = self._config, config
        asking = ('strategy', 'window', *STRATEGIES)
        if any(getattr(old, name, None) != getattr(config, name, None) for name in asking):
            self._begin_strategy()
        if (old.evidence, old.camera) != (config.evidence, config.camera):
            self._inputs = Inputs(config.evidence, config.camera, self._cameras, now_ns)
        if self._watched is not None:
            self._watched.apply(config)
            self._take_reports()

    def observe(self, frame: Frame) -> None:
        """Take in a frame of any camera; cheap, and never asks the model."""
        if self._inputs.observe(frame):
            self._history.observe(frame)
        else:
            self._history.count()

    def note_input(self, evidence: Evidence, message: str) -> None:
        """Say what only ROS knows about the input; holds until the next frame, or GOOD."""
        self._inputs.note(evidence, message)

    def acknowledge_recovery(self, now_ns: int, duration_s: float = 0.0) -> None:
        """A recovery starts: suspend judgement for ``duration_s`` (0: the grace period)."""
        if self._watched is not None:
            self._watched.judge.recover(now_ns, duration_s)
            self._take_reports()

    def tick(self, now_ns: int) -> MonitorUpdate:
        """Take in answers, judge, and ask the next question when one is due."""
        self._check_clock(now_ns)
        if self._backend.status().model != self._model:
            # A server says only when it is reached which model it serves.
            self._begin_strategy()
        found = self._collect()
        report = self._inputs.report(now_ns)
        for camera in report.jumped:
            self._history.drop(camera)
        if report.view_stood_ns is not None:
            self._history.forget_after(report.view_stood_ns)
        backend = self._backend.status()
        watched = self._watched
        if watched is not None and not report.usable:
            watched.judge.hold()
            if report.evidence is Evidence.VIEW_CHANGED:
                watched.judge.rebase()
        if report.usable and not self._unable() and self._ask(now_ns):
            found = self._collect() or found
            backend = self._backend.status()
        if watched is not None and (
            backend.state in _UNLOADED or watched.trust.doubt(now_ns) is not None
        ):
            watched.judge.hold()
        self._take_reports()
        return self._update(now_ns, report, backend, found)

    def _made_strategy(self) -> Strategy:
        self._model = self._backend.status().model
        made = make_strategy(self._config, self._model, self._cameras)
        self._unsuited = made.unsuited(self._model)
        return made

    def _unable(self) -> str:
        """Why the model cannot be asked by this strategy; empty: it can, or is not loaded yet."""
        capabilities = self._backend.capabilities()
        if capabilities is None:
            return ''
        if self._strategy.clips and not capabilities.clips:
            return (
                'topreward.video: this model is not shown videos, which Qwen3-VL with backend '
                'worker is: set it to false'
            )
        scored = capabilities.scores and capabilities.raw_prompts
        if scored or not self._strategy.scores:
            return ''
        return (
            f'the strategy {self._strategy.name} asks for probabilities after a turn that is left '
            'open, which this server does not give: set backend to worker, or another strategy'
        )

    def _begin_strategy(self) -> None:
        self._strategy = self._made_strategy()
        self._capabilities = None
        self._history.set_period(self._strategy.sample_period_s)
        self._ask_anew()

    def _ask_anew(self) -> None:
        self._dialogue.forget()
        self._strategy.reset()
        self._selected_ns = None

    def _withdraw(self, why: str) -> None:
        if self._watched is not None:
            self._watched.judge.withdraw(why)
            self._take_reports()

    def _take_reports(self) -> None:
        if self._watched is not None:
            stalls, successes = self._watched.take_reports()
            self._stalls += stalls
            self._successes += successes

    def _check_clock(self, now_ns: int) -> None:
        """A clock that went back starts the time line again; the plan stays."""
        last, self._last_now_ns = self._last_now_ns, now_ns
        tolerance_ns = round(self._config.evidence.stamp_tolerance * 1e9)
        if last is None or now_ns >= last - tolerance_ns:
            return
        self._history.restart()
        self._inputs.restart(now_ns)
        self._ask_anew()
        if self._watched is not None:
            self._watched.trust.forget_questions()
            self._watched.judge.clock_went_back()

    def _collect(self) -> _Found | None:
        """Take what the model has answered into memory and judgement; the newest answer."""
        found: _Found | None = None
        for reply in self._dialogue.replies():
            found = self._take(reply) or found
        return found

    def _take(self, reply: Reply) -> _Found | None:
        watched = self._watched
        if watched is None:
            return None
        if reply.answer is None:
            watched.take_failure(reply.question.session, reply.failure, reply.message)
            return None
        estimate = self._strategy.read((reply.answer,), reply.view)
        rest = self._inputs.rest(reply.view.stamp_ns)
        estimate = watched.take(estimate, reply.answer, reply.view, reply.question.session, rest)
        return estimate, reply.answer, reply.view

    def _ask(self, now_ns: int) -> bool:
        """Ask the model about the newest sample, once; whether a question was asked."""
        if self._watched is None or not self._dialogue.ready:
            return False
        self._keep_pace()
        newest = self._history.newest_ns
        if newest is None or newest == self._selected_ns:
            return False
        if not self._dialogue.free(self._strategy.sessions):
            return False
        view = self._strategy.select(self._history, now_ns)
        if view is None:
            return False
        self._selected_ns = newest
        questions = self._strategy.ask(view, self._watched.recollection())
        asked = self._dialogue.ask(questions, view, self._watched.task.text)
        for session in asked:
            self._watched.trust.asked(session, now_ns)
        if asked:
            self._history.mark_shown(view.frames)
        return bool(asked)

    def _keep_pace(self) -> None:
        """Let samples come as fast as the model can take them, once its cost is known."""
        capabilities = self._backend.capabilities()
        if capabilities is None or capabilities == self._capabilities:
            return
        self._capabilities = capabilities
        period, self._pace = paced_period(
            self._strategy.sample_period_s, self._config.window.longest_period, capabilities
        )
        self._history.set_period(period)

    def _update(
        self,
        now_ns: int,
        report: InputReport,
        backend: BackendStatus,
        found: _Found | None,
    ) -> MonitorUpdate:
        state, evidence, message = self._state(now_ns, report, backend)
        watched = self._watched
        judge = watched.judge if watched is not None else None
        estimate, answer, view = found if found is not None else (None, None, None)
        stalls, self._stalls = tuple(self._stalls), []
        successes, self._successes = tuple(self._successes), []
        return MonitorUpdate(
            now_ns=now_ns,
            state=state,
            evidence=evidence,
            message=message,
            task=self.task,
            progress=judge.progress if judge is not None else NAN,
            rate=judge.rate if judge is not None else NAN,
            noise=judge.noise if judge is not None else NAN,
            confidence=judge.confidence if judge is not None else NAN,
            estimate=estimate,
            answer=answer,
            camera=view.frames[-1].camera if view is not None else '',
            finish=watched.finish if watched is not None else '',
            window=watched.shown.frames if watched is not None and watched.shown else (),
            plan=watched.memory.steps() if watched is not None else (),
            thought=watched.memory.thought if watched is not None else '',
            prompt_hash=self._strategy.prompt_hash,
            model_revision=backend.revision,
            adapter=watched.adapter if watched is not None else '',
            stalls=stalls,
            successes=successes,
            ticks=watched.ticks if watched is not None else 0,
            frames_received=self._history.received,
            frames_skipped=self._history.skipped,
            backend=backend,
        )

    def _state(
        self, now_ns: int, report: InputReport, backend: BackendStatus
    ) -> tuple[State, Evidence, str]:
        """State, evidence and a sentence; looks and changes nothing."""
        watched = self._watched
        if watched is None:
            return State.IDLE, report.evidence, 'No task.'
        if backend.state is BackendState.FAILED:
            return State.ERROR, report.evidence, backend.message or 'The model has failed.'
        if backend.state in _UNLOADED:
            return State.LOADING, report.evidence, backend.message or 'The model is being loaded.'
        unable = self._unable()
        if unable:
            return State.ERROR, report.evidence, unable
        if report.evidence is Evidence.UNKNOWN:
            return State.OBSERVING, report.evidence, report.message
        if report.evidence is Evidence.VIEW_CHANGED:
            return State.UNSURE, report.evidence, report.message
        if not report.usable:
            return State.STALE, report.evidence, report.message
        doubt = watched.trust.doubt(now_ns)
        if doubt is not None:
            return State.UNSURE, doubt[0], doubt[1]
        state = watched.judge.state(now_ns)
        message = _STATE_MESSAGES.get(state, watched.judge.doubt)
        stall = watched.current_stall
        if stall is not None and not message:
            message = stall.explanation
        remarks = (report.message, self._pace, self._unsuited)
        said = '; '.join(text for text in remarks if text)
        return state, Evidence.GOOD, f'{message} ({said})' if said else message
