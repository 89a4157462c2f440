"""A goal at an action server, awaited although an answer to it may be lost."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

from rclpy.action import ActionClient
from rclpy.action.client import ClientGoalHandle
from rclpy.task import Future

# A server is asked so often how a goal goes: one that was started anew has forgotten it.
ASK_AGAIN_S = 10.0


class SentGoal:
    """One goal, sent under an id of its own.

    A server that has not found its client yet loses its answer: such a goal is accepted for all
    that is known here. So the result is asked for by the id, and the goal is cancelled by it.

    :param kind: type of the action.
    :param on_feedback: called with each feedback message.
    """

    def __init__(
        self,
        client: ActionClient,
        kind: Any,
        goal: Any,
        on_feedback: Callable[[Any], None] | None = None,
    ) -> None:
        goal_id = kind.Impl.SendGoalService.Request().goal_id
        goal_id.uuid = list(uuid.uuid4().bytes)
        self._sent: Future[Any] = client.send_goal_async(goal, on_feedback, goal_id)
        accepted = kind.Impl.SendGoalService.Response(accepted=True)
        self._handle = ClientGoalHandle(client, goal_id, accepted)
        self._results: list[Future[Any]] = []
        self._ask_s = time.monotonic() + ASK_AGAIN_S

    @property
    def refused(self) -> bool:
        """The server has answered that it does not take the goal."""
        if not self._sent.done():
            return False
        answer = self._sent.result()
        return answer is None or not answer.accepted

    def ended(self) -> Any | None:
        """The answer that tells the goal's status and result, once it has ended. Call it often.

        The status is ``GoalStatus.STATUS_UNKNOWN`` if the server knows nothing of the goal.
        """
        now_s = time.monotonic()
        if now_s >= self._ask_s or (self._sent.done() and not self._results):
            self._ask_s = now_s + ASK_AGAIN_S
            self._results = [*self._results[-1:], self._handle.get_result_async()]
        done = next((future for future in self._results if future.done()), None)
        return None if done is None else done.result()

    def cancel(self) -> None:
        """Cancel it, also where its acceptance is still to come."""
        self._handle.cancel_goal_async()
        self._sent.add_done_callback(_cancel)


def _cancel(sent: Future[Any]) -> None:
    handle = sent.result()
    if handle is not None and handle.accepted:
        handle.cancel_goal_async()
