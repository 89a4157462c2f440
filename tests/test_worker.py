"""The worker process: what reaches it, how it fails, and that nothing of it is left behind."""

import contextlib
import dataclasses
import itertools
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
from progress_monitor.backends.frames import FRAMES_PER_REQUEST, SLOTS, FrameStore, FrameView
from progress_monitor.backends.messages import TEXT_CHARACTERS
from progress_monitor.backends.worker import WorkerBackend
from progress_monitor.types import (
    BackendState,
    Failure,
    Finish,
    Frame,
    Generate,
    Request,
    Score,
)
from progress_monitor.vlm.config import ModelConfig

PATIENCE_S = 120.0
CONFIG = ModelConfig(
    path='none', quantization='none', max_pixels=64 * 64, deadline_s=10.0, load_deadline_s=60.0
)


def frames(*uids, size=(64, 64)):
    return tuple(
        Frame(uid, 'camera', uid * 10, np.full((*size, 3), uid % 256, np.uint8)) for uid in uids
    )


_ids = itertools.count(1)


def question(shown, *texts, session='s', want=None):
    return Request(next(_ids), session, (*shown, *texts), want or Generate(('</progress>',)))


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
    return completion(backend)


def completion(backend):
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


def assert_no_named_memory(*pids):
    """What has a name in the file system outlives a process that is killed."""
    for pid in pids:
        mapped = Path(f'/proc/{pid}/maps').read_text()
        assert 'memfd:' in mapped
        assert '/dev/shm/progress' not in mapped and '/dev/shm/psm' not in mapped


@pytest.fixture
def fault(tmp_path, monkeypatch):
    path = tmp_path / 'fault'
    monkeypatch.setenv('WORKER_FAULT', str(path))
    return path


@dataclasses.dataclass
class Clock:
    """The clock of deadlines and delays; it stands, so that nothing is late on a slow machine."""

    now: float = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(worker_module, 'time', made)
    return made


@pytest.fixture
def backend(fault, clock):
    with contextlib.closing(WorkerBackend(CONFIG, engine='worker_faults:make')) as made:
        wait_state(made, BackendState.READY)
        yield made


def test_an_answer_crosses_over(backend):
    status = backend.status()
    assert (status.model, status.quantization, status.device) == ('faulty', 'none', 'cpu')
    assert status.memory_mb == 12.5
    assert status.message == 'made for tests'
    answer = ask(backend, question(frames(1, 2), 'hello')).answer
    seen = json.loads(answer.text.splitlines()[0])
    assert seen['frames'] == [[1, 'camera', 10, 64 * 64 * 3], [2, 'camera', 20, 2 * 64 * 64 * 3]]
    assert answer.finish is Finish.STOP
    assert answer.number == ((42.0, 1.0),)
    assert answer.token_ids == (1, 2, 3)
    assert backend.poll() is None
    assert backend.status().state is BackendState.READY


def test_the_worker_is_modest(backend):
    seen = json.loads(ask(backend, question(frames(1), '')).answer.text.splitlines()[0])
    assert seen['pid'] == backend.pid != os.getpid()
    assert seen['niceness'] > os.nice(0)
    assert not seen['rclpy']
    assert not seen['torch']
    assert not seen['writeable']
    assert seen['time_limit_s'] < CONFIG.deadline_s


def test_completions_carry_the_id_of_their_request_in_the_order_asked(backend):
    asked = [question(frames(uid), str(uid), session=str(uid % 2)) for uid in (1, 2, 3)]
    for request in asked:
        backend.submit(request)
    found = []

    def all_in():
        completion = backend.poll()
        found.extend([completion] if completion is not None else [])
        return len(found) == len(asked)

    wait_for(all_in)
    assert [item.request_id for item in found] == [request.id for request in asked]
    shown = [json.loads(item.answer.text.splitlines()[0])['frames'][0][0] for item in found]
    assert shown == [1, 2, 3]


def test_a_status_between_poll_and_submit_credits_no_answer_to_the_next_question(backend):
    """The status takes in what has arrived; the question asked after it is another one."""
    first = question(frames(1), 'first')
    backend.submit(first)
    wait_state(backend, BackendState.READY)
    second = question(frames(2), 'second')
    backend.submit(second)
    assert backend.poll().request_id == first.id
    wait_state(backend, BackendState.READY)
    assert backend.poll().request_id == second.id


def test_a_cancelled_request_never_completes(backend):
    asked = [question(frames(uid), '') for uid in (1, 2, 3)]
    for request in asked:
        backend.submit(request)
    backend.cancel(asked[0].id)
    backend.cancel(asked[1].id)
    found = []

    def came():
        completion = backend.poll()
        found.extend([completion] if completion is not None else [])
        return bool(found)

    wait_for(came)
    wait_state(backend, BackendState.READY)
    assert [item.request_id for item in found] == [asked[2].id]
    assert backend.poll() is None


def test_what_cannot_be_sent_is_refused_by_name_and_the_worker_lives(backend):
    before = backend.pid
    for request, said in (
        (question(frames(1, size=(64, 96)), ''), '96 x 64 pixels of camera'),
        (question(frames(*range(FRAMES_PER_REQUEST + 1)), ''), 'window.max_images'),
        (question(frames(1), 'é' * 60_000), f'at most {TEXT_CHARACTERS}'),
        (question(frames(1), 'a' * 1_000_000), 'characters'),
        (question((), want=Score(('b' * 100_000,))), 'characters'),
    ):
        completion = ask(backend, request)
        assert completion.failure is Failure.REFUSED
        assert said in completion.message
    assert ask(backend, question(frames(1), 'é' * TEXT_CHARACTERS)).answer is not None
    assert backend.pid == before
    assert backend.status().restarts == 0


def test_what_the_engine_refuses_costs_that_request_alone(backend, fault):
    fault.write_text('refuse')
    completion = ask(backend, question(frames(1), ''))
    assert completion.failure is Failure.REFUSED
    assert completion.message == 'too much was asked'
    assert ask(backend, question(frames(1), '')).answer is not None
    assert backend.status().restarts == 0


def test_a_model_that_is_late_twice_is_not_loaded_a_third_time(backend, fault, clock):
    for _ in range(2):
        clock.now += worker_module.FIRST_DELAY_S
        wait_state(backend, BackendState.READY)
        fault.write_text('hang')
        backend.submit(question(frames(1), ''))
        wait_for(lambda: not fault.exists())
        assert backend.status().state is BackendState.BUSY
        clock.now += CONFIG.deadline_s
        assert completion(backend).failure is Failure.LATE
    assert backend.status().state is BackendState.FAILED
    assert 'not started again' in backend.status().message
    assert backend._due == float('inf')


def test_nothing_in_the_current_folder_is_imported(fault, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('mmap', 'socket', 'numpy', 'cv2', 'worker_faults'):
        (tmp_path / f'{name}.py').write_text('raise SystemExit(99)')
    with contextlib.closing(WorkerBackend(CONFIG, engine='worker_faults:make')) as made:
        wait_state(made, BackendState.READY)


def test_a_current_folder_that_was_removed_is_done_without(fault, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'removed').mkdir()
    os.chdir('removed')
    os.rmdir(tmp_path / 'removed')
    with contextlib.closing(WorkerBackend(CONFIG, engine='worker_faults:make')) as made:
        wait_state(made, BackendState.READY)
        assert os.readlink(f'/proc/{made.pid}/cwd') == '/'


def test_an_answer_of_another_kind_never_leaves_the_backend(backend):
    completion = ask(backend, question(frames(1), 'text', want=Score((' True',))))
    assert (completion.answer, completion.failure) == (None, Failure.LOST)
    assert 'another kind' in completion.message


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
def test_a_failure_is_told_and_mended(backend, fault, clock, name, said, late):
    before = backend.pid
    fault.write_text(name)
    backend.submit(question(frames(1, 2), ''))
    if late:
        wait_for(lambda: not fault.exists())
        clock.now += CONFIG.deadline_s
    failed = completion(backend)
    assert failed.answer is None
    assert said in failed.message
    assert failed.failure is (Failure.LATE if late else Failure.LOST)
    assert backend.pid is None
    states = [backend.status().state]
    clock.now += worker_module.FIRST_DELAY_S

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
    seen = json.loads(ask(backend, question(frames(1, 2), '')).answer.text.splitlines()[0])
    assert seen['frames'][1][3] == 2 * 64 * 64 * 3


def test_ten_kills_in_a_row_are_survived(backend, clock):
    for restarts in range(1, 11):
        os.kill(backend.pid, signal.SIGKILL)
        wait_state(backend, BackendState.FAILED)
        clock.now += worker_module.FIRST_DELAY_S
        wait_state(backend, BackendState.READY)
        assert backend.status().restarts == restarts
        assert ask(backend, question(frames(restarts), '')).answer is not None


def test_the_delay_doubles_until_an_answer(fault, clock, monkeypatch):
    delays = []
    monkeypatch.setattr(
        worker_module._LOG, 'error', lambda text, reason, *delay: delays.extend(delay)
    )
    config = ModelConfig(path='unloadable', quantization='none')
    with contextlib.closing(WorkerBackend(config, engine='worker_faults:make')) as backend:
        for failures in (1, 2, 3):
            wait_for(lambda failures=failures: (backend.status(), len(delays) == failures)[1])
            assert 'out of memory' in backend.status().message
            clock.now += delays[-1] * 0.99
            assert backend.status().state is BackendState.FAILED
            clock.now += delays[-1] * 0.02
    assert delays == [0.5, 1.0, 2.0]


def test_a_model_that_never_loads_is_given_up(fault, clock):
    config = dataclasses.replace(CONFIG, path='endless')
    with contextlib.closing(WorkerBackend(config, engine='worker_faults:make')) as backend:
        clock.now += CONFIG.load_deadline_s - 1.0
        assert backend.status().state is BackendState.LOADING
        clock.now += 1.0
        assert backend.status().state is BackendState.FAILED
        assert 'load_deadline_s' in backend.status().message


def test_a_missing_model_is_told_without_a_traceback(capfd):
    config = ModelConfig(path='/no/such/folder', quantization='none')
    with contextlib.closing(WorkerBackend(config)) as backend:
        wait_state(backend, BackendState.FAILED)
        assert 'there is no folder /no/such/folder' in backend.status().message
    assert 'Traceback' not in capfd.readouterr().err


def test_close_leaves_no_process_and_no_descriptor(fault):
    before = set(os.listdir('/proc/self/fd'))
    backend = WorkerBackend(CONFIG, engine='worker_faults:make')
    wait_state(backend, BackendState.READY)
    ask(backend, question(frames(1), ''))
    pid = backend.pid
    assert_no_named_memory(os.getpid(), pid)
    backend.close()
    backend.close()
    assert backend.status().state is BackendState.STOPPED
    assert not alive(pid)
    assert set(os.listdir('/proc/self/fd')) <= before


NODE = """
import sys, time
from progress_monitor.types import BackendState, Generate, Request
from progress_monitor.vlm.config import ModelConfig
from progress_monitor.backends.worker import WorkerBackend
import numpy as np
backend = WorkerBackend(ModelConfig(path='none', deadline_s=1e3), engine='worker_faults:make')
while backend.status().state is not BackendState.READY:
    time.sleep(0.01)
backend.submit(Request(1, 's', ('',), Generate()))
print(backend.pid, flush=True)
time.sleep(1e3)
"""


MANY_DESCRIPTORS = """
import os, resource
resource.setrlimit(
    resource.RLIMIT_NOFILE, (2048, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
)
held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
"""


@pytest.mark.parametrize('before', ['', MANY_DESCRIPTORS])
@pytest.mark.parametrize('doing', ['', 'hang'])
def test_the_worker_ends_with_a_parent_that_is_killed(fault, doing, before):
    if doing:
        fault.write_text(doing)
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(p or '.' for p in sys.path)}
    with subprocess.Popen(
        [sys.executable, '-c', before + NODE], stdout=subprocess.PIPE, text=True, env=environment
    ) as node:
        pid = int(node.stdout.readline())
        wait_for(lambda: not fault.exists())
        assert alive(pid)
        assert_no_named_memory(node.pid, pid)
        node.kill()
    wait_for(lambda: not alive(pid))


def test_a_frame_is_copied_once_and_loses_its_slot_when_it_was_used_longest_ago():
    store = FrameStore(64 * 64 * 3)
    view = FrameView(store.descriptor, store.slot_bytes)
    first = frames(1, 2)
    described = store.put(first)
    first[0].image[...] = 99
    again = store.put((first[1], first[0], *frames(3)))
    assert {entry[0]: entry[3] for entry in again}[1] == described[0][3]
    shown = {frame.uid: frame for frame in map(view.frame, again)}
    assert shown[1].image.max() == 1
    assert shown[3].image.max() == 3
    for uid in range(4, SLOTS + 3):
        store.put(frames(3, uid))
    assert view.frame(store.put(frames(3))[0]).image.max() == 3
    assert view.frame(store.put((first[0],))[0]).image.max() == 99
    store.close()
