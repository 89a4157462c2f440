"""Sessions, refusals, the time limit and the checkpoint's penalty, at the decoder."""

import copy
import itertools
import logging
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from vlm_checkpoints import noise_frames, request, score, tiny_vlm, tiny_vlm_double

from progress_monitor.types import Frame, Generate, Generated, Request
from progress_monitor.vlm import bounds, forwards, sessions, stopping
from progress_monitor.vlm.cache import PrefixCache
from progress_monitor.vlm.decoder import StreamingDecoder
from progress_monitor.vlm.errors import RequestRefused
from progress_monitor.vlm.graphs import StepGraphs
from progress_monitor.vlm.greedy import Greedy
from progress_monitor_lab.bench.speed_reference import generate

TEXT = 'Is the drawer open?'
FRAMES = noise_frames(8)


def test_every_session_has_its_own_states_and_draft_and_they_share_the_frames():
    vlm = tiny_vlm(0)
    decoder = StreamingDecoder(vlm, max_new_tokens=12)
    first, second = (
        request(FRAMES[:4], text, session=name)
        for text, name in ((TEXT, 'one'), ('How far is it?', 'two'))
    )
    decoder.answer(first)
    assert decoder.answer(second).stats.frames_encoded == 0
    for asked in (first, second, first, second):
        answer = decoder.answer(asked)
        assert answer.stats.frames_encoded == 0
        assert answer.stats.forwards == 1
        assert answer.stats.reused_tokens == answer.stats.prompt_tokens - 1
        assert answer.token_ids == generate(vlm, asked, 12)


def test_frames_are_held_while_a_session_shows_them():
    decoder = StreamingDecoder(tiny_vlm(0), max_new_tokens=2)
    decoder.answer(request(FRAMES[:2], TEXT, session='one'))
    decoder.answer(request(FRAMES[4:6], TEXT, session='two'))
    assert set(decoder._vision.features) == {0, 1, 4, 5}
    decoder.answer(request(FRAMES[1:3], TEXT, session='one'))
    assert set(decoder._vision.features) == {1, 2, 4, 5}
    decoder.forget()
    assert not decoder._vision.features


def test_the_number_of_sessions_is_bounded():
    decoder = StreamingDecoder(tiny_vlm(0), max_new_tokens=2)
    for name in range(sessions.MAX_SESSIONS + 3):
        decoder.answer(request([FRAMES[name]], TEXT, session=str(name)))
    assert len(decoder._vision.features) == sessions.MAX_SESSIONS
    held = decoder._sessions
    assert len(list(held)) + len(held._spare) == sessions.MAX_SESSIONS


def frames_of(count):
    return [Frame(uid, 'camera', uid, FRAMES[0].image) for uid in range(count)]


REFUSED = {
    'no text': Request(0, '', (FRAMES[0],), Generate()),
    'characters': request([FRAMES[0]], 'x' * (bounds.MAX_TEXT_CHARACTERS + 1)),
    'tokens': request(frames_of(200), '\N{SNOWMAN}' * 3000),
    'frames': request(frames_of(bounds.MAX_FRAMES + 1), TEXT),
    'no continuation': score([FRAMES[0]], TEXT),
    'is empty': score([FRAMES[0]], TEXT, ' True', ''),
    'continuations': score([FRAMES[0]], TEXT, *[' True'] * 100),
    "a frame of 'camera'": request(
        [replace(FRAMES[0], uid=99, image=np.zeros((0, 5, 3), 'u1'))], 'x'
    ),
}


@pytest.mark.parametrize('reason', REFUSED)
def test_a_request_that_cannot_be_answered_costs_itself_alone(reason):
    vlm = tiny_vlm(0)
    decoder = StreamingDecoder(vlm, max_new_tokens=8)
    asked = request(FRAMES[:3], TEXT)
    before = decoder.answer(asked)
    with pytest.raises(RequestRefused, match=reason):
        decoder.answer(REFUSED[reason])
    after = decoder.answer(asked)
    assert after.token_ids == before.token_ids
    assert after.stats.forwards == 1
    assert after.stats.frames_encoded == 0


def test_frames_of_any_size_are_fitted_to_the_model():
    vlm = tiny_vlm(0)
    frames = noise_frames(2, (75, 130))
    decoder = StreamingDecoder(vlm, max_new_tokens=2, max_pixels=64 * 64)
    decoder.answer(request(frames, TEXT))
    rows, columns = decoder._vision.features[0].grid
    assert rows * columns * vlm.images.patch_size**2 <= 64 * 64
    assert decoder.answer(request(frames, TEXT)).stats.frames_encoded == 0


def slow_clock(monkeypatch, seconds):
    """Every look at the clock by the time limit finds ``seconds`` more."""
    ticks = itertools.count()
    monkeypatch.setattr(stopping, 'perf_counter', lambda: next(ticks) * seconds)


def test_without_time_for_the_frames_the_request_is_refused_and_a_later_attempt_gets_further(
    monkeypatch,
):
    vlm = tiny_vlm(0)
    decoder = StreamingDecoder(vlm, max_new_tokens=4)
    asked = request(FRAMES, TEXT)
    seen = []
    with monkeypatch.context() as patched:
        slow_clock(patched, 1.0)
        for _ in range(2):
            with pytest.raises(RequestRefused, match=r'time limit of 5\.5 s is over after'):
                decoder.answer(asked, time_limit_s=5.5)
            seen.append(len(decoder._vision.features))
    assert 0 < seen[0] < seen[1] <= len(FRAMES)
    answer = decoder.answer(asked)
    assert answer.stats.frames_encoded == len(FRAMES) - seen[1]
    assert answer.token_ids == generate(vlm, asked, 4)


def test_the_limit_is_looked_at_between_chunks_of_a_long_prompt(monkeypatch):
    vlm = tiny_vlm(0)
    decoder = StreamingDecoder(vlm, max_new_tokens=4)
    asked = request(FRAMES[:1], 'a b c d ' * 200)
    monkeypatch.setattr(forwards, '_CHUNK_ROWS', (16, 16))
    with monkeypatch.context() as patched:
        slow_clock(patched, 0.1)
        with pytest.raises(RequestRefused, match='new tokens were read'):
            decoder.answer(asked, time_limit_s=1.0)
    answer = decoder.answer(asked)
    # What was read before the refusal is not read again.
    assert answer.stats.reused_tokens > 50
    assert answer.stats.forwards > 10
    assert answer.token_ids == generate(vlm, asked, 4)


@pytest.mark.parametrize('rows', [1, 7, 64])
def test_chunks_change_no_token(monkeypatch, rows):
    vlm = tiny_vlm_double(1, 2)
    monkeypatch.setattr(forwards, '_CHUNK_ROWS', (rows, rows))
    monkeypatch.setattr(forwards, '_FIRST_CHUNK_ROWS', rows)
    decoder = StreamingDecoder(vlm, max_new_tokens=12)
    for newest in (3, 4, 6):
        asked = request(FRAMES[:newest], TEXT)
        assert decoder.answer(asked).token_ids == generate(vlm, asked, 12)


def penalised(penalty, **settings_):
    """The tiny model in double precision with another generation configuration."""
    vlm = copy.copy(tiny_vlm_double(0, 2))
    model = copy.copy(vlm.model)
    model.generation_config = copy.deepcopy(vlm.model.generation_config)
    model.generation_config.repetition_penalty = penalty
    for name, value in settings_.items():
        setattr(model.generation_config, name, value)
    changes = {'model': model}
    if hasattr(vlm, 'repetition_penalty'):
        changes['repetition_penalty'] = penalty
    return replace(vlm, **changes)


@settings(max_examples=20)
@given(
    penalty=st.sampled_from([0.7, 1.05, 1.3, 2.0]),
    rows=st.integers(1, 6),
    draft=st.lists(st.integers(0, 400), max_size=24),
)
def test_the_checkpoints_repetition_penalty_is_applied(penalty, rows, draft):
    vlm = penalised(penalty)
    decoder = StreamingDecoder(vlm, max_new_tokens=20, step_rows=rows)
    expected = []
    for newest in (3, 4):
        asked = request(FRAMES[:newest], TEXT)
        expected = generate(vlm, asked, 20)
        decoder.suggest([*expected[:5], *draft, *expected[5:]])
        assert decoder.answer(asked).token_ids == expected


def test_a_penalty_changes_the_answer():
    asked = request(FRAMES[:3], TEXT)
    answers = {generate(penalised(penalty), asked, 20) for penalty in (1.0, 2.0)}
    assert len(answers) == 2


def test_what_else_generate_would_apply_is_named():
    assert Greedy(tiny_vlm(0)).note == ''
    note = Greedy(penalised(1.1, no_repeat_ngram_size=3)).note
    assert 'no_repeat_ngram_size is not applied' in note


def test_a_distribution_is_given_for_the_wanted_tag_only():
    vlm = tiny_vlm(0)

    class Saying(Greedy):
        said = vlm.tokenizer('<score>42%</score>')['input_ids']

        def read(self, logits, prompt, answer, proposal):
            rows = super().read(logits, prompt, answer, proposal)
            return [(self.said[len(answer)], digits) for _, digits in rows[:1]]

    decoder = StreamingDecoder(vlm, choice=Saying(vlm))
    asked = request(FRAMES[:1], TEXT, stop=('</score>',), number_tag='score')
    answer = decoder.answer(asked)
    assert isinstance(answer, Generated)
    assert math.fsum(share for _, share in answer.number) == pytest.approx(1.0)
    assert 42.0 in dict(answer.number)
    assert decoder.answer(replace(asked, want=Generate(stop=('</score>',)))).number == ()


def test_a_step_beyond_the_capacity_of_the_graphs_is_said_once(caplog):
    cache = PrefixCache(1)
    states = torch.zeros(1, 1, 250, 4)
    cache.layers[0].update(states, states)
    graph = SimpleNamespace(replay=lambda: None)
    step = SimpleNamespace(place=lambda ids, position: None, hidden=torch.zeros(4, 6))
    graphs = StepGraphs(cache, {4: (step, graph, torch.zeros(4, 9))})
    assert [found.shape for found in graphs.step([1, 2], 250)] == [(2, 6), (2, 9)]
    with caplog.at_level(logging.WARNING):
        cache.layers[0].length = 254
        assert graphs.step([1], 254) is None
        assert graphs.step([1], 254) is None
    assert [record.getMessage() for record in caplog.records] == [
        'a prompt and answer of 258 tokens exceed the 256 that CUDA graphs were captured for: '
        'steps run eagerly; lower window.max_images or the length of the task'
    ]
