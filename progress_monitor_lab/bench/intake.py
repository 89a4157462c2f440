"""``bench intake``: how soon the node answers while a camera streams, and what it takes of it.

The camera, the real node (without a model) and the caller are three processes over DDS. Shared
memory is made large enough for raw pictures, of which Fast DDS loses most by default; a profile of
your own in FASTDDS_DEFAULT_PROFILES_FILE is left as it is.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rclpy
from numpy.typing import NDArray
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image

from progress_monitor.msg import MonitorStatus
from progress_monitor.types import (
    BackendState,
    BackendStatus,
    Capabilities,
    Completion,
    Request,
)
from progress_monitor_lab.domains import own_domain

CAMERA = '/intake/image'
MONITOR = '/progress_monitor'
SIZES = {'vga': (640, 480), '1080p': (1920, 1080), '4k': (3840, 2160)}
STREAMS = ('jpeg', 'rgb8', 'bayer_rggb8', 'yuyv')
_CASES = ('1080p jpeg', '4k jpeg', '1080p rgb8', '1080p bayer_rggb8', '1080p yuyv')
_PROFILE = """<?xml version="1.0" encoding="UTF-8" ?>
<dds xmlns="http://www.eprosima.com"><profiles>
  <transport_descriptors>
    <transport_descriptor>
      <transport_id>shared</transport_id><type>SHM</type>
      <segment_size>134217728</segment_size><maxMessageSize>33554432</maxMessageSize>
    </transport_descriptor>
    <transport_descriptor><transport_id>udp</transport_id><type>UDPv4</type></transport_descriptor>
  </transport_descriptors>
  <participant profile_name="pictures" is_default_profile="true"><rtps>
    <userTransports>
      <transport_id>shared</transport_id><transport_id>udp</transport_id>
    </userTransports>
    <useBuiltinTransports>false</useBuiltinTransports>
  </rtps></participant>
</profiles></dds>
"""
_PICTURES = 4
_READY_S = 60.0
_SETTLE_S = 2.0
_CALL_PERIOD_S = 0.02
_ANSWER_S, _FOUND_S = 20.0, 1.0


class Idle:
    """A backend that is ready and never asked: no task is watched."""

    def capabilities(self) -> Capabilities | None:
        return None

    def status(self) -> BackendStatus:
        return BackendStatus(BackendState.READY, model='none', quantization='none', device='cpu')

    def submit(self, request: Request) -> None:
        raise RuntimeError('no task is watched')

    def poll(self) -> Completion | None:
        return None

    def cancel(self, request_id: int) -> None:
        """Nothing is ever under way."""

    def close(self) -> None:
        """Nothing is held."""


def parser() -> argparse.ArgumentParser:
    """The options of the benchmark."""
    made = argparse.ArgumentParser(description=__doc__)
    add = made.add_argument
    add('--case', nargs='+', default=list(_CASES), metavar='"SIZE STREAM"', help='what to stream')
    add('--rate', type=float, default=30.0, help='pictures a second')
    add('--seconds', type=float, default=10.0, help='time measured for each case and service')
    add('--out', type=Path, default=Path('out/bench/intake.json'))
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table and write the JSON. Returns the exit code."""
    options = parser().parse_args(arguments)
    cases = [case.split() for case in options.case]
    wrong = [case for case in cases if len(case) != 2 or case[0] not in SIZES]
    wrong += [case for case in cases if case not in wrong and case[1] not in STREAMS]
    if wrong:
        print(
            f'bench intake: {" ".join(wrong[0])!r}: give a size ({", ".join(SIZES)}) and a stream '
            f'({", ".join(STREAMS)})',
            file=sys.stderr,
        )
        return 2
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    with own_domain() as domain, tempfile.TemporaryDirectory() as folder:
        os.environ['ROS_DOMAIN_ID'] = str(domain)
        profile = Path(folder) / 'profile.xml'
        profile.write_text(_PROFILE, encoding='ascii')
        os.environ.setdefault('FASTDDS_DEFAULT_PROFILES_FILE', str(profile))
        results = _table([(size, stream) for size, stream in cases], options)
    report = {
        'date': datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'),
        'machine': platform.platform(),
        'cores': len(os.sched_getaffinity(0)),
        'rate': options.rate,
        'seconds': options.seconds,
        'cases': results,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')
    print(f'written: {options.out}')
    return 0


def _table(cases: Sequence[tuple[str, str]], options: argparse.Namespace) -> list[dict[str, Any]]:
    print(f'{"case":20} {"get p50":>8} {"p99":>7} {"set p50":>8} {"p99":>7} {"ms":>3}', end=' ')
    print(f'{"sent/s":>7} {"read/s":>7} {"CPU %":>6}')
    results = []
    for size, stream in cases:
        result = measure(size, stream, options.rate, options.seconds)
        results.append(result)
        print(
            f'{result["case"]:20} {result["get_ms"]["p50"]:8.1f} {result["get_ms"]["p99"]:7.1f} '
            f'{result["set_ms"]["p50"]:8.1f} {result["set_ms"]["p99"]:7.1f}     '
            f'{result["sent_per_s"]:7.1f} {result["read_per_s"]:7.1f} '
            f'{result["node_cpu_percent"]:6.0f}'
        )
    return results


def measure(size: str, stream: str, rate: float, seconds: float) -> dict[str, Any]:
    """Stream one kind of picture at the node and call its services meanwhile."""
    spawn = multiprocessing.get_context('spawn')
    sent = spawn.Value('q', 0)
    node = spawn.Process(target=_monitor, daemon=True)
    camera = spawn.Process(target=_camera, args=(size, stream, rate, sent), daemon=True)
    node.start()
    camera.start()
    context = rclpy.Context()
    rclpy.init(context=context)
    caller = _Caller(context)
    try:
        caller.wait_for_frames()
        caller.spin(_SETTLE_S)
        assert node.pid is not None
        before = (time.monotonic(), caller.frames, sent.value, _cpu_s(node.pid))
        get = caller.call(GetParameters, 'get_parameters', _get(), seconds)
        after = (time.monotonic(), caller.frames, sent.value, _cpu_s(node.pid))
        set_ = caller.call(SetParameters, 'set_parameters', _set(), seconds)
    finally:
        caller.close()
        rclpy.try_shutdown(context=context)
        for process in (camera, node):
            process.terminate()
            process.join()
    elapsed, frames, pictures, cpu = (b - a for a, b in zip(before, after, strict=True))
    return {
        'case': f'{size} {stream}',
        'get_ms': _percentiles(get),
        'set_ms': _percentiles(set_),
        'sent_per_s': round(pictures / elapsed, 2),
        'read_per_s': round(frames / elapsed, 2),
        'node_cpu_percent': round(100 * cpu / elapsed, 1),
    }


class _Caller:
    """Calls the node's services, and counts the frames that it says it has read."""

    def __init__(self, context: rclpy.Context) -> None:
        self.frames = 0
        self._node = Node('intake_caller', context=context)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._node.create_subscription(MonitorStatus, f'{MONITOR}/status', self._on_status, 10)

    def close(self) -> None:
        self._executor.shutdown()
        self._node.destroy_node()

    def _on_status(self, status: MonitorStatus) -> None:
        self.frames = status.frames_received

    def wait_for_frames(self) -> None:
        deadline = time.monotonic() + _READY_S
        while not self.frames:
            if time.monotonic() > deadline:
                raise TimeoutError(f'no frame has reached the node within {_READY_S:g} s')
            self._executor.spin_once(timeout_sec=0.05)

    def spin(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.05)

    def call(self, kind: Any, name: str, request: Any, seconds: float) -> list[float]:
        """Call a service again and again for ``seconds``; the time of each answer, 20 s at most."""
        client = self._node.create_client(kind, f'{MONITOR}/{name}')
        if not client.wait_for_service(timeout_sec=_READY_S):
            raise TimeoutError(f'the node offers no {name}')
        self.spin(_FOUND_S)  # the node, too, has to find the client, or its answer is lost
        times = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            start = time.perf_counter()
            future = client.call_async(request)
            self._executor.spin_until_future_complete(future, timeout_sec=_ANSWER_S)
            times.append(time.perf_counter() - start)
            self.spin(_CALL_PERIOD_S)
        self._node.destroy_client(client)
        return times


def _get() -> GetParameters.Request:
    return GetParameters.Request(names=['model.max_pixels', 'task'])


def _set() -> SetParameters.Request:
    value = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=30.0)
    return SetParameters.Request(parameters=[Parameter(name='goal_patience_s', value=value)])


def _percentiles(times: Sequence[float]) -> dict[str, float]:
    values = np.percentile(times, [50, 99, 100]) * 1000
    return dict(zip(('p50', 'p99', 'max'), values.round(2).tolist(), strict=True))


def _cpu_s(pid: int) -> float:
    fields = Path(f'/proc/{pid}/stat').read_text(encoding='ascii').rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def _monitor() -> None:
    """In the node's process."""
    from progress_monitor.ros.monitor_node import MonitorNode, started
    from progress_monitor.ros.running import run

    arguments = ['--ros-args', '-p', f'image_topics:=["{CAMERA}"]']
    run(lambda: started(MonitorNode(lambda config: Idle())), arguments, MonitorNode.close)


def _camera(size: str, stream: str, rate: float, sent: Any) -> None:
    """In the camera's process."""
    rclpy.init()
    node = Node('intake_camera')
    messages = [_message(picture, stream) for picture in _scenes(*SIZES[size])]
    publisher = node.create_publisher(type(messages[0]), CAMERA, qos_profile_sensor_data)

    def publish() -> None:
        message = messages[sent.value % len(messages)]
        message.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(message)
        sent.value += 1

    node.create_timer(1.0 / rate, publish)
    with contextlib.suppress(ExternalShutdownException):
        rclpy.spin(node)


def _scenes(width: int, height: int) -> list[NDArray[np.uint8]]:
    """A few different noisy pictures of one scene, (height, width, 3) uint8 BGR."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (height // 40, width // 40, 3), dtype=np.uint8)
    scene = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    noise = [rng.integers(0, 10, scene.shape, dtype=np.uint8) for _ in range(_PICTURES)]
    return [np.asarray(cv2.add(scene, item), np.uint8) for item in noise]


def _message(picture: NDArray[np.uint8], stream: str) -> Image | CompressedImage:
    if stream == 'jpeg':
        data = cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
        return CompressedImage(format='jpeg', data=array('B', data.tobytes()))
    height, width = picture.shape[:2]
    # What the pixels show does not matter to the time that they take.
    pixels = picture[..., : {'rgb8': 3, 'bayer_rggb8': 1, 'yuyv': 2}[stream]]
    return Image(
        height=height,
        width=width,
        encoding=stream,
        step=width * pixels.shape[2],
        data=array('B', pixels.tobytes()),
    )


if __name__ == '__main__':
    sys.exit(main())
