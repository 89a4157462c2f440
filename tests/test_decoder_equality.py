"""The streaming decoder's tokens are those of generate() on the same prompt, whatever it kept."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vlm_checkpoints import noise_frames, request, tiny_folder, tiny_vlm, tiny_vlm_double

from progress_monitor.types import Finish, Frame, Generate
from progress_monitor.vlm import stopping
from progress_monitor.vlm.decoder import StreamingDecoder
from progress_monitor.vlm.errors import VLMError
from progress_monitor.vlm.loading import VLM
from progress_monitor.vlm.stopping import TimeLimit
from progress_monitor_lab.bench.speed_reference import generate

SLOW = settings(
    max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
TEXTS = ('Is the drawer open?', 'Given the recent observation and the task "Push the puck."')
SIZES = ((32, 32), (64, 64), (64, 96))
MODELS = st.builds(tiny_vlm_double, st.integers(0, 2), st.integers(1, 2))


def frame(uid: int, size: tuple[int, int], camera: str) -> Frame:
    image = np.random.default_rng(uid).integers(0, 256, (*size, 3), dtype=np.uint8)
    return Frame(uid, camera, uid, image)


def windows(policy: str, ticks: int, cameras: list[tuple[int, int]]) -> list[tuple[Frame, ...]]:
    """Windows of the three policies, one sample per tick, each sample one frame per camera."""
    samples = [
        [frame(10 * tick + i, size, f'camera{i}') for i, size in enumerate(cameras)]
        for tick in range(ticks + 4)
    ]
    shown = []
    length = 2
    for tick in range(4, ticks + 4):
        if policy == 'growing':
            length = length + 1 if length < 5 else 2
            chosen = samples[tick + 1 - length : tick + 1]
        elif policy == 'sliding':
            chosen = samples[tick - 2 : tick + 1]
        else:
            chosen = [*samples[:2], samples[tick]]
        shown.append(tuple(f for sample in chosen for f in sample))
    return shown


@SLOW
@given(
    vlm=MODELS,
    policy=st.sampled_from(['growing', 'sliding', 'anchored']),
    cameras=st.lists(st.sampled_from(SIZES), min_size=1, max_size=2),
    texts=st.lists(st.sampled_from(TEXTS), min_size=6, max_size=6),
    forgets=st.sets(st.integers(0, 5)),
    limit=st.integers(1, 16),
    rows=st.integers(1, 6),
)
def test_equal_over_window_policies(vlm, policy, cameras, texts, forgets, limit, rows):
    decoder = StreamingDecoder(vlm, max_new_tokens=limit, step_rows=rows)
    for tick, (window, text) in enumerate(zip(windows(policy, 6, cameras), texts, strict=True)):
        if tick in forgets:
            decoder.forget()
        prompt = request(window, text)
        answer = decoder.answer(prompt)
        assert answer.token_ids == generate(vlm, prompt, limit)
        assert len(answer.token_ids) <= limit


@SLOW
@given(
    vlm=MODELS,
    count=st.integers(1, 4),
    size=st.sampled_from(SIZES),
    limit=st.integers(1, 24),
    rows=st.integers(1, 6),
    data=st.data(),
)
def test_equal_for_any_draft(vlm, count, size, limit, rows, data):
    prompt = request(tuple(frame(i, size, 'camera') for i in range(count)), TEXTS[0])
    expected = generate(vlm, prompt, limit)
    tokens = st.integers(0, len(vlm.tokenizer) - 1)
    draft = data.draw(
        st.one_of(
            st.lists(tokens, max_size=3 * limit),
            st.just([*expected, *expected]),
            st.lists(st.sampled_from([*expected, 9]), max_size=2 * limit),
            st.builds(
                lambda start, stop, put: [*expected[:start], *put, *expected[stop:]],
                st.integers(0, limit),
                st.integers(0, limit),
                st.lists(tokens, max_size=3),
            ),
        )
    )
    decoder = StreamingDecoder(vlm, max_new_tokens=limit, step_rows=rows)
    decoder.suggest(draft)
    answer = decoder.answer(prompt)
    assert answer.token_ids == expected
    assert answer.stats.forwards + answer.stats.accepted_tokens >= len(expected)


@SLOW
@given(vlm=MODELS, data=st.data(), drafted=st.booleans())
def test_equal_for_any_stop_rule(vlm, data, drafted):
    prompt = request(tuple(frame(i, (64, 64), 'camera') for i in range(2)), TEXTS[1])
    free = generate(vlm, prompt, 20, stop=())
    text = vlm.tokenizer.decode(free)
    start = data.draw(st.integers(0, max(len(text) - 1, 0)))
    wanted = text[start : start + data.draw(st.integers(1, 4))]
    stop = (wanted,) if wanted.isascii() else ('}{',)
    decoder = StreamingDecoder(vlm, max_new_tokens=20)
    prompt = replace(prompt, want=Generate(stop=stop))
    if drafted:
        decoder.suggest(free)
    answer = decoder.answer(prompt)
    expected = generate(vlm, prompt, 20, stop=stop)
    assert answer.token_ids == expected
    if answer.finish is not Finish.END:
        said = vlm.tokenizer.decode(expected).lower()
        assert (answer.finish is Finish.STOP) == (stop[0].lower() in said)


@pytest.mark.parametrize('seed', [3, 4, 5])
def test_equal_in_single_precision(seed):
    vlm = tiny_vlm(seed, layers=3)
    frames = noise_frames(12)
    decoder = StreamingDecoder(vlm, max_new_tokens=24)
    for newest in range(5, 13):
        prompt = request(tuple(frames[:newest]), TEXTS[0])
        assert decoder.answer(prompt).token_ids == generate(vlm, prompt, 24)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.bfloat16])
def test_the_loop_over_layers_gives_the_models_logits(dtype):
    vlm = VLM.from_pretrained(str(tiny_folder(1)), device='cpu')
    vlm = replace(vlm, model=vlm.model.to(dtype), dtype=dtype)
    prompt = request(tuple(frame(i, SIZES[i], 'camera') for i in range(3)), TEXTS[0])
    tokens = vlm.prompts.build(prompt)
    decoder = StreamingDecoder(vlm)
    with torch.inference_mode():
        decoder.answer(prompt)
        session = decoder._sessions.get('')
        session.forget()
        decoder._forwards.begin(session, tokens, decoder._vision)
        ours = decoder._forwards.prefill((20, 21, 22), TimeLimit(math.inf))
        images = [f.image for f in prompt.frames]
        theirs = vlm.model(
            input_ids=torch.from_numpy(np.append(tokens.ids, [20, 21, 22]))[None],
            pixel_values=torch.from_numpy(vlm.images.pixel_values(images)),
            image_grid_thw=torch.tensor([(1, *vlm.images.grid(image)) for image in images]),
            mm_token_type_ids=torch.from_numpy(np.append(tokens.keys < 0, [0] * 3))[None].int(),
            logits_to_keep=4,
        ).logits[0]
    tolerance = {torch.float32: 1e-4, torch.float64: 1e-5, torch.bfloat16: 0.5}[dtype]
    assert torch.allclose(ours, theirs, atol=tolerance)


def test_a_repeated_prompt_costs_one_forward_and_no_vision():
    vlm = tiny_vlm(0)
    prompt = request(tuple(noise_frames(3)), TEXTS[0])
    decoder = StreamingDecoder(vlm, max_new_tokens=16)
    first = decoder.answer(prompt)
    second = decoder.answer(prompt)
    assert second.token_ids == first.token_ids
    assert first.stats.frames_encoded == 3
    assert second.stats.frames_encoded == 0
    assert second.stats.forwards == 1
    assert second.stats.accepted_tokens == len(first.token_ids) - 1
    assert second.stats.reused_tokens == first.stats.prompt_tokens - 1


def test_a_growing_window_reuses_everything_before_the_new_frame():
    vlm = tiny_vlm(0)
    frames = noise_frames(6)
    decoder = StreamingDecoder(vlm, max_new_tokens=4)
    decoder.answer(request(tuple(frames[:5]), TEXTS[0]))
    stats = decoder.answer(request(tuple(frames), TEXTS[0])).stats
    tokens = vlm.prompts.build(request(tuple(frames), TEXTS[0]))
    # Everything up to the last old image's end, and the new image's start mark, is new.
    assert stats.reused_tokens == tokens.spans[4][1] + 1
    assert stats.frames_encoded == 1


def test_nothing_is_kept_of_frames_that_left_the_window():
    vlm = tiny_vlm(0)
    frames = noise_frames(9)
    decoder = StreamingDecoder(vlm, max_new_tokens=4)
    for start in range(6):
        decoder.answer(request(tuple(frames[start : start + 3]), TEXTS[0]))
        assert set(decoder._vision.features) == set(range(start, start + 3))


def test_the_time_limit_ends_an_answer_and_is_reported(monkeypatch):
    vlm = tiny_vlm(0)
    decoder = StreamingDecoder(vlm, max_new_tokens=64)
    prompt = request(noise_frames(1), TEXTS[0])
    # The limit is looked at before the frame, behind it and after every step.
    clock = itertools.chain([0.0] * 6, itertools.repeat(2.0))
    with monkeypatch.context() as patched:
        patched.setattr(stopping, 'perf_counter', lambda: next(clock))
        answer = decoder.answer(prompt, time_limit_s=1.0)
    assert answer.finish is Finish.TIME_LIMIT
    assert 1 <= len(answer.token_ids) < 64
    whole = decoder.answer(request(tuple(noise_frames(1)), TEXTS[0]))
    assert whole.finish in (Finish.TOKEN_LIMIT, Finish.END)
    assert whole.token_ids[: len(answer.token_ids)] == answer.token_ids


def test_numbers_that_are_not_finite_are_an_error():
    vlm = VLM.from_pretrained(str(tiny_folder(0)), device='cpu')
    vlm.model.model.language_model.norm.weight.fill_(math.nan)
    decoder = StreamingDecoder(vlm, max_new_tokens=4)
    with pytest.raises(VLMError, match='not finite'):
        decoder.answer(request(tuple(noise_frames(1)), TEXTS[0]))


def test_positions_are_those_of_the_model():
    vlm = tiny_vlm(0)
    frames = tuple(frame(i, SIZES[i % 3], 'camera') for i in range(5))
    tokens = vlm.prompts.build(request(frames, TEXTS[0]))
    ids = torch.from_numpy(tokens.ids)[None]
    marks = (tokens.keys < 0).astype(np.int32)
    grid = torch.tensor([(1, *vlm.images.grid(f.image)) for f in frames])
    positions, deltas = vlm.model.model.get_rope_index(
        ids, mm_token_type_ids=torch.from_numpy(marks)[None], image_grid_thw=grid
    )
    assert (positions[:, 0].numpy() == tokens.positions).all()
    assert tokens.next_position == len(tokens.ids) + int(deltas[0, 0])


@pytest.mark.parametrize('rows', [1, 4])
def test_a_step_of_static_shape_equals_the_eager_one(rows):
    from progress_monitor.vlm.graphs import FixedStep

    vlm = tiny_vlm_double(0)
    decoder = StreamingDecoder(vlm, max_new_tokens=4)
    prompt = request(tuple(noise_frames(2)), TEXTS[0])
    decoder.answer(prompt)
    cache = decoder._sessions.get('').cache
    length = cache.length
    ids = [20, 21, 22, 23][:rows]
    with torch.inference_mode():
        eager = decoder._forwards.step(ids, 40)
        cache.crop(length)
        cache.reserve(512)
        step = FixedStep(decoder._architecture.text, cache, rows)
        step.place(ids, 40)
        fixed = step.run()
    assert torch.allclose(fixed, eager, atol=1e-9)
    assert cache.layers[0].keys.shape[2] == 512


def test_without_cuda_steps_stay_eager_and_say_so():
    decoder = StreamingDecoder(tiny_vlm(0), max_new_tokens=4)
    decoder.answer(request(tuple(noise_frames(1)), TEXTS[0]))
    assert 'eagerly' in decoder.use_graphs(256)
