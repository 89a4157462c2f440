"""A node that a message which nobody can handle does not end."""

from __future__ import annotations

import functools
import time
import traceback
from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node
from rclpy.service import Service
from rclpy.subscription import Subscription

from progress_monitor.printable import printable
from progress_monitor.ros.diagnostics import OK, WARN, task

_AGAIN_S = 5.0
_WARNED_S = 60.0


class TolerantNode(Node):
    """What a callback of a subscription or a service raises costs that message.

    Those of rclpy itself are among them: a parameter of an unknown type and a negative time on
    ``/clock`` raise there. Such a request is answered with what its answer holds by default. What a
    timer raises still ends the node: it would raise again for ever.
    """

    _unhandled = 0
    _last_unhandled = ''
    _warns_until_s = 0.0

    @property
    def messages(self) -> DiagnosticStatus:
        """A diagnostic task: how many messages could not be handled; WARN for a minute after one.

        A warning and no error: as a rule the fault is that of who sent the message.
        """
        warns = time.monotonic() < self._warns_until_s
        said = self._last_unhandled if warns else 'all are handled'
        return task('messages', WARN if warns else OK, said, not_handled=self._unhandled)

    def create_subscription(  # type: ignore[override]
        self, msg_type: Any, topic: str, callback: Callable[..., Any], *more: Any, **options: Any
    ) -> Subscription[Any]:
        """Subscribe as ``Node`` does."""

        @functools.wraps(callback)
        def tolerant(*message: Any) -> Any:
            try:
                return callback(*message)
            except Exception as error:
                self._give_up(topic, error)
                return None

        return super().create_subscription(msg_type, topic, tolerant, *more, **options)

    def create_service(  # type: ignore[override]
        self, srv_type: Any, name: str, callback: Callable[..., Any], *more: Any, **options: Any
    ) -> Service[Any, Any]:
        """Offer a service as ``Node`` does."""

        @functools.wraps(callback)
        def tolerant(request: Any, response: Any) -> Any:
            try:
                return callback(request, response)
            except Exception as error:
                self._give_up(name, error)
                return response

        return super().create_service(srv_type, name, tolerant, *more, **options)

    def _give_up(self, name: str, error: Exception) -> None:
        said = printable(f'{name}: a message could not be handled: {error!r}')
        self._unhandled += 1
        self._last_unhandled = said
        self._warns_until_s = time.monotonic() + _WARNED_S
        log = self.get_logger()
        log.error(said, throttle_duration_sec=_AGAIN_S)
        log.debug(''.join(traceback.format_exception(error)))
