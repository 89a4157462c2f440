"""The action ``~/monitor_task``: one goal at a time, ended by what the monitor finds."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node
from rclpy.task import Future

from progress_monitor.action import MonitorTask
from progress_monitor.monitor import check_task
from progress_monitor.ros.messages import step_in_progress
from progress_monitor.types import NAN, BackendState, MonitorUpdate, StallReport, State, Task

Result = MonitorTask.Result

_OUTCOMES = {
    Result.STALLED: Result.OUTCOME_STALLED,
    Result.TIMEOUT: Result.OUTCOME_TIMED_OUT,
    Result.PREEMPTED: Result.OUTCOME_PREEMPTED,
}
_LOADED = (BackendState.READY, BackendState.BUSY)


@dataclass
class _Goal:
    """A goal that is being watched. Times are nanoseconds of the ROS clock."""

    handle: ServerGoalHandle[Any, Any, Any]
    task: Task
    started_ns: int
    result: Future[Any]
    watched: bool = False
    progress: float = NAN
    step: str = ''
    trouble: int = Result.NONE
    trouble_since_ns: int = 0


class GoalServer:
    """Accepts goals, feeds back while they run, and ends them with an error code.

    A goal that was accepted is EXECUTING from then on. Its execution is a coroutine that awaits the
    outcome, which the executor resumes between callbacks: so the node needs one thread only.

    :param watch: starts watching a task, or stops at None.
    :param refusal: why no goal can run now; empty: one can.
    """

    def __init__(
        self,
        node: Node,
        watch: Callable[[Task | None], None],
        refusal: Callable[[], str],
        patience_s: Callable[[], float],
    ) -> None:
        self._node = node
        self._watch = watch
        self._refusal = refusal
        self._patience_s = patience_s
        self._goal: _Goal | None = None
        self._loaded = False
        self._server = ActionServer(
            node,
            MonitorTask,
            '~/monitor_task',
            execute_callback=_unexpected,
            goal_callback=lambda request: GoalResponse.ACCEPT,
            handle_accepted_callback=self._accept,
            cancel_callback=lambda handle: CancelResponse.ACCEPT,
        )

    def close(self) -> None:
        """End the running goal and withdraw the action."""
        self.end(Result.NOT_ACTIVE, 'the node is shutting down')
        self._server.destroy()

    def end(self, code: int, message: str) -> None:
        """End the running goal, if there is one, with an error."""
        if self._goal is not None:
            self._finish(self._goal, code, message)

    def update(self, update: MonitorUpdate, stall: StallReport | None) -> None:
        """Feed back after a tick, and end the goal if its outcome is known.

        :param stall: the stall that goes on now; None: none does. One of another task than the
            goal's is no business of the goal.
        """
        self._loaded = update.backend.state in _LOADED
        goal = self._goal
        if goal is None:
            return
        if update.task is None or update.task.task_id != goal.task.task_id:
            return
        goal.progress, goal.step = update.progress, step_in_progress(update.plan)
        if goal.handle.is_cancel_requested:
            self._finish(goal, Result.NONE, 'cancelled')
            self._watch(None)
            return
        if update.estimate is not None:
            goal.handle.publish_feedback(
                MonitorTask.Feedback(
                    state=int(update.state),
                    progress=update.progress,
                    rate=update.rate,
                    step=goal.step,
                )
            )
        if update.state is State.SUCCEEDED:
            self._finish(goal, Result.NONE, '')
            return
        code, message = self._outcome(goal, update, stall)
        if code != Result.NONE:
            self._finish(goal, code, message)
            self._watch(None)

    def _outcome(
        self, goal: _Goal, update: MonitorUpdate, stall: StallReport | None
    ) -> tuple[int, str]:
        request = goal.handle.request
        own = stall is not None and stall.task_id == goal.task.task_id
        if own and stall is not None and request.stop_on_stall:
            return Result.STALLED, stall.explanation
        # The goal's time starts with the clock, and again with one that went back.
        goal.started_ns = min(goal.started_ns or update.now_ns, update.now_ns)
        if request.timeout_s > 0 and update.now_ns - goal.started_ns >= request.timeout_s * 1e9:
            return Result.TIMEOUT, f'no success within timeout_s = {request.timeout_s:g} s'
        trouble = Result.NONE
        # The first load may take its time; one after a failure is part of the failure.
        again = update.state is State.LOADING and update.backend.restarts > 0
        if update.state is State.ERROR or again:
            trouble = Result.MODEL_FAILED
        elif update.state is State.STALE:
            trouble = Result.INPUT_FAILED
        new = trouble != goal.trouble or goal.trouble_since_ns == 0
        if new or update.now_ns < goal.trouble_since_ns:
            goal.trouble, goal.trouble_since_ns = trouble, update.now_ns
        if trouble == Result.NONE:
            return Result.NONE, ''
        if update.now_ns - goal.trouble_since_ns < self._patience_s() * 1e9:
            return Result.NONE, ''
        return trouble, update.message

    def _accept(self, handle: ServerGoalHandle[Any, Any, Any]) -> None:
        request = handle.request
        task = Task(
            task_id=request.task_id or new_task_id(),
            text=request.task.strip(),
            allowance_s=request.stall_allowance_s,
        )
        result: Future[Any] = Future(executor=self._node.executor)
        goal = _Goal(handle, task, self._node.get_clock().now().nanoseconds, result)
        handle.execute(_awaits(result))
        wrong = _invalid(request)
        if wrong:
            self._finish(goal, Result.INVALID_GOAL, wrong)
            return
        refusal = self._refusal()
        if refusal:
            self._finish(goal, Result.NOT_ACTIVE, refusal)
            return
        if request.refuse_unless_ready and not self._loaded:
            self._finish(goal, Result.NOT_READY, 'the model is not loaded yet')
            return
        self._watch(task)
        goal.watched = True
        self._goal = goal

    def _finish(self, goal: _Goal, code: int, message: str) -> None:
        if self._goal is goal:
            self._goal = None
        handle = goal.handle
        cancelled = handle.is_cancel_requested
        succeeded = code == Result.NONE and not cancelled
        if cancelled:
            handle.canceled()
            outcome = Result.OUTCOME_CANCELLED
        elif succeeded:
            handle.succeed()
            outcome = Result.OUTCOME_SUCCEEDED
        else:
            handle.abort()
            other = Result.OUTCOME_UNWATCHED if goal.watched else Result.OUTCOME_REFUSED
            outcome = _OUTCOMES.get(code, other)
        goal.result.set_result(
            MonitorTask.Result(
                succeeded=succeeded,
                outcome=outcome,
                error_code=code,
                error_msg=message,
                progress=goal.progress,
                step=goal.step,
            )
        )


def _awaits(result: Future[Any]) -> Callable[[ServerGoalHandle[Any, Any, Any]], Any]:
    async def execute(handle: ServerGoalHandle[Any, Any, Any]) -> MonitorTask.Result:
        return await result

    return execute


def _unexpected(handle: ServerGoalHandle[Any, Any, Any]) -> MonitorTask.Result:
    """Stands where rclpy wants a default; every goal is executed with a coroutine of its own."""
    handle.abort()
    return MonitorTask.Result(error_code=Result.UNKNOWN)


def new_task_id() -> str:
    """An id for a task that was given none."""
    return uuid.uuid4().hex[:12]


def _invalid(request: Any) -> str:
    if not request.task.strip():
        return 'task: the goal names no task; say in words what is to be done'
    try:
        check_task(Task(request.task_id, request.task.strip()))
    except ValueError as error:
        return str(error)
    for name in ('stall_allowance_s', 'timeout_s'):
        value = getattr(request, name)
        if not math.isfinite(value) or value < 0:
            return f'{name}: {value:g} is not a time; give seconds, or 0'
    return ''
