"""Pictures of live cameras for some seconds, for tools that record a demonstration."""

from __future__ import annotations

import time
from collections.abc import Iterator

import rclpy
from rclpy.executors import SingleThreadedExecutor

from progress_monitor.ros.cameras import Camera, Intake
from progress_monitor.ros.images import DEFAULT_MAX_IMAGE_PIXELS
from progress_monitor.types import Frame

_MOST_PIXELS = 1280 * 720
_WAIT_S = 10.0


def live_frames(topics: tuple[str, ...], seconds: float, period_s: float) -> Iterator[Frame]:
    """Yield what the cameras at ``topics`` show for ``seconds`` after all of them have shown one.

    :param period_s: shortest time from one picture of a camera to the next, s.
    :raises OSError: if one shows nothing for ten seconds; the text says what ROS knows of it.
    """
    context = rclpy.Context()
    rclpy.init(context=context)
    executor = SingleThreadedExecutor(context=context)
    frames: list[Frame] = []
    cameras: list[Camera] = []
    try:
        node = rclpy.create_node('progress_monitor_recorder', context=context)
        executor.add_node(node)
        intake = Intake(
            period_s=period_s,
            max_pixels=_MOST_PIXELS,
            max_image_pixels=DEFAULT_MAX_IMAGE_PIXELS,
            silence_s=1.0,
            frame_timeout_s=1.0,
        )
        cameras += [Camera(node, topic, intake, frames.append) for topic in topics]
        begun = time.monotonic()
        until = float('inf')
        while time.monotonic() < until:
            executor.spin_once(timeout_sec=0.05)
            taken, frames[:] = list(frames), []
            waiting = [camera for camera in cameras if camera.stamp_ns == 0]
            if not waiting:
                until = min(until, time.monotonic() + seconds)
                yield from taken
            elif time.monotonic() - begun > _WAIT_S:
                problem = waiting[0].problem_now()
                said = problem.message if problem else f'{waiting[0].name}: nothing arrives'
                raise OSError(said)
    finally:
        for camera in cameras:
            camera.close()
        executor.shutdown()
        rclpy.shutdown(context=context)
