"""The lifecycle node ``progress_monitor``: cameras in, progress, stall and success out.

Nothing in here waits for the model, so one thread serves images, parameters, services, the action
and lifecycle transitions alike: the model answers in a process of its own.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from std_srvs.srv import Trigger

from progress_monitor.action import MonitorTask
from progress_monitor.backends.registry import make_backend
from progress_monitor.monitor import ProgressMonitor, check_task, validate
from progress_monitor.node_config import NodeConfig
from progress_monitor.parameters import ParameterError, build
from progress_monitor.printable import printable
from progress_monitor.ros import ros_parameters
from progress_monitor.ros.acknowledgements import Acknowledgements
from progress_monitor.ros.camera_group import CameraGroup, camera_names
from progress_monitor.ros.cameras import Intake
from progress_monitor.ros.goals import GoalServer, new_task_id
from progress_monitor.ros.log_handler import RosLogHandler
from progress_monitor.ros.outputs import Outputs
from progress_monitor.ros.running import run
from progress_monitor.ros.tolerant import TolerantNode
from progress_monitor.srv import AcknowledgeRecovery, SetTask
from progress_monitor.types import (
    NAN,
    Backend,
    BackendState,
    Evidence,
    MonitorUpdate,
    State,
    Task,
)
from progress_monitor.vlm.profiles import governed, resolve

TICK_PERIOD_S = 0.05
_FIXED = ('model.', 'server.', 'backend', 'image_topics', 'task', 'autostart')
_Transition = Callable[['MonitorNode', LifecycleState], TransitionCallbackReturn]


@dataclass(frozen=True)
class _Session:
    """What exists from configure to cleanup."""

    config: NodeConfig
    backend: Backend
    monitor: ProgressMonitor

    @property
    def tick_ms(self) -> float:
        capabilities = self.backend.capabilities()
        return capabilities.tick_ms if capabilities is not None else NAN


def _reports(transition: _Transition) -> _Transition:
    """Log what a transition raises, and keep it for the status: rclpy swallows it."""

    @functools.wraps(transition)
    def wrapped(node: MonitorNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except Exception as error:
            node.refuse(f'{transition.__name__} failed: {error!r}')
            raise

    return wrapped


class MonitorNode(TolerantNode, LifecycleNode):
    """See the package's documentation of interfaces.

    :param make_backend: makes the model's backend; it must return at once, still loading, or raise
        ``ParameterError``.
    """

    def __init__(
        self,
        make_backend: Callable[[NodeConfig], Backend] = make_backend,
        **arguments: Any,
    ) -> None:
        super().__init__('progress_monitor', **arguments)
        self._make_backend = make_backend
        self._session: _Session | None = None
        self._cameras: CameraGroup | None = None
        self._task: Task | None = None
        self._refused = ''
        self._shut_down = ''
        self._warned = ''
        self._last_now_ns = 0
        self._log_handler = RosLogHandler(self)
        self._log_handler.attach()
        ros_parameters.declare(
            self,
            NodeConfig,
            self._locked,
            self._check_parameters,
            self._apply_parameters,
            left_unset=governed(),
        )
        self._outputs = Outputs(self)
        self._acknowledged = Acknowledgements()
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

    def end(self) -> None:
        """End goal, judgement and the model's process; what that says leaves while spinning."""
        self._release()

    def close(self) -> None:
        """Destroy the node, after ``end``."""
        self._release()
        self._goals.close()
        self._outputs.close()
        self._log_handler.detach()
        self.destroy_node()

    def refuse(self, why: str) -> None:
        """Log why a transition did not come about; the status says so until one does."""
        self._refused = printable(why)
        self.get_logger().error(self._refused)

    @_reports
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Check the parameters and start loading the model."""
        try:
            config = _complete(ros_parameters.values_of(self, NodeConfig))
            cameras = camera_names(self, config.image_topics)
            validate(config, cameras)
            task = self._first_task(config)
            backend = self._make_backend(config)
        except ParameterError as error:
            self.refuse(f'not configured: {error}')
            return TransitionCallbackReturn.FAILURE
        self._refused = ''
        monitor = ProgressMonitor(config, backend, cameras=cameras)
        self._session = _Session(config, backend, monitor)
        self._watch(task)
        return TransitionCallbackReturn.SUCCESS

    @_reports
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the cameras and begin to judge anew."""
        session = self._session
        assert session is not None
        config = session.config
        session.monitor.set_task(self._task, self._now_ns())
        self._cameras = CameraGroup(
            self, config.image_topics, Intake.of(config), session.monitor.observe
        )
        return super().on_activate(state)

    @_reports
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Withdraw what was said and stop listening; the model stays loaded."""
        self._goals.end(MonitorTask.Result.NOT_ACTIVE, 'the node was deactivated')
        self._stop_judging()
        return super().on_deactivate(state)

    @_reports
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End the model's process, which gives its memory back."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    @_reports
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As cleanup, from any state, and for good."""
        self._release()
        self._shut_down = 'shut down; only a new process can be configured'
        return TransitionCallbackReturn.SUCCESS

    @_reports
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Go back to unconfigured after a transition that raised."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def _release(self) -> None:
        self._goals.end(MonitorTask.Result.NOT_ACTIVE, 'the node was cleaned up')
        self._stop_judging()
        session, self._session = self._session, None
        if session is not None:
            session.backend.close()

    def _stop_judging(self) -> None:
        cameras, self._cameras = self._cameras, None
        if cameras is not None:
            cameras.close()
        if self._session is not None:
            self._session.monitor.set_task(None, self._now_ns())
            self._publish(self._idle_update(self._now_ns()))

    @staticmethod
    def _first_task(config: NodeConfig) -> Task | None:
        text = config.task.strip()
        if not text:
            return None
        task = Task(new_task_id(), text)
        try:
            check_task(task)
        except ValueError as error:
            raise ParameterError(str(error)) from error
        return task

    def _locked(self, name: str) -> str:
        if self._session is None or not name.startswith(_FIXED):
            return ''
        if name == 'task':
            return 'is the task at start; call ~/set_task'
        return 'cannot change while the node is configured; deactivate and clean it up first'

    def _check_parameters(self, values: dict[str, Any]) -> None:
        """Refuse parameters that contradict each other.

        While unconfigured a mistake may still be mended by the next parameter, so that is left to
        configure.
        """
        if self._session is not None:
            config = _complete(values)
            validate(config, camera_names(self, config.image_topics))

    def _apply_parameters(self, values: dict[str, Any]) -> None:
        session = self._session
        if session is None:
            return
        config = _complete(values)
        session.monitor.apply(config, self._now_ns())
        self._session = dataclasses.replace(session, config=config)
        if self._cameras is not None:
            self._cameras.configure(Intake.of(config))

    def _not_active(self) -> str:
        if self._cameras is not None:
            return ''
        return self._shut_down or 'the node is not active; configure and activate it'

    def _config(self) -> NodeConfig:
        return self._session.config if self._session else NodeConfig()

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _watch(self, task: Task | None) -> None:
        """Start watching a task, or stop at None; a goal that runs is preempted.

        :raises ValueError: if the task cannot be watched; nothing is changed then.
        """
        assert self._session is not None
        if task is not None:
            check_task(task)
        self._goals.end(MonitorTask.Result.PREEMPTED, 'another task was given')
        self._task = task
        # While the node is not active nothing is judged; the task is taken up with activation.
        if self._cameras is not None:
            self._session.monitor.set_task(task, self._now_ns())
        self.get_logger().info(f'task: {printable(task.text)}' if task else 'no task')

    def _on_timer(self) -> None:
        now_ns = self._now_ns()
        session, cameras = self._session, self._cameras
        if session is None or cameras is None:
            update = self._idle_update(now_ns)
        else:
            tolerance_ns = session.config.evidence.stamp_tolerance * 1e9
            if now_ns < self._last_now_ns - tolerance_ns:
                self.get_logger().warning('the ROS clock went back; judging starts anew')
            update = self._tick(session, cameras, now_ns)
        self._last_now_ns = now_ns
        self._publish(update)
        self._goals.update(update, session.monitor.current_stall if session else None)

    def _publish(self, update: MonitorUpdate) -> None:
        session = self._session
        self._outputs.publish(
            update,
            session.config if session else None,
            self._cameras,
            session.monitor.current_stall if session else None,
            session.tick_ms if session else NAN,
            self.messages,
        )

    def _tick(self, session: _Session, cameras: CameraGroup, now_ns: int) -> MonitorUpdate:
        before = cameras.problems
        if cameras.check(now_ns):
            if cameras.all_useless:
                session.monitor.note_input(cameras.problems[0].evidence, cameras.said)
            elif before:
                session.monitor.note_input(Evidence.GOOD, '')
        update = session.monitor.tick(now_ns)
        if session.monitor.unsuited != self._warned:
            self._warned = session.monitor.unsuited
            if self._warned:
                self.get_logger().warning(printable(self._warned))
        idle = update.state is State.IDLE
        message = update.message
        if cameras.problems and (idle or update.evidence is Evidence.GOOD):
            # Nothing is judged, or another camera delivers: the one that does not is still named.
            message = f'{message} ({cameras.said})'
        update = dataclasses.replace(update, message=printable(message))
        return _with_model(update) if idle else update

    def _idle_update(self, now_ns: int) -> MonitorUpdate:
        """The status of a node that is not active; what is withdrawn is withdrawn by it."""
        session = self._session
        if session is None:
            state = State.ERROR if self._refused else State.IDLE
            message = self._refused or self._shut_down or 'not configured'
            return MonitorUpdate(now_ns, state, Evidence.UNKNOWN, message, None)
        return _with_model(
            dataclasses.replace(
                session.monitor.tick(now_ns),
                state=State.IDLE,
                evidence=Evidence.UNKNOWN,
                message='configured, not active',
            )
        )

    def _on_set_task(
        self, request: SetTask.Request, response: SetTask.Response
    ) -> SetTask.Response:
        if self._session is None:
            response.message = self._shut_down or 'the node is not configured'
            return response
        text = request.task.strip()
        task = Task(request.task_id or new_task_id(), text) if text else None
        try:
            self._watch(task)
        except ValueError as error:
            response.message = printable(str(error))
            return response
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
        monitor = self._session.monitor
        duration = self._acknowledged.answer(request, monitor.current_stall, response)
        if duration is not None:
            monitor.acknowledge_recovery(self._now_ns(), duration)
        return response


def _with_model(update: MonitorUpdate) -> MonitorUpdate:
    """Say how the model is where no task is watched: what is wrong should show before one is."""
    backend = update.backend
    if backend.state is BackendState.FAILED:
        message = printable(backend.message)
        return dataclasses.replace(update, state=State.ERROR, message=message)
    if backend.state in (BackendState.DOWNLOADING, BackendState.LOADING):
        message = printable(backend.message) or 'The model is being loaded.'
        return dataclasses.replace(update, state=State.LOADING, message=message)
    return update


def _complete(values: dict[str, Any]) -> NodeConfig:
    """The configuration that values given by the user and the model's profile make together.

    :raises ParameterError: naming the parameter that cannot be used.
    """
    return build(NodeConfig, resolve(values, str(values.get('model.path', ''))))


def started(node: MonitorNode) -> MonitorNode:
    """Configure and activate ``node``, unless its parameter ``autostart`` is false."""
    wanted = node.get_parameter('autostart').value is not False
    if wanted and node.trigger_configure() is TransitionCallbackReturn.SUCCESS:
        node.trigger_activate()
    return node


def main(args: list[str] | None = None) -> int:
    """Entry point of ``monitor_node``."""
    run(lambda: started(MonitorNode()), args, MonitorNode.close, MonitorNode.end)
    return 0


if __name__ == '__main__':
    sys.exit(main())
