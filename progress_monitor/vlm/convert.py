"""Make safetensors of pickled weights: ``python -m progress_monitor.vlm.convert SOURCE TARGET``.

A pickle is a program. Here it is read with torch's own restricted reader, which builds tensors and
calls nothing else, in a process of its own without a network.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

_KEPT = ('*.json', '*.jinja', '*.txt', '*.safetensors')
_PICKLED = re.compile(
    r'(pytorch_model|adapter_model|procvlm_head|model)(-\d+-of-\d+)?\.(bin|pt|pth)'
)
_INDEX = 'pytorch_model.bin.index.json'
_NEW_USER = 0x10000000
_NEW_NETWORK = 0x40000000


def main() -> int:
    """Convert a checkpoint's folder, or with ``--one`` a single file in this process."""
    parser = argparse.ArgumentParser(
        prog='python -m progress_monitor.vlm.convert',
        description='Write a checkpoint or adapter with pickled weights anew as safetensors.',
    )
    parser.add_argument('source', type=Path, help='folder with .bin or .pt weights')
    parser.add_argument('target', type=Path, help='new folder for the converted checkpoint')
    parser.add_argument('--one', action='store_true', help=argparse.SUPPRESS)
    given = parser.parse_args()
    try:
        if given.one:
            convert_file(given.source, given.target)
        else:
            for line in convert_folder(given.source, given.target):
                print(line)
    except (OSError, ValueError) as error:
        print(str(error), file=sys.stderr)
        return 1
    return 0


def convert_folder(source: Path, target: Path) -> list[str]:
    """Write ``source`` anew into ``target`` with safetensors in place of pickles.

    :return: a line for each converted file.
    :raises ValueError: if there is nothing to convert, or a file holds more than tensors.
    """
    files = {
        path: f'{match[1].replace("pytorch_model", "model")}{match[2] or ""}.safetensors'
        for path in sorted([*source.iterdir(), *source.glob('procvlm_extra/*')])
        if (match := _PICKLED.fullmatch(path.name))
    }
    if not files:
        raise ValueError(
            f'{source} holds no pickled weights (pytorch_model.bin, adapter_model.bin, model.pt)'
        )
    if target.exists() and any(target.iterdir()):
        raise ValueError(f'{target} is not empty; name a new folder')
    target.mkdir(parents=True, exist_ok=True)
    for pattern in _KEPT:
        for path in source.glob(pattern):
            if path.name != _INDEX:
                shutil.copy2(path, target / path.name)
    for path, name in files.items():
        done = subprocess.run(
            [sys.executable, '-P', '-m', __spec__.name, '--one', str(path), str(target / name)],
            env={
                **os.environ,
                'PYTHONPATH': os.pathsep.join(filter(None, sys.path)),
                'HF_HUB_OFFLINE': '1',
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ['it was ended'])[-1]
            raise ValueError(f'{path} was not converted: {reason}')
    if (source / _INDEX).is_file():
        index = json.loads((source / _INDEX).read_text(encoding='utf-8'))
        names = {path.name: name for path, name in files.items()}
        index['weight_map'] = {key: names[file] for key, file in index['weight_map'].items()}
        (target / 'model.safetensors.index.json').write_text(json.dumps(index), encoding='utf-8')
    return [f'{path} -> {target / name}' for path, name in files.items()]


def convert_file(source: Path, target: Path) -> None:
    """Read tensors from ``source`` without running anything in it, and write them to ``target``.

    :raises ValueError: if it holds anything but named tensors.
    """
    _leave_network()
    import torch
    from safetensors.torch import save_file

    try:
        values = torch.load(source, map_location='cpu', weights_only=True)
    except Exception as error:
        raise ValueError(
            f'it holds more than tensors, or is damaged ({type(error).__name__})'
        ) from error
    if isinstance(values, dict) and isinstance(values.get('state_dict'), dict):
        values = values['state_dict']
    if not isinstance(values, dict) or not all(
        isinstance(value, torch.Tensor) for value in values.values()
    ):
        raise ValueError('it holds something else than named tensors')
    # Tied weights share their memory, which safetensors refuses.
    tensors = {str(name): value.contiguous().clone() for name, value in values.items()}
    save_file(tensors, target, metadata={'format': 'pt'})


def _leave_network() -> None:
    """A second wall behind the restricted reader, where the kernel lets a user build it."""
    try:
        ctypes.CDLL(None).unshare(_NEW_USER | _NEW_NETWORK)
    except (OSError, AttributeError):
        pass


if __name__ == '__main__':
    sys.exit(main())
