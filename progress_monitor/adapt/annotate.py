"""Command line: ``python -m progress_monitor annotate VIDEO --task "..." --out demo.json``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from progress_monitor.adapt.import_videos import write_videos
from progress_monitor.adapt.recording import Recording
from progress_monitor.adapt.session import Session, earlier, from_published
from progress_monitor.adapt.terminal import Terminal, lines_of
from progress_monitor.offline.sources import SourceOptions, open_source
from progress_monitor.offline.sources.video import VideoSource
from progress_monitor.printable import printable

_LIVE_FPS = 10.0
_MOST_CHARACTERS = 2000


def main(arguments: list[str] | None = None) -> int:
    """Annotate a demonstration.

    :returns: 0; 1 if changes were not saved (terminal); 2 with one sentence if something that was
        given cannot be used; 130 if interrupted.
    """
    given = _parser().parse_args(arguments)
    try:
        return _annotate(given)
    except (OSError, ValueError) as error:
        print(printable(str(error), _MOST_CHARACTERS), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m progress_monitor annotate',
        description='Cut a recorded demonstration into stages, in a browser or in a terminal.',
    )
    parser.add_argument(
        'source',
        type=Path,
        nargs='*',
        help='videos of the same run, one a camera; or one rosbag2 recording or folder of pictures',
    )
    parser.add_argument('--task', default='', help='what the robot is shown to do, in words')
    parser.add_argument('--out', type=Path, required=True, help='file of annotations (JSON)')
    parser.add_argument(
        '--topic',
        action='append',
        default=[],
        help='camera topic of a bag, or to be recorded; may be given several times',
    )
    parser.add_argument(
        '--record', type=float, default=0.0, metavar='S', help='record the topics for S seconds now'
    )
    parser.add_argument(
        '--period', type=float, help='time between the pictures of a folder, s; default: 0.5'
    )
    parser.add_argument(
        '--model', default='', help='checkpoint that may list the steps: a folder or hub name'
    )
    parser.add_argument(
        '--published',
        type=Path,
        help='start from this file in a published form: {"sub_tasks": …}, or qa_pairs.jsonl',
    )
    parser.add_argument(
        '--export', type=Path, help='write the published form {"sub_tasks": …} there as well'
    )
    parser.add_argument(
        '--terminal', action='store_true', help='commands from standard input, no browser'
    )
    parser.add_argument('--host', default='127.0.0.1', help='address that the page is served at')
    parser.add_argument('--port', type=int, default=5110, help='its port; 0: a free one')
    return parser


def _annotate(given: argparse.Namespace) -> int:
    videos = _videos(given)
    current = earlier(given.out, videos)
    if given.published is not None:
        task = given.task or (current.task if current else '')
        current = from_published(given.published, task, videos)
    with Recording(videos, _told()) as recording:
        if not recording.even and (given.published or given.export):
            raise ValueError(
                f'{videos[0]}: its frames are not evenly spaced, and published forms count frames; '
                f'write it at one rate first: ffmpeg -i {videos[0].name} -r 10 NEW.mp4'
            )
        task = given.task or (current.task if current else '')
        session = Session(recording, task, given.out, given.export, given.model, current)
        if given.terminal:
            return _in_terminal(session)
        from progress_monitor.adapt.web import serve

        serve(session, given.host, given.port)
        return 0


def _in_terminal(session: Session) -> int:
    person = sys.stdin.isatty()
    terminal = Terminal(session)
    if person:
        print('help lists the commands')
        terminal.run(['list'], stop_at_error=False)
    return terminal.run(lines_of(sys.stdin, prompt=person), stop_at_error=not person)


def _videos(given: argparse.Namespace) -> tuple[Path, ...]:
    """The demonstration as video files, which are written beside the annotations if need be."""
    if given.record:
        if given.source:
            raise ValueError('--record: takes the topics of cameras, and no source')
        if not 0 < given.record <= 3600 or not given.topic:
            raise ValueError('--record: give 1 to 3600 seconds, and each camera with --topic')
        try:
            from progress_monitor.ros.live import live_frames
        except ImportError as error:
            raise OSError(f'live cameras need ROS 2: {error}; source its setup') from error
        print(f'recording {", ".join(given.topic)} for {given.record:g} s', file=sys.stderr)
        frames = live_frames(tuple(given.topic), given.record, 1.0 / _LIVE_FPS)
        # Named by the time: another recording for the same file must not take its place.
        stem = f'{given.out.stem}_{time.strftime("%Y%m%d_%H%M%S")}'
        return write_videos(frames, _LIVE_FPS, given.out.parent, stem)
    if not given.source:
        raise ValueError('give the videos of the demonstration, a bag, or --record')
    options = SourceOptions(tuple(given.topic), given.period)
    if len(given.source) > 1:
        for path in given.source:
            if not path.is_file():
                raise FileNotFoundError(f'{path}: no video file; several sources must be videos')
        return tuple(given.source)
    source = open_source(given.source[0], options)
    if isinstance(source, VideoSource):
        return tuple(given.source)
    stem = f'{given.out.stem}_{given.source[0].stem}'
    written = write_videos(source.pictures(), source.fps, given.out.parent, stem)
    for note in source.notes:
        print(printable(note, _MOST_CHARACTERS), file=sys.stderr)
    names = printable(', '.join(str(path) for path in written), _MOST_CHARACTERS)
    print(f'written as {names}', file=sys.stderr)
    return written


def _told() -> Callable[[int], None]:
    """Says how many frames were read, on one line; nothing where nobody looks."""
    if not sys.stderr.isatty():
        return lambda count: None

    def told(count: int) -> None:
        print(f'\rreading frame {count}', end='\r', file=sys.stderr, flush=True)

    return told
