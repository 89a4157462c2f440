"""LoRA adapters of random weights over the tiny checkpoints, written by PEFT itself."""

import copy
import json
from pathlib import Path

import peft
import torch
from safetensors.torch import save_file

from progress_monitor.vlm.loading import VLM

TEXT_LAYERS = ('q_proj', 'k_proj', 'v_proj', 'o_proj')
WITH_VISION = (*TEXT_LAYERS, 'up_proj', 'qkv', 'linear_fc1')


def make_adapter(folder: Path, vlm: VLM, seed=0, targets=TEXT_LAYERS, tasks=(), **config) -> Path:
    """An adapter over ``vlm``, with an ``adaptation.json`` if it names ``tasks``."""
    torch.manual_seed(seed)
    settings = peft.LoraConfig(
        r=4, lora_alpha=16, target_modules=list(targets), init_lora_weights=False, **config
    )
    model = copy.deepcopy(vlm.model).float()
    peft.get_peft_model(model, settings).save_pretrained(folder)
    if tasks:
        write_adaptation(folder, tasks=tasks)
    return folder


def write_adaptation(folder: Path, **values) -> None:
    told = {'format': 1, 'base': '', 'revision': '', **values}
    (folder / 'adaptation.json').write_text(json.dumps(told))


def adapted(vlm: VLM, folder: Path) -> VLM:
    """The same model with the adapter as PEFT itself puts it on, in layers of its own."""
    model = copy.deepcopy(vlm.model)
    wrapped = peft.PeftModel.from_pretrained(model, folder, autocast_adapter_dtype=False)
    return VLM(**{**vars(vlm), 'model': wrapped.eval().get_base_model()})


def head_layers(width: int) -> tuple[torch.nn.Module, torch.nn.Module]:
    """The published pooler's scores and value head, as modules of the published shape."""
    from torch import nn

    pooler = nn.Sequential(nn.Linear(width, width // 4), nn.GELU(), nn.Linear(width // 4, 1))
    head = nn.Sequential(
        nn.Linear(width, 4 * width),
        nn.GELU(),
        nn.LayerNorm(4 * width),
        nn.Dropout(0.05),
        nn.Linear(4 * width, width),
        nn.GELU(),
        nn.LayerNorm(width),
        nn.Dropout(0.05),
        nn.Linear(width, 1),
    )
    return pooler.eval(), head.eval()


def head_tensors(width: int, seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    pooler, head = head_layers(width)
    return {
        **{f'pooler.score.{name}': value for name, value in pooler.state_dict().items()},
        **{f'value_head.{name}': value for name, value in head.state_dict().items()},
    }


def write_head(folder: Path, width: int, seed: int = 0) -> dict[str, torch.Tensor]:
    tensors = head_tensors(width, seed)
    save_file(tensors, folder / 'procvlm_head.safetensors')
    return tensors
