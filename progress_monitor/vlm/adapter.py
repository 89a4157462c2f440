"""PEFT LoRA adapters as they lie on the disk, and what tasks they serve. Imports no torch."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from progress_monitor.vlm.checkpoint import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    checkpoint_folder,
    local_folder,
    read_json,
)
from progress_monitor.vlm.config import ModelConfig
from progress_monitor.vlm.errors import VLMError
from progress_monitor.vlm.linear_probe import check_probe, find_probe
from progress_monitor.vlm.value_head import check_head, find_head
from progress_monitor.vlm.weights import Tensor, read_header, stored_tensors, weights_revision

PARAMETER = 'model.adapters'
ADAPTATION = 'adaptation.json'
ADAPTATION_FORMAT = 1
DOUBTFUL_ENDS, MEANS = 'doubtful_ends', 'means'
PLACE = re.compile(r'(?:layers|blocks)\.\d+\..*|merger\w*\..*|lm_head|embed_tokens')
# Ways to start the training that take a part out of the base's weights first.
_CHANGE_BASE = ('pissa', 'olora', 'corda', 'loftq', 'lora_ga')
_UNPACKED = ('F32', 'F16', 'BF16')
_HUB_FOLDER = re.compile(r'models--(?:.*--)?(?P<name>[^/]+)/snapshots/[^/]+/?$')


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter on the disk: what it is for, its configuration and its tensors by name.

    ``tasks`` are as its ``adaptation.json`` writes them; without that file there are none, and it
    serves every task that no other adapter names. ``base`` and ``revision`` say what it was
    trained on, empty where it does not. ``head`` is the file of its value head, ``probe`` that of
    its linear probe. ``doubtful_ends`` are those of its tasks of which its report found that it
    takes unfinished work for done. With ``means`` its digits were learnt with a spread, and their
    mean is the number.
    """

    folder: Path
    name: str
    tasks: tuple[str, ...]
    base: str
    revision: str
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    head: Path | None
    doubtful_ends: tuple[str, ...] = ()
    means: bool = False
    probe: Path | None = None

    @classmethod
    def read(cls, folder: Path) -> Adapter:
        """Read its JSON files and the headers of its weights.

        :raises VLMError: if a file is missing, damaged or pickled, or it is no LoRA adapter that
            can be switched.
        """
        if not (folder / ADAPTER_CONFIG).is_file():
            raise VLMError(f'{PARAMETER}: {folder} holds no {ADAPTER_CONFIG}')
        config = read_json(folder / ADAPTER_CONFIG)
        _check_kind(folder, config)
        if not (folder / ADAPTER_WEIGHTS).is_file():
            pickled = (folder / 'adapter_model.bin').is_file()
            convert = (
                '; adapter_model.bin can hide a program and is refused: convert it with '
                f'"python -m progress_monitor.vlm.convert {folder} NEW_FOLDER"'
            )
            raise VLMError(
                f'{PARAMETER}: {folder} holds no {ADAPTER_WEIGHTS}{convert if pickled else ""}'
            )
        adaptation = _read_adaptation(folder / ADAPTATION)
        return cls(
            folder,
            folder_name(str(folder)),
            adaptation.tasks,
            adaptation.base or str(config.get('base_model_name_or_path') or ''),
            adaptation.revision or str(config.get('revision') or ''),
            config,
            read_header(folder / ADAPTER_WEIGHTS),
            find_head(folder, PARAMETER),
            adaptation.doubtful_ends,
            adaptation.means,
            find_probe(folder),
        )

    @property
    def changes_vision(self) -> bool:
        """Whether it changes the vision tower, so that a frame's features are its own."""
        return any('visual.' in name for name in self.tensors)

    def check(self, path: str, folder: Path) -> None:
        """Check that it fits the checkpoint in ``folder``, by names, shapes and revision.

        ``path`` is what the user named. No weights are read, but for those of a small checkpoint
        whose revision is their hash.

        :raises VLMError: naming what does not fit.
        """
        base = stored_tensors(folder)
        self._check_shapes(path, base)
        if self.head is not None:
            embeddings = (base[name] for name in base if name.endswith('embed_tokens.weight'))
            width = next(embeddings).shape[-1]
            check_head(self.head, width, f'the text layers of {path}', PARAMETER)
        if self.probe is not None:
            check_probe(self.probe, len(self.tasks), PARAMETER)
        found = weights_revision(folder) if self.revision else ''
        if found != self.revision and _comparable(found, self.revision):
            raise VLMError(
                f'{PARAMETER}: {self.folder} was trained on revision {self.revision} of '
                f'{self.base or "its base"}, and {path} is at {found}; load that revision '
                '(model.path, model.revision), or train the adapter again'
            )

    def notes(self, path: str) -> tuple[str, ...]:
        """Lines for the log: what it was made for, which tasks it serves and what else it does."""
        lines = [f'adapter {self.folder}, made for {self.made_for}, {self._serves}']
        if self.base and folder_name(self.base).lower() != folder_name(path).lower():
            lines.append(
                f'adapter {self.name} names another base than {path}: shapes fit, and whether '
                'the weights do cannot be told'
            )
        lines += [
            f'adapter {self.name}: its report found that it takes unfinished work of "{task}" for '
            'done, so that no success is called'
            for task in self.doubtful_ends
        ]
        if self.head is not None:
            lines.append(
                f'the value head {self.head.name} of adapter {self.name} replaces the number in '
                'the progress tag'
            )
        return tuple(lines)

    @property
    def made_for(self) -> str:
        """The base that it names, with its revision if it gives one."""
        name = self.base or 'a base that it does not name'
        return f'{name} at {self.revision}' if self.revision else name

    @property
    def _serves(self) -> str:
        if not self.tasks:
            return 'serves every task that no other adapter names'
        more = f' and {len(self.tasks) - 1} more' if len(self.tasks) > 1 else ''
        return f'serves "{self.tasks[0]}"{more}'

    def _check_shapes(self, path: str, base: Mapping[str, Tensor]) -> None:
        shapes = {
            place[0]: tensor
            for name, tensor in base.items()
            if name.endswith('.weight') and (place := PLACE.search(name.removesuffix('.weight')))
        }
        for name, tensor in self.tensors.items():
            target, _, part = name.partition('.lora_')
            place = PLACE.search(target.removesuffix('.base_layer'))
            if not part or place is None:
                continue
            weight = shapes.get(place[0])
            if weight is None:
                raise VLMError(
                    f'{PARAMETER}: {self.folder} changes {place[0]}, which {path} does not have; '
                    f'it was made for {self.made_for}'
                )
            if weight.kind not in _UNPACKED or part[0] not in 'AB' or len(weight.shape) != 2:
                continue
            wanted, given = (
                (weight.shape[1], tensor.shape[1])
                if part[0] == 'A'
                else (weight.shape[0], tensor.shape[0])
            )
            if wanted != given:
                raise VLMError(
                    f'{PARAMETER}: {self.folder} does not fit {path} ({place[0]} has {wanted} '
                    f'values there and {given} here); it was made for {self.made_for}'
                )


def read_adapters(names: Iterable[str]) -> tuple[Adapter, ...]:
    """The adapters in these folders or of these hub names, which are downloaded if need be.

    :raises VLMError: if one cannot be read, two serve one task, or two have one name.
    """
    found = tuple(Adapter.read(checkpoint_folder(name, parameter=PARAMETER)) for name in names)
    check_together(found)
    return found


def check_configured(config: ModelConfig) -> None:
    """Check what of the adapters of ``config`` is on this machine; quick, and downloads nothing.

    :raises VLMError: if an adapter cannot be used, or does not fit the checkpoint.
    """
    base = local_folder(config.path)
    found = []
    for name in config.adapters:
        folder = local_folder(name)
        if folder is None:
            continue
        adapter = Adapter.read(folder)
        if base is not None:
            adapter.check(config.path, base)
        found.append(adapter)
    check_together(found)


def check_together(adapters: Sequence[Adapter]) -> None:
    """Check that one adapter at most serves each task.

    :raises VLMError: naming the two that do.
    """
    takers: dict[str, Adapter] = {}
    names: dict[str, Adapter] = {}
    for adapter in adapters:
        other = names.setdefault(adapter.name, adapter)
        if other is not adapter:
            raise VLMError(
                f'{PARAMETER}: {other.folder} and {adapter.folder} have one name; rename a folder'
            )
        for task in adapter.tasks or ('',):
            other = takers.setdefault(plain_task(task), adapter)
            if other is not adapter:
                what = f'serve the task "{task}"' if task else f'hold no {ADAPTATION}'
                raise VLMError(
                    f'{PARAMETER}: {other.folder} and {adapter.folder} both {what}, so which one '
                    'is meant cannot be told; leave one out'
                )


def plain_task(text: str) -> str:
    """A task's text without regard to case, punctuation and blanks, for comparison."""
    folded = unicodedata.normalize('NFKC', text).casefold()
    letters = (' ' if unicodedata.category(item)[0] in 'PZC' else item for item in folded)
    return ' '.join(''.join(letters).split())


def folder_name(path: str) -> str:
    """The model's name of a folder, of a hub name, or of a snapshot in the hub's cache."""
    if match := _HUB_FOLDER.search(path):
        return match['name']
    return Path(path).name


def _check_kind(folder: Path, config: Mapping[str, Any]) -> None:
    """Check that its products are all that it adds to the weights of the base.

    :raises VLMError: naming what it is, or the setting that makes it something else.
    """
    kind = config.get('peft_type')
    if kind != 'LORA':
        raise VLMError(f'{PARAMETER}: {folder} is a {kind} adapter; LoRA is needed')
    # Both change weights that other tasks share.
    for name, neutral in (('modules_to_save', None), ('bias', 'none')):
        if config.get(name) not in (neutral, None, []):
            raise VLMError(
                f'{PARAMETER}: {folder} was trained with {name} {config[name]!r}, which cannot '
                'be switched from task to task; train it without'
            )
    start = str(config.get('init_lora_weights') or '').lower()
    if start.startswith(_CHANGE_BASE):
        raise VLMError(
            f'{PARAMETER}: {folder} was trained with init_lora_weights {start!r} over weights '
            'that are not those of its base; save it converted to plain LoRA '
            '(path_initial_model_for_weight_conversion)'
        )
    for name in ('alora_invocation_tokens', 'layer_replication'):
        if config.get(name):
            raise VLMError(
                f'{PARAMETER}: {folder} was trained with {name}, which is not applied here; train '
                'it without'
            )


@dataclass(frozen=True)
class _Adaptation:
    """What ``adaptation.json`` says of an adapter, see ``Adapter``; empty where it says nothing."""

    tasks: tuple[str, ...] = ()
    base: str = ''
    revision: str = ''
    doubtful_ends: tuple[str, ...] = ()
    means: bool = False


def _read_adaptation(path: Path) -> _Adaptation:
    if not path.is_file():
        return _Adaptation()
    values = read_json(path)
    if values.get('format') != ADAPTATION_FORMAT:
        raise VLMError(
            f'{PARAMETER}: {path} has format {values.get("format")!r}; '
            f'{ADAPTATION_FORMAT} can be read'
        )
    tasks = values.get('tasks')
    if (
        not isinstance(tasks, list)
        or not tasks
        or not all(isinstance(task, str) and plain_task(task) for task in tasks)
    ):
        raise VLMError(
            f'{PARAMETER}: {path} lists no tasks; give "tasks" as a list of texts, or remove the '
            'file to use the adapter for every task'
        )
    made_for = {name: values.get(name) or '' for name in ('base', 'revision')}
    for name, value in made_for.items():
        if not isinstance(value, str):
            raise VLMError(f'{PARAMETER}: {path}: "{name}" is no text')
    doubtful = values.get(DOUBTFUL_ENDS) or []
    if not isinstance(doubtful, list) or not all(isinstance(task, str) for task in doubtful):
        raise VLMError(f'{PARAMETER}: {path}: "{DOUBTFUL_ENDS}" is no list of texts')
    means = values.get(MEANS, False)
    if not isinstance(means, bool):
        raise VLMError(f'{PARAMETER}: {path}: "{MEANS}" is neither true nor false')
    return _Adaptation(tuple(tasks), made_for['base'], made_for['revision'], tuple(doubtful), means)


def _comparable(one: str, other: str) -> bool:
    """Whether both are commits, or both hashes of weights."""
    return bool(one) and len(one) == len(other) and bool(re.fullmatch('[0-9a-f]+', one + other))
