"""Where a checkpoint lies and whether it can be one of ours. Imports no torch."""

from __future__ import annotations

import json
import re
from pathlib import Path

from progress_monitor.vlm.errors import VLMError

_HUB_NAME = re.compile(r'[A-Za-z0-9][\w.-]*/[\w.-]+')
_FETCHED = ['*.json', '*.jinja', '*.txt', '*.safetensors']


def checkpoint_folder(path_or_name: str) -> Path:
    """The local folder of a checkpoint, downloaded first if a hub name is given.

    :raises VLMError: if there is no such folder, or the download fails.
    """
    if not path_or_name:
        raise VLMError('model.path is empty: give a checkpoint folder or a hub name')
    folder = Path(path_or_name).expanduser()
    if folder.is_dir():
        return folder
    if not _HUB_NAME.fullmatch(path_or_name) or folder.parent.is_dir():
        raise VLMError(f'model.path: there is no folder {path_or_name}')
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        try:
            return Path(
                snapshot_download(path_or_name, allow_patterns=_FETCHED, local_files_only=True)
            )
        except LocalEntryNotFoundError:
            return Path(snapshot_download(path_or_name, allow_patterns=_FETCHED))
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise VLMError(
            f'model.path: {path_or_name} is no folder and could not be fetched from the hub '
            f'({reason}); check the name and the network, or give a local folder'
        ) from error


def check_architecture(folder: Path) -> None:
    """Read ``config.json``.

    :raises VLMError: if it is missing, damaged, or not of a Qwen3-VL model.
    """
    path = folder / 'config.json'
    try:
        config = json.loads(path.read_text(encoding='utf-8'))
        kind = config['model_type']
    except FileNotFoundError as error:
        raise VLMError(f'model.path: {folder} holds no config.json') from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VLMError(f'{path} is damaged ({error}); fetch the checkpoint again') from error
    if kind != 'qwen3_vl':
        raise VLMError(
            f'model.path: {folder} is a {kind} model; a Qwen3-VL checkpoint is needed '
            '(ce-amtic/ProcVLM-2B, or the small one of this repository)'
        )
    if not any(folder.glob('*.safetensors')):
        raise VLMError(
            f'model.path: {folder} holds no safetensors weights; other kinds are refused'
        )
