"""An engine without a model, that fails on request, for tests of the worker.

Name it to the worker as ``worker_faults:make``. It fails at the next prompt once the file named
by the environment variable ``WORKER_FAULT`` holds one of ``die``, ``hang``, ``stop``, ``oom``,
``rubbish`` or ``wrong``; the file is consumed by that. Its answers tell what it was shown.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from progress_monitor.types import Answer, DecodeStats
from progress_monitor.vlm.engine import EngineInfo

FAULTS = ('die', 'hang', 'stop', 'oom', 'rubbish', 'wrong')


class FaultyEngine:
    info = EngineInfo('faulty', 'none', 'cpu', ('made for tests',))

    def __init__(self, config):
        if config.path == 'unloadable':
            raise MemoryError
        self.limits = []

    def answer(self, prompt, time_limit_s):
        fault = take_fault()
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
            'frames': [[f.uid, f.camera, f.stamp_ns, int(f.image.sum())] for f in prompt.frames],
            'writeable': any(f.image.flags.writeable for f in prompt.frames),
        }
        text = f'{json.dumps(seen)}\nTherefore, the estimated progress is <progress>42%</progress>'
        finish = 'tag' if fault != 'wrong' else 'never'
        return Answer(text, (1, 2, 3), finish, DecodeStats(1.0))

    def memory_mb(self):
        return 12.5


def take_fault():
    path = os.environ.get('WORKER_FAULT')
    if not path or not Path(path).exists():
        return ''
    fault = Path(path).read_text().strip()
    Path(path).unlink()
    return fault


def make(config):
    return FaultyEngine(config)
