"""The recoveries that were acknowledged, so that to acknowledge one again changes nothing."""

from __future__ import annotations

import math
from collections import deque

from progress_monitor.printable import printable
from progress_monitor.srv import AcknowledgeRecovery
from progress_monitor.types import StallReport

Request = AcknowledgeRecovery.Request

# Longer than any robot runs, and still a sum that fits a time stamp.
_FOR_EVER_S = 1e9
_REMEMBERED = 100


class Acknowledgements:
    """Decides what a request for ``~/acknowledge_recovery`` does, and fills in the answer."""

    def __init__(self) -> None:
        self._done: deque[str] = deque(maxlen=_REMEMBERED)

    def answer(
        self,
        request: AcknowledgeRecovery.Request,
        stall: StallReport | None,
        response: AcknowledgeRecovery.Response,
    ) -> float | None:
        """Fill in ``response``.

        :param stall: the stall that goes on now; None: none does.
        :returns: for how long to suspend judgement, s, 0 for the grace period; None: not at all.
        """
        duration = request.duration_s
        if not math.isfinite(duration) or duration < 0:
            response.message = f'duration_s: {duration:g} is not a time; give seconds, or 0'
            return None
        if request.mode not in (Request.FOR_DURATION, Request.UNTIL_RELEASED, Request.RELEASE):
            response.message = (
                f'mode: {request.mode} is none of FOR_DURATION, UNTIL_RELEASED and RELEASE'
            )
            return None
        present = stall.event_id if stall is not None else ''
        response.event_id = request.event_id or present
        if request.mode == Request.RELEASE:
            response.success = True
            if present and response.event_id != present:
                response.repeated = True
                response.message = 'judging has gone on already'
                return None
            response.message = 'judging starts anew'
            return duration
        if request.event_id and request.event_id != present:
            response.success = response.repeated = request.event_id in self._done
            known = 'was acknowledged before' if response.repeated else 'is not the present stall'
            response.message = f'event_id: {printable(request.event_id)} {known}'
            return None
        if present:
            self._done.append(present)
        response.success = True
        response.message = 'judgement is suspended'
        return _FOR_EVER_S if request.mode == Request.UNTIL_RELEASED else duration
