"""A Qwen2.5-VL checkpoint on disk, of random weights, asked by ProgressLM's strategy for real."""

from __future__ import annotations

import contextlib
import json
import time

import cv2
import numpy as np
import pytest
import yaml
from judging import TASK, config, frame, live, ns
from vlm_checkpoints import tiny_qwen2_5_folder

from progress_monitor.__main__ import main
from progress_monitor.backends.worker import WorkerBackend
from progress_monitor.dialogue import Dialogue
from progress_monitor.offline.video import write_video
from progress_monitor.strategies import make_strategy
from progress_monitor.types import BackendState, Generated, Recollection, Request, View
from progress_monitor.vlm.config import ModelConfig
from progress_monitor.vlm.loading import VLM
from progress_monitor_lab.bench.speed_reference import generate

PIXELS = 84 * 84
TOKENS = 12
STOP = ('</score>',)


@pytest.fixture(scope='session')
def checkpoint():
    return tiny_qwen2_5_folder()


@pytest.fixture(scope='module')
def demonstration(tmp_path_factory):
    folder = tmp_path_factory.mktemp('demonstration') / 'open'
    rng = np.random.default_rng(5)
    folder.mkdir()
    steps = []
    for number in range(3):
        picture = rng.integers(0, 255, (84, 84, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f'{number}.png'), picture)
        steps.append({'image': f'{number}.png', 'progress': 50 * number})
    content = {'kind': 'visual', 'goal': 'open the drawer', 'steps': steps}
    (folder / 'demonstration.yaml').write_text(yaml.safe_dump(content))
    return str(folder)


def test_the_worker_says_what_generate_says(checkpoint, demonstration):
    strategy = make_strategy(config(strategy='progresslm', progresslm__demonstration=demonstration))
    picture = frame(1.0, live(0.0)[0].image[:84, :84].copy())
    view = View((picture,), picture.stamp_ns)
    question = strategy.ask(view, Recollection(TASK.text))
    settings = ModelConfig(
        path=str(checkpoint), quantization='none', device='cpu', dtype='float32',
        max_pixels=PIXELS, threads=1, max_new_tokens=TOKENS, deadline_s=60.0,
    )  # fmt: skip
    with contextlib.closing(WorkerBackend(settings)) as backend:
        _wait(lambda: backend.status().state in (BackendState.READY, BackendState.FAILED))
        assert backend.status().state is BackendState.READY, backend.status().message
        assert backend.capabilities().frame_multiple == 28
        assert 'qwen2_5' in backend.capabilities().architecture
        dialogue = Dialogue(backend)
        assert dialogue.ask(question, view, TASK.text) == ['progresslm']
        replies = []
        _wait(lambda: replies.extend(dialogue.replies()) or replies)
    answer = replies[0].answer
    assert isinstance(answer, Generated), replies[0].message
    vlm = VLM.from_pretrained(str(checkpoint), device='cpu', dtype='float32')
    (asked,) = question
    request = Request(1, asked.session, asked.parts, asked.want, asked.chat)
    assert answer.token_ids == generate(vlm, request, TOKENS, STOP)
    assert strategy.read((answer,), view).stamp_ns == ns(1.0)


def test_a_recording_is_watched_with_it(checkpoint, demonstration, tmp_path, capsys):
    video = tmp_path / 'video.avi'
    write_video([frame.image[:84, :84].copy() for frame in live(1.5)], video, 10.0)
    parameters = tmp_path / 'parameters.yaml'
    values = {
        'strategy': 'progresslm',
        'progresslm': {'demonstration': demonstration},
        'model': {'quantization': 'none', 'max_pixels': PIXELS, 'max_new_tokens': TOKENS},
    }
    content = {'progress_monitor': {'ros__parameters': values}}
    parameters.write_text(yaml.safe_dump(content))
    out = tmp_path / 'out'
    code = main(
        [
            'watch', str(video), '--task', 'open the drawer', '--model', str(checkpoint),
            '--params', str(parameters), '--out', str(out), '--write', 'jsonl',
        ]
    )  # fmt: skip
    said = capsys.readouterr().err
    # Random weights name no progress, and the tool says so.
    assert code == 1
    assert 'not a single answer was usable' in said
    assert 'is not known to be trained for the strategy progresslm' in said
    rows = [json.loads(line) for line in (out / 'ticks.jsonl').read_text().splitlines()]
    assert len(rows) >= 3
    assert {row['strategy'] for row in rows} == {'progresslm'}
    assert {row['window'] for row in rows} == {'newest frame every 0.5 s'}
    assert {row['progress'] for row in rows} == {None}
    assert all(row['model_revision'] and row['prompt_hash'] for row in rows)


def _wait(condition):
    end = time.monotonic() + 120.0
    while not condition():
        assert time.monotonic() < end, 'it did not happen'
        time.sleep(0.01)
