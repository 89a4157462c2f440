"""Checkpoints and adapters in the layouts in which people have them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from adapters import head_tensors
from safetensors.torch import load_file, save_file
from vlm_checkpoints import noise_frames, tiny_folder, tiny_vlm

from progress_monitor.types import Generate, Request
from progress_monitor.vlm.adapter import Adapter
from progress_monitor.vlm.convert import convert_folder
from progress_monitor.vlm.decoder import StreamingDecoder
from progress_monitor.vlm.errors import VLMError
from progress_monitor.vlm.images import ImageFormat
from progress_monitor.vlm.loading import VLM, resolve_quantization

WEIGHTS = 'model.safetensors'
PROMPT = Request(1, 's', (*noise_frames(2), 'Is it open?'), Generate())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(tiny_folder(0), tmp_path / 'checkpoint')


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def tokens(vlm: VLM) -> tuple[int, ...]:
    return tuple(StreamingDecoder(vlm, max_new_tokens=8).answer(PROMPT).token_ids)


def logits(vlm: VLM) -> torch.Tensor:
    ids = torch.arange(10, 40)[None]
    with torch.inference_mode():
        return vlm.model(input_ids=ids).logits


# The layout of transformers 5


def as_transformers_5(folder: Path) -> None:
    """What its processor's ``save_pretrained`` writes: one file, the image processor within."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
        Qwen2VLImageProcessorPil,
    )

    old = folder / 'preprocessor_config.json'
    values = json.loads(old.read_text())
    made = Qwen2VLImageProcessorPil(
        patch_size=16, image_mean=values['image_mean'], image_std=values['image_std']
    )
    nested = {'image_processor': made.to_dict(), 'processor_class': 'Qwen3VLProcessor'}
    (folder / 'processor_config.json').write_text(json.dumps(nested, default=str))
    old.unlink()


def test_a_checkpoint_saved_by_transformers_5_is_the_same_model(folder: Path) -> None:
    as_transformers_5(folder)
    vlm = VLM.from_pretrained(str(folder), device='cpu')
    assert tokens(vlm) == tokens(tiny_vlm(0))
    assert vlm.images.scale.tolist() == tiny_vlm(0).images.scale.tolist()


@pytest.mark.parametrize('off', [{'rescale_factor': None}, {'do_rescale': False}])
def test_an_image_processor_that_does_not_rescale(folder: Path, off: dict[str, Any]) -> None:
    change(folder / 'preprocessor_config.json', **off)
    images = ImageFormat.read(folder)
    assert images.scale.tolist() == [2.0] * 3
    assert images.offset.tolist() == [-1.0] * 3


def test_a_chat_template_in_json(folder: Path) -> None:
    template = (folder / 'chat_template.jinja').read_text()
    (folder / 'chat_template.jinja').unlink()
    with pytest.raises(VLMError, match='no chat template'):
        VLM.from_pretrained(str(folder), device='cpu')
    (folder / 'chat_template.json').write_text(json.dumps({'chat_template': template}))
    assert VLM.from_pretrained(str(folder), device='cpu').tokenizer.chat_template == template


@pytest.mark.parametrize(
    ('name', 'said'),
    [
        ('tokenizer.json', r'the tokenizer \(tokenizer\.json\) missing'),
        ('preprocessor_config.json', r'the image processor .* missing'),
    ],
)
def test_a_missing_file_is_named(folder: Path, name: str, said: str) -> None:
    (folder / name).unlink()
    with pytest.raises(VLMError, match=said):
        VLM.from_pretrained(str(folder))


# Configuration and weights that do not belong together


@pytest.fixture
def never_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import Qwen3VLForConditionalGeneration

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError('a model was made')

    monkeypatch.setattr(Qwen3VLForConditionalGeneration, '__init__', refuse)


@pytest.mark.usefixtures('never_allocated')
def test_a_configuration_of_only_a_model_type_allocates_nothing(folder: Path) -> None:
    (folder / 'config.json').write_text('{"model_type": "qwen3_vl"}')
    with pytest.raises(VLMError, match=r'gives no text_config\.hidden_size'):
        VLM.from_pretrained(str(folder))


@pytest.mark.usefixtures('never_allocated')
@pytest.mark.parametrize(
    ('group', 'name', 'value'),
    [
        ('text_config', 'hidden_size', 4096),
        ('text_config', 'num_hidden_layers', 36),
        ('vision_config', 'depth', 24),
    ],
)
def test_sizes_that_the_weights_do_not_have_allocate_nothing(
    folder: Path, group: str, name: str, value: int
) -> None:
    config = json.loads((folder / 'config.json').read_text())
    change(folder / 'config.json', **{group: {**config[group], name: value}})
    with pytest.raises(VLMError, match=rf'config\.json says .*{value}.*do not belong together'):
        VLM.from_pretrained(str(folder))


@pytest.mark.usefixtures('never_allocated')
def test_a_missing_shard_is_named(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / 'model-00001-of-00002.safetensors')
    index = {'weight_map': {'lm_head.weight': 'model-00002-of-00002.safetensors'}}
    (folder / 'model.safetensors.index.json').write_text(json.dumps(index))
    with pytest.raises(VLMError, match=r'model-00002-of-00002\.safetensors missing'):
        VLM.from_pretrained(str(folder))


# Pickled weights


def test_pickled_weights_are_refused_with_the_command_that_converts_them(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    torch.save(weights, folder / 'pytorch_model.bin')
    (folder / WEIGHTS).unlink()
    with pytest.raises(VLMError, match=r'pytorch_model\.bin.*progress_monitor\.vlm\.convert') as no:
        VLM.from_pretrained(str(folder))
    target = folder.parent / 'converted'
    command = str(no.value).split('"')[1].replace('NEW_FOLDER', str(target)).split()
    subprocess.run([sys.executable, *command[1:]], check=True, capture_output=True, timeout=300)
    assert tokens(VLM.from_pretrained(str(target), device='cpu')) == tokens(tiny_vlm(0))


class Touch:
    """Pickled, it is a call that writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_a_program_in_pickled_weights_does_not_run(folder: Path, tmp_path: Path) -> None:
    touched = tmp_path / 'touched'
    torch.save({'a': Touch(touched)}, folder / 'pytorch_model.bin')
    with pytest.raises(ValueError, match=r'pytorch_model\.bin was not converted: it holds more'):
        convert_folder(folder, tmp_path / 'converted')
    assert not touched.exists()


# Weights that are stored quantised


@pytest.mark.parametrize('stored', ['nf4', 'int8'])
def test_weights_stored_by_bitsandbytes_are_loaded_as_they_are(
    folder: Path, tmp_path: Path, stored: str
) -> None:
    pytest.importorskip('bitsandbytes')
    made = VLM.from_pretrained(str(folder), stored, 'cpu')
    target = shutil.copytree(folder, tmp_path / stored, ignore=shutil.ignore_patterns(WEIGHTS))
    made.model.save_pretrained(target)
    vlm = VLM.from_pretrained(str(target), 'auto', 'cpu')
    assert vlm.quantization == stored
    assert f'stored in {stored}' in ' '.join(vlm.notes)
    assert tokens(vlm) == tokens(made)
    with pytest.raises(VLMError, match=f'none contradicts .* stored in {stored}; set it to auto'):
        VLM.from_pretrained(str(target), 'none', 'cpu')


def test_fp8_weights_are_made_whole(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    stored = {}
    for name, weight in weights.items():
        if 'language_model.layers' in name and name.endswith('proj.weight'):
            scale = weight.abs().max() / 448
            stored[name] = (weight / scale).to(torch.float8_e4m3fn)
            stored[f'{name}_scale_inv'] = scale.reshape(1, 1)
        else:
            stored[name] = weight
    save_file(stored, folder / WEIGHTS, metadata={'format': 'pt'})
    quantization = {
        'quant_method': 'fp8',
        'activation_scheme': 'dynamic',
        'weight_block_size': [128, 128],
        'modules_to_not_convert': ['lm_head', 'model.visual'],
    }
    change(folder / 'config.json', quantization_config=quantization)
    vlm = VLM.from_pretrained(str(folder), 'auto', 'cpu')
    assert vlm.quantization == 'none'
    assert 'stored in fp8, made whole' in ' '.join(vlm.notes)
    name = 'model.language_model.layers.1.mlp.up_proj.weight'
    found = vlm.model.state_dict()[name]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, weights[name], rtol=0.07, atol=0.003)
    assert tokens(vlm)


def test_other_quantisations_are_named(folder: Path) -> None:
    change(folder / 'config.json', quantization_config={'quant_method': 'awq'})
    with pytest.raises(VLMError, match='quantised by awq, which is not supported'):
        VLM.from_pretrained(str(folder))


@pytest.mark.parametrize(('wanted', 'stored'), [('nf4', 'fp8'), ('nf4', 'int8'), ('nf4', 'fp4')])
def test_a_contradiction_is_named(wanted: str, stored: str) -> None:
    with pytest.raises(VLMError, match=f'{wanted} contradicts the checkpoint.*{stored}'):
        resolve_quantization(wanted, stored)


# Adapters


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    peft = pytest.importorskip('peft')
    model = VLM.from_pretrained(str(tiny_folder(0)), device='cpu').model
    torch.manual_seed(3)
    config = peft.LoraConfig(
        r=8,
        lora_alpha=16,
        target_modules=['q_proj', 'k_proj', 'v_proj', 'o_proj'],
        init_lora_weights=False,
    )
    folder = tmp_path / 'adapter'
    peft.get_peft_model(model, config).save_pretrained(folder)
    change(
        folder / 'adapter_config.json',
        base_model_name_or_path='/home/trainer/ProcVLM-2B',
        revision='abc',
        megatron_config={'no': 'thing'},
        megatron_core='no.such.module',
    )
    return folder


def by_hand(adapter: Path, folder: Path) -> Path:
    """The base with the adapter's products added to its weights."""
    weights = load_file(folder / WEIGHTS)
    parts = load_file(adapter / 'adapter_model.safetensors')
    for name in [name for name in parts if '.lora_A.' in name]:
        product = parts[name.replace('lora_A', 'lora_B')] @ parts[name]
        target = name.removeprefix('base_model.model.').replace('.lora_A', '')
        weights[target] = weights[target] + 2.0 * product
    save_file(weights, folder / WEIGHTS, metadata={'format': 'pt'})
    return folder


def test_an_adapter_is_merged_into_unquantised_weights(adapter: Path, folder: Path) -> None:
    vlm = VLM.from_pretrained(str(tiny_folder(0)), device='cpu', adapters=[str(adapter)])
    expected = VLM.from_pretrained(str(by_hand(adapter, folder)), device='cpu')
    torch.testing.assert_close(logits(vlm), logits(expected), rtol=1e-4, atol=1e-4)
    assert tokens(vlm) == tokens(expected)
    assert (logits(vlm) - logits(tiny_vlm(0))).abs().max() > 0.1
    assert not any('lora' in name for name, _ in vlm.model.named_modules())
    assert 'made for /home/trainer/ProcVLM-2B at abc' in vlm.notes[0]


def test_an_adapter_stays_beside_quantised_weights(adapter: Path, folder: Path) -> None:
    pytest.importorskip('bitsandbytes')
    plain = VLM.from_pretrained(str(tiny_folder(0)), 'nf4', 'cpu')
    vlm = VLM.from_pretrained(str(tiny_folder(0)), 'nf4', 'cpu', adapters=[str(adapter)])
    expected = VLM.from_pretrained(str(by_hand(adapter, folder)), device='cpu')
    layer = vlm.model.model.language_model.layers[0].self_attn.q_proj
    assert layer.base_layer.weight.dtype == torch.uint8
    error = (logits(vlm) - logits(expected)).abs().mean()
    assert error < (logits(plain) - logits(expected)).abs().mean()
    assert tokens(vlm)
    assert not any(item.requires_grad for item in vlm.model.parameters())


def test_an_adapter_as_model_path_says_where_it_goes(adapter: Path) -> None:
    with pytest.raises(
        VLMError, match=r'PEFT adapter of /home/trainer/ProcVLM-2B.*model\.adapters and its base'
    ):
        VLM.from_pretrained(str(adapter))


def test_an_adapter_of_another_model_is_named(adapter: Path) -> None:
    parts = load_file(adapter / 'adapter_model.safetensors')
    wide = {
        name: torch.zeros(8, 2048) if '.lora_A.' in name else part for name, part in parts.items()
    }
    save_file(wide, adapter / 'adapter_model.safetensors')
    with pytest.raises(VLMError, match=r'model\.adapters: .* does not fit.*64 .*2048'):
        VLM.from_pretrained(str(tiny_folder(0)), device='cpu', adapters=[str(adapter)])
    deep = {name.replace('layers.1', 'layers.27'): part for name, part in parts.items()}
    save_file(deep, adapter / 'adapter_model.safetensors')
    with pytest.raises(VLMError, match=r'changes layers\.27\..*does not have'):
        VLM.from_pretrained(str(tiny_folder(0)), device='cpu', adapters=[str(adapter)])


def test_a_pickled_adapter_is_refused(adapter: Path) -> None:
    (adapter / 'adapter_model.safetensors').rename(adapter / 'adapter_model.bin')
    with pytest.raises(VLMError, match=r'model\.adapters.*adapter_model\.bin.*vlm\.convert'):
        VLM.from_pretrained(str(tiny_folder(0)), device='cpu', adapters=[str(adapter)])


def test_a_pickled_value_head_is_refused_and_can_be_converted(
    adapter: Path, tmp_path: Path
) -> None:
    tensors = head_tensors(64)
    (adapter / 'procvlm_extra').mkdir()
    for name in ('procvlm_head.bin', 'procvlm_extra/procvlm_head.pt'):
        torch.save(tensors, adapter / name)
        with pytest.raises(VLMError, match=rf'value head .*{name} .*refused: convert'):
            Adapter.read(adapter)
        converted = tmp_path / Path(name).suffix
        convert_folder(adapter, converted)
        (adapter / name).unlink()
        read = Adapter.read(converted)
        assert read.head is not None
        assert load_file(read.head).keys() == tensors.keys()
        vlm = VLM.from_pretrained(str(tiny_folder(0)), device='cpu', adapters=[str(converted)])
        assert 'value head procvlm_head.safetensors of adapter' in vlm.notes[-1]
        assert 'replaces the number' in vlm.notes[-1]


# The checkpoint's own generation configuration


def test_the_generation_configuration_is_told(folder: Path) -> None:
    change(folder / 'generation_config.json', repetition_penalty=1.05, no_repeat_ngram_size=3)
    vlm = VLM.from_pretrained(str(folder), device='cpu')
    assert vlm.repetition_penalty == 1.05
    assert 'no_repeat_ngram_size, which is not applied' in vlm.notes[-1]
    assert tiny_vlm(0).repetition_penalty == 1.0
    assert tiny_vlm(0).notes == ()
