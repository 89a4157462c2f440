"""Answers in the forms that the four methods publish, word for word, and what is read of them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judging import config

from progress_monitor.config import MonitorConfig
from progress_monitor.strategies.demonstration import Demonstration
from progress_monitor.strategies.procvlm import ProcVLM
from progress_monitor.strategies.progresslm import ProgressLM
from progress_monitor.strategies.recurrent import Recurrent
from progress_monitor.strategy_config import ProgressLMConfig
from progress_monitor.types import DecodeStats, Evidence, Finish, Generated, Verdict, View

NOTHING = Demonstration('text', 'open it', ())
STRATEGIES = {
    'procvlm': ProcVLM(MonitorConfig()),
    'progresslm': ProgressLM(MonitorConfig(), ProgressLMConfig(), demonstration=NOTHING),
    'recurrent': Recurrent(config()),
}


def read(strategy: str, text: str):
    answer = Generated(text, (), Finish.END, DecodeStats(1.0))
    return STRATEGIES[strategy].read((answer,), View((), 7))


# One-shot answers as the annotator writes them, and the forms that RoboValue met in the wild.
PROCVLM = {
    'The following actions are required: \n1. Reach it\n2. Pull it\n'
    'Therefore, the estimated progress is <progress>41.50%</progress>.': (0.415, 2),
    'Image shows the final result. Reason: The drawer is open.\n'
    'Therefore, the estimated progress is <progress>100%</progress>.': (1.0, 0),
    '- Reach it\n- Pull it\n<progress>8 4 . 1 3%</progress>': (0.8413, 2),
    '1.) Reach it\n2.) Pull it\n&lt;progress&gt;42&lt;/progress&gt;': (0.42, 2),
    '001: Reach it\n002: Pull it\n<progr ess>42%</progr ess>': (0.42, 2),
    '001 - Reach it\n002 - Pull it\n<PROGRESS> +42 % </PROGRESS>': (0.42, 2),
    'This task is finished because the drawer is open.': (1.0, 0),
    '<think>Is it 10%? <progress>10%</progress></think>1. Pull it\n<progress>90%</progress>': (
        0.9, 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize('text', PROCVLM)
def test_procvlm(text):
    progress, steps = PROCVLM[text]
    estimate = read('procvlm', text)
    assert estimate.progress == pytest.approx(progress)
    assert len(estimate.remaining_steps) == steps
    assert (estimate.verdict is Verdict.DONE) == (steps == 0)


# Anchors may be named in words; tags of the text variant stand on lines of their own.
PROGRESSLM = {
    '<ref_think>a</ref_think>\n<ref>2</ref>\n<score_think>b</score_think>\n'
    '<score>33%</score>': 0.33,
    '<ref_think>\na\n</ref_think>\n\n<ref>\nStep 2\n</ref>\n\n<score_think>\nb\n</score_think>\n\n'
    '<score>\n33%\n</score>': 0.33,
    '<ref>No. 1</ref><score>0.33</score>': 0.33,
    '<ref>1</ref><score>1</score>': 1.0,
    '<REF>1</REF><SCORE>33.0 %</SCORE>': 0.33,
    '33%': 0.33,
}


@pytest.mark.parametrize('text', PROGRESSLM)
def test_progresslm(text):
    estimate = read('progresslm', text)
    assert estimate.progress == pytest.approx(PROGRESSLM[text])
    assert estimate.evidence is Evidence.GOOD


@pytest.mark.parametrize('said', ['n/a', '"n/a"', 'N/A', 'na', '\nn/a\n'])
@pytest.mark.parametrize('name', ['progresslm', 'procvlm', 'recurrent'])
def test_a_refusal_is_one_in_every_form(name, said):
    form = {
        'progresslm': '<ref_think>x</ref_think><ref>{0}</ref><score_think>{0}</score_think>'
        '<score>{0}</score>',
        'procvlm': 'The task does not fit. <progress>{0}</progress>',
        'recurrent': '<think>The task does not fit.</think><answer>{0}</answer>',
    }[name]
    estimate = read(name, form.format(said))
    assert estimate.evidence is Evidence.REFUSED
    assert math.isnan(estimate.progress)


@pytest.mark.parametrize(
    'text',
    [
        'This task is finished? No: the drawer is shut.',
        'This task is finished when the drawer is open. It is shut.',
        'The task is not finished.',
        '<progress>Step 2: 85%</progress>',
        '<thinking>Is it <progress>10%</progress>?</thinking> It is hard to say.',
    ],
)
def test_procvlm_takes_nothing_for_a_value_that_is_none(text):
    estimate = read('procvlm', text)
    assert estimate.evidence is Evidence.NO_NUMBER
    assert estimate.verdict is Verdict.UNKNOWN
    assert not estimate.remaining_steps
    assert math.isnan(estimate.progress)


def test_an_anchor_that_refuses_with_a_remark_contradicts_a_number():
    text = '<ref>n/a (the object is missing)</ref><score>50%</score>'
    assert read('progresslm', text).evidence is Evidence.CONTRADICTION


@pytest.mark.parametrize(
    'lines',
    [
        ('1. Reach it [completed]', '2. Pull it [pending]'),
        ('**1. Reach it** [done]', '**2. Pull it** [In progress].'),
        ('1. Reach it (completed)', '2. Pull it (not completed)'),
        ('1. Reach it 【completed】', '2. Pull it 【pending】'),
        ('1. [completed] Reach it', '2. [not started] Pull it'),
        ('- [Done] Reach it', '- [incomplete] Pull it'),
    ],
)
def test_a_status_is_read_wherever_it_stands(lines):
    text = '\n'.join(lines)
    estimate = read('recurrent', f'<think>{text}</think><answer>60%</answer>')
    assert estimate.remaining_steps == ('Pull it',)


WORDS = st.text('abcdefgh ', min_size=3, max_size=20).map(str.strip).filter(lambda text: text)


@given(st.floats(0, 100), st.integers(1, 9), WORDS)
def test_a_score_comes_back_as_it_was_written(percent, reference, why):
    text = (
        f'<ref_think>{why}</ref_think><ref>{reference}</ref><score_think>{why}</score_think>'
        f'<score>{percent:.2f}%</score>'
    )
    estimate = read('progresslm', text)
    assert estimate.progress == pytest.approx(percent / 100.0, abs=1e-4)
    assert f'Reference state: {reference}' in estimate.reasoning


@given(st.lists(st.tuples(WORDS, st.booleans()), min_size=1, max_size=8), st.integers(0, 100))
def test_a_chain_of_thought_comes_back_as_it_was_written(steps, percent):
    lines = [
        f'{number}. {step} [{"completed" if done else "pending"}]'
        for number, (step, done) in enumerate(steps, 1)
    ]
    done = sum(flag for _, flag in steps)
    thought = '\n'.join([*lines, f'Completed: {done} of {len(steps)}'])
    estimate = read('recurrent', f'<think>\n{thought}\n</think>\n<answer>{percent}%</answer>')
    assert estimate.thought == thought
    assert estimate.progress == pytest.approx(percent / 100.0)
    assert estimate.remaining_steps == tuple(step for step, flag in steps if not flag)
