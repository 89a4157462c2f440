"""Episodes of the judgement benchmark over DDS: the real node, its worker and the real clock."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image

from progress_monitor.config import MonitorConfig
from progress_monitor.msg import MonitorStatus, Progress, Stall, Success
from progress_monitor.ros.messages import image_message, to_ns
from progress_monitor.srv import SetTask
from progress_monitor.types import Evidence, StallCause, State, Verdict
from progress_monitor_lab.bench.judgement_episodes import FRAME_S, MAKERS, Episode, Plan
from progress_monitor_lab.bench.judgement_play import (
    OVER_DDS,
    START_NS,
    Record,
    deliveries,
    seconds,
)
from progress_monitor_lab.bench.watch_task import watch_task
from progress_monitor_lab.demo.processes import Processes
from progress_monitor_lab.demo.run import MONITOR_MODULE
from progress_monitor_lab.demo.watcher import MONITOR
from progress_monitor_lab.domains import own_domain

CAMERA = '/judgement/image'
_NOT_READY = (State.UNKNOWN, State.IDLE, State.LOADING, State.ERROR)
_LATCHED = QoSProfile(
    depth=50,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
_LOAD_LIMIT_S = 300.0
_LAST_WORDS_S = 1.0


def chosen(plans: Sequence[Plan], count: int) -> list[Plan]:
    """``count`` of the episodes, each of another kind while there are any, and of another task."""
    first: dict[str, Plan] = {}
    tasks: set[str] = set()
    for kind in MAKERS:
        of_kind = [plan for plan in plans if plan.kind == kind]
        fresh = [plan for plan in of_kind if plan.task not in tasks]
        for plan in (fresh or of_kind)[:1]:
            first[kind] = plan
            tasks.add(plan.task)
    rest = [plan for plan in plans if plan not in first.values()]
    return [*first.values(), *rest][:count]


class Player(Node):
    """Delivers episodes as a camera would, and notes what the monitor says of them."""

    def __init__(self, executor: SingleThreadedExecutor) -> None:
        super().__init__('judgement')
        self._spinner = executor
        self._spinner.add_node(self)
        self._camera = self.create_publisher(Image, CAMERA, 10)
        self._set_task = self.create_client(SetTask, f'{MONITOR}/set_task')
        self._record: Record | None = None
        self._task_id = ''
        self._base_ns = 0
        self._state = State.UNKNOWN
        self._said = ''
        self.create_subscription(Progress, f'{MONITOR}/progress', self._on_progress, 50)
        self.create_subscription(Stall, f'{MONITOR}/stall', self._on_stall, _LATCHED)
        self.create_subscription(Success, f'{MONITOR}/success', self._on_success, _LATCHED)
        self.create_subscription(MonitorStatus, f'{MONITOR}/status', self._on_status, _LATCHED)

    def play(self, episode: Episode) -> Record:
        """Play one episode in real time.

        :raises RuntimeError: if the monitor does not take the task.
        """
        name = episode.plan.name
        watch_task(self._set_task, self._spin_until, name, episode.text)
        self._record = Record(name, OVER_DDS, episode.seconds)
        self._task_id = name
        self._base_ns = self.get_clock().now().nanoseconds
        for delivered_ns, _, frame in deliveries(episode):
            self._spin_to(self._base_ns + delivered_ns - START_NS)
            stamp_ns = self._base_ns + frame.stamp_ns - START_NS
            self._camera.publish(image_message(frame.image, stamp_ns, 'camera'))
        self._spin_to(self._now_ns() + round(_LAST_WORDS_S * 1e9))
        record, self._record = self._record, None
        return record

    def wait_ready(self) -> None:
        """Wait until the model is loaded.

        :raises RuntimeError: if it cannot be.
        """
        watch_task(self._set_task, self._spin_until, 'loading', 'wait')
        ready = self._spin_until(lambda: self._state not in _NOT_READY, _LOAD_LIMIT_S)
        if not ready:
            raise RuntimeError(f'the monitor is not ready: {self._said}')

    def _spin_to(self, stamp_ns: int) -> None:
        self._spin_until(lambda: self._now_ns() >= stamp_ns, math.inf)

    def _spin_until(self, reached: Callable[[], bool], limit_s: float) -> bool:
        end = time.monotonic() + limit_s
        while not reached():
            if time.monotonic() > end:
                return False
            self._spinner.spin_once(timeout_sec=0.005)
        return True

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _at(self, stamp_ns: int) -> float:
        """Seconds from the start of the episode."""
        return seconds(stamp_ns - self._base_ns + START_NS)

    def _on_status(self, message: MonitorStatus) -> None:
        self._state, self._said = State(message.state), message.message

    def _on_progress(self, message: Progress) -> None:
        if self._record is None or message.task_id != self._task_id:
            return
        at = self._at(to_ns(message.header.stamp))
        known = message.answerable and math.isfinite(message.progress)
        value = round(float(message.progress), 4) if known else None
        evidence = Evidence.GOOD if message.answerable else Evidence.REFUSED
        done = message.steps_known and not message.remaining_steps
        verdict = Verdict.DONE if done else Verdict.NOT_DONE
        self._record.ticks.append((at, round(at / FRAME_S), value, int(evidence), int(verdict)))
        self._record.costs.append(round(float(message.inference_ms), 3))

    def _on_stall(self, message: Stall) -> None:
        if self._record is None or message.task_id != self._task_id:
            return
        self._record.calls.append(
            {
                'at': self._at(self._now_ns()),
                'stalled': message.stalled,
                'cause': StallCause(message.cause).name,
                'since': self._at(to_ns(message.since)),
                'step': message.step,
            }
        )

    def _on_success(self, message: Success) -> None:
        if self._record is not None and message.task_id == self._task_id:
            said = {'at': self._at(self._now_ns()), 'succeeded': message.succeeded}
            self._record.successes.append(said)


@contextlib.contextmanager
def monitor(model: str, config: MonitorConfig) -> Iterator[Player]:
    """Start the monitor node in a process and a ROS domain of its own, and give it up at the end.

    :raises RuntimeError: if it does not become ready.
    """
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    parameters: dict[str, Any] = {
        'image_topics': [CAMERA],
        'model.path': str(Path(model).resolve()),
        'model.quantization': 'none',
        'model.max_pixels': 128 * 128,
        'model.max_new_tokens': 250,
        'memory.in_prompt': True,
        'window.sample_period': config.window.sample_period,
        'stall.allowance': config.stall.allowance,
    }
    command = [sys.executable, *MONITOR_MODULE, '--ros-args']
    for name, value in parameters.items():
        command += ['-p', f'{name}:={json.dumps(value)}']
    with contextlib.ExitStack() as stack:
        os.environ['ROS_DOMAIN_ID'] = str(stack.enter_context(own_domain()))
        logs = stack.enter_context(tempfile.TemporaryDirectory())
        processes = stack.enter_context(Processes(Path(logs), os.environ))
        processes.start('monitor', command)
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        executor = SingleThreadedExecutor()
        player = Player(executor)
        try:
            player.wait_ready()
            yield player
        finally:
            executor.shutdown()
            player.destroy_node()
            rclpy.try_shutdown()
