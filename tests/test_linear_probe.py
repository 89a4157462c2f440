"""The linear probe of an adapter: a ridge regression, and what it changes in an answer."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from adapters import make_adapter, write_adaptation
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import LogitsProcessor, LogitsProcessorList
from vlm_checkpoints import noise_frames, request, tiny_folder, tiny_vlm

from progress_monitor.adapt.probing import RIDGE, ridge
from progress_monitor.vlm import linear_probe
from progress_monitor.vlm.adapter import Adapter, check_configured
from progress_monitor.vlm.adapter_switch import AdapterSwitch
from progress_monitor.vlm.architectures import architecture_of
from progress_monitor.vlm.cache import VisionFeatures
from progress_monitor.vlm.config import ModelConfig
from progress_monitor.vlm.decoder import StreamingDecoder
from progress_monitor.vlm.errors import VLMError
from progress_monitor.vlm.linear_probe import (
    FILE_NAME,
    WEIGHT_OF_EVIDENCE,
    LinearProbe,
    evidence_of_done,
)
from progress_monitor_lab.bench.speed_reference import kinds, pictures

TASKS = ('open the drawer', 'push the puck')
LIMIT = 8


@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(1, 20))
def test_the_dual_form_is_the_ridge_regression(seed, count, width):
    rng = np.random.default_rng(seed)
    features, progress = rng.normal(3.0, 2.0, (count, width)), rng.uniform(0.0, 1.0, count)
    weight, bias = ridge(torch.from_numpy(features), torch.from_numpy(progress))
    centred = features - features.mean(0)
    damping = RIDGE * (centred**2).sum(1).mean()
    primal = np.linalg.solve(
        centred.T @ centred + damping * np.eye(width), centred.T @ (progress - progress.mean())
    )
    assert np.allclose(weight.numpy(), primal, atol=1e-8)
    assert float(weight @ torch.from_numpy(features.mean(0)) + bias) == pytest.approx(
        progress.mean()
    )


def picture(*values):
    return VisionFeatures((2, 2), torch.tensor([[float(value)] for value in values]))


def test_the_newest_picture_of_each_camera_is_read():
    probe = LinearProbe(
        torch.tensor([[0.1, 0.0, 0.0, 0.2]]), torch.tensor([0.3]), ((1, 2, 1), (1, 2, 1)), 0
    )
    shown = [picture(9, 9), picture(9, 9), picture(1, 5), picture(5, 2)]
    assert probe.percent(0, 'ABAB', shown) == pytest.approx(80.0)
    assert probe.percent(0, 'AB', [picture(9, 9), picture(9, 9)]) == 100.0
    assert probe.percent(0, 'AB', [picture(-9, 9), picture(0, 0)]) == 0.0
    assert math.isnan(probe.percent(0, 'A', shown[:1])), 'a camera is missing'
    for cameras in ('ABA', 'ABB', 'ABC', 'AAA'):
        assert math.isnan(probe.percent(0, cameras, shown[:3])), 'no sample of all cameras'
    assert math.isnan(probe.percent(0, 'AB', [picture(1, 5), picture(5, 2, 3)])), 'other sizes'


def test_only_what_is_read_near_the_end_speaks_for_it():
    read = [evidence_of_done(value) for value in np.linspace(0.0, 1.2, 61)]
    assert read == sorted(read)
    assert evidence_of_done(1.0) == evidence_of_done(1.2) > 0.0 > evidence_of_done(0.85)


def frames_for(vlm, count):
    side = vlm.images.multiple
    return tuple(noise_frames(count, (2 * side, side), 0))


def ask(frames, task=TASKS[0], tag='progress'):
    return replace(request(frames, 'How far is it?', number_tag=tag), task=task)


def probed(folder, vlm, reads, done_token=5):
    """An adapter of the first task whose probe reads ``reads`` of every picture."""
    make_adapter(folder, vlm, 1)
    write_adaptation(folder, tasks=TASKS[:1])
    encoded = architecture_of(vlm).vision.encode(frames_for(vlm, 1)[0].image)
    shape = tuple(linear_probe.stacked(encoded).shape)
    weight, bias = torch.zeros((1, math.prod(shape))), torch.tensor([float(reads)])
    save_file(dict(linear_probe.tensors(weight, bias, [shape], done_token)), folder / FILE_NAME)
    return folder


def with_adapter(vlm, folder):
    return replace(vlm, adapters=AdapterSwitch.load(vlm.model, [Adapter.read(folder)], True))


class _Moved(LogitsProcessor):
    def __init__(self, start, token, by):
        self._start, self._token, self._by = start, token, by

    def __call__(self, input_ids, scores):
        if input_ids.shape[1] == self._start:
            scores = scores.clone()
            scores[:, self._token] += self._by
        return scores


def generated(vlm, asked, token, by):
    tokens = vlm.prompts.build(asked)
    ids = torch.from_numpy(tokens.ids)[None]
    output = vlm.model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        mm_token_type_ids=kinds(vlm, asked, tokens),
        **pictures(vlm, asked),
        do_sample=False,
        max_new_tokens=LIMIT,
        logits_processor=LogitsProcessorList([_Moved(ids.shape[1], token, by)]),
    )
    return tuple(output[0, ids.shape[1] :].tolist())


@pytest.mark.parametrize('reads', [1.0, 0.93, 0.2])
def test_tokens_are_those_of_generate_with_the_first_choice_moved(tmp_path, reads):
    vlm = tiny_vlm.__wrapped__(3)
    vlm = replace(vlm, model=vlm.model.double(), dtype=torch.float64)
    plain = with_adapter(vlm, make_adapter(tmp_path / 'plain', vlm, 1))
    plain = replace(plain, adapters=AdapterSwitch())
    frames = frames_for(vlm, 6)
    first = generated(plain, ask(frames[:3]), 0, 0.0)[0]
    folder = probed(tmp_path / 'drawer', tiny_vlm.__wrapped__(3), reads, first)
    fresh = tiny_vlm.__wrapped__(3)
    fresh = replace(fresh, model=fresh.model.double(), dtype=torch.float64)
    decoder = StreamingDecoder(with_adapter(fresh, folder), max_new_tokens=LIMIT)
    moved = WEIGHT_OF_EVIDENCE * evidence_of_done(reads)
    said = []
    for newest in (3, 3, 4, 5, 6):
        asked = ask(frames[:newest])
        said.append(decoder.answer(asked).token_ids)
        assert said[-1] == generated(plain, asked, first, moved)
    assert (said[0][0] == first) == (moved > -1.0)


class Tagged:
    """Greedy decoding made to say a text, each digit as likely as any other."""

    note = ''

    def __init__(self, vlm, text):
        self._script = [
            *vlm.tokenizer(text, add_special_tokens=False)['input_ids'],
            min(vlm.end_tokens),
        ]

    def read(self, logits, prompt, answer, proposal):
        places = (len(answer) + index for index in range(len(logits)))
        return [(self._script[min(p, len(self._script) - 1)], [0.1] * 10) for p in places]


@pytest.mark.parametrize(
    ('text', 'task', 'tag', 'said'),
    [
        ('<progress>42%</progress>', TASKS[0], 'progress', '<progress>62.75%'),
        ('<progress>100%</progress>', TASKS[0], 'progress', '<progress>100%'),
        ('<progress>n/a</progress>', TASKS[0], 'progress', '<progress>n/a'),
        ('<progress>42%</progress>', TASKS[1], 'progress', '<progress>42%'),
        ('<progress>42%</progress>', TASKS[0], 'score', '<progress>42%'),
    ],
)
def test_the_number_is_the_mean_of_the_models_own_and_the_probes(tmp_path, text, task, tag, said):
    vlm = tiny_vlm.__wrapped__(3)
    ours = with_adapter(vlm, probed(tmp_path / 'drawer', vlm, 0.76))
    decoder = StreamingDecoder(ours, max_new_tokens=64, choice=Tagged(ours, text))
    assert said in decoder.answer(ask(frames_for(vlm, 3), task, tag)).text


def test_pictures_of_another_size_leave_the_number_to_the_model(tmp_path):
    vlm = tiny_vlm.__wrapped__(3)
    ours = with_adapter(vlm, probed(tmp_path / 'drawer', vlm, 0.76))
    script = Tagged(ours, '<progress>42%</progress>')
    decoder = StreamingDecoder(ours, max_new_tokens=64, choice=script)
    side = vlm.images.multiple
    wide = tuple(noise_frames(2, (side, 3 * side), 0))
    assert '<progress>42%' in decoder.answer(ask(wide)).text


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (lambda t: t.pop('bias'), 'is no linear probe: bias is missing'),
        (lambda t: t.update(weight=t['weight'][0]), 'is no linear probe: weight'),
        (lambda t: t.update(weight=t['weight'].repeat(2, 1)), 'has rows for 1, 2 tasks'),
    ],
)
def test_a_probe_that_does_not_fit_is_refused_at_configure(tmp_path, change, said):
    folder = probed(tmp_path / 'drawer', tiny_vlm(0), 0.5)
    check_configured(ModelConfig(path=str(tiny_folder(0)), adapters=(str(folder),)))
    tensors = load_file(folder / FILE_NAME)
    change(tensors)
    save_file(tensors, folder / FILE_NAME)
    with pytest.raises(VLMError, match=rf'^model\.adapters: .*{said}'):
        check_configured(ModelConfig(path=str(tiny_folder(0)), adapters=(str(folder),)))


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (lambda t: t['weight'].fill_(math.nan), 'not finite'),
        (lambda t: t.update(weight=t['weight'][:, :-1].contiguous()), 'fit no pictures'),
        (lambda t: t['done_token'].fill_(600), 'made for other tokens'),
        (lambda t: t['done_token'].fill_(-1), 'made for other tokens'),
    ],
)
def test_a_damaged_probe_is_not_read(tmp_path, change, said):
    folder = probed(tmp_path / 'drawer', tiny_vlm(0), 0.5)
    tensors = load_file(folder / FILE_NAME)
    change(tensors)
    save_file(tensors, folder / FILE_NAME)
    with pytest.raises(VLMError, match=said):
        LinearProbe.read(folder / FILE_NAME, 600)
