"""The folder of an adapter: PEFT's published layout, and what it was made for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from progress_monitor.vlm.adapter import ADAPTATION, ADAPTATION_FORMAT, DOUBTFUL_ENDS, MEANS
from progress_monitor.vlm.checkpoint import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from progress_monitor.vlm.linear_probe import FILE_NAME as PROBE
from progress_monitor.vlm.scene_guard import FILE_NAME as SCENE


@dataclass(frozen=True)
class Purpose:
    """What an adapter was made for: the tasks' texts, and the base with its revision.

    With ``means`` its number is the mean of what its digits may be.
    """

    tasks: tuple[str, ...]
    base: str
    revision: str
    means: bool = False


def write(
    folder: Path,
    config: Any,
    tensors: Mapping[str, torch.Tensor],
    purpose: Purpose,
    probe: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write the adapter's configuration, weights and purpose.

    :param config: PEFT's ``LoraConfig``.
    :param probe: what the file of its linear probe holds, with a row for each task; None: it has
        none.
    :raises OSError: if it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config.base_model_name_or_path = purpose.base
    config.revision = purpose.revision or None
    config.inference_mode = True
    values = {name: _plain(value) for name, value in config.to_dict().items()}
    _write_json(folder / ADAPTER_CONFIG, values)
    save_file(dict(tensors), folder / ADAPTER_WEIGHTS, {'format': 'pt'})
    # That of an earlier training in this folder would be believed.
    (folder / PROBE).unlink(missing_ok=True)
    if probe is not None:
        save_file(dict(probe), folder / PROBE)
    _write_json(
        folder / ADAPTATION,
        {
            'format': ADAPTATION_FORMAT,
            'tasks': list(purpose.tasks),
            'base': purpose.base,
            'revision': purpose.revision,
            MEANS: purpose.means,
        },
    )


def copy_unprobed(folder: Path, copy: Path) -> None:
    """Copy what is asked of an adapter to a new folder, but for its linear probe.

    :raises OSError: if it cannot be written.
    """
    copy.mkdir(parents=True)
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS, ADAPTATION, SCENE):
        if (folder / name).is_file():
            shutil.copy(folder / name, copy / name)


def doubt_ends(folder: Path, tasks: Sequence[str]) -> None:
    """Note in a written adapter of which ``tasks`` it takes unfinished work for done.

    :raises OSError: if it cannot be written.
    """
    path = folder / ADAPTATION
    values = json.loads(path.read_text(encoding='utf-8'))
    _write_json(path, {**values, DOUBTFUL_ENDS: list(dict.fromkeys(tasks))})


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, set | frozenset) else value


def _write_json(path: Path, content: Mapping[str, Any] | Sequence[Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False, default=str) + '\n'
    path.write_text(text, encoding='utf-8')
