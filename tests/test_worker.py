"""The worker process: what reaches it, how it fails, and that nothing of it is left behind."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from progress_monitor.backends import worker as worker_module
from progress_monitor.backends.messages import SLOTS, FrameStore, FrameView
from progress_monitor.backends.worker import WorkerBackend
from progress_monitor.types import BackendState, Frame, Prompt
from progress_monitor.vlm.config import ModelConfig

PATIENCE_S = 60.0
CONFIG = ModelConfig(
    path='none', quantization='none', max_pixels=64 * 64, deadline_s=2.0, load_deadline_s=60.0
)


def frames(*uids, size=(64, 64)):
    return tuple(
        Frame(uid, 'camera', uid * 10, np.full((*size, 3), uid % 256, np.uint8)) for uid in uids
    )


def wait_for(condition):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, 'it did not happen'
        time.sleep(0.01)


def wait_state(backend, *states):
    wait_for(lambda: backend.status().state in states)


def ask(backend, prompt):
    """The completion of ``prompt``, polled as a node would."""
    backend.submit(prompt)
    found = []

    def arrived():
        completion = backend.poll()
        if completion is not None:
            found.append(completion)
        return bool(found)

    wait_for(arrived)
    return found[0]


def alive(pid):
    try:
        state = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0]
    except FileNotFoundError:
        return False
    return state != 'Z'


@pytest.fixture
def fault(tmp_path, monkeypatch):
    path = tmp_path / 'fault'
    monkeypatch.setenv('WORKER_FAULT', str(path))
    return path


@pytest.fixture
def backend(fault, monkeypatch):
    monkeypatch.setattr(worker_module, 'FIRST_DELAY_S', 0.05)
    with contextlib.closing(WorkerBackend(CONFIG, engine='worker_faults:make')) as made:
        assert made.status().state is BackendState.LOADING
        wait_state(made, BackendState.READY)
        yield made


def test_an_answer_crosses_over(backend):
    status = backend.status()
    assert (status.model, status.quantization, status.device) == ('faulty', 'none', 'cpu')
    assert status.memory_mb == 12.5
    assert status.message == 'made for tests'
    answer = ask(backend, Prompt(frames(1, 2), 'hello')).answer
    seen = json.loads(answer.text.splitlines()[0])
    assert seen['frames'] == [[1, 'camera', 10, 64 * 64 * 3], [2, 'camera', 20, 2 * 64 * 64 * 3]]
    assert answer.finish == 'tag'
    assert answer.token_ids == (1, 2, 3)
    assert backend.poll() is None
    assert backend.status().state is BackendState.READY


def test_the_worker_is_modest(backend):
    seen = json.loads(ask(backend, Prompt(frames(1), '')).answer.text.splitlines()[0])
    assert seen['pid'] == backend.pid != os.getpid()
    assert seen['niceness'] > os.nice(0)
    assert not seen['rclpy']
    assert not seen['torch']
    assert not seen['writeable']
    assert seen['time_limit_s'] < CONFIG.deadline_s


def test_one_prompt_at_a_time(backend, fault):
    fault.write_text('hang')
    backend.submit(Prompt(frames(1), ''))
    assert backend.status().state is BackendState.BUSY
    with pytest.raises(RuntimeError, match='busy'):
        backend.submit(Prompt(frames(1), ''))


def test_frames_that_do_not_fit_are_refused(backend):
    with pytest.raises(ValueError, match=r'model\.max_pixels.*96 x 64'):
        backend.submit(Prompt(frames(1, size=(64, 96)), ''))
    with pytest.raises(ValueError, match=r'window\.max_images'):
        backend.submit(Prompt(frames(*range(SLOTS + 1)), ''))
    assert backend.status().state is BackendState.READY


@pytest.mark.parametrize(
    ('name', 'said', 'late'),
    [
        ('die', 'SIGKILL', False),
        ('oom', 'out of memory', False),
        ('rubbish', 'no message', False),
        ('wrong', 'cannot be read', False),
        ('hang', 'deadline_s', True),
        ('stop', 'deadline_s', True),
    ],
)
def test_a_failure_is_told_and_mended(backend, fault, name, said, late):
    before = backend.pid
    fault.write_text(name)
    completion = ask(backend, Prompt(frames(1, 2), ''))
    assert completion.answer is None
    assert said in completion.error
    assert completion.late == late
    assert backend.pid is None
    states = []

    def mended():
        states.append(backend.status().state)
        return states[-1] is BackendState.READY

    assert said in backend.status().message
    wait_for(mended)
    assert list(dict.fromkeys(states)) == [
        BackendState.FAILED,
        BackendState.LOADING,
        BackendState.READY,
    ]
    assert backend.status().restarts == 1
    assert not alive(before)
    seen = json.loads(ask(backend, Prompt(frames(1, 2), '')).answer.text.splitlines()[0])
    assert seen['frames'][1][3] == 2 * 64 * 64 * 3


def test_ten_kills_in_a_row_are_survived(backend):
    for restarts in range(1, 11):
        os.kill(backend.pid, signal.SIGKILL)
        wait_state(backend, BackendState.FAILED)
        wait_state(backend, BackendState.READY)
        assert backend.status().restarts == restarts
        assert ask(backend, Prompt(frames(restarts), '')).answer is not None


def test_the_delay_doubles_until_an_answer(fault, monkeypatch):
    delays = []
    monkeypatch.setattr(worker_module, 'FIRST_DELAY_S', 0.01)
    monkeypatch.setattr(
        worker_module._LOG, 'error', lambda text, reason, delay: delays.append(delay)
    )
    config = ModelConfig(path='unloadable', quantization='none')
    with contextlib.closing(WorkerBackend(config, engine='worker_faults:make')) as backend:
        wait_for(lambda: backend.status().restarts >= 2 and len(delays) >= 3)
        assert 'out of memory' in backend.status().message
    assert delays[:3] == pytest.approx([0.01, 0.02, 0.04])


def test_a_model_that_never_loads_is_given_up(fault, monkeypatch):
    config = ModelConfig(path='none', load_deadline_s=0.01)
    with contextlib.closing(WorkerBackend(config, engine='worker_faults:make')) as backend:
        wait_state(backend, BackendState.FAILED)
        assert 'load_deadline_s' in backend.status().message


def test_a_missing_model_is_told_without_a_traceback(capfd):
    config = ModelConfig(path='/no/such/folder', quantization='none')
    with contextlib.closing(WorkerBackend(config)) as backend:
        wait_state(backend, BackendState.FAILED)
        assert 'there is no folder /no/such/folder' in backend.status().message
    assert 'Traceback' not in capfd.readouterr().err


def test_close_leaves_no_process_and_no_descriptor(fault):
    before = set(os.listdir('/proc/self/fd'))
    shared = set(os.listdir('/dev/shm'))
    backend = WorkerBackend(CONFIG, engine='worker_faults:make')
    wait_state(backend, BackendState.READY)
    ask(backend, Prompt(frames(1), ''))
    pid = backend.pid
    backend.close()
    backend.close()
    assert backend.status().state is BackendState.STOPPED
    assert not alive(pid)
    assert set(os.listdir('/proc/self/fd')) == before
    assert set(os.listdir('/dev/shm')) == shared


NODE = """
import sys, time
from progress_monitor.types import BackendState, Prompt
from progress_monitor.vlm.config import ModelConfig
from progress_monitor.backends.worker import WorkerBackend
import numpy as np
backend = WorkerBackend(ModelConfig(path='none', deadline_s=1e3), engine='worker_faults:make')
while backend.status().state is not BackendState.READY:
    time.sleep(0.01)
backend.submit(Prompt((), ''))
print(backend.pid, flush=True)
time.sleep(1e3)
"""


@pytest.mark.parametrize('doing', ['', 'hang'])
def test_the_worker_ends_with_a_parent_that_is_killed(fault, doing):
    if doing:
        fault.write_text(doing)
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(p or '.' for p in sys.path)}
    shared = set(os.listdir('/dev/shm'))
    with subprocess.Popen(
        [sys.executable, '-c', NODE], stdout=subprocess.PIPE, text=True, env=environment
    ) as node:
        pid = int(node.stdout.readline())
        wait_for(lambda: not fault.exists())
        assert alive(pid)
        node.kill()
    wait_for(lambda: not alive(pid))
    assert set(os.listdir('/dev/shm')) == shared


def test_a_frame_is_copied_once():
    store = FrameStore(64 * 64 * 3)
    view = FrameView(store.descriptor, store.slot_bytes)
    first = frames(1, 2)
    described = store.put(Prompt(first, ''))
    first[0].image[...] = 99
    again = store.put(Prompt((first[1], first[0], *frames(3)), ''))
    assert {entry[0]: entry[3] for entry in again}[1] == described[0][3]
    shown = {frame.uid: frame for frame in view.frames(again)}
    assert shown[1].image.max() == 1
    assert shown[3].image.max() == 3
    store.put(Prompt(frames(3), ''))
    back = store.put(Prompt((first[0], *frames(3)), ''))
    assert view.frames(back)[0].image.max() == 99
    store.close()
