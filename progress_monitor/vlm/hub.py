"""Downloads from the Hugging Face hub that go on where they were cut off. Imports no torch.

Files land in the ordinary cache, in its own layout. The hub's own client keeps no partial file,
so a large model over a slow line would start at its first byte after every interruption.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import quote

from progress_monitor.vlm.config import ModelConfig
from progress_monitor.vlm.errors import VLMError

Progress = Callable[[int, int], None]
"""Called with the bytes that are there and those that there will be."""

_HUB_NAME = re.compile(r'[A-Za-z0-9][\w.-]*/[\w.-]+')
_HASH = re.compile(r'[0-9a-f]{40}(?:[0-9a-f]{24})?')
_REVISION = re.compile(r'\w[\w.-]*(?:/\w[\w.-]*)*')
_FETCHED = ('*.json', '*.jinja', 'merges.txt', '*.safetensors')
_PICKLED_HEAD = re.compile(r'(?:.*/)?procvlm_head\.(?:bin|pt)')
_REPORT_EVERY_S = 0.5
_RETRY_AFTER_S = 0.5
_ASK_S = 10.0
_BLOCK = 1 << 20


@dataclass(frozen=True)
class _File:
    name: str
    size: int
    etag: str
    large: bool


class _Meter:
    """Passes progress on, at most every ``_REPORT_EVERY_S``; ``before`` is added to each report."""

    def __init__(self, on_progress: Progress, total: int) -> None:
        self.before = 0
        self._on_progress = on_progress
        self._total = total
        self._reported = -_REPORT_EVERY_S

    def report(self, done: int, now: bool = False) -> None:
        if now or time.monotonic() - self._reported >= _REPORT_EVERY_S:
            self._reported = time.monotonic()
            self._on_progress(self.before + done, self._total)


def is_hub_name(name: str) -> bool:
    """Whether ``name`` reads as ``owner/model`` and can be no folder that was mistyped."""
    return bool(_HUB_NAME.fullmatch(name)) and not Path(name).parent.is_dir()


def prepare(config: ModelConfig, on_progress: Progress | None = None) -> None:
    """Download what ``config`` names on the hub, its model and its adapters, as far as missing.

    Afterwards both load without a network. Folders on this machine are left alone.

    :raises VLMError: as ``fetch``.
    """
    for path, revision, parameter in (
        (config.path, config.revision, 'model.path'),
        *((name, '', 'model.adapters') for name in config.adapters),
    ):
        if is_hub_name(path) and not os.path.isdir(os.path.expanduser(path)):
            fetch(path, revision, on_progress, stall_s=config.download_stall_s, parameter=parameter)


def fetch(
    name: str,
    revision: str = '',
    on_progress: Progress | None = None,
    *,
    stall_s: float = 60.0,
    parameter: str = 'model.path',
) -> Path:
    """The local snapshot of a model or adapter on the hub, downloaded as far as it is missing.

    A complete snapshot in the cache is used without asking the hub. There is no deadline; the
    download fails when not one byte has come for ``stall_s``. What has come is kept, and the next
    call goes on from there. ``on_progress`` is called at least at the start and at the end of a
    download, and at most twice a second in between.

    :param revision: branch, tag or commit; empty for the default branch.
    :param parameter: the parameter that errors name.
    :raises VLMError: if the hub cannot be reached or does not have it, the download stalls, the
        disk is full, or what came is not what the hub announced.
    """
    from progress_monitor.vlm.checkpoint import missing_files

    revision = revision or 'main'
    if not _REVISION.fullmatch(revision):
        raise VLMError(f'model.revision: {revision!r} is no branch, tag or commit')
    cached = cached_snapshot(name, revision)
    lacking = missing_files(cached) if cached is not None else None
    if cached is not None and not lacking:
        return cached
    try:
        commit, files = _listing(name, revision)
    except VLMError as error:
        raise VLMError(f'{parameter}: {error}') from None
    except Exception as error:
        part = f'in the cache only in part ({lacking[0]} missing)' if lacking else 'no folder'
        raise VLMError(
            f'{parameter}: {name} is {part} and could not be fetched from the hub '
            f'({_reason(error)}); check the name and the network, or give a local folder'
        ) from error
    storage = _storage(name)
    snapshot = storage / 'snapshots' / commit
    try:
        _fetch_all(name, commit, files, storage, on_progress or (lambda done, total: None), stall_s)
        _write_reference(storage, revision, commit)
    except OSError as error:
        raise VLMError(
            f'{parameter}: {name} cannot be written to {storage} ({_reason(error)}); '
            'free some space, or set HF_HOME to another disk'
        ) from error
    lacking = missing_files(snapshot)
    if lacking == ['model.safetensors']:
        raise VLMError(
            f'{parameter}: {name} has no safetensors weights on the hub; other kinds are refused'
        )
    if lacking:
        raise VLMError(f'{parameter}: {name} is incomplete on the hub: {", ".join(lacking)}')
    return snapshot


def _storage(name: str) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser() / f'models--{name.replace("/", "--")}'


def cached_snapshot(name: str, revision: str = 'main') -> Path | None:
    """The snapshot of a model in the cache, complete or not."""
    storage = _storage(name)
    commit = revision
    reference = storage / 'refs' / revision
    if reference.is_file():
        commit = reference.read_text(encoding='ascii').strip()
    snapshot = storage / 'snapshots' / commit
    return snapshot if _HASH.fullmatch(commit) and snapshot.is_dir() else None


def _listing(name: str, revision: str) -> tuple[str, list[_File]]:
    from huggingface_hub import HfApi, constants

    info = HfApi(endpoint=constants.ENDPOINT).model_info(
        name, revision=revision, files_metadata=True, timeout=_ASK_S
    )
    siblings = info.siblings or []
    names = {item.rfilename for item in siblings}
    pickled = sorted(filter(_PICKLED_HEAD.fullmatch, names))
    if pickled and 'adapter_config.json' in names and 'procvlm_head.safetensors' not in names:
        # Without its head the adapter would answer, and otherwise than it was published to.
        raise VLMError(
            f'{name} has its value head only as {pickled[0]}, which can hide a program and is '
            'refused: download the adapter, convert it with "python -m '
            'progress_monitor.vlm.convert FOLDER NEW_FOLDER" and give the new folder'
        )
    files = [
        _File(
            item.rfilename,
            int(item.size or 0),
            str(item.lfs.sha256 if item.lfs is not None else item.blob_id),
            item.lfs is not None,
        )
        for item in siblings
        if Path(item.rfilename).name == item.rfilename
        and any(fnmatch(item.rfilename, pattern) for pattern in _FETCHED)
    ]
    commit = str(info.sha)
    if not all(_HASH.fullmatch(text) for text in (commit, *(file.etag for file in files))):
        raise ValueError('the hub names a file without its checksum')
    return commit, sorted(files, key=lambda file: file.size)


def _fetch_all(
    name: str,
    commit: str,
    files: list[_File],
    storage: Path,
    on_progress: Progress,
    stall_s: float,
) -> None:
    from huggingface_hub import constants

    blobs, snapshot = storage / 'blobs', storage / 'snapshots' / commit
    blobs.mkdir(parents=True, exist_ok=True)
    snapshot.mkdir(parents=True, exist_ok=True)
    total = sum(file.size for file in files)
    waiting = [file for file in files if not (snapshot / file.name).exists()]
    partial = {file: blobs / f'{file.etag}.incomplete' for file in waiting}
    ready = total - sum(file.size for file in waiting)
    left = sum(
        file.size - (part.stat().st_size if part.exists() else 0) for file, part in partial.items()
    )
    if left > (free := shutil.disk_usage(storage).free):
        raise OSError(f'{left >> 20} MiB are needed and {free >> 20} MiB are free')
    meter = _Meter(on_progress, total)
    meter.report(total - left, now=True)
    for file in waiting:
        meter.before = ready
        blob = blobs / file.etag
        if not blob.exists():
            url = f'{constants.ENDPOINT}/{name}/resolve/{commit}/{quote(file.name)}'
            _download(url, partial[file], file, meter.report, stall_s)
            _verify(partial[file], file, meter.report)
            os.replace(partial[file], blob)
        pointer = snapshot / file.name
        pointer.unlink(missing_ok=True)
        pointer.symlink_to(Path('..', '..', 'blobs', file.etag))
        ready += file.size
    meter.before = 0
    meter.report(total, now=True)


def _download(
    url: str, path: Path, file: _File, on_bytes: Callable[[int], None], stall_s: float
) -> None:
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        build_hf_headers,
        get_session,
        hf_raise_for_status,
    )

    last = time.monotonic()
    with path.open('ab') as target:
        try:
            fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise VLMError(
                f'{file.name} is being downloaded by another process; wait for it'
            ) from error
        if path.stat().st_size > file.size:
            target.truncate(0)
        while (have := path.stat().st_size) < file.size:
            headers: dict[str, Any] = {
                **build_hf_headers(),
                'Accept-Encoding': 'identity',
                'Range': f'bytes={have}-',
            }
            reason = 'the connection was closed'
            try:
                with get_session().stream(
                    'GET', url, headers=headers, timeout=stall_s, follow_redirects=True
                ) as response:
                    hf_raise_for_status(response)
                    if have and response.status_code != 206:
                        target.truncate(0)
                        have = 0
                    for chunk in response.iter_bytes():
                        target.write(chunk)
                        target.flush()
                        have += len(chunk)
                        last = time.monotonic()
                        on_bytes(have)
            except HfHubHTTPError as error:
                reason = _reason(error)
                if error.response.status_code in (401, 403, 404, 410):
                    raise VLMError(
                        f'{file.name} cannot be fetched from the hub ({reason})'
                    ) from error
            except OSError:
                raise
            except Exception as error:
                # The transport's own errors: cut, refused or silent connections.
                reason = _reason(error)
            if have < file.size:
                if time.monotonic() - last >= stall_s:
                    raise VLMError(
                        f'the download of {file.name} has stalled at {have} of {file.size} bytes: '
                        f'nothing came for {stall_s:g} s ({reason}). What is there is kept; check '
                        'the network, or raise model.download_stall_s'
                    )
                time.sleep(min(_RETRY_AFTER_S, stall_s))


def _verify(path: Path, file: _File, on_bytes: Callable[[int], None]) -> None:
    digest = hashlib.sha256() if file.large else hashlib.sha1(usedforsecurity=False)
    if not file.large:
        digest.update(b'blob %d\0' % path.stat().st_size)
    with path.open('rb') as source:
        while block := source.read(_BLOCK):
            digest.update(block)
            on_bytes(file.size)
    if digest.hexdigest() != file.etag:
        path.unlink()
        raise VLMError(
            f'{file.name} came damaged from the hub (its checksum differs) and was deleted; '
            'it will be fetched again'
        )


def _write_reference(storage: Path, revision: str, commit: str) -> None:
    if revision == commit:
        return
    reference = storage / 'refs' / revision
    reference.parent.mkdir(parents=True, exist_ok=True)
    new = reference.with_name(f'{reference.name}.{os.getpid()}')
    new.write_text(commit, encoding='ascii')
    os.replace(new, reference)


def _reason(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
