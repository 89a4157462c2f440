"""Downloads from a hub: they resume, report, and fail only when nothing comes any more."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import sleep
from types import SimpleNamespace

import pytest
from local_hub import COMMIT, NAME, LocalHub, serving
from vlm_checkpoints import tiny_folder

from progress_monitor.vlm import hub as client
from progress_monitor.vlm.checkpoint import checkpoint_folder
from progress_monitor.vlm.config import ModelConfig
from progress_monitor.vlm.errors import VLMError
from progress_monitor.vlm.loading import VLM

WEIGHTS = 'model.safetensors'


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / 'hub'


@pytest.fixture
def hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    from huggingface_hub import constants

    with serving(tiny_folder(0)) as server:
        monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(cache))
        monkeypatch.setattr(constants, 'ENDPOINT', server.endpoint)
        monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', False)
        yield server


def size(hub: LocalHub) -> int:
    return len(hub.files[WEIGHTS])


def tiny_files() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in tiny_folder(0).iterdir()}


def partial(cache: Path) -> list[Path]:
    return list(cache.rglob('*.incomplete'))


def test_a_model_is_downloaded_once_and_then_taken_from_the_cache(hub: LocalHub) -> None:
    reports: list[tuple[int, int]] = []
    folder = client.fetch(NAME, on_progress=lambda done, total: reports.append((done, total)))
    assert folder.name == COMMIT
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == hub.files
    total = sum(map(len, hub.files.values()))
    assert reports[0] == (0, total)
    assert reports[-1] == (total, total)
    asked = len(hub.requests)
    vlm = VLM.from_pretrained(NAME, device='cpu')
    assert vlm.tokenizer.chat_template
    assert len(hub.requests) == asked, 'a complete snapshot needs no network'


def test_the_hubs_own_client_finds_the_same_snapshot(hub: LocalHub) -> None:
    from huggingface_hub import constants, snapshot_download

    folder = client.fetch(NAME)
    found = snapshot_download(NAME, cache_dir=constants.HF_HUB_CACHE, local_files_only=True)
    assert Path(found) == folder


def test_a_cut_connection_is_taken_up_where_it_broke(hub: LocalHub) -> None:
    hub.cut_after = 200_000
    folder = client.fetch(NAME)
    assert (folder / WEIGHTS).read_bytes() == hub.files[WEIGHTS]
    assert hub.served[WEIGHTS] == size(hub)


def test_a_download_that_was_ended_goes_on_from_its_last_byte(
    hub: LocalHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ended(BaseException):
        pass

    def end(done: int, total: int) -> None:
        if partial(cache) and partial(cache)[0].stat().st_size > 100_000:
            raise Ended

    monkeypatch.setattr(client, '_REPORT_EVERY_S', 0.0)
    with pytest.raises(Ended):
        client.fetch(NAME, on_progress=end)
    kept = partial(cache)[0].stat().st_size
    assert kept > 100_000
    reports: list[int] = []
    folder = client.fetch(NAME, on_progress=lambda done, total: reports.append(done))
    assert (folder / WEIGHTS).read_bytes() == hub.files[WEIGHTS]
    assert hub.starts[-1] == (WEIGHTS, kept)
    assert reports[0] >= kept
    assert not partial(cache), 'no partial file is left behind'


def test_a_server_without_ranges_is_read_from_the_start(hub: LocalHub) -> None:
    hub.ranges = False
    hub.cut_after = 200_000
    folder = client.fetch(NAME)
    assert (folder / WEIGHTS).read_bytes() == hub.files[WEIGHTS]


def test_a_silent_server_hits_the_stall_limit_and_what_came_is_kept(
    hub: LocalHub, cache: Path
) -> None:
    hub.silent_after = 100_000
    with pytest.raises(
        VLMError, match=r'has stalled at \d+ of \d+ bytes.*download_stall_s'
    ) as told:
        client.fetch(NAME, stall_s=0.5)
    (kept,) = partial(cache)
    assert f'at {kept.stat().st_size} of' in str(told.value)


def test_a_slow_download_is_no_stalled_one(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock on which each block takes ten seconds; at the cut, far more than ``stall_s``."""
    now = [0.0]

    def pass_time() -> None:
        now[0] += 10.0

    hub.on_block = pass_time
    hub.cut_after = 200_000
    monkeypatch.setattr(client, 'time', SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    folder = client.fetch(NAME, stall_s=60.0)
    assert now[0] > 240.0
    assert (folder / WEIGHTS).read_bytes() == hub.files[WEIGHTS]


def test_a_cache_with_only_the_tokenizer_is_completed(hub: LocalHub, cache: Path) -> None:
    folder = client.fetch(NAME)
    for path in folder.iterdir():
        if 'token' not in path.name:
            path.resolve().unlink()
            path.unlink()
    hub.requests.clear()
    assert checkpoint_folder(NAME) == folder
    assert (folder / WEIGHTS).read_bytes() == hub.files[WEIGHTS]
    assert not any('token' in path for path in hub.downloads())


def test_a_partial_cache_without_a_network_says_what_is_missing(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    folder = client.fetch(NAME)
    (folder / WEIGHTS).unlink()
    monkeypatch.setattr(constants, 'ENDPOINT', 'http://127.0.0.1:9')
    with pytest.raises(VLMError, match=r'only in part \(model\.safetensors missing\)'):
        client.fetch(NAME)


def test_damaged_bytes_are_not_kept(hub: LocalHub, cache: Path) -> None:
    good = hub.files[WEIGHTS]
    blobs = cache / 'models--somebody--tiny-model' / 'blobs'
    blobs.mkdir(parents=True)
    (blobs / f'{hashlib.sha256(good).hexdigest()}.incomplete').write_bytes(b'x' * 1000)
    with pytest.raises(VLMError, match=r'model\.safetensors came damaged'):
        client.fetch(NAME)
    folder = client.fetch(NAME)
    assert (folder / WEIGHTS).read_bytes() == good


def test_a_model_without_safetensors_is_refused(hub: LocalHub) -> None:
    hub.files['pytorch_model.bin'] = hub.files.pop(WEIGHTS)
    with pytest.raises(VLMError, match='no safetensors weights on the hub'):
        client.fetch(NAME)
    assert not any('pytorch_model' in path for path in hub.downloads())


def test_an_adapter_whose_value_head_is_pickled_is_refused_before_it_is_fetched(
    hub: LocalHub,
) -> None:
    hub.files = {
        'adapter_config.json': b'{}',
        'adapter_model.safetensors': b'',
        'procvlm_extra/procvlm_head.bin': b'a program',
    }
    with pytest.raises(VLMError, match=r'model\.adapters: .*procvlm_head\.bin.*vlm\.convert'):
        client.fetch(NAME, parameter='model.adapters')
    assert not hub.downloads()
    # A whole checkpoint is asked without its head.
    hub.files = {**hub.files, **tiny_files()}
    del hub.files['adapter_config.json']
    client.fetch(NAME)


def test_an_unknown_model_is_named(hub: LocalHub) -> None:
    with pytest.raises(VLMError, match=r'somebody/else is no folder.*check the name'):
        client.fetch('somebody/else')


@pytest.mark.parametrize('revision', ['../../etc', 'a b', '/abs'])
def test_a_revision_is_no_path(hub: LocalHub, revision: str) -> None:
    with pytest.raises(VLMError, match=r'model\.revision'):
        client.fetch(NAME, revision)
    assert not hub.requests


def test_a_worker_prepares_what_its_parameters_name(hub: LocalHub, cache: Path) -> None:
    reports: list[tuple[int, int]] = []
    config = ModelConfig(path=NAME, revision=COMMIT, download_stall_s=60.0)
    client.prepare(config, lambda done, total: reports.append((done, total)))
    assert reports[-1][0] == reports[-1][1] > 0
    hub.silent_after = 100_000
    shutil.rmtree(cache)
    with pytest.raises(VLMError, match=r'nothing came for 0\.2 s'):
        client.prepare(replace(config, download_stall_s=0.2))


def test_a_local_folder_never_asks_the_hub(hub: LocalHub, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_folder(0), tmp_path / 'checkpoint')
    assert checkpoint_folder(str(folder)) == folder
    client.prepare(ModelConfig(path=str(folder)))
    VLM.from_pretrained(str(folder), device='cpu')
    assert not hub.requests
