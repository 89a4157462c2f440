"""What the engine learns while it loads: the cost of a tick, fewer pixels, or a refusal."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from vlm_checkpoints import noise_frames, request, score, tiny_folder, tiny_vlm

from progress_monitor.types import Generated, Scored
from progress_monitor.vlm import warm_up
from progress_monitor.vlm.architectures import plain
from progress_monitor.vlm.config import ModelConfig
from progress_monitor.vlm.decoder import StreamingDecoder
from progress_monitor.vlm.engine import load_engine
from progress_monitor.vlm.errors import RequestRefused, VLMError
from progress_monitor.vlm.text import TextTower

CONFIG = ModelConfig(
    path=str(tiny_folder(0)), quantization='none', device='cpu', max_pixels=64 * 64, threads=1
)


def test_the_engine_answers_scores_and_says_what_a_tick_costs():
    engine = load_engine(CONFIG)
    found = engine.capabilities()
    assert found.architecture == 'qwen3_vl'
    assert found.frame_multiple == 32
    assert found.max_pixels == 64 * 64
    assert found.max_tokens == 8192
    assert found.tick_ms > found.frame_ms > 0.0
    assert any('5 new frames' in note and 'of the 8 s' in note for note in engine.info.notes)
    assert not any('plain path' in note for note in engine.info.notes)
    assert isinstance(engine.answer(request(noise_frames(2), 'Is it open?'), 5.0), Generated)
    assert isinstance(engine.answer(score(noise_frames(2), 'It is', ' open'), 5.0), Scored)
    with pytest.raises(RequestRefused):
        engine.answer(request(noise_frames(2), ''), 5.0)


def per_pixel(monkeypatch, seconds):
    """Makes the time limit find ``seconds`` a pixel of the frames that have been encoded."""
    spent = [0.0]
    encode = StreamingDecoder._encode

    def slow(self, shown, limit):
        spent[0] += (
            sum(image[..., 0].size for images in shown.values() for image in images) * seconds
        )
        return encode(self, shown, limit)

    monkeypatch.setattr(StreamingDecoder, '_encode', slow)
    monkeypatch.setattr('progress_monitor.vlm.stopping.perf_counter', lambda: spent[0])


def test_a_slow_model_is_shown_fewer_pixels_and_says_so(monkeypatch):
    per_pixel(monkeypatch, 8.0 / (6 * 200 * 200))
    engine = load_engine(replace(CONFIG, max_pixels=512 * 512))
    assert engine.capabilities().max_pixels == 512 * 512 // 8
    (note,) = (note for note in engine.info.notes if 'not the 262144' in note)
    assert 'at most 32768 pixels' in note
    answer = engine.answer(request(noise_frames(1, (512, 512)), 'Is it open?'), 8.0)
    assert answer.stats.prompt_tokens < 100


def test_a_model_that_is_too_slow_is_refused_with_the_figure_after_few_attempts(monkeypatch):
    per_pixel(monkeypatch, 1.0)
    attempts = []
    cold = warm_up._cold
    monkeypatch.setattr(warm_up, '_cold', lambda *a: attempts.append(a[2]) or cold(*a))
    with pytest.raises(VLMError, match=r'deadline_s 10: 3 new frames of 16384 pixels .* 8 s'):
        load_engine(replace(CONFIG, max_pixels=256 * 256), min_images=3)
    assert attempts == [65536, 32768, 16384]


def test_without_a_deadline_nothing_is_too_slow(monkeypatch):
    per_pixel(monkeypatch, 1.0)
    engine = load_engine(replace(CONFIG, deadline_s=math.inf))
    assert engine.capabilities().max_pixels == CONFIG.max_pixels


@pytest.mark.parametrize('fault', ['numbers', 'structure'])
def test_a_tuned_path_that_does_not_suit_the_model_gives_way_to_the_plain_one(monkeypatch, fault):
    forward = TextTower.forward

    def changed(self, *arguments, **named):
        if fault == 'structure':
            raise AttributeError('no q_norm')
        return forward(self, *arguments, **named) * 1.5

    monkeypatch.setattr(TextTower, 'forward', changed)
    architecture, note = warm_up.checked_architecture(tiny_vlm(0))
    assert architecture.path == 'plain'
    assert 'plain path is used' in note
    asked = request(noise_frames(2), 'Is it open?')
    engine = load_engine(CONFIG)
    expected = StreamingDecoder(tiny_vlm(0), architecture=plain(tiny_vlm(0))).answer(asked)
    assert engine.answer(asked, 5.0).token_ids == expected.token_ids


def test_half_precision_passes_the_check_of_the_tuned_path():
    vlm = tiny_vlm(0)
    half = replace(vlm, model=copy.deepcopy(vlm.model).to(torch.bfloat16))
    architecture, _ = warm_up.checked_architecture(replace(half, dtype=torch.bfloat16))
    assert architecture.path == 'tuned'
