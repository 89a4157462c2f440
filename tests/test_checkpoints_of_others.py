"""Checkpoints as people have them: saved by other releases, merged, copied together, damaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from vlm_checkpoints import noise_frames, request, tiny_folder, tiny_vlm

from progress_monitor.vlm.decoder import StreamingDecoder
from progress_monitor.vlm.errors import VLMError
from progress_monitor.vlm.loading import VLM

WEIGHTS, CONFIG, PICTURES = 'model.safetensors', 'config.json', 'preprocessor_config.json'
NORM = 'model.language_model.norm.weight'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder(0), tmp_path / 'checkpoint'))


def load(folder: Path) -> VLM:
    return VLM.from_pretrained(str(folder), device='cpu')


def said(vlm: VLM) -> object:
    decoder = StreamingDecoder(vlm, 12)
    return decoder.answer(request(noise_frames(2), 'How far?', max_new_tokens=12)).token_ids


def change(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads(path.read_text(encoding='utf-8'))
    change(values)
    path.write_text(json.dumps(values), encoding='utf-8')


def change_header(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], 'little')
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, 'little') + text + data[8 + length :])


def ties(of: dict[str, Any], where: str) -> None:
    """``tie_word_embeddings`` as transformers 4 saved it: in one place, or in none."""
    top, text = of.pop('tie_word_embeddings'), of['text_config'].pop('tie_word_embeddings')
    assert top is text is True
    if where == 'text':
        of['text_config']['tie_word_embeddings'] = True
    if where == 'top':
        of['tie_word_embeddings'] = True


@pytest.mark.parametrize('where', ['top', 'text', 'nowhere'])
def test_a_head_that_is_not_stored_is_the_embedding(folder: Path, where: str) -> None:
    change(folder / CONFIG, lambda config: ties(config, where))
    assert said(load(folder)) == said(tiny_vlm(0))


def test_a_head_that_should_be_stored_is_missed(folder: Path) -> None:
    def untie(config: dict[str, Any]) -> None:
        config['tie_word_embeddings'] = config['text_config']['tie_word_embeddings'] = False

    change(folder / CONFIG, untie)
    with pytest.raises(VLMError, match=r'1 weights are missing \(lm_head'):
        load(folder)


def test_an_index_that_was_left_behind_by_a_merge_changes_nothing(folder: Path) -> None:
    index = {'weight_map': dict.fromkeys(load_file(folder / WEIGHTS), 'model-00001-of-00002.st')}
    (folder / 'model.safetensors.index.json').write_text(json.dumps(index))
    assert said(load(folder)) == said(tiny_vlm(0))


@pytest.mark.parametrize(
    ('name', 'values', 'what'),
    [
        (PICTURES, {'patch_size': 14}, 'cuts patches of 14 pixels'),
        (PICTURES, {'patch_size': 0}, 'cuts patches of 0 pixels'),
        (PICTURES, {'merge_size': 1}, '1 by 1'),
        (CONFIG, {'text_config': 3}, 'text_config is no object'),
        (CONFIG, {'vision_config': None}, 'vision_config is no object'),
        ('generation_config.json', {'eos_token_id': 'x'}, "eos_token_id 'x' is no id"),
        ('generation_config.json', {'repetition_penalty': -1}, 'repetition_penalty -1'),
    ],
)
def test_files_of_another_model_are_named(
    folder: Path, name: str, values: dict[str, Any], what: str
) -> None:
    change(folder / name, lambda found: found.update(values))
    with pytest.raises(VLMError, match=what):
        load(folder)


@pytest.mark.parametrize('template', ['{% for %}', "{{ ''.__class__.__mro__ }}", '{{ 1 // 0 }}'])
def test_a_template_that_fails_is_named(folder: Path, template: str) -> None:
    (folder / 'chat_template.jinja').write_text(template)
    vlm = load(folder)
    with pytest.raises(VLMError, match='chat template cannot be used'):
        said(vlm)


@pytest.mark.parametrize('name', [CONFIG, PICTURES, 'tokenizer.json', 'generation_config.json'])
def test_files_without_an_end_are_named(folder: Path, name: str) -> None:
    (folder / name).write_text('[' * 100_000)
    with pytest.raises(VLMError, match=str(folder)):
        load(folder)


@pytest.mark.parametrize(
    'lie',
    [
        lambda header: header[NORM].update(data_offsets=[5]),
        lambda header: header[NORM].update(data_offsets=[-8, 8]),
        lambda header: header[NORM].update(data_offsets=[0, 10**30]),
        lambda header: header[NORM].update(shape=[10**18]),
        lambda header: header[NORM].update(dtype='Q9'),
        lambda header: header.update({NORM: None}),
        lambda header: header['model.language_model.embed_tokens.weight'].update(shape=[]),
    ],
)
def test_a_header_that_lies_is_named(folder: Path, lie: Callable[[dict[str, Any]], object]) -> None:
    change_header(folder / WEIGHTS, lie)
    with pytest.raises(VLMError, match=str(folder)):
        load(folder)


def test_a_header_without_an_end_is_named(folder: Path) -> None:
    text = b'[' * 100_000
    (folder / WEIGHTS).write_bytes(len(text).to_bytes(8, 'little') + text)
    with pytest.raises(VLMError, match='weights cannot be loaded'):
        load(folder)


def test_weights_of_another_shape_are_named(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    weights[NORM] = weights[NORM][:-1].clone()
    save_file(weights, folder / WEIGHTS, {'format': 'pt'})
    with pytest.raises(VLMError, match=r'other shapes than config\.json says'):
        load(folder)
