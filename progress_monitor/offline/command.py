"""Command line: ``python -m progress_monitor watch VIDEO --task "..." --model FOLDER``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from progress_monitor.node_config import NodeConfig
from progress_monitor.offline.settings import settings_for
from progress_monitor.offline.sinks import SINKS
from progress_monitor.offline.sinks.video import FILM
from progress_monitor.offline.sources import SourceOptions, open_source
from progress_monitor.offline.watch import Outcome, recording_of, watch
from progress_monitor.parameter_file import read_parameters
from progress_monitor.parameters import ParameterError
from progress_monitor.printable import printable
from progress_monitor.types import Backend, Task
from progress_monitor.vlm.errors import VLMError

_MOST_CHARACTERS = 2000


def main(arguments: list[str] | None = None) -> int:
    """Watch a recording.

    :returns: 0; 1 with one sentence if not a single answer was usable; 2 with one if something
        that was given cannot be used; 130 if interrupted, with what was written until then.
    """
    given = _parser().parse_args(arguments)
    try:
        outcome = _watch(given)
    except (OSError, ParameterError, VLMError, ValueError) as error:
        print(printable(str(error), _MOST_CHARACTERS), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f'interrupted; what there is was written to {_shown(given.out)}', file=sys.stderr)
        return 130
    for note in outcome.notes:
        print(printable(note, _MOST_CHARACTERS), file=sys.stderr)
    print(f'{_summary(outcome)}; written to {_shown(given.out)}')
    if outcome.usable == 0:
        why = outcome.reason or 'no question was due: the recording is too short'
        print(f'not a single answer was usable: {why}', file=sys.stderr)
        return 1
    return 0


def _shown(path: Path) -> str:
    return printable(str(path))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m progress_monitor watch',
        description='Play a recording to the monitor: JSON lines, an annotated video and a plot.',
    )
    parser.add_argument(
        'source', type=Path, help='video, folder of pictures, or bag (ROS 2 or ROS 1)'
    )
    parser.add_argument('--task', required=True, help='what the robot is to do, in words')
    parser.add_argument('--model', required=True, help='folder of a checkpoint, or its hub name')
    parser.add_argument(
        '--adapter',
        action='append',
        default=[],
        help='folder or hub name of an adapter over the checkpoint; may be given several times',
    )
    parser.add_argument(
        '--params', type=Path, help='YAML file with the parameters of the node progress_monitor'
    )
    parser.add_argument('--out', type=Path, default=Path('out/offline'), help='folder to write to')
    parser.add_argument(
        '--topic',
        action='append',
        default=[],
        help='camera topic of a bag; may be given several times; default: all',
    )
    parser.add_argument(
        '--period', type=float, help='time between the pictures of a folder, s; default: 0.5'
    )
    parser.add_argument(
        '--write', nargs='+', choices=tuple(SINKS), default=list(SINKS), help='what to write'
    )
    return parser


def _watch(given: argparse.Namespace) -> Outcome:
    from progress_monitor.monitor import check_task, validate

    values = read_parameters(given.params, 'progress_monitor') if given.params else {}
    task = given.task.strip()
    check_task(Task('offline', task))
    source = open_source(given.source, SourceOptions(tuple(given.topic), given.period))
    config = settings_for(source, values, given.model, given.adapter)
    validate(config, source.cameras)
    given.out.mkdir(parents=True, exist_ok=True)
    _check_apart(given.source, given.out)
    recording = recording_of(source, given.source, task, config, given.out)
    backend = inline_backend(config)
    try:
        return watch(source, recording, config, backend, [SINKS[name] for name in given.write])
    finally:
        backend.close()


def _check_apart(source: Path, out: Path) -> None:
    """Check that what is written to ``out`` neither replaces the recording nor becomes part of it.

    :raises OSError: if it would.
    """
    if any(item.exists() and item.samefile(source) for item in (out, out / FILM)):
        raise OSError(f'--out: {source} is the recording itself; name another folder')


def inline_backend(config: NodeConfig) -> Backend:
    """The model in this process, loaded.

    :raises VLMError: if it cannot be loaded.
    :raises ParameterError: if the configuration wants it elsewhere.
    """
    from progress_monitor.backends.inline import InlineBackend

    if config.backend != 'worker':
        raise ParameterError(
            f'backend: {config.backend} answers in its own time; recordings need the model here'
        )
    return InlineBackend(config.model)


def _summary(outcome: Outcome) -> str:
    said = f'{outcome.ticks} ticks, {outcome.usable} of them usable'
    if outcome.failures:
        said += f'; {outcome.failures} questions were not answered, the last: {outcome.reason}'
    return said
