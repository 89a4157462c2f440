"""Tells the monitor of a recovery, again and again until it has answered."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.task import Future

from progress_monitor.printable import printable
from progress_monitor.srv import AcknowledgeRecovery

_AGAIN_S = 2.0


class Acknowledger:
    """One acknowledgement at a time; a reply that is lost is asked for again.

    :param monitor: name of the monitor node.
    :param suspend_s: for how long the monitor suspends judgement, s; 0: its grace period.
    """

    def __init__(self, node: Node, monitor: str, suspend_s: float) -> None:
        self._log = node.get_logger()
        self._suspend_s = suspend_s
        self._client = node.create_client(AcknowledgeRecovery, f'{monitor}/acknowledge_recovery')
        self._call: Future[Any] | None = None
        self._event_id = ''
        self._due_s = 0.0

    def settled(self, event_id: str, now_s: float) -> bool:
        """See to an acknowledgement; whether the monitor has answered it. Call it regularly.

        :param event_id: of the stall that was recovered from; empty: nothing is owed.
        :param now_s: of a steady clock.
        """
        if self._call is not None and (not event_id or event_id != self._event_id):
            self._give_up()
        if not event_id:
            return False
        if self._call is not None and self._call.done():
            answer, self._call = self._call.result(), None
            if answer is not None:
                if not answer.success:
                    self._log.info(printable(f'not acknowledged: {answer.message}'))
                return True
        if self._call is not None and now_s >= self._due_s:
            self._log.warning(
                'the monitor has not answered an acknowledgement: asks again',
                throttle_duration_sec=60.0,
            )
            self._give_up()
        if self._call is None and self._client.service_is_ready():
            self._event_id, self._due_s = event_id, now_s + _AGAIN_S
            request = AcknowledgeRecovery.Request(event_id=event_id, duration_s=self._suspend_s)
            self._call = self._client.call_async(request)
        return False

    def _give_up(self) -> None:
        if self._call is not None:
            self._client.remove_pending_request(self._call)
            self._call = None
