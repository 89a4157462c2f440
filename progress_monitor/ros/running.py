"""A node's process: spun until a signal ends it, and taken down by one thread."""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NoReturn, TypeVar

import rclpy
from rclpy.exceptions import InvalidParameterTypeException
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from progress_monitor.printable import printable
from progress_monitor.ros.start import ending

N = TypeVar('N', bound=Node)

# What a node sends as its last words has left by then.
_LAST_WORDS_S = 0.25


def run(
    make: Callable[[], N],
    arguments: Sequence[str] | None = None,
    close: Callable[[N], None] = Node.destroy_node,
    end: Callable[[N], None] | None = None,
) -> None:
    """Start ROS, spin the node that ``make`` returns until an ``ending`` signal, and ``close`` it.

    A signal that comes earlier ends the process once the node is made; one that comes later, while
    it is being closed, changes nothing. All stay ignored when this returns, for the process is at
    its end. Call it in the main thread.

    rclpy's own handlers are left out: they shut the context down from a thread of their own while
    Python's KeyboardInterrupt lets the main thread destroy the very things that this thread still
    triggers. That race is the likely cause of rare segmentation faults at the end of a process.

    :raises SystemExit: with 2, after a sentence, if the ROS arguments cannot be used.
    :param end: is called after the signal, before the executor stops: what it sends, such as the
        result of a goal, still leaves.
    """
    signals = _Signals()
    try:
        rclpy.init(
            args=None if arguments is None else list(arguments),
            signal_handler_options=SignalHandlerOptions.NO,
        )
    except (RuntimeError, UnicodeError) as error:
        _refuse(error)
    executor = SingleThreadedExecutor()
    node: N | None = None
    try:
        if not signals.came():
            node = make()
            executor.add_node(node)
            signals.spin(executor)
            if end is not None:
                end(node)
                _spin_for(executor, _LAST_WORDS_S)
    except ExternalShutdownException:
        pass
    except InvalidParameterTypeException as error:
        _refuse(error)
    finally:
        executor.shutdown()
        if node is not None:
            close(node)
        rclpy.try_shutdown()
        signals.close()


def in_one_line(said: str) -> str:
    """What ROS says in several lines, without the places in its own source."""
    return re.sub(r', at /\S+:\d+', '', ' '.join(said.split()))


def _refuse(error: Exception) -> NoReturn:
    """Say why ROS cannot be started, and what to do."""
    said = in_one_line(str(error))
    if type(error).__name__ == 'UnknownROSArgsError':  # rclpy exports it nowhere
        said = f'there are none such: {said}'
    elif isinstance(error, UnicodeError):
        said = 'they are no text in UTF-8; set LANG to a locale in UTF-8, as C.UTF-8 is'
    elif 'logging' in said:
        said += '; set HOME, ROS_HOME or ROS_LOG_DIR to a folder that can be written to'
    print(f'ROS arguments: {printable(said)}', file=sys.stderr)
    raise SystemExit(2)


class _Signals:
    """Signals that end a process as bytes in a pipe, from construction on."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in ending():
            signal.signal(number, _do_nothing)

    def came(self) -> bool:
        """Whether one has come."""
        return _has_bytes(self._reader, 0)

    def spin(self, executor: Executor) -> None:
        """Spin until one comes, or has come."""
        stop: Future[None] = Future(executor=executor)

        def wait() -> None:
            # The main thread runs Python's handlers only when ROS has woken it.
            _has_bytes(self._reader, None)
            stop.set_result(None)

        waiter = threading.Thread(target=wait, name='signals', daemon=True)
        waiter.start()
        try:
            executor.spin_until_future_complete(stop)
        finally:
            os.write(self._writer, b'\0')
            waiter.join()

    def close(self) -> None:
        """Ignore them from now on."""
        for number in ending():
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        os.close(self._writer)
        os.close(self._reader)


def _has_bytes(descriptor: int, timeout_ms: int | None) -> bool:
    # Unlike select(), poll() takes descriptors from 1024 on, as whoever leaks many leaves.
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(timeout_ms))


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """Let the pipe tell of a signal; SIG_IGN would not write to it."""


def _spin_for(executor: Executor, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        executor.spin_once(timeout_sec=left)
