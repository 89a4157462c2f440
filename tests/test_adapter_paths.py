"""An adapter's whole way: through the command line, the worker process, and the node over DDS."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from adapters import make_adapter
from vlm_checkpoints import noise_frames, request, tiny_folder, tiny_vlm

from progress_monitor.__main__ import main
from progress_monitor.backends.worker import WorkerBackend
from progress_monitor.types import BackendState, Generated
from progress_monitor.vlm.config import ModelConfig

BASE = str(tiny_folder(0))
DRAWER = 'Open the drawer.'
SETTINGS: dict[str, Any] = {
    'device': 'cpu',
    'quantization': 'none',
    'max_pixels': 4096,
    'max_new_tokens': 8,
}


@pytest.fixture(scope='module')
def drawer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('made') / 'drawer'
    return make_adapter(folder, tiny_vlm(0), 1, tasks=[DRAWER])


def test_watch_takes_an_adapter(drawer: Path, tmp_path: Path) -> None:
    pictures = tmp_path / 'pictures'
    pictures.mkdir()
    random = np.random.default_rng(0)
    for index in range(6):
        cv2.imwrite(str(pictures / f'{index}.png'), random.integers(0, 256, (64, 64, 3), np.uint8))
    settings = '\n'.join(f'    model.{name}: {value}' for name, value in SETTINGS.items())
    (tmp_path / 'p.yaml').write_text(f'progress_monitor:\n  ros__parameters:\n{settings}\n')
    given = ['watch', str(pictures), '--model', BASE, '--adapter', str(drawer)]
    given += ['--params', str(tmp_path / 'p.yaml'), '--write', 'jsonl']
    for task, adapter in ((DRAWER, 'drawer'), ('push the puck', '')):
        out = tmp_path / f'out{adapter}'
        # Random weights give no usable answer; which of them were asked is what counts.
        assert main([*given, '--task', task, '--out', str(out)]) in (0, 1)
        rows = [json.loads(line) for path in out.glob('*.jsonl') for line in path.open()]
        assert {row['adapter'] for row in rows if 'adapter' in row} == {adapter}


def awaited(backend: WorkerBackend, happened: Callable[[], Any]) -> Any:
    """The first true value of ``happened``, polled as a node would."""
    end = time.monotonic() + 300.0
    while not (found := happened()):
        assert backend.status().state is not BackendState.FAILED, backend.status().message
        assert time.monotonic() < end, 'it did not happen'
        time.sleep(0.01)
    return found


def test_the_worker_answers_with_the_adapter_of_the_task(drawer: Path) -> None:
    config = ModelConfig(path=BASE, adapters=(str(drawer),), deadline_s=120.0, **SETTINGS)
    with closing(WorkerBackend(config)) as backend:
        awaited(backend, lambda: backend.status().state is BackendState.READY)
        answers = {}
        for task in (DRAWER, 'push the puck', DRAWER):
            backend.submit(replace(request(noise_frames(1), 'How far?'), task=task))
            completion = awaited(backend, backend.poll)
            assert isinstance(completion.answer, Generated), completion.message
            answers[task] = completion.answer
    assert {task: answer.adapter for task, answer in answers.items()} == {
        DRAWER: 'drawer',
        'push the puck': '',
    }


def test_the_node_names_the_adapter_that_answered(drawer: Path, tmp_path: Path) -> None:
    pytest.importorskip('rclpy')
    from ros_helpers import QUICK, arguments, fresh_domain, running

    values = {f'model.{name}': value for name, value in SETTINGS.items()}
    values |= {'model.path': BASE, 'model.adapters': [str(drawer)], 'task': DRAWER}
    command = ['-m', 'progress_monitor.ros.monitor_node', *arguments({**QUICK, **values})]
    with running(tmp_path, fresh_domain(), command) as (probe, _):
        probe.show = 0.2
        probe.wait(
            lambda: any(item.model.endswith('with adapter drawer') for item in probe.status),
            what='a status that names the adapter',
        )
