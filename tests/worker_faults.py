"""An engine without a model, that fails on request, for tests of the worker.

Name it to the worker as ``worker_faults:make``. It fails at the next prompt once the file named
by the environment variable ``WORKER_FAULT`` holds one of ``die``, ``hang``, ``stop``, ``oom``,
``rubbish``, ``wrong`` or ``refuse``; the file is consumed by that. Its answers tell what it was
shown.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from progress_monitor.types import Capabilities, DecodeStats, Finish, Generated
from progress_monitor.vlm.engine import EngineInfo
from progress_monitor.vlm.errors import RequestRefused

FAULTS = ('die', 'hang', 'stop', 'oom', 'rubbish', 'wrong', 'refuse')


class FaultyEngine:
    info = EngineInfo('faulty', 'none', 'cpu', ('made for tests',))

    def __init__(self, config):
        if config.path == 'unloadable':
            raise MemoryError
        if config.path == 'endless':
            time.sleep(1e6)
        self.limits = []

    def capabilities(self):
        return Capabilities('faulty', frame_ms=3.0)

    def answer(self, request, time_limit_s):
        fault = take_fault()
        if fault == 'refuse':
            raise RequestRefused('too much was asked')
        if fault == 'die':
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == 'stop':
            os.kill(os.getpid(), signal.SIGSTOP)
        if fault == 'hang':
            time.sleep(1e6)
        if fault == 'oom':
            raise MemoryError
        if fault == 'rubbish':
            os.write(json.loads(sys.argv[1])['channel'], b'\x00\xffnonsense')
            time.sleep(1e6)
        seen = {
            'pid': os.getpid(),
            'niceness': os.nice(0),
            'rclpy': 'rclpy' in sys.modules,
            'torch': 'torch' in sys.modules,
            'time_limit_s': time_limit_s,
            'frames': [[f.uid, f.camera, f.stamp_ns, int(f.image.sum())] for f in request.frames],
            'writeable': any(f.image.flags.writeable for f in request.frames),
        }
        text = f'{json.dumps(seen)}\nTherefore, the estimated progress is <progress>42%</progress>'
        number = ((42.0, 'much'),) if fault == 'wrong' else ((42.0, 1.0),)
        return Generated(text, (1, 2, 3), Finish.STOP, DecodeStats(1.0), number)

    def memory_mb(self):
        return 12.5


def take_fault():
    path = os.environ.get('WORKER_FAULT')
    if not path or not Path(path).exists():
        return ''
    fault = Path(path).read_text().strip()
    Path(path).unlink()
    return fault


def make(config, *images):
    return FaultyEngine(config)
