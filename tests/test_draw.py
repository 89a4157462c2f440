"""The annotated picture: sizes, what is shown, and odd input."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from progress_monitor.overlay import HEIGHT, PANEL_WIDTH, Overlay, draw_overlay, wrap
from progress_monitor.types import NAN, PlanStep, State, StepStatus

IMAGE = np.full((256, 256, 3), 90, np.uint8)
OVERLAY = Overlay(
    task='Open the drawer.',
    state=State.PROGRESSING,
    progress=0.5,
    spread=0.05,
    plan=(
        PlanStep('Reach the handle.', StepStatus.DONE, 0, 0),
        PlanStep('Pull the drawer open.', StepStatus.IN_PROGRESS, 0, 0),
    ),
    reasoning='The following steps are required:\n1. Pull the drawer open.',
    note='all is well',
    footer='tick 3',
)


@pytest.mark.parametrize('size', [(256, 256), (96, 128), (480, 640), (720, 1280), (33, 31)])
def test_the_picture_stands_left_of_the_panel(size: tuple[int, int]) -> None:
    image = np.full((*size, 3), (10, 200, 30), np.uint8)
    drawn = draw_overlay(image, OVERLAY)
    width = drawn.shape[1] - PANEL_WIDTH
    assert drawn.shape[0] == HEIGHT
    assert drawn.shape[1] % 2 == 0
    assert width == pytest.approx(HEIGHT * size[1] / size[0], abs=2)
    assert (drawn[:, :width] == (10, 200, 30)).all()


@pytest.mark.parametrize(
    'change',
    [
        {'task': 'Close the drawer.'},
        {'state': State.STALLED},
        {'progress': 0.6},
        {'progress': NAN},
        {'spread': 0.2},
        {'plan': ()},
        {'plan': (dataclasses.replace(OVERLAY.plan[0], status=StepStatus.UNDONE), OVERLAY.plan[1])},
        {'reasoning': ''},
        {'note': 'all is lost'},
        {'footer': 'tick 4'},
    ],
)
def test_everything_that_is_said_is_seen(change: dict[str, object]) -> None:
    before = draw_overlay(IMAGE, OVERLAY)
    assert (draw_overlay(IMAGE, dataclasses.replace(OVERLAY, **change)) != before).any()


def test_of_a_long_plan_the_step_in_progress_is_in_view() -> None:
    def plan(current: str) -> tuple[PlanStep, ...]:
        done = tuple(PlanStep(f'step {i}', StepStatus.DONE, 0, 0) for i in range(40))
        return (*done, PlanStep(current, StepStatus.IN_PROGRESS, 0, 0))

    one = draw_overlay(IMAGE, dataclasses.replace(OVERLAY, plan=plan('Pull the drawer open.')))
    two = draw_overlay(IMAGE, dataclasses.replace(OVERLAY, plan=plan('Push the drawer shut.')))
    assert (one != two).any()


def test_a_step_of_several_lines_stands_on_one() -> None:
    plan = (PlanStep('Reach\nthe handle', StepStatus.PENDING, 0, 0),)
    flat = (PlanStep('Reach the handle', StepStatus.PENDING, 0, 0),)
    pictures = [draw_overlay(IMAGE, Overlay('open', State.STALLED, plan=p)) for p in (plan, flat)]
    assert (pictures[0] == pictures[1]).all()


LONG = {
    'one word': 'x' * 100_000,
    'short words': 'ab ' * 33_000,
    'combining': 'e' + '\u0301' * 100_000,
    'right to left': 'שלום عالم ' * 10_000,
    'override': '\u202e' * 100_000 + 'abc',
    'nul': 'a\0' * 50_000,
    'newlines': 'x\n' * 50_000,
    'blanks': ' ' * 100_000 + 'x',
    'emoji': '👩‍👩‍👧‍👦' * 15_000,
    'surrogates': '\ud800' * 100_000,
}


@pytest.mark.parametrize('text', LONG.values(), ids=LONG)
def test_no_more_is_measured_however_long_the_text(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measuring texts is what drawing spends its time on."""
    measured: list[int] = []
    measure = ImageDraw.ImageDraw.textlength

    def counted(pen: ImageDraw.ImageDraw, text: str, *more: Any, **named: Any) -> float:
        measured.append(len(text))
        return measure(pen, text, *more, **named)

    monkeypatch.setattr(ImageDraw.ImageDraw, 'textlength', counted)
    plan = tuple(PlanStep(text, StepStatus.PENDING, 0, 0) for _ in range(16))
    overlay = Overlay(text, State.STALLED, 0.5, 0.1, plan, text, text, text)
    draw_overlay(IMAGE, overlay)
    assert 0 < sum(measured) < 50_000


@pytest.mark.parametrize('lines', [1, 2, 5])
def test_a_text_is_broken_at_spaces_and_loses_nothing_but_its_end(lines: int) -> None:
    pen = ImageDraw.Draw(Image.new('RGB', (8, 8)))
    text = 'Pick the red block up and put it into the blue box on the left of the table.'
    wrapped = wrap(pen, text, ImageFont.load_default(15), 200, lines)
    assert len(wrapped) <= lines
    assert all(pen.textlength(line, font=ImageFont.load_default(15)) <= 200 for line in wrapped)
    joined = ' '.join(wrapped)
    assert joined == text if len(wrapped) < lines else joined.endswith('…')
    assert text.startswith(joined.removesuffix('…'))


def test_a_panorama_is_no_wider_than_a_film_can_take() -> None:
    drawn = draw_overlay(np.zeros((2, 4000, 3), np.uint8), OVERLAY)
    assert drawn.shape == (HEIGHT, 4 * HEIGHT + PANEL_WIDTH, 3)


@settings(max_examples=25)
@given(
    st.text(max_size=400),
    st.text(max_size=400),
    st.lists(st.text(max_size=80), max_size=30),
    st.floats(),
    st.floats(),
    st.sampled_from(State),
)
def test_no_text_and_no_number_breaks_it(
    task: str, note: str, steps: list[str], progress: float, spread: float, state: State
) -> None:
    plan = tuple(PlanStep(step, StepStatus.PENDING, 0, 0) for step in steps)
    overlay = Overlay(task, state, progress, spread, plan, note, note, task)
    assert draw_overlay(IMAGE, overlay).shape == (HEIGHT, HEIGHT + PANEL_WIDTH, 3)
