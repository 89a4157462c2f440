"""The annotated picture: what the camera sees, and beside it what the monitor makes of it.

No ROS here: the node's overlay, the video tool and the demo's film draw with the same function.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from progress_monitor.types import NAN, PlanStep, State, StepStatus

Colour = tuple[int, int, int]
_Font: TypeAlias = 'ImageFont.FreeTypeFont | ImageFont.ImageFont'

HEIGHT = 480
PANEL_WIDTH = 420
# What is cut is never measured: drawing takes the same time whatever the text.
LINE_CHARACTERS = 160
_WIDEST = 4 * HEIGHT
_MARGIN = 20

_BACKGROUND: Colour = (22, 25, 31)
_TRACK: Colour = (52, 57, 68)
_TEXT: Colour = (233, 236, 241)
_DIM: Colour = (150, 157, 170)
_GREY: Colour = (125, 133, 147)
_BLUE: Colour = (74, 144, 226)
_GREEN: Colour = (72, 187, 120)
_RED: Colour = (235, 87, 87)
_ORANGE: Colour = (242, 153, 74)
_YELLOW: Colour = (236, 201, 75)

STATE_COLOURS: dict[State, Colour] = {
    State.UNKNOWN: _GREY,
    State.IDLE: _GREY,
    State.LOADING: _GREY,
    State.OBSERVING: _BLUE,
    State.PROGRESSING: _BLUE,
    State.STALLED: _RED,
    State.REGRESSING: _ORANGE,
    State.SUCCEEDED: _GREEN,
    State.UNSURE: _YELLOW,
    State.STALE: _YELLOW,
    State.ERROR: _RED,
}


@dataclass(frozen=True)
class Overlay:
    """What is written beside the picture. ``note`` is one sentence: a cause, a reason, a hint.

    ``progress`` and ``spread`` are 0..1 and NaN where unknown; ``footer`` is one dim line, for
    example the time of the tick.
    """

    task: str
    state: State
    progress: float = NAN
    spread: float = NAN
    plan: tuple[PlanStep, ...] = ()
    reasoning: str = ''
    note: str = ''
    footer: str = ''


def draw_overlay(image: NDArray[np.uint8], overlay: Overlay) -> NDArray[np.uint8]:
    """Return the picture with a panel to its right, ``HEIGHT`` pixels high.

    :param image: (height, width, 3) uint8 RGB, of any size. A panorama wider than four times its
        height is squeezed to that.
    :returns: (HEIGHT, width of the scaled picture + PANEL_WIDTH, 3) uint8 RGB; the width is even,
        as video encoders want it.
    """
    height, width = image.shape[:2]
    scaled_width = min(max(2, round(width * HEIGHT / height / 2) * 2), _WIDEST)
    shrink = height > HEIGHT
    scaled = cv2.resize(
        image,
        (scaled_width, HEIGHT),
        interpolation=cv2.INTER_AREA if shrink else cv2.INTER_CUBIC,
    )
    canvas = Image.new('RGB', (scaled_width + PANEL_WIDTH, HEIGHT), _BACKGROUND)
    canvas.paste(Image.fromarray(scaled), (0, 0))
    _Panel(ImageDraw.Draw(canvas), scaled_width).draw(overlay)
    return np.asarray(canvas)


class _Panel:
    """Writes from top to bottom; what does not fit above the footer is left out."""

    def __init__(self, pen: ImageDraw.ImageDraw, offset: int) -> None:
        self._pen = pen
        self._edge = offset
        self._left = offset + _MARGIN
        self._right = offset + PANEL_WIDTH - _MARGIN
        self._top = _MARGIN - 4
        self._bottom = HEIGHT - 34

    def draw(self, overlay: Overlay) -> None:
        colour = STATE_COLOURS[overlay.state]
        self._pen.rectangle((self._edge, 0, self._edge + 3, HEIGHT), fill=colour)
        self._text(overlay.task or 'no task', 17, _TEXT, lines=2)
        self._top += 6
        self._state_line(overlay, colour)
        self._bar(overlay, colour)
        if overlay.note:
            self._text(overlay.note, 15, colour, lines=3)
            self._top += 6
        self._plan(overlay.plan, reserve=64 if overlay.reasoning else 0)
        if overlay.reasoning:
            self._top += 4
            self._text(overlay.reasoning, 13, _DIM, lines=8)
        footer = _fit(self._pen, overlay.footer, _font(13), self._right - self._left)
        self._pen.text((self._left, HEIGHT - 28), footer, font=_font(13), fill=_GREY)

    def _state_line(self, overlay: Overlay, colour: Colour) -> None:
        self._pen.text((self._left, self._top), overlay.state.name, font=_font(26), fill=colour)
        number = '--' if math.isnan(overlay.progress) else f'{overlay.progress * 100:.0f}%'
        font = _font(26)
        width = self._pen.textlength(number, font=font)
        self._pen.text((self._right - width, self._top), number, font=font, fill=_TEXT)
        self._top += 38

    def _bar(self, overlay: Overlay, colour: Colour) -> None:
        box = (self._left, self._top, self._right, self._top + 16)
        self._pen.rounded_rectangle(box, 8, fill=_TRACK)
        if not math.isnan(overlay.progress):
            value = min(max(overlay.progress, 0.0), 1.0)
            end = self._left + 16 + value * (self._right - self._left - 16)
            self._pen.rounded_rectangle((*box[:2], end, box[3]), 8, fill=colour)
            if not math.isnan(overlay.spread):
                self._whisker(value, overlay.spread, box[3] + 5)
        self._top += 32

    def _whisker(self, value: float, spread: float, y: int) -> None:
        span = self._right - self._left
        low = self._left + max(0.0, value - spread) * span
        high = self._left + min(1.0, value + spread) * span
        self._pen.line((low, y, high, y), fill=_DIM, width=2)

    def _plan(self, plan: tuple[PlanStep, ...], reserve: int) -> None:
        room = max(1, (self._bottom - reserve - self._top) // 24)
        shown = plan
        if len(plan) > room:
            # The step in progress is what a person looks for: keep it in view.
            unfinished = (i for i, step in enumerate(plan) if step.status is not StepStatus.DONE)
            current = next(unfinished, len(plan) - 1)
            first = min(max(0, current - room // 2), len(plan) - room)
            shown = plan[first : first + room]
        for step in shown:
            self._step(step)

    def _step(self, step: PlanStep) -> None:
        self._mark(step.status, self._left + 8, self._top + 10)
        colour = _DIM if step.status in (StepStatus.DONE, StepStatus.PENDING) else _TEXT
        line = _fit(self._pen, step.text, _font(15), self._right - self._left - 28)
        self._pen.text((self._left + 28, self._top), line, font=_font(15), fill=colour)
        self._top += 24

    def _mark(self, status: StepStatus, x: int, y: int) -> None:
        circle = (x - 7, y - 7, x + 7, y + 7)
        if status is StepStatus.DONE:
            self._pen.ellipse(circle, fill=_GREEN)
            tick = (x - 4, y, x - 1, y + 3, x + 4, y - 3)
            self._pen.line(tick, fill=_BACKGROUND, width=2, joint='curve')
        elif status is StepStatus.IN_PROGRESS:
            self._pen.ellipse(circle, outline=_BLUE, width=2)
            self._pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=_BLUE)
        elif status is StepStatus.UNDONE:
            self._pen.ellipse(circle, fill=_ORANGE)
            self._pen.line((x - 3, y - 3, x + 3, y + 3), fill=_BACKGROUND, width=2)
            self._pen.line((x - 3, y + 3, x + 3, y - 3), fill=_BACKGROUND, width=2)
        else:
            self._pen.ellipse(circle, outline=_GREY, width=2)

    def _text(self, text: str, size: int, colour: Colour, lines: int) -> None:
        font = _font(size)
        line_height = round(size * 1.35)
        room = min(lines, (self._bottom - self._top) // line_height)
        if room <= 0:
            return
        width = self._right - self._left
        for line in wrap(self._pen, text, font, width, room):
            self._pen.text((self._left, self._top), line, font=font, fill=colour)
            self._top += line_height


@functools.cache
def _font(size: int) -> _Font:
    return ImageFont.load_default(size)


def _clean(text: str, limit: int) -> str:
    """At most ``limit`` characters, on one line and without any that cannot be drawn."""
    cut = text.lstrip()[:limit]
    kept = ''.join(character if character.isprintable() else ' ' for character in cut)
    return ' '.join(kept.split())


def _fit(pen: ImageDraw.ImageDraw, text: str, font: _Font, width: int) -> str:
    """The text on one line of ``width`` pixels, with an ellipsis where it is cut."""
    cleaned = _clean(text, LINE_CHARACTERS)
    whole = len(text) <= LINE_CHARACTERS
    if whole and pen.textlength(cleaned, font=font) <= width:
        return cleaned
    return cleaned[: _fitting(pen, cleaned, font, width, '…')].rstrip() + '…'


def _fitting(pen: ImageDraw.ImageDraw, text: str, font: _Font, width: int, ending: str = '') -> int:
    """How many of the first characters fit in ``width`` pixels, found by bisection; at least 1."""
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if pen.textlength(text[:middle] + ending, font=font) <= width:
            low = middle
        else:
            high = middle - 1
    return low


def wrap(pen: ImageDraw.ImageDraw, text: str, font: _Font, width: int, lines: int) -> list[str]:
    """The text on at most ``lines`` lines, broken at spaces where there are any."""
    rest = _clean(text, lines * LINE_CHARACTERS)
    cut = len(text) > lines * LINE_CHARACTERS
    wrapped: list[str] = []
    while rest and len(wrapped) < lines - 1:
        line = rest[:LINE_CHARACTERS]
        end = _fitting(pen, line, font, width)
        if end < len(rest):
            # A word that is longer than a line is broken, as it must be somewhere.
            end = rest.rfind(' ', 1, end + 1) if ' ' in rest[1 : end + 1] else end
        wrapped.append(rest[:end])
        rest = rest[end:].lstrip()
    if rest:
        last = rest + ' ' * LINE_CHARACTERS if cut else rest
        wrapped.append(_fit(pen, last, font, width))
    return wrapped
