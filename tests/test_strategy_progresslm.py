from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from judging import frame
from PIL import Image

from progress_monitor.config import MonitorConfig
from progress_monitor.parameters import ParameterError
from progress_monitor.strategies.demonstration import Demonstration
from progress_monitor.strategies.progresslm import ProgressLM
from progress_monitor.strategy_config import ProgressLMConfig
from progress_monitor.types import (
    DecodeStats,
    Evidence,
    Finish,
    Frame,
    Generated,
    Recollection,
    Verdict,
    View,
)

TEXT = {
    'kind': 'text',
    'goal': 'open {goal} 2',
    'steps': [{'text': 'Reach it', 'progress': 33}, {'text': 'Pull it', 'progress': 100}],
}


def _folder(tmp_path, content):
    (tmp_path / 'demonstration.yaml').write_text(
        content if isinstance(content, str) else yaml.safe_dump(content)
    )
    return str(tmp_path)


def _visual(tmp_path) -> str:
    for i in range(3):
        Image.fromarray(np.full((8, 8, 3), i * 9, np.uint8)).save(tmp_path / f'{i}.png')
    steps = [{'image': f'{i}.png', 'progress': 50 * i} for i in range(3)]
    return _folder(tmp_path, {'kind': 'visual', 'goal': 'open it', 'steps': steps})


def _strategy(folder: str, model: str = '', prompt: str = 'auto') -> ProgressLM:
    return ProgressLM(MonitorConfig(), ProgressLMConfig(prompt, folder), model)


def test_which_of_several_cameras_is_compared_must_be_said(tmp_path):
    own = ProgressLMConfig('auto', _visual(tmp_path))
    cameras = ('/left', '/wrist')
    with pytest.raises(ParameterError, match=r'progresslm\.camera: .*say which.*/left, /wrist'):
        ProgressLM(MonitorConfig(), own, cameras=cameras)
    with pytest.raises(ParameterError, match='/top is not one of /left, /wrist'):
        ProgressLM(MonitorConfig(), replace(own, camera='/top'), cameras=cameras)
    strategy = ProgressLM(MonitorConfig(), replace(own, camera='/wrist'), cameras=cameras)
    sample = (frame(1.0, camera='/left'), frame(1.0, camera='/wrist'))
    view = strategy.select(SimpleNamespace(samples=[sample]), 0)
    assert view.frames == (sample[1],)
    assert strategy.select(SimpleNamespace(samples=[sample[:1]]), 0) is None


def _parts(strategy: ProgressLM):
    view = strategy.select(SimpleNamespace(samples=[(frame(0.0),), (frame(1.0), frame(1.0))]), 0)
    assert len(view.frames) == 1
    (question,) = strategy.ask(view, Recollection('task'))
    return question.parts


def _flat(parts) -> str:
    return ''.join('<image>' if isinstance(part, Frame) else part for part in parts)


def test_sft_weights_get_their_prompt_with_images_between_labels(tmp_path):
    parts = _parts(_strategy(_visual(tmp_path), 'ProgressLM-3B-SFT'))
    text = _flat(parts)
    assert sum(isinstance(part, Frame) for part in parts) == 4
    assert (
        'from start to completion.\n\n\nOur goal is open it.\n\n\nHere is the demonstration:\n'
        '<image> 0% <image> 50% <image> 100%\n\n\nHere is the current state that you need to '
        'estimate:\n<image>\n\n\nYour task:\n1. Check' in text
    )
    assert text.endswith('<score>Your final estimated progress score or "n/a"</score>')


def test_rl_weights_get_theirs_by_name(tmp_path):
    text = _flat(_parts(_strategy(_visual(tmp_path), 'org/ProgressLM-3B-RL')))
    assert text.startswith('You are a progress estimator specializing in')
    assert 'score.\n\n\nThe overall task goal is open it.\n\n\nHere is the demonstration:' in text
    assert 'the ref value you reasoned before.</ref>' in text


def test_the_evaluation_prompt_shows_images_first_and_literal_words(tmp_path):
    folder = _visual(tmp_path)
    parts = _parts(_strategy(folder, prompt='progresslm_eval'))
    assert [type(part) for part in parts] == [str, Frame, Frame, Frame, str, Frame, str]
    assert 'demos is: <image> 0% <image> 50% <image> 100%Here is the current' in parts[4]
    silent = _flat(_parts(_strategy(folder, prompt='progresslm_nothink')))
    assert silent.endswith('no other words needed.')
    assert '<ref>' not in silent


@pytest.mark.parametrize('variant', ['sft', 'rl', 'eval'])
def test_text_demonstrations_are_numbered_and_bring_in_no_field(tmp_path, variant):
    text = _flat(_parts(_strategy(_folder(tmp_path, TEXT), prompt=f'progresslm_{variant}')))
    assert (
        'Step 1. Reach it\nThe Progress for now is 33%.\n\n'
        'Step 2. Pull it\nThe Progress for now is 100%.' in text
    )
    assert 'goal is open {goal} 2' in text
    assert 'metioned' in text and text.endswith('</score>\n')
    assert text.count('<image>') == 1


def test_pixels_of_the_demonstration_keep_their_names(tmp_path):
    strategy = _strategy(_visual(tmp_path))
    first, again = _parts(strategy), _parts(strategy)
    assert [p.uid for p in first if isinstance(p, Frame)][:3] == [
        p.uid for p in again if isinstance(p, Frame)
    ][:3]


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        ({'kind': 'video'}, 'kind'),
        ({'goal': ''}, 'goal'),
        ({'goal': 7}, 'goal must be a text'),
        ({'steps': [{'text': 'zur\udcfcck', 'progress': 9}]}, 'step 1: text is not valid'),
        ({'steps': []}, 'steps'),
        ({'steps': [{'text': 'a', 'progress': 101}]}, 'step 1: progress'),
        ({'steps': [{'text': 'a', 'progress': True}]}, 'step 1: progress'),
        ({'steps': [{'text': 'a', 'progress': 9}, {'text': 'b', 'progress': 3}]}, 'step 2 falls'),
        ({'steps': [{'image': 'a.png', 'progress': 9}]}, 'step 1: must hold text'),
        ({'extra': 1}, 'nothing else'),
        ({'kind': 'visual', 'steps': [{'image': '../a', 'progress': 9}]}, 'same folder'),
        ({'kind': 'visual', 'steps': [{'image': 'a.png', 'progress': 9}]}, r'a\.png cannot'),
    ],
)
def test_a_demonstration_that_cannot_be_used_is_named(tmp_path, change, said):
    with pytest.raises(ParameterError, match=said):
        _strategy(_folder(tmp_path, TEXT | change))


def test_a_missing_or_broken_demonstration_is_named(tmp_path):
    with pytest.raises(ParameterError, match=r'progresslm\.demonstration'):
        _strategy('')
    with pytest.raises(ParameterError, match='cannot be read'):
        _strategy(str(tmp_path))
    with pytest.raises(ParameterError, match=r'demonstration\.yaml'):
        _strategy(_folder(tmp_path, 'a: [b'))


def _read(text: str, number=()):
    strategy = ProgressLM(
        MonitorConfig(), ProgressLMConfig(), demonstration=Demonstration('text', 'g', ())
    )
    return strategy.read((Generated(text, (), Finish.END, DecodeStats(1.0), number),), View((), 7))


def _answer(ref: str, score: str) -> str:
    return (
        f'<ref_think>It is near.</ref_think>\n<ref>{ref}</ref>\n<score_think>A bit later.'
        f'</score_think>\n<score>{score}</score>'
    )


@pytest.mark.parametrize(
    ('score', 'progress'),
    [('33%', 0.33), ('0.5', 0.5), ('80', 0.8), ('150%', 1.0), ('0.5%', 0.005), ('-2', 0.0)],
)
def test_scores_follow_the_published_rule(score, progress):
    estimate = _read(_answer('2', score), ((30.0, 0.5), (40.0, 0.5)))
    assert estimate.progress == pytest.approx(progress)
    assert estimate.evidence is Evidence.GOOD
    assert estimate.reasoning == 'Reference state: 2.\nIt is near.\nA bit later.'
    assert estimate.remaining_steps is None
    assert _read(score).progress == pytest.approx(progress)


def test_success_is_a_score_that_reaches_the_threshold():
    assert _read(_answer('2', '96%')).verdict is Verdict.DONE
    assert _read(_answer('2', '94%')).verdict is Verdict.NOT_DONE


def test_a_refusal_is_an_answer():
    estimate = _read(_answer('n/a', 'n/a'))
    assert estimate.evidence is Evidence.REFUSED
    assert math.isnan(estimate.progress)
    assert 'It is near.' in estimate.reasoning


def test_an_anchor_that_contradicts_the_score_is_named():
    assert _read(_answer('n/a', '40%')).evidence is Evidence.CONTRADICTION


@pytest.mark.parametrize('text', ['', 'half', '<score>40%', '<score>high</score>'])
def test_an_unreadable_score_is_unknown(text):
    assert _read(text).evidence is Evidence.NO_NUMBER


def test_the_spread_is_in_the_scores_own_unit():
    assert _read(_answer('1', '0.5'), ((0.4, 0.5), (0.6, 0.5))).spread == pytest.approx(0.1)
    assert _read(_answer('1', '50%'), ((40.0, 0.5), (60.0, 0.5))).spread == pytest.approx(0.1)
