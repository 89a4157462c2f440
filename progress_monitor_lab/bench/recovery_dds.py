"""Cases of the recovery benchmark over DDS: monitor and supervisor in processes of their own.

The cell's clock is the ROS clock, and it waits for the others: a step is taken once the newest
reading is no older than a bound and the supervisor has answered the stall that was called. So the
machine's speed and load decide how long the benchmark takes, and hardly what it finds.
"""

from __future__ import annotations

import contextlib
import json
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
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from progress_monitor.msg import (
    GroundTruth,
    MonitorStatus,
    Progress,
    RecoveryEvent,
    Stall,
    Success,
)
from progress_monitor.ros.messages import image_message, to_ns, to_time
from progress_monitor.srv import SetTask
from progress_monitor_lab.bench.recovery_cases import LIMIT_S, Case, Run, make_cell
from progress_monitor_lab.bench.watch_task import watch_task
from progress_monitor_lab.demo.processes import Processes
from progress_monitor_lab.demo.run import MONITOR_MODULE, share_folder
from progress_monitor_lab.demo.watcher import CELL, MONITOR, SUPERVISOR
from progress_monitor_lab.domains import own_domain
from progress_monitor_lab.sim.cell import STEP_PERIOD_S, TASKS, Truth, Workcell

SUPERVISOR_MODULE = ('-m', 'progress_monitor.ros.supervisor_node')
_LATCHED = QoSProfile(
    depth=50,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
_LOAD_LIMIT_S = 300.0
# A camera of 4 Hz, whose pictures come 0.2 s and 0.3 s apart in turn so that the monitor's samples,
# 0.5 s apart, are what they are at 10 Hz: rendering the rest would cost more than all else.
_PICTURED_STEPS = (0, 2)
_PICTURE_CYCLE = 5
# Readings may be older than the clock by so much, s of the ROS clock: a sample is taken every
# 0.5 s. With more, pictures come faster than the monitor takes them, and it passes samples over
# that it would have read in real time.
_MOST_LAG_S = 0.7
# Ticks of the monitor and the supervisor are on a steady clock; faster than this, in simulated
# seconds per second, too much would happen between two of them while nothing is read.
_MOST_SPEED = 8.0
# A monitor that should read and does not is waited for once and no longer than this, wall s; then
# not before it has read again.
_PATIENCE_S = 3.0
# A supervisor may have nothing to say of a stall, while it cools down; wall s.
_ANSWER_S = 1.0
# What is under way for the case before is over by then, wall s.
_SETTLE_S = 0.3
# What may have arrived during one step.
_CALLBACKS = 4
_AFTER_DONE_S = 4.0
_START_S = 1000
_READING = (
    MonitorStatus.STATE_OBSERVING,
    MonitorStatus.STATE_PROGRESSING,
    MonitorStatus.STATE_STALLED,
    MonitorStatus.STATE_REGRESSING,
    MonitorStatus.STATE_SUCCEEDED,
)
_NOT_READY = (
    MonitorStatus.STATE_UNKNOWN,
    MonitorStatus.STATE_IDLE,
    MonitorStatus.STATE_LOADING,
    MonitorStatus.STATE_ERROR,
)


class LiveCell(Node):
    """Plays cases one after the other on one clock, and notes how they end."""

    def __init__(self, executor: SingleThreadedExecutor) -> None:
        super().__init__('cell')
        self._executor = executor
        executor.add_node(self)
        self._now_ns = _START_S * 1_000_000_000
        self._began_ns = self._now_ns
        self._cell: Workcell | None = None
        self._run: Run | None = None
        self._truth: Truth | None = None
        self._hangs_after_s = 0.0
        self._read_ns = 0
        self._number = 0
        self._given_up = False
        self._state = MonitorStatus.STATE_UNKNOWN
        self._said = ''
        self._succeeded = ''
        self._unanswered = ''
        self._clock = self.create_publisher(Clock, '/clock', 10)
        self._images = self.create_publisher(Image, f'{CELL}/image', 10)
        self._truths = self.create_publisher(GroundTruth, f'{CELL}/ground_truth', 50)
        self._set_task = self.create_client(SetTask, f'{MONITOR}/set_task')
        self.create_service(Trigger, f'{CELL}/replan', self._replan)
        listen = self.create_subscription
        listen(Progress, f'{MONITOR}/progress', self._on_progress, 50)
        listen(MonitorStatus, f'{MONITOR}/status', self._on_status, _LATCHED)
        listen(Stall, f'{MONITOR}/stall', self._on_stall, _LATCHED)
        listen(Success, f'{MONITOR}/success', self._on_success, _LATCHED)
        listen(RecoveryEvent, f'{SUPERVISOR}/events', self._on_event, _LATCHED)

    def wait_ready(self) -> None:
        """Wait until the model is loaded and the supervisor is there.

        :raises RuntimeError: if that takes too long.
        """
        watch_task(self._set_task, self._spin_until, 'loading', 'wait')
        supervisor = f'{SUPERVISOR}/events'

        def ready() -> bool:
            self._tell_time()
            return self._state not in _NOT_READY and bool(self.count_publishers(supervisor))

        if not self._spin_until(ready, _LOAD_LIMIT_S):
            raise RuntimeError(f'the monitor or the supervisor is not ready: {self._said}')

    def play(self, case: Case, hangs_after_s: float) -> Run:
        """Play one case to its end or to its limit.

        :param hangs_after_s: see ``Run.replan``.
        :raises RuntimeError: if the monitor does not take the task.
        """
        began = time.monotonic()
        run = Run(case, 'with')
        cell = make_cell(case, render=True)
        self._truth = None
        self._hangs_after_s = hangs_after_s
        self._unanswered = ''
        self._number = 0
        self._read_ns = self._began_ns = self._now_ns
        try:
            watch_task(self._set_task, self._spin_until, case.name, TASKS[case.task].instruction)
            self._spin_until(lambda: False, _SETTLE_S)
            self._run, self._cell = run, cell
            while self._elapsed() < LIMIT_S and not self._over(run):
                self._step(cell, run)
        finally:
            self._run = self._cell = None
            cell.close()
        run.wall_s = round(time.monotonic() - began, 1)
        return run

    def _over(self, run: Run) -> bool:
        if run.done_s is None:
            return False
        return self._succeeded == run.case.name or self._elapsed() > run.done_s + _AFTER_DONE_S

    def _step(self, cell: Workcell, run: Run) -> None:
        began = time.monotonic()
        self._now_ns += round(STEP_PERIOD_S * 1e9)
        self._number += 1
        picture = self._number % _PICTURE_CYCLE in _PICTURED_STEPS
        step = cell.step(picture)
        self._truth = step.truth
        run.see(self._elapsed(), step.truth)
        self._tell_time()
        if picture:
            self._truths.publish(self._truth_message(case=run.case, truth=step.truth))
            self._images.publish(image_message(step.image, self._now_ns, 'cell_camera'))
        for _ in range(_CALLBACKS):
            self._executor.spin_once(timeout_sec=0)
        earliest = began + STEP_PERIOD_S / _MOST_SPEED
        self._spin_until(lambda: time.monotonic() >= earliest, _PATIENCE_S)
        if not self._given_up and not self._spin_until(self._keeps_up, _PATIENCE_S):
            self._given_up = True
        if not self._spin_until(lambda: not self._unanswered, _ANSWER_S):
            self._unanswered = ''

    def _truth_message(self, case: Case, truth: Truth) -> GroundTruth:
        return GroundTruth(
            stamp=to_time(self._now_ns),
            task=case.task,
            progress=truth.progress,
            stage=truth.stage,
            remaining_steps=list(truth.remaining_steps),
            done=truth.done,
            fault=truth.fault,
        )

    def _keeps_up(self) -> bool:
        lag_s = (self._now_ns - self._read_ns) * 1e-9
        return lag_s <= _MOST_LAG_S or self._state not in _READING

    def _elapsed(self) -> float:
        return round((self._now_ns - self._began_ns) * 1e-9, 3)

    def _tell_time(self) -> None:
        self._clock.publish(Clock(clock=to_time(self._now_ns)))

    def _spin_until(self, reached: Callable[[], bool], limit_s: float) -> bool:
        end = time.monotonic() + limit_s
        while not reached():
            if time.monotonic() > end:
                return False
            self._executor.spin_once(timeout_sec=0.005)
        return True

    def _replan(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        cell, run = self._cell, self._run
        if cell is None or run is None:
            response.message = 'no case is being played'
            return response
        active = self._truth.fault if self._truth else ''
        run.replan(self._elapsed(), active, self._hangs_after_s)
        cell.replan()
        response.success = True
        response.message = 'the robot starts over from the present state'
        return response

    def _on_progress(self, message: Progress) -> None:
        self._read_ns = max(self._read_ns, to_ns(message.header.stamp))
        self._given_up = False

    def _on_status(self, message: MonitorStatus) -> None:
        self._state, self._said = message.state, message.message

    def _on_stall(self, message: Stall) -> None:
        if self._run is not None and message.task_id == self._run.case.name:
            self._unanswered = message.event_id if message.stalled else ''

    def _on_success(self, message: Success) -> None:
        if message.succeeded:
            self._succeeded = message.task_id

    def _on_event(self, message: RecoveryEvent) -> None:
        run = self._run
        if message.event_id == self._unanswered and message.kind != RecoveryEvent.KIND_REPLAN:
            self._unanswered = ''
        if run is not None and message.task_id == run.case.name:
            run.asked_person = run.asked_person or message.kind == RecoveryEvent.KIND_ASK_PERSON


@contextlib.contextmanager
def live_cell(
    model: Path, logs: Path | None, monitor: Sequence[str] = MONITOR_MODULE
) -> Iterator[LiveCell]:
    """Start monitor and supervisor in a domain of their own, and give them up at the end.

    :param monitor: the interpreter's arguments that start the monitor node.
    :raises RuntimeError: if they do not become ready.
    """
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    common = {'use_sim_time': True}
    parameters = {'image_topics': [f'{CELL}/image'], 'model.path': str(model.resolve()), **common}
    with contextlib.ExitStack() as stack:
        os.environ['ROS_DOMAIN_ID'] = str(stack.enter_context(own_domain()))
        temporary = stack.enter_context(tempfile.TemporaryDirectory())
        processes = stack.enter_context(Processes(logs or Path(temporary), os.environ))
        processes.start('monitor', _command(monitor, parameters))
        replan = {'replan_service': f'{CELL}/replan', **common}
        processes.start('supervisor', _command(SUPERVISOR_MODULE, replan))
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        executor = SingleThreadedExecutor()
        cell = LiveCell(executor)
        try:
            cell.wait_ready()
            yield cell
        finally:
            executor.shutdown()
            cell.destroy_node()
            rclpy.try_shutdown()


def _command(module: Sequence[str], parameters: dict[str, Any]) -> list[str]:
    command = [sys.executable, *module, '--ros-args']
    command += ['--params-file', str(share_folder() / 'config' / 'cell.yaml')]
    for name, value in parameters.items():
        command += ['-p', f'{name}:={json.dumps(value)}']
    return command
