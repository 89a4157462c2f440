"""The speed benchmark at a small size, and the published model's size without its weights."""

import json

import pytest
import torch
from vlm_checkpoints import tiny_folder, tiny_vlm

from progress_monitor.types import Finish
from progress_monitor.vlm.decoder import StreamingDecoder
from progress_monitor_lab.bench.speed import main
from progress_monitor_lab.bench.speed_cases import ForcedText, question
from progress_monitor_lab.bench.speed_episode import record
from progress_monitor_lab.bench.speed_reference import generate, reference_window

FIELDS = {
    'ratio_median',
    'ratio_p95',
    'ours_ms_median',
    'reference_ms_median',
    'identical_outputs',
    'accepted_draft_share',
    'forwards_per_tick',
    'vision_frames_encoded_per_tick',
    'peak_memory_mb',
}
COMMON = ['--frames', 'drawn', '--size', '64x64', '--threads', '1', '--device', 'cpu']


def run(tmp_path, *options):
    out = tmp_path / 'speed.json'
    code = main(['--checkpoint', str(tiny_folder(0)), *COMMON, '--out', str(out), *options])
    assert code == 0
    return json.loads(out.read_text())


def test_every_policy_is_measured_and_identical(tmp_path, capsys):
    report = run(tmp_path, '--ticks', '7', '--max-new-tokens', '6', '--long', '30')
    assert [case['policy'] for case in report['cases']] == ['growing', 'sliding', 'anchored']
    for case in report['cases']:
        assert set(case) >= FIELDS
        assert case['ticks'] == 7
        assert case['identical_outputs'] == 1.0
        assert case['vision_frames_encoded_per_tick'] < 3
        assert case['ratio_median'] > 0
    found = {row['strategy']: row for row in report['strategies']}
    scored = {'topreward', 'topreward, video'}
    assert set(found) == scored | {'procvlm', 'progresslm', 'recurrent', 'combined'}
    for name in scored:
        assert found.pop(name)['largest_difference'] <= 1e-4
    for row in found.values():
        assert row['identical_tokens'] == 1.0
        assert row['ticks'] >= 1
    assert report['long']['ticks'] == 30
    assert report['long']['late_memory_mb'] > 0
    assert 'growing' in capsys.readouterr().out


def test_forced_text_is_said_and_drafted(tmp_path):
    report = run(
        tmp_path,
        *('--ticks', '6', '--force-text', '--policy', 'growing', '--quantization', 'none'),
        *('--bandwidth', '50', '--peak', '1'),
    )
    case = report['cases'][0]
    assert case['identical_outputs'] is None
    assert case['forwards_per_tick'] < case['tokens_per_answer']
    assert case['accepted_draft_share'] > 0.3
    assert case['roofline_ms'] > 0
    assert report['forced_text']


def test_forcing_says_the_text_both_ways():
    vlm = tiny_vlm(0)
    text = 'No further steps are required. <progress>100%</progress>'
    forced = vlm.tokenizer(text)['input_ids']
    _, episodes = record('drawn', '', (64, 64), 0.5, 4)
    asked = question(episodes[0][:2], 'How far?')
    choice = ForcedText(vlm)
    choice.forced = forced
    decoder = StreamingDecoder(vlm, 128, choice=choice)
    for _ in range(2):
        answer = decoder.answer(asked)
        assert answer.text == text
        assert answer.finish is Finish.STOP
        assert answer.token_ids == generate(vlm, asked, 128, forced=forced)
    assert answer.stats.forwards == 1


def test_the_reference_window_is_padded_with_copies_of_frame_0():
    _, episodes = record('drawn', '', (64, 64), 0.5, 4)
    frames = episodes[0]
    assert [f.uid for f in reference_window(frames, 2)] == [frames[0].uid] * 6 + [
        frames[1].uid,
        frames[2].uid,
    ]
    assert [f.uid for f in reference_window(frames, 9)] == [f.uid for f in frames[2:10]]


def test_mistakes_are_one_line(capsys, tmp_path):
    assert main(['--checkpoint', str(tmp_path / 'nothing'), *COMMON]) == 1
    assert 'there is no folder' in capsys.readouterr().err
    assert main(['--checkpoint', str(tiny_folder(0)), '--frames', 'drawn', '--size', '60x60']) == 1
    assert 'multiples of 32' in capsys.readouterr().err


def test_the_random_2b_has_the_published_size():
    from transformers import Qwen3VLForConditionalGeneration

    from progress_monitor.vlm.tiny import QWEN3_VL_2B_TEXT, QWEN3_VL_2B_VISION, make_config

    config, _ = make_config(QWEN3_VL_2B_TEXT, QWEN3_VL_2B_VISION)
    with torch.device('meta'):
        model = Qwen3VLForConditionalGeneration(config)
    text = sum(p.numel() for p in model.model.language_model.parameters())
    vision = sum(p.numel() for p in model.model.visual.parameters())
    assert text == pytest.approx(1.721e9, rel=1e-3)
    assert vision == pytest.approx(0.407e9, rel=2e-3)
    assert model.model.language_model.rotary_emb.mrope_section == [24, 20, 20]
