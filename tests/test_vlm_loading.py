"""What is loaded, and what is said of what cannot be."""

import gc
import json
import shutil
import weakref

import numpy as np
import pytest
import torch
from vlm_checkpoints import noise_frames, request, tiny_folder, tiny_vlm

from progress_monitor.backends.inline import InlineBackend
from progress_monitor.parameters import ParameterError, build
from progress_monitor.types import BackendState, Finish
from progress_monitor.vlm import quantization
from progress_monitor.vlm.config import ModelConfig
from progress_monitor.vlm.decoder import StreamingDecoder
from progress_monitor.vlm.errors import VLMError
from progress_monitor.vlm.loading import VLM
from progress_monitor.vlm.quantization import check_kernel, choose
from progress_monitor.vlm.vision import VisionEncoder


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(tiny_folder(0), tmp_path / 'checkpoint')


def test_empty_path_is_named():
    with pytest.raises(VLMError, match=r'model\.path is empty'):
        VLM.from_pretrained('')


@pytest.mark.parametrize(
    'path',
    [
        '/no/such/folder',
        './nowhere',
        'folder/sub/deep',
        'models/nothing',
        '~nobody_here/models/cell',
        '/' + 300 * 'x',
    ],
)
def test_missing_folder_is_named_and_nothing_is_fetched(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'models').mkdir()
    from progress_monitor.vlm import hub

    def refuse(*args, **kwargs):
        raise AssertionError('a local path must not be looked up on the hub')

    monkeypatch.setattr(hub, 'fetch', refuse)
    with pytest.raises(VLMError, match='there is no folder'):
        VLM.from_pretrained(path)


def test_unreachable_hub_name_says_what_to_do(monkeypatch):
    import huggingface_hub

    def fail(*args, **kwargs):
        raise OSError('no route to host')

    monkeypatch.setattr(huggingface_hub.HfApi, 'model_info', fail)
    with pytest.raises(VLMError, match=r'could not be fetched.*no route.*local folder'):
        VLM.from_pretrained('somebody/some-model')


def test_another_architecture_is_named(folder):
    config = json.loads((folder / 'config.json').read_text())
    config['model_type'] = 'llama'
    (folder / 'config.json').write_text(json.dumps(config))
    with pytest.raises(VLMError, match='is a llama model'):
        VLM.from_pretrained(str(folder))


def test_truncated_weights_are_named(folder):
    weights = folder / 'model.safetensors'
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(VLMError, match='weights cannot be loaded'):
        VLM.from_pretrained(str(folder))


def test_missing_weights_are_not_made_up(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / 'model.safetensors')
    weights.pop('model.language_model.layers.1.mlp.up_proj.weight')
    save_file(weights, folder / 'model.safetensors', metadata={'format': 'pt'})
    with pytest.raises(VLMError, match='1 weights are missing'):
        VLM.from_pretrained(str(folder))


@pytest.mark.parametrize('name', ['config.json', 'preprocessor_config.json', 'tokenizer.json'])
def test_damaged_files_are_named(folder, name):
    (folder / name).write_text('{"half":')
    with pytest.raises(VLMError, match=str(folder)):
        VLM.from_pretrained(str(folder))


def test_only_safetensors_are_read(folder):
    weights = folder / 'model.safetensors'
    weights.rename(folder / 'pytorch_model.bin')
    with pytest.raises(VLMError, match='no safetensors'):
        VLM.from_pretrained(str(folder))


def test_unknown_device_is_named():
    with pytest.raises(VLMError, match=r'model\.device'):
        VLM.from_pretrained(str(tiny_folder(0)), device='cuda:77')


def test_out_of_bounds_parameters_are_refused():
    with pytest.raises(ParameterError, match='quantization'):
        build(ModelConfig, {'quantization': 'int3'})
    with pytest.raises(ParameterError, match=r'max_pixels.*above its maximum'):
        build(ModelConfig, {'max_pixels': 10**15})
    with pytest.raises(ParameterError, match='deadline_s'):
        build(ModelConfig, {'deadline_s': 0.0})


def test_pixel_values_are_those_of_the_image_processor():
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
        Qwen2VLImageProcessorPil,
    )

    vlm = tiny_vlm(0)
    processor = Qwen2VLImageProcessorPil(
        patch_size=16,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        do_resize=False,
    )
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, size, np.uint8) for size in ((64, 96, 3), (32, 32, 3))]
    expected = processor(images=images, return_tensors='np')
    np.testing.assert_allclose(vlm.images.pixel_values(images), expected['pixel_values'], atol=1e-6)
    assert [(1, *vlm.images.grid(image)) for image in images] == [
        tuple(grid) for grid in expected['image_grid_thw'].tolist()
    ]


def test_features_of_a_frame_are_those_of_the_tower_among_others():
    vlm = tiny_vlm(0)
    images = [frame.image for frame in noise_frames(3)]
    grid = torch.tensor([(1, *vlm.images.grid(image)) for image in images])
    pixels = torch.from_numpy(vlm.images.pixel_values(images))
    with torch.inference_mode():
        together = vlm.model.model.get_image_features(pixels, grid, return_dict=True)
        alone = VisionEncoder(vlm).encode(images[1])
    assert torch.allclose(together.pooler_output[1], alone.embedding, atol=1e-3)
    assert torch.allclose(together.deepstack_features[0][1], alone.deepstack[0], atol=1e-3)


@pytest.mark.parametrize('quantization', ['nf4', 'int8'])
def test_quantised_text_layers_leave_the_tower_and_the_head_alone(quantization):
    pytest.importorskip('bitsandbytes')
    check_kernel(quantization, torch.device('cpu'), torch.float32)
    vlm = VLM.from_pretrained(str(tiny_folder(0)), quantization, 'cpu')
    layer = vlm.model.model.language_model.layers[0].mlp.up_proj
    assert layer.weight.dtype in (torch.uint8, torch.int8)
    assert vlm.model.lm_head.weight.dtype == torch.float32
    assert vlm.model.model.visual.blocks[0].mlp.linear_fc1.weight.dtype == torch.float32
    asked = request(noise_frames(2), 'Is it open?')
    answer = StreamingDecoder(vlm, max_new_tokens=4).answer(asked)
    assert answer.token_ids


def test_a_kernel_that_computes_something_else_is_refused(monkeypatch):
    bnb = pytest.importorskip('bitsandbytes')
    monkeypatch.setattr(bnb.nn.Linear4bit, 'forward', lambda self, x: torch.zeros(x.shape[0], 256))
    with pytest.raises(VLMError, match='wrong numbers'):
        check_kernel('nf4', torch.device('cpu'), torch.float32)


class Counted:
    """Loads of ``VLM``, each with the number of models that were alive when it began."""

    def __init__(self, monkeypatch):
        self.loads = []
        self.alive = weakref.WeakSet()
        load = VLM.from_pretrained

        def counted(path, mode, *args, **kwargs):
            gc.collect()
            self.loads.append((mode, len(self.alive)))
            vlm = load(path, mode, *args, **kwargs)
            self.alive.add(vlm.model)
            return vlm

        monkeypatch.setattr(VLM, 'from_pretrained', counted)
        monkeypatch.setattr(quantization, '_decode_ms', self.timed)
        self.ms = {'none': 1.0, 'nf4': 2.0}

    def timed(self, vlm, max_pixels):
        return self.ms[vlm.quantization]


@pytest.mark.parametrize(('fast', 'loads'), [('none', 2), ('nf4', 3)])
def test_auto_takes_the_faster_and_never_holds_two_models(monkeypatch, fast, loads):
    pytest.importorskip('bitsandbytes')
    counted = Counted(monkeypatch)
    counted.ms[fast] = 0.5
    vlm, choice = choose(str(tiny_folder(0)), 'cpu', 'auto', 64 * 64)
    assert vlm.quantization == choice.quantization == fast
    assert [alive for _, alive in counted.loads] == [0] * loads
    assert 'none' in choice.reason
    assert 'ms a tick' in choice.reason


def test_auto_times_real_answers():
    pytest.importorskip('bitsandbytes')
    vlm, choice = choose(str(tiny_folder(0)), 'cpu', 'auto', 64 * 64)
    figures = {
        part.split()[0]: float(part.split()[1])
        for part in choice.reason.split('(')[1].rstrip(')').split(', ')
    }
    assert set(figures) == {'none', 'nf4'}
    assert vlm.quantization == choice.quantization == min(figures, key=figures.__getitem__)


def test_auto_times_nothing_where_only_one_fits(monkeypatch):
    pytest.importorskip('bitsandbytes')
    counted = Counted(monkeypatch)
    needed = quantization.needed_bytes(tiny_folder(0), 'none', torch.float32)
    monkeypatch.setattr(quantization, '_free_bytes', lambda device: needed)
    vlm, choice = choose(str(tiny_folder(0)), 'cpu', 'auto', 64 * 64)
    assert vlm.quantization == 'nf4'
    assert counted.loads == [('nf4', 0)]
    assert 'none does not fit' in choice.reason


def test_available_memory_counts_what_caches_would_give_back(monkeypatch):
    import psutil

    class Memory:
        available = 8 << 30
        free = 1 << 30

    monkeypatch.setattr(psutil, 'virtual_memory', Memory)
    assert quantization._free_bytes(torch.device('cpu')) == 8 << 30


def test_needed_memory_is_that_of_the_loaded_weights():
    vlm = tiny_vlm(0)
    held = sum(item.numel() * item.element_size() for item in vlm.model.parameters())
    assert quantization.needed_bytes(tiny_folder(0), 'none', torch.float32) == held


def test_inline_backend_answers_in_submit():
    backend = InlineBackend(
        ModelConfig(
            path=str(tiny_folder(0)),
            quantization='none',
            device='cpu',
            max_pixels=64 * 64,
            max_new_tokens=4,
            threads=1,
        )
    )
    assert backend.status().state is BackendState.READY
    assert backend.poll() is None
    backend.submit(request(noise_frames(1), 'Is it open?'))
    completion = backend.poll()
    assert completion.answer.finish in (Finish.TOKEN_LIMIT, Finish.END)
    assert backend.poll() is None
    backend.submit(request(noise_frames(1, (60, 60)), ''))
    assert 'no text' in backend.poll().message
    backend.close()
    assert backend.status().state is BackendState.STOPPED
