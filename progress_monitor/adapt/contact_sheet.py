"""A picture of where the boundaries of a demonstration's stages lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from progress_monitor.adapt.annotation import Stage
from progress_monitor.adapt.recording import Recording

_COLUMNS = 6
_THUMBNAIL = 160
_GAP = 4
_LABEL = 22
_INK, _PAPER, _CUT = (20, 24, 31), (255, 255, 255), (208, 58, 44)
_LONGEST_LABEL = 110


def write_contact_sheet(
    recording: Recording, stages: Sequence[Stage], ending: str, path: Path
) -> None:
    """Write a PNG with a row for each stage: frames from its first to its last.

    Each camera has its share of the row. The last row shows what comes after the stages.

    :param ending: what the frames after the last stage are called.
    :raises OSError: if it cannot be written.
    """
    from PIL import Image, ImageDraw

    rows = [
        (f'{number}  {stage.text or "(no text)"}', stage.start_s, stage.end_s)
        for number, stage in enumerate(stages, 1)
    ]
    if stages and stages[-1].end_s < recording.duration_s - 0.5 / recording.fps:
        rows.append((ending, stages[-1].end_s, recording.duration_s))
    cameras = len(recording.videos)
    each = max(2, _COLUMNS // cameras)
    height = max(round(_THUMBNAIL * size[1] / size[0]) for size in recording.sizes)
    row_height = _LABEL + height + _GAP
    width = _GAP + cameras * (each * (_THUMBNAIL + _GAP) + _GAP)
    sheet = Image.new('RGB', (width, max(1, len(rows)) * row_height + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = _font()
    for row, (label, start_s, end_s) in enumerate(rows):
        top = row * row_height + _GAP
        first = round(start_s * recording.fps)
        last = min(max(first, round(end_s * recording.fps) - 1), recording.frames - 1)
        said = (
            f'{label[:_LONGEST_LABEL]}   {start_s:.2f} to {end_s:.2f} s, frames {first} to {last}'
        )
        draw.text((_GAP, top), said, fill=_INK, font=font)
        left = _GAP
        for camera in range(cameras):
            draw.line((left - 2, top + _LABEL, left - 2, top + _LABEL + height), _CUT, 2)
            for frame in np.linspace(first, last, each).round().astype(int).tolist():
                picture = Image.fromarray(
                    recording.picture(camera, min(frame, recording.frames - 1))
                )
                picture.thumbnail((_THUMBNAIL, height))
                sheet.paste(picture, (left, top + _LABEL))
                left += _THUMBNAIL + _GAP
            left += _GAP
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


def _font() -> Any:
    from PIL import ImageFont

    try:
        return ImageFont.truetype('DejaVuSans.ttf', 13)
    except OSError:
        return ImageFont.load_default(13)
