"""Adapters on the disk: which fit, which task each serves, and who is told which one answered."""

import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from adapters import WITH_VISION, make_adapter, write_adaptation, write_head
from safetensors.torch import load_file, save_file
from synchronous import SynchronousBackend, generated
from vlm_checkpoints import noise_frames, request, tiny_folder, tiny_vlm

from progress_monitor.backends.messages import (
    answer_message,
    read_answer,
    read_request,
    request_message,
)
from progress_monitor.backends.registry import make_backend
from progress_monitor.config import MonitorConfig
from progress_monitor.monitor import ProgressMonitor
from progress_monitor.node_config import NodeConfig
from progress_monitor.offline.api import infer_progress
from progress_monitor.parameters import ParameterError, build
from progress_monitor.types import Frame, Task, new_uid
from progress_monitor.vlm.adapter import Adapter, check_configured, plain_task, read_adapters
from progress_monitor.vlm.config import ModelConfig
from progress_monitor.vlm.engine import load_engine
from progress_monitor.vlm.errors import VLMError
from progress_monitor.vlm.scene_guard import statistics, write
from progress_monitor.vlm.weights import weights_revision

BASE = str(tiny_folder(0))
DRAWER, PUCK = 'Open the drawer.', 'push the puck'


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    return make_adapter(tmp_path_factory.mktemp('made') / 'drawer', tiny_vlm(0), 1, tasks=[DRAWER])


@pytest.fixture
def drawer(made, tmp_path):
    return shutil.copytree(made, tmp_path / 'drawer')


def configured(*folders, path=BASE):
    check_configured(ModelConfig(path=path, adapters=tuple(map(str, folders))))


def test_tasks_are_compared_without_case_punctuation_and_blanks():
    assert plain_task(' Open the\tDRAWER!') == plain_task('open the "drawer".')
    assert plain_task('open the drawer 2') != plain_task('open the drawer')
    assert plain_task('Öffne die Schublade') == plain_task('ÖFFNE DIE SCHUBLADE')


@pytest.mark.parametrize(
    ('values', 'said'),
    [
        ({'format': 2, 'tasks': [DRAWER]}, 'format 2; 1 can be read'),
        ({'tasks': []}, 'lists no tasks'),
        ({'tasks': DRAWER}, 'lists no tasks'),
        ({'tasks': ['...']}, 'lists no tasks'),
        ({'tasks': [DRAWER], 'revision': 7}, '"revision" is no text'),
        ({'tasks': [DRAWER], 'means': 1}, '"means" is neither true nor false'),
        (
            {'tasks': [DRAWER], 'revision': 'f' * 12},
            'trained on revision f{12} of .*, and .* is at',
        ),
    ],
)
def test_an_adaptation_that_cannot_be_used_is_told_at_configure(drawer, values, said):
    write_adaptation(drawer, **values)
    with pytest.raises(VLMError, match=rf'^model\.adapters: .*{said}'):
        configured(drawer)


def test_the_revision_of_the_base_is_compared_where_both_are_known(drawer):
    write_adaptation(drawer, tasks=[DRAWER], revision=weights_revision(tiny_folder(0)))
    configured(drawer)
    for unknown in ('', 'main', 'a' * 40):
        write_adaptation(drawer, tasks=[DRAWER], revision=unknown)
        configured(drawer)


def test_another_base_is_named_and_one_that_does_not_fit_is_refused(drawer):
    write_adaptation(drawer, tasks=[DRAWER], base='/home/trainer/ProcVLM-2B')
    told = ' '.join(Adapter.read(drawer).notes('models/small_cell'))
    assert 'made for /home/trainer/ProcVLM-2B' in told
    assert 'names another base than models/small_cell' in told
    same = ' '.join(Adapter.read(drawer).notes('ce-amtic/ProcVLM-2B'))
    assert 'another base' not in same
    parts = load_file(drawer / 'adapter_model.safetensors')
    wide = {name: torch.zeros(4, 96) if '_A.' in name else it for name, it in parts.items()}
    save_file(wide, drawer / 'adapter_model.safetensors')
    with pytest.raises(VLMError, match=r'does not fit .*64 .*96 here.*made for /home/trainer/Proc'):
        configured(drawer)


@pytest.mark.parametrize('missing', ['adapter_config.json', 'adapter_model.safetensors'])
def test_a_missing_file_is_named(drawer, missing):
    (drawer / missing).unlink()
    with pytest.raises(VLMError, match=rf'model\.adapters: .* holds no {missing}'):
        configured(drawer)


@pytest.mark.parametrize('setting', [{'bias': 'all'}, {'modules_to_save': ['lm_head']}])
def test_what_cannot_be_switched_is_refused(drawer, setting):
    path = drawer / 'adapter_config.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), **setting}))
    with pytest.raises(VLMError, match=f'trained with {next(iter(setting))} .*cannot be switched'):
        configured(drawer)


@pytest.mark.parametrize(
    'setting',
    [
        {'init_lora_weights': 'pissa_niter_16'},
        {'init_lora_weights': 'olora'},
        {'alora_invocation_tokens': [5, 6]},
        {'layer_replication': [[0, 1], [0, 2]]},
    ],
)
def test_products_over_another_base_or_in_part_of_the_prompt_are_refused(drawer, setting):
    """PEFT changes the base or the layers first; without that the numbers are of nothing."""
    path = drawer / 'adapter_config.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), **setting}))
    with pytest.raises(VLMError, match=f'drawer was trained with {next(iter(setting))}'):
        configured(drawer)


def test_two_adapters_of_one_task_or_one_name_are_refused(drawer, tmp_path):
    other = shutil.copytree(drawer, tmp_path / 'other')
    with pytest.raises(VLMError, match=r'both serve the task "Open the drawer\."'):
        configured(drawer, other)
    (drawer / 'adaptation.json').unlink()
    (other / 'adaptation.json').unlink()
    with pytest.raises(VLMError, match=r'both hold no adaptation\.json'):
        configured(drawer, other)
    twin = shutil.copytree(drawer, tmp_path / 'sub' / 'drawer')
    write_adaptation(twin, tasks=[PUCK])
    with pytest.raises(VLMError, match='have one name; rename a folder'):
        read_adapters([str(drawer), str(twin)])


def test_a_head_for_another_width_or_with_a_hole_is_refused(drawer):
    write_head(drawer, 32)
    with pytest.raises(VLMError, match=r'procvlm_head\.safetensors does not fit the text layers'):
        configured(drawer)
    whole = write_head(drawer, 64)
    configured(drawer)
    del whole['value_head.4.bias']
    save_file(whole, drawer / 'procvlm_head.safetensors')
    with pytest.raises(VLMError, match=r'no value head of ProcVLM: value_head\.4\.bias is missing'):
        configured(drawer)


def test_the_node_is_not_configured_with_an_adapter_that_cannot_be_used(drawer):
    given = {'model.path': BASE, 'model.adapters': [str(drawer)]}
    (drawer / 'adapter_model.safetensors').unlink()
    with pytest.raises(ParameterError, match=r'^model\.adapters: .*holds no adapter_model'):
        make_backend(build(NodeConfig, given))
    with pytest.raises(ParameterError, match=r'^model\.adapters: a server .*server\.model'):
        make_backend(build(NodeConfig, {**given, 'backend': 'openai'}))


def test_the_engine_knows_the_scenes_of_each_adapter(drawer, tmp_path):
    # The checkpoint itself knows of none: with an adapter that brings its scenes, they are told.
    width = tiny_vlm(0).model.config.vision_config.out_hidden_size
    pictures = np.random.default_rng(0).normal(size=(60, 4 * width)).astype(np.float32)
    write(drawer, statistics(pictures[:50], pictures[50:]))
    puck = make_adapter(tmp_path / 'puck', tiny_vlm(0), 2, WITH_VISION, [PUCK])
    engine = load_engine(
        ModelConfig(
            path=BASE,
            adapters=(str(drawer), str(puck)),
            quantization='none',
            device='cpu',
            max_pixels=64 * 64,
        )
    )
    asked = request(noise_frames(1), 'Is it open?', max_new_tokens=2)
    answers = [engine.answer(replace(asked, task=task), 60.0) for task in (DRAWER, PUCK, 'rest')]
    assert [answer.adapter for answer in answers] == ['drawer', 'puck', '']
    assert np.isfinite([answer.scene_distance for answer in answers]).tolist() == [
        True,
        False,
        False,
    ]
    told = ' '.join(engine.info.notes)
    assert 'serves "Open the drawer."' in told
    assert 'beside the weights of adapter puck: unknown scenes are not told' in told
    assert 'beside the weights of adapter drawer' not in told


def test_the_engine_passes_on_what_the_report_found_of_an_adapters_ends(drawer):
    write_adaptation(drawer, tasks=[DRAWER, PUCK], doubtful_ends=['open the DRAWER'])
    engine = load_engine(
        ModelConfig(
            path=BASE, adapters=(str(drawer),), quantization='none', device='cpu', max_pixels=4096
        )
    )
    asked = request(noise_frames(1), 'Is it open?', max_new_tokens=2)
    answers = [engine.answer(replace(asked, task=task), 60.0) for task in (DRAWER, PUCK, 'rest')]
    assert [answer.end_doubtful for answer in answers] == [True, False, False]
    assert read_answer(answer_message(1, answers[0], 0.0)) == answers[0]
    assert 'takes unfinished work of "open the DRAWER" for done' in ' '.join(engine.info.notes)
    write_adaptation(drawer, tasks=[DRAWER], doubtful_ends='all')
    with pytest.raises(VLMError, match=r'adaptation\.json: "doubtful_ends" is no list of texts'):
        configured(drawer)


class Telling(SynchronousBackend):
    """Says which adapter answered, as the engine does, by the task that the request names."""

    def answer(self, request):
        adapter = 'drawer' if request.task == DRAWER else ''
        text = '1. Go on.\nTherefore, it is <progress>40%</progress>'
        return replace(generated(text), adapter=adapter)


def ticked(monitor, seconds):
    random = np.random.default_rng(seconds)
    for tick in range(8):
        stamp = (seconds * 10 + tick) * 10**9
        image = random.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        monitor.observe(Frame(new_uid(), '', stamp, image))
        update = monitor.tick(stamp)
    return update


def test_requests_carry_the_task_and_the_status_its_adapter():
    from progress_monitor.ros.diagnostics import OK, diagnostics, task
    from progress_monitor.ros.messages import status_message

    monitor = ProgressMonitor(MonitorConfig(), Telling())
    monitor.set_task(Task('1', DRAWER), 0)
    update = ticked(monitor, 1)
    assert update.adapter == 'drawer'
    message = status_message(update, None, 0.0, 0.0)
    assert message.model == f'{update.backend.model} with adapter drawer'
    told = diagnostics('monitor', update, None, (), 1.0, 1.0, task('messages', OK, ''))
    model = next(item for item in told.status if item.name.endswith('model'))
    assert ('adapter', 'drawer') in [(pair.key, pair.value) for pair in model.values]
    monitor.set_task(Task('2', PUCK), 20 * 10**9)
    assert monitor.tick(20 * 10**9).adapter == '', 'nothing has answered for the new task'
    assert status_message(ticked(monitor, 3), None, 0.0, 0.0).model == update.backend.model


def test_the_task_crosses_over_to_the_worker():
    class Store:
        put = staticmethod(lambda frames: [])

    asked = replace(request((), 'Is it open?'), task=DRAWER)
    message = json.loads(json.dumps(request_message(asked, Store())))
    assert read_request(message, None).task == DRAWER


def test_a_recording_is_watched_with_the_adapter_of_its_task(drawer, tmp_path):
    folder = tmp_path / 'pictures'
    folder.mkdir()
    random = np.random.default_rng(0)
    for index in range(6):
        cv2.imwrite(str(folder / f'{index}.png'), random.integers(0, 256, (64, 64, 3), np.uint8))
    parameters = {'model.device': 'cpu', 'model.max_pixels': 4096, 'model.max_new_tokens': 8}
    parameters['model.quantization'] = 'none'
    rows = infer_progress(folder, DRAWER, BASE, parameters=parameters, adapters=[str(drawer)])
    assert {row['adapter'] for row in rows} == {'drawer'}
    with pytest.raises(VLMError, match=r'model\.adapters: there is no folder'):
        infer_progress(folder, DRAWER, BASE, adapters=[str(tmp_path / 'none')])
