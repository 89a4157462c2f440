"""The annotated picture: what the camera sees, and beside it what the monitor makes of it.

No ROS here: the node's overlay, the video tool and the demo's film draw with the same function.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from progress_monitor.types import NAN, PlanStep, State, StepStatus

Colour = tuple[int, int, int]

HEIGHT = 480
PANEL_WIDTH = 420
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

    :param image: (height, width, 3) uint8 RGB, of any size.
    :returns: (HEIGHT, width of the scaled picture + PANEL_WIDTH, 3) uint8 RGB; the width is even,
        as video encoders want it.
    """
    height, width = image.shape[:2]
    scaled_width = max(2, round(width * HEIGHT / height / 2) * 2)
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
            self._text(' '.join(overlay.reasoning.split()), 13, _DIM, lines=8)
        self._pen.text((self._left, HEIGHT - 28), overlay.footer, font=_font(13), fill=_GREY)

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
        text = ' '.join(step.text.split())
        line = _fit(self._pen, text, _font(15), self._right - self._left - 28)
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
        wrapped = _wrap(self._pen, text, font, width)
        if len(wrapped) > room:
            rest = ' '.join(wrapped[room - 1 :])
            wrapped = [*wrapped[: room - 1], _fit(self._pen, rest, font, width)]
        for line in wrapped:
            self._pen.text((self._left, self._top), line, font=font, fill=colour)
            self._top += line_height


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _fit(
    pen: ImageDraw.ImageDraw,
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    width: int,
) -> str:
    if pen.textlength(text, font=font) <= width:
        return text
    while text and pen.textlength(text + '…', font=font) > width:
        text = text[:-1]
    return text.rstrip() + '…'


def _wrap(
    pen: ImageDraw.ImageDraw,
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    width: int,
) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        longer = f'{lines[-1]} {word}' if lines else word
        if lines and pen.textlength(longer, font=font) <= width:
            lines[-1] = longer
        else:
            lines.append(_fit(pen, word, font, width))
    return lines
