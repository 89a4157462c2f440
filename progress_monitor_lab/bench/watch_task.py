"""Gives the monitor its task, as the benchmarks over DDS do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from progress_monitor.srv import SetTask

_OFFERED_S = 300.0
_ANSWERED_S, _TIMES = 20.0, 3


def watch_task(
    client: Any, spin_until: Callable[[Callable[[], bool], float], bool], task_id: str, text: str
) -> None:
    """Call ``~/set_task`` and wait until the task is taken.

    A server that has not found its client yet loses its answer, so that it is asked again.

    :param client: of the service.
    :param spin_until: spins until the first is true, for so many seconds at most; whether it was.
    :raises RuntimeError: if the monitor does not take the task.
    """
    if not spin_until(client.service_is_ready, _OFFERED_S):
        raise RuntimeError('the monitor offers no set_task; see its log')
    for _ in range(_TIMES):
        future = client.call_async(SetTask.Request(task=text, task_id=task_id))
        if spin_until(future.done, _ANSWERED_S):
            break
        client.remove_pending_request(future)
    else:
        raise RuntimeError('the monitor does not answer')
    answer = future.result()
    if answer is None or not answer.success:
        raise RuntimeError(f'the monitor refuses the task: {answer and answer.message}')
