from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
from judging import frame

from progress_monitor.config import MonitorConfig
from progress_monitor.parameters import ParameterError
from progress_monitor.strategies.recurrent import Recurrent
from progress_monitor.strategy_config import RecurrentConfig
from progress_monitor.types import (
    DecodeStats,
    Evidence,
    Finish,
    Generated,
    Recollection,
    Verdict,
    View,
)

THOUGHT = '1. Press button 3 [completed]\n2. Put it into box 2 [pending]\nCompleted: 1 of 2'


def _strategy() -> Recurrent:
    return Recurrent(MonitorConfig(), RecurrentConfig())


def _read(text: str, finish=Finish.STOP):
    return _strategy().read((Generated(text, (), finish, DecodeStats(1.0)),), View((), 7))


def _ask(thought: str) -> str:
    view = View((frame(0.0),), 0)
    (question,) = _strategy().ask(view, Recollection('open {thought}', thought=thought))
    assert question.parts[0] is view.frames[0]
    return question.parts[1]


def test_no_frame_is_shown_in_two_snippets():
    strategy = _strategy()
    frames = [frame(float(i)) for i in range(9)]

    def select(count: int):
        return strategy.select(SimpleNamespace(samples=[(f,) for f in frames[:count]]), 0)

    assert select(3) is None
    assert select(4).frames == tuple(frames[:4])
    assert [select(n) for n in (5, 6, 7)] == [None] * 3
    assert select(9).frames == tuple(frames[5:9])
    assert strategy.sample_period_s == 1.0
    strategy.reset()
    assert select(9) is not None


def test_a_snippet_of_several_cameras_stands_by_time_then_camera():
    strategy = _strategy()
    samples = [(frame(i - 0.02, camera='a'), frame(i + 0.0, camera='b')) for i in range(1, 9)]
    view = strategy.select(SimpleNamespace(samples=samples[:4]), 0)
    assert view.frames == tuple(shown for sample in samples[:4] for shown in sample)
    assert view.stamp_ns == samples[3][1].stamp_ns
    assert strategy.select(SimpleNamespace(samples=samples[:7]), 0) is None
    assert strategy.select(SimpleNamespace(samples=samples), 0).frames[0] is samples[4][0]
    with pytest.raises(ParameterError, match=r'recurrent\.frames: 30 of 3 cameras'):
        Recurrent(MonitorConfig(), RecurrentConfig(frames=30), ('a', 'b', 'c'))


def test_the_chain_of_thought_goes_in_and_comes_out():
    assert THOUGHT in _ask(THOUGHT)
    assert 'this is the beginning' in _ask('')
    assert 'open {thought}' in _ask(THOUGHT)
    assert 'own' not in _ask('').split('You watch')[0]
    estimate = _read(f'<think>\n{THOUGHT}\n</think>\n<answer>50%</answer>')
    assert estimate.thought == THOUGHT
    assert estimate.progress == 0.5
    assert estimate.remaining_steps == ('Put it into box 2',)
    assert estimate.verdict is Verdict.NOT_DONE
    assert estimate.evidence is Evidence.GOOD


def test_the_task_is_done_when_nothing_is_pending():
    done = THOUGHT.replace('pending', 'completed')
    estimate = _read(f'<think>{done}</think><answer>100%</answer>')
    assert estimate.verdict is Verdict.DONE
    assert estimate.remaining_steps == ()


@pytest.mark.parametrize(
    'text',
    [
        f'<think>{THOUGHT}</think><answer>100%</answer>',
        '<think>1. x [completed]</think><answer>10%</answer>',
    ],
)
def test_key_steps_and_answer_that_contradict_each_other_are_named(text):
    assert _read(text).evidence is Evidence.CONTRADICTION


@pytest.mark.parametrize(
    ('text', 'finish'),
    [
        (f'<think>{THOUGHT}', Finish.TOKEN_LIMIT),
        (f'<think>{THOUGHT}</think>', Finish.END),
        (f'<think>{THOUGHT}</think><answer>5%</answer>', Finish.TIME_LIMIT),
        ('<think><answer>50%</answer>', Finish.END),
    ],
)
def test_a_broken_answer_leaves_the_earlier_thought(text, finish):
    estimate = _read(text, finish)
    assert estimate.evidence is Evidence.NO_NUMBER
    assert math.isnan(estimate.progress)
    assert estimate.thought == ''


def test_a_refusal_is_an_answer():
    refusal = _read('<think>no match</think><answer>n/a</answer>')
    assert refusal.evidence is Evidence.REFUSED
    assert refusal.thought == ''
