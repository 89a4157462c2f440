"""Every architecture, tuned and plain, says what transformers' generate() says."""

import math

import numpy as np
import pytest
import torch
from vlm_checkpoints import noise_frames, request, score, tiny_qwen2_5, tiny_vlm

from progress_monitor.vlm.architectures import ARCHITECTURES, architecture_of, plain
from progress_monitor.vlm.decoder import StreamingDecoder
from progress_monitor.vlm.loading import VLM
from progress_monitor_lab.bench.speed_reference import generate, pictures

MAKERS = {'qwen3_vl': tiny_vlm, 'qwen2_5_vl': tiny_qwen2_5}
TEXT = 'Is the drawer open?'


def frames_for(vlm: VLM, count: int, cells: tuple[int, int] = (2, 2)):
    side = vlm.images.multiple
    return noise_frames(count, (cells[0] * side, cells[1] * side))


def test_every_architecture_is_tested():
    assert set(MAKERS) == set(ARCHITECTURES)


@pytest.mark.parametrize('kind', MAKERS)
@pytest.mark.parametrize('way', ['tuned', 'plain'])
def test_tokens_are_those_of_generate(kind, way):
    for seed in (0, 1):
        vlm = MAKERS[kind](seed, 3)
        architecture = architecture_of(vlm) if way == 'tuned' else plain(vlm)
        assert (architecture.name, architecture.path) == (kind, way)
        decoder = StreamingDecoder(vlm, max_new_tokens=20, architecture=architecture)
        frames = frames_for(vlm, 8, (3, 5))
        for newest in range(4, 9):
            asked = request(frames[:newest], TEXT)
            assert decoder.answer(asked).token_ids == generate(vlm, asked, 20)


@pytest.mark.parametrize('kind', MAKERS)
@pytest.mark.parametrize('cells', [(1, 1), (2, 3), (5, 4), (1, 7)])
def test_tuned_features_are_those_of_the_plain_path(kind, cells):
    vlm = MAKERS[kind](2, 2)
    image = frames_for(vlm, 1, cells)[0].image
    with torch.inference_mode():
        ours = architecture_of(vlm).vision.encode(image)
        theirs = plain(vlm).vision.encode(image)
    assert ours.grid == theirs.grid
    assert torch.allclose(ours.embedding, theirs.embedding, atol=1e-4)
    for one, other in zip(ours.deepstack, theirs.deepstack, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


@pytest.mark.parametrize('kind', MAKERS)
def test_positions_are_those_of_the_model(kind):
    vlm = MAKERS[kind](0, 2)
    shown = [*frames_for(vlm, 2, (1, 3)), *frames_for(vlm, 2, (4, 2))]
    asked = request(shown, TEXT)
    tokens = vlm.prompts.build(asked)
    positions, deltas = vlm.model.model.get_rope_index(
        torch.from_numpy(tokens.ids)[None],
        mm_token_type_ids=torch.from_numpy((tokens.keys < 0).astype(np.int32))[None],
        image_grid_thw=pictures(vlm, asked)['image_grid_thw'],
    )
    assert (positions[:, 0].numpy() == tokens.positions).all()
    assert tokens.next_position == len(tokens.ids) + int(deltas[0, 0])


def test_an_output_head_of_its_own_is_used():
    vlm = tiny_qwen2_5(5, 2, tied=False)
    assert vlm.model.lm_head.weight is not vlm.model.model.language_model.embed_tokens.weight
    asked = request(frames_for(vlm, 2), TEXT)
    decoder = StreamingDecoder(vlm, max_new_tokens=20)
    assert decoder.answer(asked).token_ids == generate(vlm, asked, 20)


@pytest.mark.parametrize('kind', MAKERS)
def test_layers_with_adapters_are_used_as_they_are(kind):
    peft = pytest.importorskip('peft')
    bare = MAKERS[kind].__wrapped__(7, 2)
    asked = request(frames_for(bare, 2), TEXT)
    before = generate(bare, asked, 20)
    config = peft.LoraConfig(
        r=4, target_modules=['q_proj', 'v_proj', 'up_proj', 'qkv'], init_lora_weights=False
    )
    torch.manual_seed(0)
    wrapped = peft.get_peft_model(bare.model, config).eval()
    for model in (wrapped, wrapped.get_base_model()):
        vlm = VLM(**{**vars(bare), 'model': model})
        decoder = StreamingDecoder(vlm, max_new_tokens=20)
        expected = generate(vlm, asked, 20)
        assert decoder.answer(asked).token_ids == expected
        assert expected != before


@pytest.mark.parametrize('kind', MAKERS)
def test_scores_are_those_of_the_models_forward(kind):
    vlm = MAKERS[kind](0, 2)
    frames = frames_for(vlm, 6)
    decoder = StreamingDecoder(vlm)
    continuations = (' True', ' False', ' the task is done.', '42%')
    windows = [frames[:2], frames[:4], frames[:5], frames[1:5], frames[2:6], frames[:6]]
    for window in windows:
        asked = score(window, 'The task is complete:', *continuations)
        scored = decoder.answer(asked)
        for text, value in zip(continuations, scored.log_probabilities, strict=True):
            assert value == pytest.approx(official(vlm, asked, text), abs=1e-4)
    again = decoder.answer(asked)
    assert again.stats.frames_encoded == 0
    assert again.log_probabilities == pytest.approx(scored.log_probabilities, abs=1e-5)
    assert again.stats.reused_tokens == again.stats.prompt_tokens - 1


@torch.inference_mode()
def official(vlm, asked, text):
    """The sum of log-probabilities of ``text`` by one forward of the whole."""
    tokens = vlm.prompts.build(asked)
    said = vlm.tokenizer(text, add_special_tokens=False)['input_ids']
    marks = np.append(tokens.keys < 0, [False] * len(said)).astype(np.int32)
    logits = vlm.model(
        input_ids=torch.from_numpy(np.append(tokens.ids, said))[None],
        mm_token_type_ids=torch.from_numpy(marks)[None],
        **pictures(vlm, asked),
    ).logits[0]
    rows = logits[len(tokens.ids) - 1 : -1].log_softmax(-1)
    return math.fsum(rows[i, token].item() for i, token in enumerate(said))
