"""The lifecycle node ``progress_monitor``: cameras in, progress, stall and success out.

Nothing in here waits for the model, so one thread serves images, parameters, services, the action
and lifecycle transitions alike: the model answers in a process of its own.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.exceptions import InvalidTopicNameException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.validate_topic_name import validate_topic_name
from std_srvs.srv import Trigger

from progress_monitor.action import MonitorTask
from progress_monitor.backends.worker import WorkerBackend
from progress_monitor.monitor import ProgressMonitor
from progress_monitor.node_config import NodeConfig
from progress_monitor.parameters import ParameterError, build
from progress_monitor.ros import ros_parameters
from progress_monitor.ros.cameras import Camera, Intake, Problem
from progress_monitor.ros.goals import GoalServer, new_task_id
from progress_monitor.ros.outputs import Outputs
from progress_monitor.ros.running import run
from progress_monitor.srv import AcknowledgeRecovery, SetTask
from progress_monitor.types import (
    Backend,
    BackendState,
    Evidence,
    Frame,
    MonitorUpdate,
    State,
    Task,
)
from progress_monitor.vlm.config import ModelConfig

TICK_PERIOD_S = 0.05
_LOOK_PERIOD_S = 0.5
_FIXED = ('model.', 'image_topics', 'task', 'autostart')
_Transition = Callable[['MonitorNode', LifecycleState], TransitionCallbackReturn]


@dataclass(frozen=True)
class _Session:
    """What exists from configure to cleanup."""

    config: NodeConfig
    backend: Backend
    monitor: ProgressMonitor


def _reports(transition: _Transition) -> _Transition:
    """Log what a transition raises: rclpy swallows it."""

    @functools.wraps(transition)
    def wrapped(node: MonitorNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except Exception as error:
            node.get_logger().error(f'{transition.__name__} failed: {error!r}')
            raise

    return wrapped


class _RosHandler(logging.Handler):
    """Passes the log of the rooms that know no ROS on to the node's log."""

    def __init__(self, node: LifecycleNode) -> None:
        super().__init__()
        self._logger = node.get_logger()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        # rclpy keeps one severity per line of code that logs, hence a call for each.
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        else:
            self._logger.info(text)


class MonitorNode(LifecycleNode):
    """See the package's documentation of interfaces.

    :param make_backend: makes the model's backend; it must return at once, still loading.
    """

    def __init__(
        self,
        make_backend: Callable[[ModelConfig], Backend] = WorkerBackend,
        **arguments: Any,
    ) -> None:
        super().__init__('progress_monitor', **arguments)
        self._make_backend = make_backend
        self._session: _Session | None = None
        self._cameras: list[Camera] = []
        self._newest: Frame | None = None
        self._problems: list[Problem] = []
        self._task: Task | None = None
        self._refused = ''
        self._last_now_ns = 0
        self._look_due = 0.0
        self._log_handler = _RosHandler(self)
        room = logging.getLogger('progress_monitor')
        room.setLevel(logging.INFO)
        room.addHandler(self._log_handler)
        ros_parameters.declare(self, NodeConfig, self._locked, self._reconfigure)
        self._outputs = Outputs(self)
        self._goals = GoalServer(
            self, self._watch, self._not_active, lambda: self._config().goal_patience_s
        )
        self.create_service(SetTask, '~/set_task', self._on_set_task)
        self.create_service(Trigger, '~/reset', self._on_reset)
        self.create_service(AcknowledgeRecovery, '~/acknowledge_recovery', self._on_acknowledge)
        # Not on the ROS clock: the status must speak while simulated time stands still.
        self.create_timer(
            TICK_PERIOD_S, self._on_timer, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def close(self) -> None:
        """Stop the model's process and destroy the node."""
        self._release()
        self._goals.close()
        logging.getLogger('progress_monitor').removeHandler(self._log_handler)
        self.destroy_node()

    @_reports
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Check the parameters and start loading the model."""
        try:
            config = ros_parameters.read(self, NodeConfig)
            cameras = self._check_topics(config.image_topics)
            backend = self._make_backend(config.model)
            try:
                monitor = ProgressMonitor(config, backend, cameras=cameras)
            except ParameterError:
                backend.close()
                raise
        except ParameterError as error:
            self._refused = f'not configured: {error}'
            self.get_logger().error(self._refused)
            return TransitionCallbackReturn.FAILURE
        self._refused = ''
        self._session = _Session(config, backend, monitor)
        self._watch(Task(new_task_id(), config.task.strip()) if config.task.strip() else None)
        return TransitionCallbackReturn.SUCCESS

    @_reports
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the cameras and begin to judge anew."""
        session = self._session
        assert session is not None
        config = session.config
        session.monitor.reset(self._now_ns())
        self._problems = []
        self._look_due = 0.0
        self._cameras = [
            Camera(self, topic, Intake.of(config), self._on_frame) for topic in config.image_topics
        ]
        return super().on_activate(state)

    @_reports
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening; the model stays loaded."""
        self._goals.end(MonitorTask.Result.NOT_ACTIVE, 'the node was deactivated')
        self._close_cameras()
        return super().on_deactivate(state)

    @_reports
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End the model's process, which gives its memory back."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    @_reports
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As cleanup, from any state."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    @_reports
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Go back to unconfigured after a transition that raised."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def _release(self) -> None:
        self._goals.end(MonitorTask.Result.NOT_ACTIVE, 'the node was cleaned up')
        self._close_cameras()
        session, self._session = self._session, None
        if session is not None:
            session.backend.close()

    def _close_cameras(self) -> None:
        for camera in self._cameras:
            camera.close()
        self._cameras = []
        self._newest = None

    def _check_topics(self, topics: Sequence[str]) -> tuple[str, ...]:
        if not topics:
            raise ParameterError('image_topics: empty; name at least one camera topic')
        names = []
        for topic in topics:
            try:
                validate_topic_name(topic)
                names.append(self.resolve_topic_name(topic))
            except InvalidTopicNameException as error:
                reason = ' '.join(str(error).split())
                raise ParameterError(f'image_topics: {topic!r}: {reason}') from error
        if len(set(names)) < len(names):
            raise ParameterError(f'image_topics: a topic is named twice: {", ".join(names)}')
        return tuple(names)

    def _locked(self, name: str) -> str:
        if self._session is None or not name.startswith(_FIXED):
            return ''
        if name == 'task':
            return 'is the task at start; call ~/set_task'
        return 'cannot change while the node is configured; deactivate and clean it up first'

    def _reconfigure(self, values: dict[str, Any]) -> None:
        """Judge anew, by changed parameters; the model stays as it is.

        While unconfigured a mistake may still be mended by the next parameter, so parameters that
        contradict each other are refused by configure and not here.
        """
        session = self._session
        if session is None:
            return
        config = build(NodeConfig, values)
        session.monitor.apply(config, self._now_ns())
        self._session = _Session(config, session.backend, session.monitor)
        for camera in self._cameras:
            camera.configure(Intake.of(config))

    def _not_active(self) -> str:
        return '' if self._cameras else 'the node is not active; configure and activate it'

    def _config(self) -> NodeConfig:
        return self._session.config if self._session else NodeConfig()

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _on_frame(self, frame: Frame) -> None:
        if self._session is not None:
            self._session.monitor.observe(frame)
            if frame.camera == self._cameras[0].name:
                self._newest = frame

    def _watch(self, task: Task | None) -> None:
        """Start watching a task, or stop at None; a goal that runs is preempted."""
        assert self._session is not None
        self._goals.end(MonitorTask.Result.PREEMPTED, 'another task was given')
        self._task = task
        self._session.monitor.set_task(task, self._now_ns())
        self.get_logger().info(f'task: {task.text}' if task else 'no task')

    def _on_timer(self) -> None:
        now_ns = self._now_ns()
        session = self._session
        if session is None or not self._cameras:
            update = self._idle_update(now_ns)
        else:
            tolerance_ns = session.config.evidence.stamp_tolerance * 1e9
            if now_ns < self._last_now_ns - tolerance_ns:
                self.get_logger().warning('the ROS clock went back; judging starts anew')
            if time.monotonic() >= self._look_due:
                self._look_due = time.monotonic() + _LOOK_PERIOD_S
                self._look(session, now_ns)
            update = self._tick(session, now_ns)
        self._last_now_ns = now_ns
        config = session.config if session else None
        self._outputs.publish(update, config, self._cameras, self._newest)
        self._goals.update(update, self._outputs.stall)

    def _look(self, session: _Session, now_ns: int) -> None:
        """Tell the monitor what only ROS knows of the cameras."""
        problems = [found for camera in self._cameras if (found := camera.look()) is not None]
        if now_ns == 0:
            message = 'use_sim_time is set and nobody publishes /clock'
            problems = [Problem(Evidence.NO_FRAMES, message)] * len(self._cameras)
        if len(problems) == len(self._cameras):
            said = '; '.join(dict.fromkeys(problem.message for problem in problems))
            session.monitor.note_input(problems[0].evidence, said)
        elif self._problems:
            session.monitor.note_input(Evidence.GOOD, '')
        for problem in problems:
            if problem.evidence not in [known.evidence for known in self._problems]:
                self.get_logger().warning(problem.message)
        self._problems = problems

    def _tick(self, session: _Session, now_ns: int) -> MonitorUpdate:
        update = session.monitor.tick(now_ns)
        idle = update.state is State.IDLE
        if self._problems and (idle or update.evidence is Evidence.GOOD):
            # Nothing is judged, or another camera delivers: the one that does not is still named.
            said = '; '.join(problem.message for problem in self._problems)
            update = dataclasses.replace(update, message=f'{update.message} ({said})')
        return _with_model(update) if idle else update

    def _idle_update(self, now_ns: int) -> MonitorUpdate:
        """The status of a node that is not active."""
        session = self._session
        if session is None:
            state = State.ERROR if self._refused else State.IDLE
            message = self._refused or 'not configured'
            return MonitorUpdate(now_ns, state, Evidence.UNKNOWN, message, None)
        return _with_model(
            MonitorUpdate(
                now_ns,
                State.IDLE,
                Evidence.UNKNOWN,
                'configured, not active',
                None,
                backend=session.backend.status(),
            )
        )

    def _on_set_task(
        self, request: SetTask.Request, response: SetTask.Response
    ) -> SetTask.Response:
        if self._session is None:
            response.message = 'the node is not configured'
            return response
        text = request.task.strip()
        task = Task(request.task_id or new_task_id(), text) if text else None
        self._watch(task)
        response.success = True
        response.task_id = task.task_id if task else ''
        response.message = 'watching' if task else 'the task is empty: nothing is watched'
        return response

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._session is None:
            response.message = 'the node is not configured'
            return response
        self._session.monitor.reset(self._now_ns())
        response.success = True
        response.message = 'judging starts anew'
        return response

    def _on_acknowledge(
        self, request: AcknowledgeRecovery.Request, response: AcknowledgeRecovery.Response
    ) -> AcknowledgeRecovery.Response:
        response.message = self._not_active()
        if response.message:
            return response
        assert self._session is not None
        stall = self._outputs.stall
        if not math.isfinite(request.duration_s) or request.duration_s < 0:
            response.message = f'duration_s: {request.duration_s:g} is not a time'
        elif request.event_id and (stall is None or stall.event_id != request.event_id):
            response.message = f'event_id: {request.event_id} is not the present stall'
        else:
            self._session.monitor.acknowledge_recovery(self._now_ns(), request.duration_s)
            response.success = True
            response.message = 'judgement is suspended'
        return response


def _with_model(update: MonitorUpdate) -> MonitorUpdate:
    """Say how the model is where no task is watched: what is wrong should show before one is."""
    backend = update.backend
    if backend.state is BackendState.FAILED:
        return dataclasses.replace(update, state=State.ERROR, message=backend.message)
    if backend.state in (BackendState.DOWNLOADING, BackendState.LOADING):
        message = backend.message or 'The model is being loaded.'
        return dataclasses.replace(update, state=State.LOADING, message=message)
    return update


def started(node: MonitorNode) -> MonitorNode:
    """Configure and activate ``node``, unless its parameter ``autostart`` is false."""
    wanted = node.get_parameter('autostart').value is not False
    if wanted and node.trigger_configure() is TransitionCallbackReturn.SUCCESS:
        node.trigger_activate()
    return node


def main(args: list[str] | None = None) -> int:
    """Entry point of ``monitor_node``."""
    run(lambda: started(MonitorNode()), args, MonitorNode.close)
    return 0


if __name__ == '__main__':
    sys.exit(main())
