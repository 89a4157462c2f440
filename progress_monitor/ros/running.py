"""A node's process: spun until a signal ends it, and taken down by one thread."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

import rclpy
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

N = TypeVar('N', bound=Node)


def run(
    make: Callable[[], N],
    arguments: Sequence[str] | None = None,
    close: Callable[[N], None] = Node.destroy_node,
) -> None:
    """Start ROS, spin the node that ``make`` returns until SIGINT or SIGTERM, and ``close`` it.

    rclpy's own handlers are left out: they shut the context down from a thread of their own while
    Python's KeyboardInterrupt lets the main thread destroy the very things that this thread still
    triggers. That race is the likely cause of rare segmentation faults at the end of a process.
    """
    rclpy.init(
        args=None if arguments is None else list(arguments),
        signal_handler_options=SignalHandlerOptions.NO,
    )
    executor = SingleThreadedExecutor()
    node: N | None = None
    try:
        node = make()
        executor.add_node(node)
        _spin(executor)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        executor.shutdown()
        if node is not None:
            close(node)
        rclpy.try_shutdown()


def _spin(executor: Executor) -> None:
    """Spin until a signal comes; in the main thread, which alone may take signals."""
    stop: Future[None] = Future(executor=executor)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def wait() -> None:
        # The main thread runs Python's handlers only when ROS has woken it.
        if os.read(reader, 1):
            stop.set_result(None)

    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = [signal.signal(number, lambda number, frame: None) for number in numbers]
    before = signal.set_wakeup_fd(writer)
    waiter = threading.Thread(target=wait, name='signals', daemon=True)
    waiter.start()
    try:
        executor.spin_until_future_complete(stop)
    finally:
        signal.set_wakeup_fd(before)
        os.close(writer)
        waiter.join()
        os.close(reader)
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)
