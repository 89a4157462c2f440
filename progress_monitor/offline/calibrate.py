"""``python -m progress_monitor calibrate``: parameters proposed from recorded runs."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from progress_monitor.node_config import NodeConfig
from progress_monitor.offline import command
from progress_monitor.offline.proposals import (
    Roc,
    parameter_yaml,
    placed,
    propose,
    propose_confirm,
    propose_token,
)
from progress_monitor.offline.recorded_runs import (
    CalibrationError,
    Run,
    Watching,
    is_recording,
    read_run,
    sampled,
    watch_run,
)
from progress_monitor.offline.settings import settings_for
from progress_monitor.offline.sources import SourceOptions, open_source
from progress_monitor.parameter_file import read_parameters
from progress_monitor.parameters import ParameterError
from progress_monitor.printable import printable
from progress_monitor.strategy_config import TopRewardConfig
from progress_monitor.vlm.errors import VLMError

_MOST_CHARACTERS = 2000
_GOOD_AREA = 0.9


def main(arguments: list[str] | None = None) -> int:
    """Propose, print the ROC and write the file; 0, or 2 with one sentence on what is wrong."""
    given = _parser().parse_args(arguments)
    try:
        _calibrate(given)
    except (OSError, ParameterError, VLMError, ValueError) as error:
        print(printable(str(error), _MOST_CHARACTERS), file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m progress_monitor calibrate',
        description='Propose parameters from recorded runs: videos, folders of pictures, rosbag2 '
        'recordings (SQLite, MCAP), or ticks.jsonl files of runs that were watched already.',
    )
    for kind, required, told in (
        ('success', True, 'runs that succeeded, recorded until they had and no longer'),
        ('failure', False, 'runs that failed'),
        ('other', False, 'runs of other tasks: how many of their answers are refused'),
    ):
        parser.add_argument(
            f'--{kind}',
            type=Path,
            nargs='+',
            default=[],
            metavar='RUN',
            required=required,
            help=told,
        )
    parser.add_argument('--task', default='', help='what the robot is to do; for recordings')
    parser.add_argument('--model', default='', help='checkpoint: folder or hub name; likewise')
    parser.add_argument(
        '--adapter', action='append', default=[], help='adapter over the checkpoint; several times'
    )
    parser.add_argument(
        '--params', type=Path, help='YAML file with the parameters of the node progress_monitor'
    )
    parser.add_argument(
        '--topic', action='append', default=[], help='camera topic of bags; several times'
    )
    parser.add_argument(
        '--scene-statistics',
        action='store_true',
        help='first write what tells unknown scenes, from the recordings of the task, beside the '
        'weights of the adapter that serves the task, or else of the checkpoint',
    )
    parser.add_argument('--out', type=Path, default=Path('out/calibrated.yaml'))
    return parser


def _calibrate(given: argparse.Namespace) -> None:
    values = read_parameters(given.params, 'progress_monitor') if given.params else {}
    recordings = [
        path for path in (*given.success, *given.failure, *given.other) if is_recording(path)
    ]
    if (recordings or given.scene_statistics) and not (given.task.strip() and given.model):
        raise CalibrationError('recordings are watched for this: give --task and --model as well')
    if not given.failure and not given.scene_statistics:
        raise CalibrationError('--failure: give runs that failed, to be told from the successes')
    if given.scene_statistics:
        _write_scene_statistics(given, values)
        if not given.failure:
            return
    with _watching(given, values, recordings) as how:
        successes = [_run(path, how).checked() for path in given.success]
        failures = [_run(path, how).checked() for path in given.failure]
        others = [_run(path, how) for path in given.other]
    found, curves = _proposals(successes, failures, others, values)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(parameter_yaml(found), encoding='utf-8')
    _report(found, curves)
    print(f'written to {printable(str(given.out))}')


@contextlib.contextmanager
def _watching(
    given: argparse.Namespace, values: Mapping[str, Any], recordings: Sequence[Path]
) -> Iterator[Watching | None]:
    """The model, loaded once for all ``recordings``; None: there are none."""
    if not recordings:
        yield None
        return
    backend = command.inline_backend(_config(given, values, recordings[0]))
    try:
        yield Watching(
            given.task.strip(),
            given.model,
            tuple(given.adapter),
            values,
            tuple(given.topic),
            backend,
        )
    finally:
        backend.close()


def _config(given: argparse.Namespace, values: Mapping[str, Any], path: Path) -> NodeConfig:
    source = open_source(path, SourceOptions(tuple(given.topic)))
    return settings_for(source, values, given.model, given.adapter)


def _run(path: Path, how: Watching | None) -> Run:
    if how is None or not is_recording(path):
        return read_run(path)
    print(f'watching {printable(str(path))}', file=sys.stderr)
    return watch_run(path, how)


def _write_scene_statistics(given: argparse.Namespace, values: Mapping[str, Any]) -> None:
    recordings = [path for path in (*given.success, *given.failure) if is_recording(path)]
    if not recordings:
        raise CalibrationError('--scene-statistics: give recordings; ticks hold no pictures')
    # It takes seconds to import, and is not needed to say what is missing.
    from progress_monitor.vlm.known_scenes import write_known

    config = _config(given, values, recordings[0])
    period, most = config.window.sample_period, config.model.max_pixels
    path, count = write_known(
        config.model,
        given.task.strip(),
        [sampled(item, tuple(given.topic), period, most) for item in recordings],
    )
    print(f'{printable(str(path))}: {count} pictures of {len(recordings)} runs')


def _proposals(
    successes: list[Run], failures: list[Run], others: list[Run], values: Mapping[str, Any]
) -> tuple[dict[str, float], dict[str, Roc]]:
    readings = int(values.get('topreward.readings', TopRewardConfig().readings))
    token: dict[str, float] = {}
    try:
        found = propose_token(successes, failures, readings)
    except ParameterError as error:
        print(f'topreward.floor, topreward.ceiling: not proposed: {error}', file=sys.stderr)
        found = None
    if found is not None:
        token = {'topreward.floor': found.floor, 'topreward.ceiling': found.ceiling}
        print(
            f'topreward.ceiling: {found.true_rate:.0%} of finished readings lie at or above it, '
            f'{found.false_rate:.0%} of unfinished ones'
        )
        # The other values are to suit the progress that these give.
        successes, failures = (
            [placed(run, found) for run in runs] for runs in (successes, failures)
        )
    proposed, curves = propose(successes, failures)
    if any(len(run.usable) for run in others):
        own = [*successes, *failures]
        confirm, curve = propose_confirm(own, others)
        proposed['evidence.confirm'], curves['evidence.confirm'] = confirm, curve
        for name, runs in (('this task', own), ('other tasks', others)):
            for run in runs:
                share = f'{1.0 - run.usable.mean():.0%}' if len(run.usable) else 'no answers'
                print(f'refused, {name}: {share} of {printable(str(run.path))}')
    return proposed | token, curves


def _report(values: Mapping[str, float], curves: Mapping[str, Roc]) -> None:
    for name, curve in curves.items():
        print(f'{name}: {values[name]:g}; area under the ROC {curve.area:.2f}')
        print('  threshold  true rate  false rate')
        for row in zip(curve.thresholds, curve.true_rate, curve.false_rate, strict=True):
            print(f'  {row[0]:9.3f}  {row[1]:9.2f}  {row[2]:10.2f}')
        if curve.area < _GOOD_AREA:
            print('  The two kinds of runs are hardly told apart by this; give more runs.')
    for name in values.keys() - curves.keys():
        print(f'{name}: {values[name]:g}')


if __name__ == '__main__':
    sys.exit(main())
