"""``python -m progress_monitor_lab.bench adapt``: what one demonstration of a new task brings.

An adapter is trained from one demonstration of each task that no checkpoint has seen, by the
command that a user calls. All of them lie over the checkpoint when these tasks, on other seeds, and
the known ones are played to the monitor, before and after. Where a report doubts the end of its
task, so that no success is called, the task is played as well as if it were believed. With
``--footage`` real clips follow, an adapter for each group. Every episode is a line of a JSONL file
and the training resumes, so a run that is broken off goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from progress_monitor.adapt.targets import FINISHED, stage_progress, visual_change
from progress_monitor.backends.inline import InlineBackend
from progress_monitor.config import MonitorConfig
from progress_monitor.types import Backend
from progress_monitor.vlm.config import ModelConfig
from progress_monitor_lab.bench.adapt_demonstrations import record
from progress_monitor_lab.bench.adapt_training import believed, train, verdict
from progress_monitor_lab.bench.judgement_episodes import Episode, Plan, make
from progress_monitor_lab.bench.judgement_play import Record, play
from progress_monitor_lab.bench.judgement_recordings import default_cache
from progress_monitor_lab.bench.judgement_score import score, summary
from progress_monitor_lab.bench.metrics import mae, mean
from progress_monitor_lab.sim.cell import applicable
from progress_monitor_lab.sim.tasks import TASKS
from progress_monitor_lab.sim.unseen import UNSEEN

DEMONSTRATED, FIRST_SEED = 9800, 9820
KINDS = ('nominal', 'half_speed', 'robot_frozen', 'static', 'drop', 'unanswerable')
OLD_KINDS = ('nominal', 'robot_frozen')
# Seeds of the new tasks, and of the twelve known ones.
SEEDS, OLD_SEEDS, QUICK_SEEDS = 3, 1, 1
REPLAY_SEEDS = 6
SYSTEM = 'procvlm'
BELIEVED = 'believed'
FIGURES = (
    'voc', 'mae_published', 'mae', 'static_voc', 'stall_precision', 'stall_recall',
    'regression_recall', 'success_precision', 'success_recall', 'afrr', 'uda',
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and play what is missing, print the table and write the summary."""
    options = _parse(arguments)
    folder = options.out.with_suffix('')
    folder.mkdir(parents=True, exist_ok=True)
    unseen, old = _plans(options)
    adapters = {task: _trained(task, options, folder) for task in UNSEEN}
    trusting = {task: believed(path, folder / BELIEVED) for task, path in adapters.items()}
    doubtful = [plan for plan in unseen if trusting[plan.task] != adapters[plan.task]]
    lines = folder / 'episodes.jsonl'
    done = {(item['when'], item['record']['episode']) for item in _read(lines)}
    for when, chosen, plans in (
        ('after', adapters, unseen),
        ('before', {}, (*unseen, *old)),
        ('after', adapters, old),
        (BELIEVED, trusting, doubtful),
    ):
        missing = [plan for plan in plans if (when, plan.name) not in done]
        if missing:
            _play(when, tuple(map(str, chosen.values())), missing, lines, options)
    report: dict[str, Any] = {
        'seeds': _seeds(options),
        'adapters': {task: {'folder': str(path), 'verdict': verdict(path)}
                     for task, path in adapters.items()},
    }  # fmt: skip
    for name, plans in (('unseen', unseen), ('old', old)):
        report[name] = {when: _figures(plans, when, lines, options) for when in ('before', 'after')}
    if doubtful:
        report['unseen'][BELIEVED] = _figures(unseen, BELIEVED, lines, options)
    if options.footage:
        from progress_monitor_lab.bench.adapt_footage import measure

        report['footage'] = measure(options.footage, folder / 'footage', options)
    _print(report)
    # A name without a suffix is that of the folder.
    out = options.out if options.out.suffix else folder / 'adapt.json'
    out.write_text(json.dumps(_jsonable(report), indent=2) + '\n', encoding='utf-8')
    print(f'\nwritten: {out}')
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='progress_monitor_lab.bench adapt', description=__doc__)
    parser.add_argument('--model', default='models/small_cell', help='checkpoint folder')
    parser.add_argument('--out', type=Path, default=Path('out/bench/adapt.json'))
    parser.add_argument('--cache', type=Path, default=default_cache(), help='recordings')
    parser.add_argument('--footage', type=Path, help='folder of real clips with manifest.json')
    parser.add_argument('--quick', action='store_true', help='one seed of each kind')
    parser.add_argument('--vision', action='store_true', help='adapt the vision tower as well')
    parser.add_argument('--threads', type=int, default=2, help='CPU threads of the model')
    return parser.parse_args(arguments)


def _seeds(options: argparse.Namespace) -> int:
    return QUICK_SEEDS if options.quick else SEEDS


def _plans(options: argparse.Namespace) -> tuple[list[Plan], list[Plan]]:
    seeds = range(FIRST_SEED, FIRST_SEED + _seeds(options))
    old_seeds = seeds[:OLD_SEEDS]
    unseen = [
        Plan(kind, task, seed)
        for seed in seeds
        for task in UNSEEN
        for kind in KINDS
        if kind != 'drop' or applicable(task, kind)
    ]
    old = [Plan(kind, task, seed) for seed in old_seeds for task in TASKS for kind in OLD_KINDS]
    return unseen, old


def _trained(task: str, options: argparse.Namespace, folder: Path) -> Path:
    shown = record(task, DEMONSTRATED, folder / 'demonstrations')
    replay = _replay(folder / 'replay')
    return train(shown, folder / 'adapters' / task, options, replay)


def _replay(folder: Path) -> Path:
    """A little of the checkpoint's old data, rendered from seeds that it was trained on."""
    from progress_monitor_lab.training.render_episodes import Job, render
    from progress_monitor_lab.training.replay import write

    if not (folder / 'qa_pairs.jsonl').is_file():
        episodes = folder / 'episodes'
        episodes.mkdir(parents=True, exist_ok=True)
        for seed in range(610, 610 + REPLAY_SEEDS):
            for task in TASKS:
                render(Job(episodes, task, seed))
        write(episodes, folder)
    return folder


def load_model(model: str, adapters: tuple[str, ...], threads: int) -> Backend:
    """The checkpoint in this process, with adapters or without."""
    return InlineBackend(
        ModelConfig(
            path=model,
            adapters=adapters,
            quantization='none',
            device='cpu',
            max_pixels=128 * 128,
            # Sixteen steps and the number behind them.
            max_new_tokens=400,
            threads=threads,
        )
    )


def _play(
    when: str,
    adapters: tuple[str, ...],
    plans: Sequence[Plan],
    lines: Path,
    options: argparse.Namespace,
) -> None:
    config = MonitorConfig()
    backend = load_model(options.model, adapters, options.threads)
    try:
        with lines.open('a', encoding='utf-8') as output:
            for number, plan in enumerate(plans, 1):
                episode = make(plan, options.cache, config.stall.allowance)
                said = play(episode, SYSTEM, config, backend)
                output.write(json.dumps({'when': when, 'record': said.as_json()}) + '\n')
                output.flush()
                print(f'{when} {number}/{len(plans)} {plan.name}', flush=True)
    finally:
        backend.close()


def _figures(
    plans: Sequence[Plan], when: str, lines: Path, options: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """Figures of each task and of all; ``mae_published`` is against ProcVLM's own truth.

    A task that was not played so is the same as after.
    """
    config = MonitorConfig()
    records = {
        item['record']['episode']: Record(**item['record'])
        for wanted in dict.fromkeys(('before' if when == 'before' else 'after', when))
        for item in _read(lines)
        if item['when'] == wanted
    }
    found = []
    for plan in plans:
        episode = make(plan, options.cache, config.stall.allowance)
        found.append((plan, score(episode, records[plan.name], config), episode))
    rows = {}
    for name in (*dict.fromkeys(plan.task for plan in plans), 'all'):
        mine = [item for item in found if name in ('all', item[0].task)]
        whole = summary([item[1] for item in mine], [item[0].task for item in mine])
        row = {key: float(whole.get(key, math.nan)) for key in FIGURES}
        row['mae'] *= 100.0
        row['mae_published'] = mean(
            [
                100.0 * published_error(episode, records[plan.name])
                for plan, _, episode in mine
                if plan.kind in ('nominal', 'half_speed')
            ]
        )
        rows[name] = row
    return rows


def published_error(episode: Episode, said: Record) -> float:
    """Mean error, 0..1, against stages and visual change of a run that goes well."""
    recording = episode.recording
    steps = len(recording.steps)
    running = np.maximum.accumulate(steps - recording.remaining)
    stages = np.where(running == steps, FINISHED, running)
    truth = stage_progress(stages, visual_change(list(recording.images)))
    answers = [(tick[1], tick[2]) for tick in said.ticks if tick[2] is not None]
    places = [episode.shown[frame].index for frame, _ in answers]
    return mae([value for _, value in answers], truth[places]) if answers else math.nan


def _read(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        return
    for line in path.read_text(encoding='utf-8').splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            # The last line of a run that was cut off.
            continue


def _print(report: dict[str, Any]) -> None:
    for name in ('unseen', 'old'):
        print(f'\n{name:20}{"":8}' + ''.join(f'{key[:12]:>14}' for key in FIGURES))
        for task in report[name]['after']:
            for when in report[name]:
                row = report[name][when][task]
                cells = ''.join(f'{row[key]:14.3f}' for key in FIGURES)
                print(f'{task:20}{when:8}{cells}')
    for group, row in report.get('footage', {}).items():
        print(group, json.dumps(_jsonable(row)))


def _jsonable(value: Any) -> Any:
    """JSON knows no NaN: what is not known is null."""
    if isinstance(value, dict):
        return {name: _jsonable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_jsonable(item) for item in value]
    if isinstance(value, float):
        return round(value, 5) if math.isfinite(value) else None
    return value


if __name__ == '__main__':
    sys.exit(main())
