"""``python -m progress_monitor demonstrate``: a demonstration for the strategy ``progresslm``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from progress_monitor.node_config import NodeConfig
from progress_monitor.offline.keyframes import Keyframes
from progress_monitor.offline.recorded_runs import read_run
from progress_monitor.offline.sources import SourceOptions, open_source
from progress_monitor.parameters import ParameterError
from progress_monitor.printable import printable
from progress_monitor.strategies.demonstration import (
    MOST_STEPS,
    Demonstration,
    DemonstrationStep,
    check_free,
    check_goal,
)
from progress_monitor.types import Frame, new_uid

# The pixels that ProgressLM was trained with (arXiv 2601.15224).
_MAX_PIXELS = 1_003_520
_MOST_CHARACTERS = 2000
_Stamped = tuple[int, NDArray[np.uint8]]


def main(arguments: list[str] | None = None) -> int:
    """Record a demonstration.

    :returns: 0, or 2 with one sentence if something that was given cannot be used.
    """
    given = _parser().parse_args(arguments)
    try:
        check_free(given.out)
        check_goal('--goal', given.goal)
        for option in ('at', 'words'):
            if len(getattr(given, option)) > MOST_STEPS:
                raise ParameterError(f'--{option}: a demonstration has at most {MOST_STEPS} steps')
        made = _text(given) if given.words else _visual(given)
        made.save(given.out)
    except (OSError, ValueError) as error:
        print(printable(str(error), _MOST_CHARACTERS), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('interrupted; nothing was written', file=sys.stderr)
        return 130
    for number, step in enumerate(made.steps, 1):
        at = '' if step.image is None else f', at {step.image.stamp_ns * 1e-9:.1f} s'
        print(
            f'{number}. {100 * step.progress:.0f} %{at}{step.text and ": " + printable(step.text)}'
        )
    print(f'written to {printable(str(given.out))}; set progresslm.demonstration to it')
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m progress_monitor demonstrate',
        description='Record a demonstration for the strategy progresslm: pictures of a run that '
        'succeeded, or steps in words, each with its progress.',
    )
    parser.add_argument(
        'source',
        type=Path,
        nargs='?',
        help='video, folder of pictures, or bag (ROS 2 or ROS 1)',
    )
    parser.add_argument('--goal', required=True, help='what the robot does, in words')
    parser.add_argument('--out', type=Path, required=True, help='folder to write; a new one')
    parser.add_argument('--live', metavar='TOPIC', default='', help='a camera topic instead')
    parser.add_argument(
        '--seconds', type=float, default=60.0, help='of --live; an interrupt ends it earlier'
    )
    parser.add_argument('--topic', default='', help='camera topic of a bag; default: its first')
    parser.add_argument(
        '--period', type=float, help='time between the pictures of a folder, s; default: 0.5'
    )
    parser.add_argument(
        '--count',
        type=int,
        default=5,
        help='pictures, evenly spaced from the first movement to the last',
    )
    parser.add_argument(
        '--at',
        type=float,
        nargs='+',
        default=[],
        metavar='SECONDS',
        help='times of the pictures instead: the start, and where each step of the task is done',
    )
    parser.add_argument(
        '--ticks',
        type=Path,
        help='ticks.jsonl that a monitor wrote of this source: the pictures are evenly spaced in '
        'the progress that it named',
    )
    parser.add_argument(
        '--words',
        nargs='+',
        default=[],
        metavar='STEP',
        help='the steps in words, in place of pictures; no source is needed',
    )
    return parser


def _text(given: argparse.Namespace) -> Demonstration:
    if given.source is not None or given.live:
        raise ParameterError('--words: steps in words are shown no pictures; leave the source out')
    count = len(given.words)
    steps = (DemonstrationStep(i / count, text=text) for i, text in enumerate(given.words, 1))
    return Demonstration('text', given.goal, tuple(steps))


def _visual(given: argparse.Namespace) -> Demonstration:
    if (given.source is not None) == bool(given.live):
        raise ParameterError('give a recording, or --live with a camera topic, or --words')
    if given.at and given.ticks is not None:
        raise ParameterError('--at and --ticks: give one of them')
    if not 2 <= given.count <= MOST_STEPS:
        raise ParameterError(
            f'--count: {given.count}; a demonstration has at least a start and an end, '
            f'and at most {MOST_STEPS} pictures'
        )
    frames = Keyframes(_MAX_PIXELS)
    for stamp_ns, image in _live(given) if given.live else _recorded(given):
        frames.add(stamp_ns, image)
    seconds, progress = _chosen(given, frames)
    steps = []
    for at, share in zip(seconds, progress, strict=True):
        key = frames.at(at)
        frame = Frame(new_uid(), 'demonstration', round(key.seconds * 1e9), key.image())
        steps.append(DemonstrationStep(share, image=frame))
    return Demonstration('visual', given.goal, tuple(steps))


def _recorded(given: argparse.Namespace) -> Iterator[_Stamped]:
    topics = (given.topic,) if given.topic else ()
    source = open_source(given.source, SourceOptions(topics, given.period))
    for picture in source.pictures():
        if picture.camera == source.cameras[0]:
            yield picture.stamp_ns, picture.image


def _live(given: argparse.Namespace) -> Iterator[_Stamped]:
    if not given.seconds > 0.0:
        raise ParameterError(f'--seconds: {given.seconds:g} is no time to record')
    try:
        from progress_monitor.ros.live_pictures import live_pictures
    except ImportError as error:
        raise OSError(f'--live needs ROS 2: {error}; source its setup') from error
    print(f'listening to {given.live}; an interrupt ends the recording', file=sys.stderr)
    largest = NodeConfig().max_image_pixels
    with closing(live_pictures(given.live, given.seconds, _MAX_PIXELS, largest)) as pictures:
        try:
            for frame in pictures:
                yield frame.stamp_ns, frame.image
        except ParameterError as error:
            raise ParameterError(str(error).replace('image_topics', '--live')) from None


def _chosen(given: argparse.Namespace, frames: Keyframes) -> tuple[list[float], list[float]]:
    """Times of the pictures, s, and the progress of each, 0..1."""
    end = frames.pictures[-1].seconds
    if given.at:
        if sorted(set(given.at)) != given.at or len(given.at) < 2:
            raise ParameterError('--at: give at least two times, rising')
        if not 0.0 <= given.at[0] <= given.at[-1] <= end + 0.5:
            raise ParameterError(f'--at: the source lasts {end:.1f} s')
        return given.at, np.linspace(0.0, 1.0, len(given.at)).tolist()
    wanted = np.linspace(0.0, 1.0, given.count).tolist()
    if given.ticks is not None:
        return _by_progress(given.ticks, wanted)
    movement = frames.movement()
    if movement is None:
        raise ParameterError('nothing moves in this recording: it shows no task')
    first, last = movement
    return [first + share * (last - first) for share in wanted], wanted


def _by_progress(ticks: Path, wanted: Sequence[float]) -> tuple[list[float], list[float]]:
    """Where a monitor first named each progress, as far as the run came."""
    run = read_run(ticks)
    times, named = run.times.tolist(), run.progress
    if not len(named):
        raise ParameterError(f'{ticks}: no tick names a progress')
    best = np.maximum.accumulate(named)
    span = best[-1] - best[0]
    if span < 0.5:
        raise ParameterError(
            f'{ticks}: the progress rises from {100 * best[0]:.0f} to {100 * best[-1]:.0f} % only; '
            'give the times with --at'
        )
    levels = [float(best[0] + share * span) for share in wanted]
    places = [int(np.argmax(best >= level - 1e-9)) for level in levels]
    return [times[place] for place in places], [float(best[place]) for place in places]
