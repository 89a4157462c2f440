"""Helpers of the tests over DDS: nodes in processes of their own, a probe that talks to them.

The monitor under test reads progress from a patch in the picture, so that a test says what the
model sees by drawing it; what the node makes of the answers is the code under test.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')

from lifecycle_msgs.msg import State as LifecycleState  # noqa: E402
from lifecycle_msgs.msg import Transition  # noqa: E402
from lifecycle_msgs.srv import ChangeState, GetState  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue  # noqa: E402
from rcl_interfaces.srv import GetParameters, SetParameters  # noqa: E402
from rclpy.action import ActionClient  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.qos import (  # noqa: E402
    DurabilityPolicy,
    QoSProfile,
    ReliabilityPolicy,
    qos_profile_sensor_data,
)
from sensor_msgs.msg import Image  # noqa: E402

from progress_monitor.action import MonitorTask  # noqa: E402
from progress_monitor.msg import MonitorStatus, Progress, Stall, Success  # noqa: E402
from progress_monitor_lab.domains import own_domain  # noqa: E402

TESTS = Path(__file__).parent
LATCHED = QoSProfile(
    depth=20,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
MONITOR = '/progress_monitor'
QUICK = {
    'image_topics': ['/cell/image'],
    'window.sample_period': 0.1,
    'signal.ticks': 1,
    'signal.rate_period': 0.5,
    'stall.allowance': 1.0,
    'stall.grace_period': 0.2,
    'evidence.frozen_after': 5.0,
    'evidence.frame_timeout': 5.0,
    'model.max_pixels': 96 * 96,
}
_claims: deque[ExitStack] = deque()
T = TypeVar('T')


def fresh_domain() -> int:
    """A ROS domain that no other test uses, of this process or another."""
    claim = ExitStack()
    domain = claim.enter_context(own_domain())
    _claims.append(claim)
    # The nodes of a test before these have started, so that their domain shows in its ports.
    if len(_claims) > 8:
        _claims.popleft().close()
    return domain


def picture(progress: float, patch: int = 32, seed: int = 0) -> NDArray[np.uint8]:
    """A 96 x 96 scene whose lower right corner tells the fake model the progress, 0..1.

    Negative values: -1 makes the model refuse, -2 makes it babble.
    """
    rng = np.random.default_rng(7)
    image = rng.integers(40, 200, (96, 96, 3)).astype(np.uint8)
    noise = np.random.default_rng(seed).integers(0, 3, (96, 96, 3)).astype(np.uint8)
    image += noise
    level = {-1.0: 230, -2.0: 250}.get(progress, round(20 + 180 * progress))
    image[-patch:, -patch:] = level
    return image


def image_message(image: NDArray[np.uint8], stamp: Any, encoding: str = 'rgb8') -> Image:
    message = Image(
        height=image.shape[0], width=image.shape[1], encoding=encoding, step=image.shape[1] * 3
    )
    message.header.stamp = stamp
    message.header.frame_id = 'camera'
    message.data = array('B', image.tobytes())
    return message


class Process:
    """A child process whose output is kept for the report of a failing test.

    :param before: command that executes the interpreter that is named behind it.
    """

    def __init__(
        self, domain: int, command: list[str], log: Path, before: Sequence[str] = ()
    ) -> None:
        environment = {
            **os.environ,
            'ROS_DOMAIN_ID': str(domain),
            'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
            # A supervisor remembers there what it did, over runs of these tests too.
            'ROS_HOME': str(log.parent / 'ros_home'),
            'OMP_NUM_THREADS': '1',
            'PYTHONFAULTHANDLER': '1',
            'PYTHONPATH': os.pathsep.join([str(TESTS), os.environ.get('PYTHONPATH', '')]),
        }
        self.log = log
        with log.open('wb') as output:
            self.child = subprocess.Popen(
                [*before, sys.executable, *command], env=environment, stdout=output, stderr=output
            )

    def output(self) -> str:
        return self.log.read_text(errors='replace')

    def stop(self) -> int:
        """Interrupt the process and return its exit code."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGINT)
            try:
                self.child.wait(60)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        return int(self.child.returncode)


def arguments(values: dict[str, Any]) -> list[str]:
    """ROS arguments that set parameters."""
    if not values:
        return []
    pairs = [('-p', f'{name}:={json.dumps(value)}') for name, value in values.items()]
    return ['--ros-args', *itertools.chain.from_iterable(pairs)]


class Probe:
    """A node in the test's own process: it publishes the camera and hears everything."""

    def __init__(self, domain: int) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = Node('probe', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.progress: list[Progress] = []
        self.status: list[MonitorStatus] = []
        self.stalls: list[Stall] = []
        self.successes: list[Success] = []
        listen = self.node.create_subscription
        listen(Progress, f'{MONITOR}/progress', self.progress.append, 50)
        listen(MonitorStatus, f'{MONITOR}/status', self.status.append, LATCHED)
        listen(Stall, f'{MONITOR}/stall', self.stalls.append, LATCHED)
        listen(Success, f'{MONITOR}/success', self.successes.append, LATCHED)
        self._camera = self.node.create_publisher(Image, '/cell/image', qos_profile_sensor_data)
        self._clients: dict[tuple[Any, str], Any] = {}
        self._action: Any = None
        self._frames = 0
        self._due = 0.0
        self.show: float | None = None
        self.next_message: Callable[[Any], Image] | None = None

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)

    def wait(self, until: Callable[[], T], timeout: float = 180.0, what: str = '') -> T:
        """Spin, with the camera running at 20 Hz, until ``until`` is true; return its value."""
        deadline = time.monotonic() + timeout
        while not (value := until()):
            if time.monotonic() > deadline:
                last = self.status[-1] if self.status else None
                raise AssertionError(f'waited {timeout:g} s for {what or until}; status: {last}')
            self._publish_frame()
            self.executor.spin_once(timeout_sec=0.01)
        return value

    def wait_on(self, seconds: float) -> None:
        """Spin until the node has spoken of ``seconds`` more: for what must not happen meanwhile.

        By the stamps of its status, so that a node that is held up is waited for.
        """

        def now() -> float:
            stamp = self.status[-1].stamp
            return float(stamp.sec) + stamp.nanosec * 1e-9

        start = now()
        self.wait(lambda: now() - start > seconds, what=f'{seconds:g} s of the node')

    def call(self, kind: Any, name: str, request: Any, timeout: float = 180.0) -> Any:
        """Call a service and return its answer."""
        client = self._client(kind, name)
        self.wait(client.service_is_ready, timeout, f'service {name}')
        return self._ask(lambda: client.call_async(request), timeout, f'answer of {name}')

    def send_goal(self, on_feedback: Any = None, **request: Any) -> Any:
        """Send a goal to the monitor; the handle of it, once it is accepted."""
        name = f'{MONITOR}/monitor_task'
        if self._action is None:
            self._action = ActionClient(self.node, MonitorTask, name)
        send = self._action.send_goal_async
        self.wait(self._action.server_is_ready, what=f'the action {name}')
        goal = MonitorTask.Goal(**request)
        handle = self._ask(lambda: send(goal, on_feedback), 180.0, f'acceptance by {name}')
        assert handle.accepted
        return handle

    def _ask(self, ask: Callable[[], Any], timeout: float, what: str) -> Any:
        """What is answered. A server that has not found the client yet loses its first answer."""
        asked: list[Any] = []
        due = 0.0

        def answered() -> Any:
            nonlocal due
            if time.monotonic() >= due:
                due = time.monotonic() + 20.0
                asked.append(ask())
            return next((future for future in asked if future.done()), None)

        return self.wait(answered, timeout, what).result()

    def _client(self, kind: Any, name: str) -> Any:
        if (kind, name) not in self._clients:
            self._clients[kind, name] = self.node.create_client(kind, name)
        return self._clients[kind, name]

    def state(self) -> int:
        """State of the newest status; 0 before the first."""
        return self.status[-1].state if self.status else 0

    def wait_state(self, *states: int, timeout: float = 180.0) -> MonitorStatus:
        self.wait(lambda: self.state() in states, timeout, f'state {states}')
        return self.status[-1]

    def transition(self, number: int) -> bool:
        request = ChangeState.Request(transition=Transition(id=number))
        return bool(self.call(ChangeState, f'{MONITOR}/change_state', request).success)

    def lifecycle(self) -> int:
        return int(self.call(GetState, f'{MONITOR}/get_state', GetState.Request()).current_state.id)

    def set_parameter(self, name: str, value: Any) -> Any:
        kinds: dict[type, tuple[int, str]] = {
            bool: (ParameterType.PARAMETER_BOOL, 'bool_value'),
            int: (ParameterType.PARAMETER_INTEGER, 'integer_value'),
            float: (ParameterType.PARAMETER_DOUBLE, 'double_value'),
            str: (ParameterType.PARAMETER_STRING, 'string_value'),
            list: (ParameterType.PARAMETER_STRING_ARRAY, 'string_array_value'),
        }
        kind, field = kinds[type(value)]
        given = Parameter(name=name, value=ParameterValue(type=kind, **{field: value}))
        request = SetParameters.Request(parameters=[given])
        return self.call(SetParameters, f'{MONITOR}/set_parameters', request).results[0]

    def get_parameter(self, name: str) -> ParameterValue:
        request = GetParameters.Request(names=[name])
        return self.call(GetParameters, f'{MONITOR}/get_parameters', request).values[0]

    def _publish_frame(self) -> None:
        if self.show is None or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + 0.05
        self._frames += 1
        stamp = self.node.get_clock().now().to_msg()
        if self.next_message is not None:
            self._camera.publish(self.next_message(stamp))
        else:
            image = picture(self.show, seed=self._frames)
            self._camera.publish(image_message(image, stamp))


@contextmanager
def running(log: Path, domain: int, *commands: list[str]) -> Iterator[tuple[Probe, list[Process]]]:
    """Start processes and a probe in one domain; on the way out, stop them and show their logs."""
    processes = [
        Process(domain, command, log / f'{number}.log') for number, command in enumerate(commands)
    ]
    probe = Probe(domain)
    try:
        yield probe, processes
    finally:
        probe.close()
        for process in processes:
            process.stop()
            print(process.output())


class World:
    """A domain with a probe, and processes that come and go."""

    def __init__(self, probe: Probe, folder: Path, domain: int) -> None:
        self.probe, self.folder = probe, folder
        self._domain = domain
        self._processes: list[Process] = []

    def start(self, command: list[str]) -> Process:
        log = self.folder / f'process{len(self._processes)}.log'
        self._processes.append(Process(self._domain, command, log))
        return self._processes[-1]

    def close(self) -> None:
        for process in self._processes:
            process.stop()
            print(process.output())


W = TypeVar('W', bound=World)


@contextmanager
def world_of(kind: type[W], folder: Path) -> Iterator[W]:
    """A world of that kind; its processes are stopped and their logs shown on the way out."""
    domain = fresh_domain()
    with running(folder, domain) as (probe, _):
        made = kind(probe, folder, domain)
        try:
            yield made
        finally:
            made.close()


def monitor_command(engine: str = 'picture', **values: Any) -> list[str]:
    """The monitor node with a fake model; parameter names with ``__`` for the dot."""
    given = {name.replace('__', '.'): value for name, value in values.items()}
    return [str(TESTS / 'ros_fake_monitor.py'), engine, *arguments({**QUICK, **given})]


ACTIVE = LifecycleState.PRIMARY_STATE_ACTIVE
INACTIVE = LifecycleState.PRIMARY_STATE_INACTIVE
UNCONFIGURED = LifecycleState.PRIMARY_STATE_UNCONFIGURED
