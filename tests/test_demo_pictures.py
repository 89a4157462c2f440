"""What the demo shows: its film, its plots and its lines."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import cv2
import numpy as np
from demo_recordings import at, recording
from rich.console import Console

from progress_monitor.offline.video import frame_rate, read_video
from progress_monitor.overlay import HEIGHT, PANEL_WIDTH, STATE_COLOURS
from progress_monitor.types import State
from progress_monitor_lab.demo.display import Display
from progress_monitor_lab.demo.film import annotate, write_film
from progress_monitor_lab.demo.plots import write_picture, write_timeline
from progress_monitor_lab.demo.recording import FrameRow, Recording


def test_the_film_shows_every_frame_at_its_pace(tmp_path: Path) -> None:
    path = tmp_path / 'overlay.mp4'
    run = recording(until=3.0)
    write_film(run, path)
    frames = list(read_video(path))
    assert len(frames) == 30
    assert frames[0][2].shape == (HEIGHT, HEIGHT + PANEL_WIDTH, 3)
    assert abs(frame_rate(path) - 10.0) < 0.1


def edge(run: Recording, seconds: float) -> tuple[int, ...]:
    """Colour of the panel's edge, which is that of the state."""
    frame = FrameRow(at(seconds), run.frames[0].jpeg)
    return tuple(int(v) for v in annotate(run, frame)[HEIGHT // 2, HEIGHT + 1])


def test_a_frame_shows_what_was_known_when_it_was_taken() -> None:
    run = recording()
    assert edge(run, 0.05) == STATE_COLOURS[State.LOADING]
    assert edge(run, 5.0) == STATE_COLOURS[State.PROGRESSING]
    assert edge(run, 7.4) == STATE_COLOURS[State.STALLED]
    assert edge(run, 16.9) == STATE_COLOURS[State.SUCCEEDED]


def test_the_timeline_shows_what_happened(tmp_path: Path) -> None:
    calm, eventful = tmp_path / 'calm.png', tmp_path / 'eventful.png'
    write_timeline(recording('none', None, (), None, None, None), calm)
    write_timeline(recording(), eventful)
    pictures = [np.asarray(cv2.imread(str(path)), int) for path in (calm, eventful)]
    red, green, blue = STATE_COLOURS[State.SUCCEEDED]
    tint = np.array([255 - 0.22 * (255 - channel) for channel in (blue, green, red)])
    shown = [int((np.abs(p - tint).max(axis=2) < 3).sum()) for p in pictures]
    # The band, and not only the line of the legend.
    assert shown[0] < 500
    assert shown[1] > 5000


def test_the_picture_stacks_film_and_plot(tmp_path: Path) -> None:
    run = recording()
    write_timeline(run, tmp_path / 't.png')
    write_picture(run, tmp_path / 't.png', tmp_path / 'demo.png')
    picture = cv2.imread(str(tmp_path / 'demo.png'))
    assert picture is not None
    assert picture.shape[1] == round(0.7 * 2 * (HEIGHT + PANEL_WIDTH))
    assert picture.shape[0] > 0.7 * HEIGHT * 1.5


def shown(run: Recording, terminal: bool) -> str:
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=100)
    with Display(run, console) as display:
        display.update(at(10.0))
        display.update(at(10.1))
    return output.getvalue()


def test_without_a_terminal_plain_lines_tell_each_event_once() -> None:
    text = shown(recording(), terminal=False)
    assert '\x1b' not in text
    for words in ('fault injected: drop', 'stall called (regression)', 'success called'):
        assert text.count(words) == 1
    assert 'SUCCEEDED' in text
    assert '(truth 100%)' in text


def test_a_model_that_takes_its_time_to_load_is_told_once() -> None:
    run = recording()
    waiting = dataclasses.replace(run, truths=[], ticks=[], frames=[], stalls=[], recoveries=[])
    waiting.successes.clear()
    waiting.statuses[:] = [dataclasses.replace(run.statuses[0], state=State.LOADING)] * 50
    output = io.StringIO()
    with Display(waiting, Console(file=output)) as display:
        for second in range(60):
            display.update(at(second))
    assert output.getvalue().count('LOADING') == 1


def test_the_panel_shows_state_steps_reasoning_and_events() -> None:
    text = shown(recording(), terminal=True)
    for words in ('SUCCEEDED', '▸ Reach the puck.', 'The following steps', 'stall called'):
        assert words in text


def test_nothing_heard_yet_can_be_shown() -> None:
    empty = dataclasses.replace(
        recording(),
        truths=[],
        ticks=[],
        statuses=[],
        stalls=[],
        successes=[],
        recoveries=[],
        frames=[],
    )
    assert 'LOADING' in shown(empty, terminal=True)
    assert shown(empty, terminal=False) == ''
