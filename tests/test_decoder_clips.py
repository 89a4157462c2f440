"""Clips: the official processor's tokens, positions and pixels, and the model's own numbers."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from official_videos import official_video_inputs
from vlm_checkpoints import noise_frames, tiny_qwen2_5, tiny_vlm

from progress_monitor.backends.frames import FrameStore, FrameView
from progress_monitor.backends.messages import decode, encode, read_request, request_message
from progress_monitor.types import Clip, Request, Score
from progress_monitor.vlm.architectures import architecture_of, plain
from progress_monitor.vlm.decoder import StreamingDecoder
from progress_monitor.vlm.errors import RequestRefused
from progress_monitor.vlm.pictures import pictures_of

TEXT = 'The above video shows that: push it. The answer is:'
CONTINUATIONS = (' True', ' False')


def clip_request(frames, text=TEXT):
    return Request(0, 'clip', (Clip(tuple(frames)), text), Score(CONTINUATIONS), chat=False)


def spaced(count, size=(64, 96), step_ns=500_000_000):
    return [
        replace(frame, stamp_ns=10**18 + index * step_ns)
        for index, frame in enumerate(noise_frames(count, size, start=1))
    ]


@pytest.mark.parametrize('count', [1, 2, 5, 8])
@pytest.mark.parametrize('step_ns', [500_000_000, 100_000_000, 1_700_000_000])
def test_tokens_positions_and_pixels_are_the_official_processors(count, step_ns):
    vlm = tiny_vlm(0)
    frames = spaced(count, step_ns=step_ns)
    # The published client shows a single frame twice.
    shown = frames if count > 1 else frames * 2
    tokens = vlm.prompts.build(clip_request(shown))
    expected = official_video_inputs(vlm, shown, TEXT)
    assert tokens.ids.tolist() == expected['input_ids'][0].tolist()
    positions, deltas = vlm.model.model.get_rope_index(
        expected['input_ids'],
        mm_token_type_ids=expected['mm_token_type_ids'],
        video_grid_thw=expected['video_grid_thw'],
    )
    assert (positions[:, 0].numpy() == tokens.positions).all()
    assert tokens.next_position == len(tokens.ids) + int(deltas[0, 0])
    pixels = [
        vlm.images.picture(*(frame.image for frame in picture.frames))
        for picture in pictures_of([Clip(tuple(shown))])
    ]
    np.testing.assert_allclose(
        np.concatenate(pixels), expected['pixel_values_videos'].numpy(), atol=1e-6
    )


@pytest.mark.parametrize('way', [architecture_of, plain])
def test_log_probabilities_are_those_of_the_models_own_forward(way):
    vlm = tiny_vlm(1)
    decoder = StreamingDecoder(vlm, architecture=way(vlm))
    frames = spaced(12)
    for newest in range(4, 13):
        window = frames[max(newest - 8, 0) : newest]
        scored = decoder.answer(clip_request(window))
        for text, value in zip(CONTINUATIONS, scored.log_probabilities, strict=True):
            assert value == pytest.approx(_official(vlm, window, text), abs=1e-4)


@torch.inference_mode()
def _official(vlm, frames, continuation):
    inputs = official_video_inputs(vlm, frames, TEXT + continuation)
    said = vlm.tokenizer(continuation, add_special_tokens=False)['input_ids']
    assert inputs['input_ids'][0, -len(said) :].tolist() == said
    rows = vlm.model(**inputs).logits[0, -len(said) - 1 : -1].log_softmax(-1)
    return math.fsum(rows[place, token].item() for place, token in enumerate(said))


def test_a_clip_that_moves_on_costs_one_pair():
    decoder = StreamingDecoder(tiny_vlm(0))
    frames = spaced(14)
    encoded = [
        decoder.answer(clip_request(frames[start : start + 8])).stats.frames_encoded
        for start in range(7)
    ]
    assert encoded == [4, 4, 1, 1, 1, 1, 1]
    assert len(decoder._vision.features) == 8


def test_a_pair_is_another_picture_than_its_frames_and_than_any_other_pair():
    frames = noise_frames(4)
    pairs = [Clip((one, other)) for one in frames for other in frames]
    keys = [picture.key for picture in pictures_of([*frames, *pairs])]
    negative = [replace(frame, uid=-1 - frame.uid) for frame in frames]
    keys += [picture.key for picture in pictures_of([*negative, Clip(tuple(negative))])]
    assert len(set(keys)) == len(keys)
    assert all(-(2**63) < -1 - key < 2**63 for key in keys)


def test_qwen2_5_refuses_a_clip_and_answers_the_next_request():
    decoder = StreamingDecoder(tiny_qwen2_5(0))
    frames = spaced(2, (56, 56))
    with pytest.raises(RequestRefused, match=r'topreward\.video'):
        decoder.answer(clip_request(frames))
    asked = Request(0, 'one', (*frames, TEXT), Score(CONTINUATIONS), chat=False)
    assert len(decoder.answer(asked).log_probabilities) == 2


def test_frames_of_two_sizes_make_no_clip():
    frames = [*spaced(1), *noise_frames(1, (32, 32), start=9)]
    with pytest.raises(RequestRefused, match='differ in size'):
        StreamingDecoder(tiny_vlm(0)).answer(clip_request(frames))


def test_a_clip_reaches_the_worker_as_it_is():
    store = FrameStore(64 * 96 * 3)
    frames = spaced(3)
    asked = clip_request(frames)
    message = decode(encode(request_message(asked, store)))
    found = read_request(message, FrameView(store.descriptor, store.slot_bytes))
    assert (found.parts[1], found.want, found.chat) == (TEXT, asked.want, False)
    clip = found.parts[0]
    assert isinstance(clip, Clip)
    for one, other in zip(clip.frames, frames, strict=True):
        assert (one.uid, one.stamp_ns) == (other.uid, other.stamp_ns)
        assert (one.image == other.image).all()
