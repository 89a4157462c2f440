from __future__ import annotations

import math
import time
from dataclasses import astuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from progress_monitor.strategies.reading import (
    Digits,
    Said,
    as_share,
    find_tags,
    first_readable,
    read_digits,
    read_value,
    split_thought,
    unescape,
)
from progress_monitor.strategies.steps_list import remaining_steps

TASKS = (
    'Put the block into box 2',
    'Press button 3. Then press button 1. Then 2.',
    '1. red block 2. blue block',
    'Stack blocks: 1. the red one, 2. the blue one',
    'place 3 screws in tray (2), then go to 1.5 cm',
    '10',
    'Move to 1. and on to 2.',
    'Therefore, do so: grasp 4 (1) cups',
)
STEPS = (
    'Press button 3',
    'Place the peg in hole 3',
    'Move 1.5 cm to the left of box 12',
    'Grasp the green block',
    'Turn knob 1 to mark 2',
    'Lift (2) so that it is clear',
    'Set the clock to 12:30',
)
STYLES = (
    '{}. {}.', '{}.) {}.', '{}) {}.', '({}) {}.', '{}.{}.', '{}、{}.', '{:03d}: {}.',
    '{:03d} - {}.', '- {1}.', '* {1}.', '• {1}.', '  {}. {}', '{}) {}', 'Step {}: {}',
)  # fmt: skip


def bare(steps: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if steps is None else tuple(step.rstrip('.') for step in steps)


def card(task: str, steps: list[str]) -> str:
    listed = ' '.join(f'{i}. {step}.' for i, step in enumerate(steps, 1))
    return f'To complete the task: {task}, the following steps are required: {listed}'


def one_shot(task: str, steps: list[str]) -> str:
    listed = '\n'.join(f'{i}. {step}' for i, step in enumerate(steps, 1))
    return f'The following actions are required: \n{listed}'


def trained(task: str, steps: list[str]) -> str:
    listed = '\r\n'.join(f'{i}. {step}.' for i, step in enumerate(steps, 1))
    return unescape(f'The following steps are required:\r\n{listed}')


CONCLUSIONS = (
    '\nTherefore, the estimated progress is ',
    ' Therefore, the estimated progress percentage is ',
    '\nThus, the progress is ',
    '\nSo the estimated completion is ',
    '\nHence, it is ',
    '\nThe estimated progress is ',
)


@given(
    st.sampled_from((card, one_shot, trained)),
    st.sampled_from(TASKS),
    st.lists(st.sampled_from(STEPS), min_size=1, max_size=12),
    st.sampled_from(CONCLUSIONS),
    st.sampled_from(('', 'Thus, ', 'So, ', 'Hence, ')),
    st.floats(0, 99),
)
def test_lists_survive_the_way_through_every_published_wording(
    wording, task, steps, conclusion, opening, percent
):
    text = f'{opening}{wording(task, steps)}{conclusion}'
    assert bare(remaining_steps(text, percent)) == tuple(steps)


def test_items_above_99_are_read():
    steps = ['Press button 3'] * 120
    assert bare(remaining_steps(card('x', steps), 1.0)) == tuple(steps)
    assert bare(remaining_steps(one_shot('x', steps), 1.0)) == tuple(steps)


@given(st.sampled_from(STYLES), st.lists(st.sampled_from(STEPS), min_size=1, max_size=12))
def test_every_list_style_met_in_the_wild_is_read(style, steps):
    # "(1) Lift (2) so that it is clear." alone may as well be two steps.
    assume(len(steps) > 1 or not (style.startswith('(') and '(2)' in steps[0]))
    listed = '\n'.join(style.format(i, step) for i, step in enumerate(steps, 1))
    text = f'Remaining:\n{listed}\nTherefore, it is '
    assert bare(remaining_steps(text, 50.0)) == tuple(steps)


@pytest.mark.parametrize(
    ('text', 'steps'),
    [
        ('1. Press button 3.', ('Press button 3',)),
        (
            '1. Place the peg in hole 3. Then release it.',
            ('Place the peg in hole 3. Then release it',),
        ),
        (
            '1. Place the peg in hole 2. Then release it.',
            ('Place the peg in hole 2. Then release it',),
        ),
        ('Required: 1) Open it 2) Close it', ('Open it', 'Close it')),
        ('Required: (1) Open it (2) Close it', ('Open it', 'Close it')),
        ('Required: 1.) Open it. 2.) Close it.', ('Open it', 'Close it')),
        ('Required: 1. Open it.\n2. Close it.\n3. Leave.', ('Open it', 'Close it', 'Leave')),
        ('3. Open it.\n4. Close it.', ('Open it', 'Close it')),
        ('The following steps are required: Grasp the cup.', ('Grasp the cup',)),
        ('The only remaining action is to press button 3.', ('press button 3',)),
        ('Required: 1. Open it. 2. Close it. The estimated progress is', ('Open it', 'Close it')),
        ('Done: 1. Open it. 2. Fill it.\nRemaining:\n1. Close it.', ('Close it',)),
        ('**1. Open it.**\n**2. Close it.**', ('Open it', 'Close it')),
        ('1. Open it.\n2. No further steps are required.', ('Open it',)),
        ('The following steps are required: none.', ()),
        ('1. Move 2.5 cm to the left.', ('Move 2.5 cm to the left',)),
    ],
)
def test_numbers_in_steps_make_no_steps(text, steps):
    assert bare(remaining_steps(text, 40.0)) == steps


@pytest.mark.parametrize('task', TASKS)
@pytest.mark.parametrize(
    'wording',
    [
        'The task requires: {}. Images show no block outside the tower, no further steps required.',
        'The task requires: {}. Images show 2. of 3 parts. All is in place: no more steps needed.',
        'Image shows the final result. Reason: 1. {} is done. 2. It rests. 3. Nothing moves.',
        'Image shows the final result. Reason: {}. See box 2. Images agree.',
    ],
)
def test_nothing_remains_whatever_numbers_task_and_reason_hold(task, wording):
    text = f'{wording.format(task)}\nTherefore, the estimated progress percentage is '
    assert remaining_steps(text, 100.0) == ()


def test_a_text_that_says_neither_is_unknown():
    assert remaining_steps('The arm is near box 2. It moves.', 50.0) is None
    assert remaining_steps('', 50.0) is None


@pytest.mark.parametrize(
    ('content', 'value', 'percent'),
    [
        ('84.13%', 84.13, True), (' +7 % ', 7.0, True), ('-3', -3.0, False), ('.5%', 0.5, True),
        ('8 4 . 1 3 %', 84.13, True), ('84,13%', 84.13, True), ('84 %', 84.0, True),
        ('1 0 0', 100.0, False), ('5.%', 5.0, True), ('"42%"', 42.0, True),
        ('９０％', 90.0, True), ('85 percent', 85.0, True), ('85 %.', 85.0, True),
        ('41,50 %', 41.5, True), ('41.125', 41.125, False),
    ],
)  # fmt: skip
def test_numbers_are_read_as_written(content, value, percent):
    assert read_value(content) == (Said.NUMBER, pytest.approx(value), percent)


@pytest.mark.parametrize(
    'content',
    [
        '',
        'XX%',
        'float',
        '10 20',
        '80-90%',
        '84 13',
        '1.2.3',
        '.',
        '%',
        '٤٢',
        '1e3',
        '9' * 50,
        '80％～90％',
        '1,000%',
        '12,500',
        '3/4',
        '8 of 10',
        '85² %',
        '①%',
        '½',
        '~85%',
        'about 85%',
        '85% ✅',
        '85%%',
        '--5',
        '0x55',
        'inf',
        'nan',
        '八十五%',
        '<b>85%</b>',
        '\\boxed{85}',
        'Step 2: 85%',
        '85% (1 step left)',
        'percent',
        'unknown',
        'none',
    ],
)
def test_no_number_is_invented(content):
    assert read_value(content)[0] is Said.UNREADABLE


@pytest.mark.parametrize(
    'content',
    [
        'n/a', 'N/A', 'na', ' n / a ', '"n/a"', 'n.a.', 'N/A.', 'n／a',
        'n/a (the object is missing)', 'n/a - 50 % would be a guess', 'Not applicable', '**n/a**',
    ],
)  # fmt: skip
def test_refusals_are_told_from_numbers(content):
    assert read_value(content)[0] is Said.REFUSAL


@pytest.mark.parametrize(
    'text',
    [
        '<progress>42%</progress>', '<PROGRESS>42</Progress>', '< progr ess >4 2 %< / progress >',
        '&lt;progress&gt;42%&lt;/progress&gt;', '<progress> tags: <progress>42%</progress>',
        '<progress>XX%</progress> <progress>42%</progress> <progress>90%</progress>',
        '＜progress＞42％＜／progress＞',
        '&amp;lt;progress&amp;gt;42&#37;&amp;lt;/progress&amp;gt;',
        '&#60;progress&#x3E;42&percnt;&#60;/progress&#x3E;', '<prog\u200bress>\u200f42%</progress>',
        '\ufeff```\n<progress>`42%`</progress>\n```',
        '<progress><progress>42%</progress></progress>',
    ],
)  # fmt: skip
def test_the_first_readable_tag_counts(text):
    tag = first_readable(find_tags(unescape(text), 'progress'))
    assert tag is not None and tag.value == 42.0


@pytest.mark.parametrize(
    'text',
    [
        '<progress>42%', '42%</progress>', 'about 42%', '<progress>42%</progres',
        '<progress value="42%"/>', '{"progress": "42%"}', '<progress>42%<progress>',
    ],
)  # fmt: skip
def test_an_open_tag_is_none(text):
    assert find_tags(text, 'progress') == []


def test_thoughts_are_parted_from_answers():
    assert split_thought('<think>a</think>b') == ('a', 'b')
    assert split_thought('a</THINK>b') == ('a', 'b')
    assert split_thought('x</think>y</think>b')[1] == 'b'
    assert split_thought('<think>only thought') == ('only thought', '')
    assert split_thought('plain') == ('', 'plain')
    assert split_thought('<thinking>a</thinking>b') == ('a', 'b')
    assert split_thought('◁think▷a◁/think▷b') == ('a', 'b')


def test_shares_follow_the_published_rule():
    assert as_share(33.0, True) == 0.33
    assert as_share(0.5, True) == 0.005
    assert as_share(0.5, False) == 0.5
    assert as_share(80.0, False) == 0.8
    assert as_share(-4.0, False) == 0.0


def test_digits_give_deviation_mass_and_mean():
    digits = read_digits(((90.0, 0.25), (100.0, 0.75)), 0.01, 0.95)
    assert digits.deviation == pytest.approx(math.sqrt(0.1875) * 0.1)
    assert digits.reached == pytest.approx(0.75)
    assert digits.mean == pytest.approx(0.975)
    assert read_digits(((0.4, 3.0),), 1.0, 0.4) == Digits(0.0, 1.0, 0.4)
    assert all(math.isnan(value) for value in astuple(read_digits((), 0.01, 0.95)))


NASTY = (
    ' ', '\n', '\t', '0', '1', 'a', '<', '>', '(', ')', '.', ':', '-', '*', '/', '%', ',', '\r',
    '1.', '1. ', '1. a ', '1)\n', '- ', '<progress>', '<progress> ', '</progress>', '<p ', '< ',
    '&amp;', '&#60', '＜', '◁think▷', '\u200b', '９', 'n/a', '1,000',
    'so ', 'so, ', '\nso ', 'Therefore, ', 'no ', 'no further ', 'step ', 'steps:', '&lt;', 'None ',
    '<think>', '</think>', 'the task is ', 'next step is ', '1 - ', '•',
)  # fmt: skip


def _read_all(text: str) -> None:
    _, answer = split_thought(unescape(text))
    tag = first_readable(find_tags(answer, 'progress'))
    remaining_steps(answer[: tag.start] if tag else answer, 50.0)


@pytest.mark.parametrize('unit', NASTY)
@pytest.mark.parametrize('around', ['{}', '<progress>{}</progres', 'x: 1.{}so'])
def test_reading_takes_time_in_proportion_to_the_text(unit, around):
    """Ten times the text may take ten times as long, and not a hundred times, on any machine."""

    def seconds(size: int) -> float:
        text = around.format(unit * (size // len(unit)))
        start = time.thread_time()
        _read_all(text)
        return time.thread_time() - start

    small = max(seconds(10_000), 0.002)
    assert any(seconds(100_000) < 30.0 * small for _ in range(20))


@given(st.text(alphabet='1 2.\n:()-so,<>/progress%thk', max_size=400))
@settings(max_examples=300)
def test_any_text_is_read(text):
    _read_all(text)
