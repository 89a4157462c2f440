from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judging import frame

from progress_monitor.strategies import STRATEGIES
from progress_monitor.strategies.procvlm import ProcVLM
from progress_monitor.types import Answer, DecodeStats, Evidence

STEPS = 'The following steps are required:\n1. Reach the handle.\n2. Pull the drawer open.\n'


def _read(text: str, std: float = math.nan):
    return ProcVLM().read(Answer(text, (), 'tag', DecodeStats(1.0), number_std=std), 7)


def test_the_prompt_is_procvlms_with_images_first():
    frames = (frame(0.0), frame(0.5))
    prompt = STRATEGIES['procvlm']().prompt(frames, 'fold the "red" {shirt}', '')
    assert prompt.frames == frames
    assert prompt.text == (
        'Given the recent observation and the task "fold the "red" {shirt}", first infer the '
        'remaining atomic actions required to complete the task. Then estimate the current '
        'completion percentage and output it as a float wrapped by <progress> tags.'
    )


def test_memory_follows_the_prompt_after_a_space():
    text = ProcVLM().prompt((), 'x', 'Steps done so far: none.').text
    assert text.endswith('wrapped by <progress> tags. Steps done so far: none.')


def test_steps_number_and_spread_are_read():
    estimate = _read(f'{STEPS}Therefore, the estimated progress is <progress>42%</progress>', 2.5)
    assert estimate.progress == 0.42
    assert estimate.spread == 0.025
    assert estimate.remaining_steps == ('Reach the handle.', 'Pull the drawer open.')
    assert estimate.evidence is Evidence.GOOD
    assert estimate.stamp_ns == 7
    assert '<progress>' not in estimate.reasoning


@pytest.mark.parametrize(
    ('text', 'progress'),
    [
        ('<progress>84.13%</progress>', 0.8413),
        ('<PROGRESS> +7 % </Progress>', 0.07),
        ('<progress>-3%</progress>', 0.0),
        ('<progress>250</progress>', 1.0),
        ('<progress>.5%</progress>', 0.005),
        ('<progress>12%</progress> no, <progress>90%</progress>', 0.12),
    ],
)
def test_tags_are_read_in_every_accepted_form(text, progress):
    assert _read(f'{STEPS}{text}').progress == pytest.approx(progress)


@pytest.mark.parametrize(
    'text', ['', 'about half', '<progress>4', '<progress></progress>', '<progress>x%</progress>']
)
def test_no_readable_tag_is_unknown_and_never_the_last_value(text):
    estimate = _read(text)
    assert math.isnan(estimate.progress)
    assert estimate.evidence is Evidence.NO_NUMBER
    assert estimate.remaining_steps is None


@pytest.mark.parametrize('said', ['n/a', 'N/A', 'na', ' n / a '])
def test_a_refusal_is_an_answer(said):
    estimate = _read(f'The task does not fit what is seen. It is <progress>{said}</progress>')
    assert estimate.evidence is Evidence.REFUSED
    assert math.isnan(estimate.progress)
    assert estimate.remaining_steps is None


@pytest.mark.parametrize(
    'text',
    [
        'No further steps are required. It is <progress>100%</progress>',
        'Images show no block outside the tower, no further steps required. '
        '<progress>100.00%</progress>',
        'There are no remaining atomic actions. <progress>98%</progress>',
        'All is well. <progress>100%</progress>',
    ],
)
def test_nothing_left_is_an_empty_list(text):
    assert _read(text).remaining_steps == ()
    assert _read(text).evidence is Evidence.GOOD


def test_lists_on_one_line_and_with_dashes_are_read():
    inline = _read(
        'To complete the task: Tower the blocks, the following steps are required: 1. Grasp the '
        'green block. 2. Place the green block onto the red block. Therefore, the estimated '
        'progress percentage is <progress>84.13%</progress>.'
    )
    assert inline.remaining_steps == (
        'Grasp the green block.',
        'Place the green block onto the red block.',
    )
    dashes = _read('Left:\n- Open the lid\n- Close the lid\n<progress>1%</progress>')
    assert dashes.remaining_steps == ('Open the lid', 'Close the lid')


@pytest.mark.parametrize(
    'text',
    [
        f'{STEPS}<progress>100%</progress>',
        'No further steps are required. <progress>12%</progress>',
    ],
)
def test_list_and_number_that_contradict_each_other_are_named(text):
    assert _read(text).evidence is Evidence.CONTRADICTION


@given(st.text(max_size=300), st.floats(0, 100))
def test_any_text_is_read_without_an_error(noise, std):
    estimate = _read(noise, std)
    assert math.isnan(estimate.progress) or 0.0 <= estimate.progress <= 1.0
