"""A download in a real worker: a state of its own, which no deadline of loading counts."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from local_hub import NAME, serving
from vlm_checkpoints import tiny_folder

from progress_monitor.backends import worker
from progress_monitor.backends.worker import WorkerBackend
from progress_monitor.types import BackendState
from progress_monitor.vlm.config import ModelConfig

PATIENCE_S = 120.0


def states_until(backend: WorkerBackend, last: BackendState) -> list[tuple[BackendState, str]]:
    seen: list[tuple[BackendState, str]] = []
    end = time.monotonic() + PATIENCE_S
    while not seen or seen[-1][0] is not last:
        assert time.monotonic() < end, seen
        status = backend.status()
        if not seen or seen[-1] != (status.state, status.message):
            seen.append((status.state, status.message))
        time.sleep(0.005)
    return seen


@pytest.mark.parametrize('stalls', [False, True])
def test_a_download_is_told_and_only_a_standstill_ends_it(
    stalls: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(worker, 'time', SimpleNamespace(monotonic=lambda: clock.now))
    with serving(tiny_folder(0)) as hub:
        hub.silent_after = 20_000
        monkeypatch.setenv('HF_ENDPOINT', hub.endpoint)
        monkeypatch.setenv('HF_HUB_CACHE', str(tmp_path))
        monkeypatch.setenv('HF_HUB_OFFLINE', '0')
        config = ModelConfig(
            path=NAME, quantization='none', download_stall_s=1.0 if stalls else 60.0
        )
        with contextlib.closing(WorkerBackend(config, engine='worker_faults:make')) as backend:
            seen = states_until(backend, BackendState.DOWNLOADING)
            clock.now += 1e6
            if not stalls:
                assert backend.status().state is BackendState.DOWNLOADING
                hub.silent_after = None
                hub.released.set()
            seen += states_until(backend, BackendState.FAILED if stalls else BackendState.READY)
    told = [text for state, text in seen if state is BackendState.DOWNLOADING]
    assert any('MB' in text and '%' in text for text in told)
    if stalls:
        assert 'model.download_stall_s' in seen[-1][1]
    else:
        assert BackendState.FAILED not in {state for state, _ in seen}
