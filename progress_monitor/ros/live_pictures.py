"""Pictures of a camera topic as they come, for tools that record something of their own."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from progress_monitor.ros.camera_group import camera_names
from progress_monitor.ros.cameras import Camera, Intake
from progress_monitor.types import Frame

_PERIOD_S = 0.1
_SILENCE_S = 3.0
_FIRST_S = 15.0


def live_pictures(
    topic: str, seconds: float, max_pixels: int, max_image_pixels: int
) -> Generator[Frame]:
    """Frames of a camera ``topic``, ten a second at most, for ``seconds`` from the first one on.

    An interrupt ends it as the time does, and is heard of by nobody else; call it in the main
    thread.

    :raises ParameterError: if ``topic`` is no name of a topic.
    :raises OSError: if nothing usable comes; the text says what ROS knows of it.
    """
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    executor = SingleThreadedExecutor()
    node = Node('demonstration')
    interrupts: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: interrupts.append(number))
    try:
        executor.add_node(node)
        names: Sequence[str] = camera_names(node, [topic])
        arrived: deque[Frame] = deque()
        intake = Intake(max_pixels, max_image_pixels, _PERIOD_S, _SILENCE_S, _SILENCE_S)
        camera = Camera(node, names[0], intake, arrived.append)
        try:
            yield from _taken(executor, camera, arrived, seconds, lambda: bool(interrupts))
        finally:
            camera.close()
    finally:
        signal.signal(signal.SIGINT, before)
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()


def _taken(
    executor: SingleThreadedExecutor,
    camera: Camera,
    arrived: deque[Frame],
    seconds: float,
    interrupted: Callable[[], bool],
) -> Iterator[Frame]:
    end = time.monotonic() + _FIRST_S
    first_ns: int | None = None
    while time.monotonic() < end and not interrupted():
        executor.spin_once(timeout_sec=0.05)
        while arrived:
            frame = arrived.popleft()
            if first_ns is None:
                first_ns = frame.stamp_ns
                end = time.monotonic() + seconds
            yield frame
    if first_ns is None:
        problem = camera.problem_now()
        raise OSError(problem.message if problem else f'{camera.name}: no picture came')
