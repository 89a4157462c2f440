from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judging import frame

from progress_monitor.config import MonitorConfig
from progress_monitor.parameters import ParameterError
from progress_monitor.strategies.procvlm import ProcVLM
from progress_monitor.strategy_config import ProcVLMConfig
from progress_monitor.types import (
    DecodeStats,
    Evidence,
    Finish,
    Generated,
    Recollection,
    Verdict,
    View,
)

STEPS = 'The following steps are required:\n1. Reach the handle.\n2. Pull the drawer open.\n'
PROMPT = (
    'Given the recent observation and the task "{}", first infer the remaining atomic actions '
    'required to complete the task. Then estimate the current completion percentage and output it '
    'as a float wrapped by <progress> tags.'
)


def _strategy(**own: str) -> ProcVLM:
    return ProcVLM(MonitorConfig(), ProcVLMConfig(**own))


def _read(text: str, number=(), finish=Finish.STOP):
    answer = Generated(text, (), finish, DecodeStats(1.0), number)
    return _strategy().read((answer,), View((), 7))


def _text(task: str, done: str = '', **own: str) -> str:
    (question,) = _strategy(**own).ask(View((frame(0.0),), 7), Recollection(task, done))
    assert len(question.parts) == 2
    return question.parts[1]


def test_the_prompt_is_procvlms_with_images_first():
    frames = (frame(0.0), frame(0.5))
    (question,) = _strategy().ask(View(frames, 7), Recollection('fold the "red" {shirt}'))
    assert question.parts == (*frames, PROMPT.format('fold the "red" {shirt}'))
    assert question.chat
    assert question.want.number_tag == 'progress'
    assert set(question.want.stop) == {'</progress>', '</Progress>'}


def test_memory_follows_the_prompt_after_a_space():
    text = _text('x', 'Steps done so far: none.')
    assert text.endswith('wrapped by <progress> tags. Steps done so far: none.')


def test_a_task_brings_in_no_field():
    assert _text('{task}{done}{frames}', 'D.') == PROMPT.format('{task}{done}{frames}') + ' D.'


def test_a_prompt_of_the_users_own_is_used(tmp_path):
    path = tmp_path / 'mine.txt'
    path.write_text('# a remark\n{frames}Is "{task}" {done done}?\n')
    assert _text('x', prompt=str(path)) == 'Is "x" {done done}?'
    assert _strategy(prompt=str(path)).prompt.sha256 != _strategy().prompt.sha256


@pytest.mark.parametrize('content', [b'{frames} no task', b'{frames}{task}{task}', b'\xff', None])
def test_a_prompt_file_that_cannot_be_used_is_named(tmp_path, content):
    path = tmp_path / 'mine.txt'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ParameterError, match=r'mine\.txt'):
        _strategy(prompt=str(path))


@pytest.mark.parametrize('name', ['~nobody_here/mine.txt', 300 * 'a'])
def test_a_name_that_can_be_no_file_is_named(name):
    with pytest.raises(ParameterError, match=rf'{name}.* cannot be read'):
        _strategy(prompt=name)


def test_steps_number_and_spread_are_read():
    estimate = _read(
        f'{STEPS}Therefore, the estimated progress is <progress>42%</progress>',
        ((40.0, 0.5), (96.0, 0.5)),
    )
    assert estimate.progress == 0.42
    assert estimate.spread == pytest.approx(0.28)
    assert estimate.success_probability == pytest.approx(0.5)
    assert estimate.expected == pytest.approx(0.68)
    assert estimate.remaining_steps == ('Reach the handle.', 'Pull the drawer open.')
    assert estimate.evidence is Evidence.GOOD
    assert estimate.verdict is Verdict.NOT_DONE
    assert estimate.stamp_ns == 7
    assert '<progress>' not in estimate.reasoning
    assert math.isnan(_read(f'{STEPS}<progress>42%</progress>').success_probability)


@pytest.mark.parametrize(
    ('text', 'progress'),
    [
        ('<progress>84.13%</progress>', 0.8413),
        ('<PROGRESS> +7 % </Progress>', 0.07),
        ('<progress>-3%</progress>', 0.0),
        ('<progress>250</progress>', 1.0),
        ('<progress>.5%</progress>', 0.005),
        ('&lt;progress&gt;8 4%&lt;/progress&gt;', 0.84),
        ('<progr ess>84%</progr ess>', 0.84),
        ('<think>1. x <progress>3%</progress></think><progress>12%</progress>', 0.12),
        ('<progress>12%</progress> no, <progress>90%</progress>', 0.12),
        (PROMPT.format('x <progress>3%</progress>') + ' It is <progress>12%</progress>', 0.12),
    ],
)
def test_tags_are_read_in_every_accepted_form(text, progress):
    assert _read(f'{STEPS}{text}').progress == pytest.approx(progress)


@pytest.mark.parametrize(
    'text',
    [
        '',
        'about half',
        '42%',
        '<progress>4',
        '<progress></progress>',
        '<progress>x%</progress>',
        '<think>1. a\n2. b\n<progress>3%</progress>',
        PROMPT.format('1. a 2. b'),
        PROMPT.format('x') + ' ' + PROMPT.format('put 1. in 2.'),
    ],
)
def test_no_readable_tag_is_unknown_and_never_a_value_of_its_own(text):
    estimate = _read(text)
    assert math.isnan(estimate.progress)
    assert estimate.evidence is Evidence.NO_NUMBER
    assert estimate.remaining_steps is None
    assert estimate.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize('said', ['n/a', 'N/A', 'na', ' n / a '])
def test_a_refusal_is_an_answer(said):
    estimate = _read(f'The task does not fit what is seen. It is <progress>{said}</progress>')
    assert estimate.evidence is Evidence.REFUSED
    assert math.isnan(estimate.progress)
    assert estimate.remaining_steps is None
    assert estimate.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    'text',
    [
        'No further steps are required. It is <progress>100%</progress>',
        'The task requires: Put the block into box 2. Images show no block outside the box, '
        'no further steps required. Therefore, the estimated progress percentage is '
        '<progress>100.00%</progress>.',
        'Image shows the final result. Reason: The lid is on box 2. Nothing else moves. 3. It '
        'rests..\nTherefore, the estimated progress is <progress>100%</progress>.',
        'There are no remaining atomic actions. <progress>98%</progress>',
        'All is well. <progress>100%</progress>',
        'This task is finished because the block is in box 2.',
    ],
)
def test_nothing_left_is_an_empty_list_and_success(text):
    estimate = _read(text)
    assert estimate.remaining_steps == ()
    assert estimate.evidence is Evidence.GOOD
    assert estimate.verdict is Verdict.DONE
    assert estimate.progress >= 0.98


def test_finished_without_a_tag_counts_only_where_the_answer_was_not_cut():
    text = 'This task is finished because the block'
    assert _read(text, finish=Finish.END).progress == 1.0
    assert _read(text, finish=Finish.TOKEN_LIMIT).evidence is Evidence.NO_NUMBER
    assert _read('This task is not finished.', finish=Finish.END).evidence is Evidence.NO_NUMBER


@pytest.mark.parametrize(
    'step', ['Press button 3.', 'Place the peg in hole 3. Then release it.', 'Go to 12:30.']
)
def test_a_last_step_that_ends_in_a_number_remains(step):
    for text in (
        f'1. {step}\nTherefore, it is <progress>90%</progress>',
        f'To complete the task: press 1. 2. 3, the following steps are required: 1. {step} '
        'Therefore, the estimated progress percentage is <progress>84.13%</progress>.',
    ):
        estimate = _read(text)
        assert estimate.remaining_steps == (step,)
        assert estimate.verdict is Verdict.NOT_DONE


def test_the_cards_list_on_one_line_is_read():
    inline = _read(
        'To complete the task: Tower the blocks, the following steps are required: 1. Grasp the '
        'green block. 2. Place the green block onto the red block. Therefore, the estimated '
        'progress percentage is <progress>84.13%</progress>.'
    )
    assert inline.remaining_steps == (
        'Grasp the green block.',
        'Place the green block onto the red block.',
    )


@pytest.mark.parametrize(
    'text',
    [
        f'{STEPS}<progress>100%</progress>',
        'No further steps are required. <progress>12%</progress>',
    ],
)
def test_list_and_number_that_contradict_each_other_are_named(text):
    assert _read(text).evidence is Evidence.CONTRADICTION


def test_checkpoints_of_other_methods_are_warned_of():
    assert _strategy().unsuited('ce-amtic/ProcVLM-2B') == ''
    assert 'Qwen3-VL-8B' in _strategy().unsuited('Qwen/Qwen3-VL-8B-Instruct')


@given(st.text(max_size=300))
def test_any_text_is_read_without_an_error(noise):
    estimate = _read(noise)
    assert math.isnan(estimate.progress) or 0.0 <= estimate.progress <= 1.0
