"""``python -m progress_monitor_lab.bench judgement``: is the judgement right, and how soon.

Plays simulated episodes with known truth in simulated time to the monitor with each strategy, with
the memory told to the model and without, and to three baselines. Each finished episode is one line
of a JSONL file, so an interrupted run goes on where it stopped, and several processes can share the
work by --shard.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import progress_monitor
from progress_monitor.config import MonitorConfig
from progress_monitor.node_config import NodeConfig
from progress_monitor.parameters import build
from progress_monitor.types import Backend
from progress_monitor.vlm.profiles import resolve
from progress_monitor_lab.bench.judgement_answers import RememberingBackend
from progress_monitor_lab.bench.judgement_demonstrations import demonstration_for
from progress_monitor_lab.bench.judgement_episodes import Episode, Plan, make, plans
from progress_monitor_lab.bench.judgement_play import (
    ABLATION,
    BASELINES,
    OVER_DDS,
    STRATEGIES,
    SYSTEMS,
    Record,
    interpolate,
    play,
)
from progress_monitor_lab.bench.judgement_recordings import default_cache, load
from progress_monitor_lab.bench.judgement_score import Score, score, summary, table

FIRST_SEED = 9200
MAX_NEW_TOKENS = 250
MONITORS = (*STRATEGIES, ABLATION, OVER_DDS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, print the tables and write the summary."""
    options = _parse(arguments)
    config = _config(options)
    listed = plans(options.first_seed, options.share)
    if options.kinds:
        listed = [plan for plan in listed if plan.kind in options.kinds]
    part, parts = (int(number) for number in options.shard.split('/'))
    if not 0 <= part < parts:
        print(f'--shard: {options.shard} is not PART/PARTS with PART from 0', file=sys.stderr)
        return 2
    if not options.score_only:
        mine = [plan for index, plan in enumerate(listed) if index % parts == part]
        _run(mine, options, config)
        if options.over_dds:
            _run_over_dds(listed, options, config)
    _report(listed, options, config)
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--model', default='models/small_cell', help='checkpoint folder')
    parser.add_argument('--out', type=Path, default=Path('out/bench/judgement.json'))
    parser.add_argument('--cache', type=Path, default=default_cache(), help='recordings')
    parser.add_argument('--first-seed', type=int, default=FIRST_SEED)
    parser.add_argument('--share', type=float, default=1.0, help='share of the seeds')
    parser.add_argument('--shard', default='0/1', help='PART/PARTS of the episodes to play')
    parser.add_argument(
        '--strategy', nargs='*', default=list(STRATEGIES), choices=STRATEGIES, help='default: all'
    )
    parser.add_argument(
        '--beside',
        nargs='*',
        default=[ABLATION, *BASELINES],
        choices=(ABLATION, *BASELINES),
        help='what to play besides the strategies; default: all',
    )
    parser.add_argument('--kinds', nargs='+', default=[], help='only these kinds of episodes')
    parser.add_argument('--tick', type=float, default=0.5, help='time between samples, s')
    parser.add_argument('--allowance', type=float, default=0.0, help='s; 0: the default')
    parser.add_argument('--threads', type=int, default=1, help='CPU threads of the model')
    parser.add_argument(
        '--over-dds', type=int, default=0, help='episodes to play to the real node as well'
    )
    parser.add_argument('--score-only', action='store_true', help='play nothing')
    return parser.parse_args(arguments)


def _config(options: argparse.Namespace) -> MonitorConfig:
    # What the model's profile says of its strategies holds; the judge is the default one.
    known = build(NodeConfig, resolve({}, options.model))
    strategies = {name: getattr(known, name) for name in STRATEGIES}
    config = replace(MonitorConfig(), **strategies)
    config = replace(config, window=replace(config.window, sample_period=options.tick))
    if options.allowance > 0.0:
        config = replace(config, stall=replace(config.stall, allowance=options.allowance))
    return config


def _run(mine: Sequence[Plan], options: argparse.Namespace, config: MonitorConfig) -> None:
    lines = _lines_folder(options)
    lines.mkdir(parents=True, exist_ok=True)
    key = run_key(options.model, config)
    done = {(item['episode'], item['system']) for item in _read_lines(lines, key)}
    file = lines / f'part-{options.shard.replace("/", "of")}.jsonl'
    weights = model_key(options.model)
    answers = options.cache.parent / 'answers' / weights
    backend = RememberingBackend(lambda: _load_model(options), answers, options.shard)
    with file.open('a') as output:
        for number, plan in enumerate(mine, 1):
            wanted = (*options.strategy, *options.beside)
            missing = [name for name in wanted if (plan.name, name) not in done]
            if not missing:
                continue
            episode = make(plan, options.cache, config.stall.allowance)
            for system in missing:
                shown = (
                    demonstration_for(options.cache, episode.text) if system == 'progresslm' else ''
                )
                record = play(episode, system, config, backend, shown)
                output.write(json.dumps({'key': key, **record.as_json()}) + '\n')
                output.flush()
            print(f'{number}/{len(mine)} {plan.name}', flush=True)


def _run_over_dds(
    listed: Sequence[Plan], options: argparse.Namespace, config: MonitorConfig
) -> None:
    # ROS is wanted for this part only.
    from progress_monitor_lab.bench.judgement_dds import chosen, monitor

    lines, key = _lines_folder(options), run_key(options.model, config)
    done = {item['episode'] for item in _read_lines(lines, key) if item['system'] == OVER_DDS}
    plans = [plan for plan in chosen(listed, options.over_dds) if plan.name not in done]
    if not plans:
        return
    with (
        monitor(options.model, config) as player,
        (lines / 'part-over-dds.jsonl').open('a') as output,
    ):
        for number, plan in enumerate(plans, 1):
            record = player.play(make(plan, options.cache, config.stall.allowance))
            output.write(json.dumps({'key': key, **record.as_json()}) + '\n')
            output.flush()
            print(f'{number}/{len(plans)} {plan.name} over DDS', flush=True)


def _load_model(options: argparse.Namespace) -> Backend:
    from progress_monitor.backends.inline import InlineBackend
    from progress_monitor.vlm.config import ModelConfig

    return InlineBackend(
        ModelConfig(
            path=options.model,
            quantization='none',
            max_pixels=128 * 128,
            max_new_tokens=MAX_NEW_TOKENS,
            threads=options.threads,
        )
    )


@functools.cache
def run_key(model: str, config: MonitorConfig) -> str:
    """What the records depend on: the weights, the parameters and the code that judges."""
    digest = hashlib.sha256(repr(config).encode() + model_key(model).encode())
    bench = Path(__file__).resolve().parent
    package = Path(progress_monitor.__file__).resolve().parent
    rooms = ('', 'evidence/', 'judgement/', 'strategies/')
    sources = [source for room in rooms for source in package.glob(f'{room}*.py')]
    names = ('judgement_play.py', 'judgement_episodes.py', 'judgement_demonstrations.py')
    sources += [bench / name for name in names]
    sources += (package / 'strategies' / 'prompts').glob('*.txt')
    for source in sorted(sources):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:12]


def model_key(model: str) -> str:
    """What the answers depend on: the weights."""
    digest = hashlib.sha256()
    for source in sorted(Path(model).glob('*.safetensors')):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:12]


def _lines_folder(options: argparse.Namespace) -> Path:
    return Path(options.out).with_suffix('')


def _read_lines(folder: Path, key: str) -> Iterable[dict[str, Any]]:
    for file in sorted(folder.glob('*.jsonl')):
        for line in file.read_text().splitlines():
            try:
                item = json.loads(line)
            except json.JSONDecodeError:
                # The last line of a run that was cut off.
                continue
            if item.pop('key') == key:
                yield item


def _report(listed: Sequence[Plan], options: argparse.Namespace, config: MonitorConfig) -> None:
    records = {
        (item['episode'], item['system']): Record(**item)
        for item in _read_lines(_lines_folder(options), run_key(options.model, config))
    }
    scores: dict[str, list[tuple[Plan, Score]]] = {}
    for plan in listed:
        said = [name for name in (*SYSTEMS, OVER_DDS) if (plan.name, name) in records]
        if not said:
            continue
        episode = make(plan, options.cache, config.stall.allowance)
        for name in said:
            found = score(episode, records[plan.name, name], config)
            scores.setdefault(name, []).append((plan, found))
        if set(said) - set(BASELINES):
            timed = interpolate(episode, _usual_seconds(episode, options), config)
            scores.setdefault('time', []).append((plan, score(episode, timed, config)))
    result: dict[str, Any] = {}
    for name, items in scores.items():
        figures = summary([item for _, item in items], [plan.task for plan, _ in items])
        if name in MONITORS:
            if name == OVER_DDS:
                figures |= _agreement([plan.name for plan, _ in items], records)
            result[name] = figures
            _print_table(name, [item for _, item in items])
        else:
            result.setdefault('baselines', {})[name] = figures
    _print_summary(result)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(_jsonable(result), indent=2) + '\n')
    print(f'\nwritten: {options.out}')


def _agreement(
    episodes: Sequence[str], records: Mapping[tuple[str, str], Record]
) -> dict[str, float | int]:
    """How the node's calls differ from those of the same monitor in simulated time."""
    same, apart = [], []
    for name in episodes:
        there, here = records[name, OVER_DDS], records.get((name, MONITORS[0]))
        if here is None:
            continue
        said = [
            [(call['cause'], call['at']) for call in record.calls if call['stalled']]
            + [('SUCCESS', item['at']) for item in record.successes if item['succeeded']]
            for record in (there, here)
        ]
        same.append([cause for cause, _ in said[0]] == [cause for cause, _ in said[1]])
        if same[-1]:
            pairs = zip(said[0], said[1], strict=True)
            apart += [abs(first[1] - second[1]) for first, second in pairs]
    return {
        'same_calls_share': sum(same) / max(len(same), 1),
        'calls_apart_s': float(np.median(apart)) if apart else math.nan,
    }


_usual: dict[str, float] = {}


def _usual_seconds(episode: Episode, options: argparse.Namespace) -> float:
    """How long the task takes when nothing goes wrong, from other seeds than the one judged."""
    task = episode.plan.task
    if task not in _usual:
        seeds = (options.first_seed, options.first_seed + 1)
        recordings = [load(options.cache, task, seed, 'nominal') for seed in seeds]
        _usual[task] = float(
            np.mean([np.argmax(item.progress >= 1.0) * 0.1 for item in recordings])
        )
    return max(_usual[task], 1.0)


def _print_table(name: str, scores: Sequence[Score]) -> None:
    rows = table(scores)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    print(f'\n{name}')
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        print('  '.join([row[0].ljust(widths[0]), *cells[1:]]))


def _print_summary(result: dict[str, Any]) -> None:
    columns = {name: result[name] for name in MONITORS if name in result}
    columns.update(result.get('baselines', {}))
    if not columns:
        print('no episode has been played yet')
        return
    print('\n' + 'figure'.ljust(28) + ''.join(name.rjust(15) for name in columns))
    for figure in next(iter(columns.values())):
        values = [column.get(figure, math.nan) for column in columns.values()]
        print(figure.ljust(28) + ''.join(f'{value:15.3f}' for value in values))


def _jsonable(value: Any) -> Any:
    """JSON knows no NaN: what is not known is null."""
    if isinstance(value, dict):
        return {name: _jsonable(item) for name, item in value.items()}
    if isinstance(value, float):
        return round(value, 5) if math.isfinite(value) else None
    return value


if __name__ == '__main__':
    sys.exit(main())
