"""LoRA adapters over one loaded model, of which one or none is in force: chosen by the task."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from progress_monitor.vlm.adapter import PARAMETER, PLACE, Adapter, plain_task
from progress_monitor.vlm.cache import VisionFeatures
from progress_monitor.vlm.checkpoint import ADAPTER_WEIGHTS
from progress_monitor.vlm.errors import VLMError
from progress_monitor.vlm.linear_probe import LinearProbe
from progress_monitor.vlm.value_head import ValueHead

# The other fields only matter in training, or name Python modules to import.
_USED = (
    'r',
    'lora_alpha',
    'target_modules',
    'exclude_modules',
    'layers_to_transform',
    'layers_pattern',
    'rank_pattern',
    'alpha_pattern',
    'fan_in_fan_out',
    'use_rslora',
    'use_dora',
)
_PREFIX = 'base_model.model.'
_PEFT_NAME = 'default'


@dataclass(frozen=True, eq=False)
class InForce:
    """The adapter that answers; without a name it is the bare checkpoint.

    ``vision`` tells whether a frame's features are its own. ``head`` gives the number in place of
    the tag, and with ``means`` the mean of what its digits may be does. ``doubtful_ends`` are tasks
    of which it takes unfinished work for done. It serves ``tasks``, or all that no other names, and
    ``probe`` has a row for each.
    """

    name: str = ''
    vision: bool = False
    head: ValueHead | None = None
    doubtful_ends: tuple[str, ...] = ()
    means: bool = False
    probe: LinearProbe | None = None
    tasks: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """For a person: its name, and what replaces the model's own number."""
        return f'{self.name} (number from its value head)' if self.head else self.name

    def doubts_end_of(self, task: str) -> bool:
        """Whether its word that ``task`` is done is not to be believed."""
        return plain_task(task) in map(plain_task, self.doubtful_ends)

    def probed(
        self, task: str, cameras: Sequence[str], pictures: Sequence[VisionFeatures]
    ) -> float:
        """Progress by its linear probe, percent; NaN where it has none for ``pictures``.

        :param cameras: that took them.
        """
        if self.probe is None:
            return math.nan
        rows = [*map(plain_task, self.tasks)]
        return self.probe.percent(rows.index(plain_task(task)), cameras, pictures)


_BARE = InForce()


@dataclass(frozen=True, eq=False)
class _Loaded:
    """An adapter's layers by the path of the layer that each stands for."""

    shown: InForce
    folder: Path
    layers: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class _Place:
    """Where an adapted layer hangs in the model, and the bare layer itself."""

    parent: Any
    attribute: str
    layer: Any


class AdapterSwitch:
    """Puts one adapter after the other on a model, in place.

    Layers of quantised weights are exchanged for PEFT's, which add the adapter's product at every
    forward. Unquantised weights are changed themselves, in the memory where they lie, so that an
    adapted model is as quick as the bare one; what the bare model needs to come back exactly is
    kept in main memory. Not re-entrant.
    """

    def __init__(self) -> None:
        self._merge = False
        self._loaded: list[_Loaded] = []
        self._places: dict[str, _Place] = {}
        self._bare: dict[str, torch.Tensor] = {}
        self._in_force: _Loaded | None = None

    @classmethod
    def load(cls, model: Any, adapters: Sequence[Adapter], merge: bool) -> AdapterSwitch:
        """Read ``adapters`` for ``model`` and put the first on it.

        :param merge: change the weights themselves; they must be unquantised.
        :raises VLMError: naming the adapter that cannot be put on the model.
        """
        switch = cls()
        switch._merge = merge
        for adapter in adapters:
            try:
                layers = _layers(model, adapter)
                switch._take(model, adapter, layers)
            except VLMError:
                raise
            except Exception as error:
                reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
                raise _unfit(adapter, reason) from error
        if merge and not switch._merged_for_good:
            for path in {path for item in switch._loaded for path in item.layers}:
                weight = switch._places[path].layer.weight
                switch._bare[path] = weight.detach().to('cpu', copy=True)
        # Each is put on once, so that one that cannot be is told now; the first stays.
        for item in reversed(switch._loaded):
            switch._exchange(item)
        return switch

    @property
    def sample_task(self) -> str:
        """A task of the first adapter, so that a model is measured as it will be used."""
        return next(iter(self._loaded[0].shown.tasks), '') if self._loaded else ''

    @property
    def folders(self) -> dict[str, Path]:
        """The folder of each adapter by its name."""
        return {item.shown.name: item.folder for item in self._loaded}

    @property
    def kept_mb(self) -> float:
        """Main memory that is held for the way back to the bare model, MiB."""
        return sum(item.nbytes for item in self._bare.values()) / 2**20

    def use(self, task: str) -> InForce:
        """Put the adapter that serves ``task`` in force; none does: the bare checkpoint."""
        wanted = self._serving(task)
        if wanted is not self._in_force:
            self._exchange(wanted)
        return self.in_force

    @property
    def in_force(self) -> InForce:
        """What is on the model now, and so gave the last answer."""
        return self._in_force.shown if self._in_force is not None else _BARE

    @property
    def _merged_for_good(self) -> bool:
        """Whether a single adapter serves everything, so that nothing is ever switched."""
        return len(self._loaded) == 1 and not self._loaded[0].shown.tasks

    def _serving(self, task: str) -> _Loaded | None:
        if not self._loaded:
            return None
        asked = plain_task(task)
        for item in self._loaded:
            if asked in map(plain_task, item.shown.tasks):
                return item
        return next((item for item in self._loaded if not item.shown.tasks), None)

    def _take(self, model: Any, adapter: Adapter, layers: Mapping[str, Any]) -> None:
        like = model.get_input_embeddings().weight
        tied = model.get_output_embeddings().weight is like
        for path, layer in layers.items():
            base = layer.get_base_layer()
            if not isinstance(base, torch.nn.Linear):
                raise _unfit(adapter, f'{path} is no linear layer')
            if self._merge and tied and base is model.get_output_embeddings():
                raise _unfit(adapter, f'the weights of {path} are also those of the embedding')
            parent, _, attribute = path.rpartition('.')
            self._places[path] = _Place(model.get_submodule(parent), attribute, base)
            layer.eval().requires_grad_(False)
            parts = [value for name, value in layer.named_parameters() if 'lora_' in name]
            if not all(bool(value.isfinite().all()) for value in parts):
                raise _unfit(adapter, f'its numbers for {path} are not finite')
            if not self._merge:
                for value in parts:
                    value.data = value.data.to(like.dtype)
        head = ValueHead.read(adapter.head, like.device, like.dtype) if adapter.head else None
        shown = InForce(
            adapter.name,
            adapter.changes_vision,
            head,
            adapter.doubtful_ends,
            adapter.means,
            LinearProbe.read(adapter.probe, len(like)) if adapter.probe else None,
            adapter.tasks,
        )
        self._loaded.append(_Loaded(shown, adapter.folder, layers))

    def _exchange(self, wanted: _Loaded | None) -> None:
        # Weights that were written in inference mode could not be written outside of it.
        with torch.inference_mode(False), torch.no_grad():
            if self._in_force is not None:
                self._take_off(self._in_force)
            if wanted is not None:
                self._put_on(wanted)
        self._in_force = wanted

    def _take_off(self, adapter: _Loaded) -> None:
        for path in adapter.layers:
            place = self._places[path]
            if self._merge:
                place.layer.weight.copy_(self._bare[path])
            else:
                setattr(place.parent, place.attribute, place.layer)

    def _put_on(self, adapter: _Loaded) -> None:
        for path, layer in adapter.layers.items():
            place = self._places[path]
            if not self._merge:
                setattr(place.parent, place.attribute, layer)
                continue
            # CUDA graphs know where the weights lie, and PEFT puts the merged ones elsewhere.
            weight = place.layer.weight
            lying = weight.data
            try:
                layer.merge(safe_merge=True)
            except ValueError as error:
                raise VLMError(
                    f'{PARAMETER}: adapter {adapter.shown.name} makes the weights of {path} '
                    'infinite; train it again'
                ) from error
            layer.merged_adapters.clear()
            lying.copy_(weight.data)
            weight.data = lying


def _layers(model: Any, adapter: Adapter) -> dict[str, Any]:
    """PEFT's layers for ``adapter`` by the path of what they stand for; the model stays bare.

    :raises ValueError: if they cannot be made.
    """
    from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
    from peft.tuners.lora import LoraLayer

    settings = {
        name: adapter.config[name] for name in _USED if adapter.config.get(name) is not None
    }
    found: dict[str, Any] = {}
    inject_adapter_in_model(LoraConfig(inference_mode=True, **settings), model, _PEFT_NAME)
    try:
        found = {path: item for path, item in model.named_modules() if isinstance(item, LoraLayer)}
        values = _placed(load_file(adapter.folder / ADAPTER_WEIGHTS), found)
        expected = sum('.lora_A.' in name for name in values)
        if len(found) != expected:
            raise ValueError(f'{expected} layers are adapted, {len(found)} of them are found')
        result = set_peft_model_state_dict(model, values, _PEFT_NAME)
        if result.unexpected_keys:
            raise ValueError(f'{result.unexpected_keys[0]} is in no adapted layer')
        missing = [name for name in result.missing_keys if 'lora_' in name]
        if missing:
            raise ValueError(f'{missing[0]} is missing')
    finally:
        for path, item in found.items():
            parent, _, attribute = path.rpartition('.')
            setattr(model.get_submodule(parent), attribute, item.get_base_layer())
        if hasattr(model, 'peft_config'):
            del model.peft_config
    return found


def _placed(values: Mapping[str, torch.Tensor], layers: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` under the paths of ``layers``: releases of transformers name the stacks apart."""
    paths = {place[0]: path for path in layers if (place := PLACE.search(path))}
    placed = {}
    for name, value in values.items():
        target, mark, part = name.removeprefix(_PREFIX).partition('.lora_')
        place = PLACE.search(target)
        placed[f'{paths.get(place[0], target) if place else target}{mark}{part}'] = value
    return placed


def _unfit(adapter: Adapter, reason: str) -> VLMError:
    return VLMError(
        f'{PARAMETER}: {adapter.folder} cannot be put on the checkpoint of model.path ({reason}); '
        f'it was made for {adapter.made_for}'
    )
