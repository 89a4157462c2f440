"""Command line of the demo: ``python -m progress_monitor_lab.demo``."""

from __future__ import annotations

import argparse
import ctypes.util
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from rich.console import Console

from progress_monitor_lab.demo.run import DemoError, DemoOptions, play, share_folder
from progress_monitor_lab.demo.story import FAULTS
from progress_monitor_lab.domains import NoDomainError
from progress_monitor_lab.sim.tasks import TASKS


def main(arguments: list[str] | None = None) -> int:
    """Play the demo: 0 if the story happened, 1 if not, 2 if it could not be played."""
    options = _parse(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    console = Console()
    problem = _missing(options)
    if problem:
        console.print(problem, style='red', markup=False, soft_wrap=True)
        return 2
    try:
        summary = play(options, console)
    except (DemoError, NoDomainError) as error:
        console.print(str(error), style='red', markup=False, highlight=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        console.print('Interrupted; every process was ended.')
        return 130
    if not summary['story_happened']:
        console.print(
            f'The story did not happen: {summary["missing"]}',
            style='red',
            markup=False,
            soft_wrap=True,
        )
        console.print(
            f'What the processes said: {options.out / "logs"}', markup=False, soft_wrap=True
        )
        return 1
    _tell(summary, console)
    console.print(f'Written to {options.out}', markup=False)
    return 0


def _parse(arguments: list[str] | None) -> DemoOptions:
    parser = argparse.ArgumentParser(
        prog='python -m progress_monitor_lab.demo',
        description='Play the simulated cell, the monitor and the supervisor over DDS.',
    )
    parser.add_argument('--task', default='bin_picking', choices=tuple(TASKS))
    parser.add_argument('--fault', default='drop', choices=FAULTS)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, default=Path('out/demo'), help='folder to write to')
    parser.add_argument('--model', type=Path, help='folder of the checkpoint')
    parser.add_argument('--no-film', action='store_true', help='write the summary alone')
    parser.add_argument('--time-limit', type=float, default=120.0, help='s from the first picture')
    given = parser.parse_args(arguments)
    if given.seed < 0:
        parser.error(f'argument --seed: {given.seed} is below 0')
    if given.time_limit <= 0:
        parser.error(f'argument --time-limit: {given.time_limit:g} is not above 0')
    return DemoOptions(
        task=given.task,
        fault=given.fault,
        seed=given.seed,
        out=given.out,
        model=(given.model or share_folder() / 'models' / 'small_cell').absolute(),
        film=not given.no_film,
        time_limit_s=given.time_limit,
    )


def _missing(options: DemoOptions) -> str:
    """What the demo needs and does not find; empty: nothing."""
    if options.fault in ('drop', 'missed_grasp'):
        from progress_monitor_lab.sim.cell import applicable

        if not applicable(options.task, options.fault):
            return f'--fault {options.fault} cannot happen in --task {options.task}.'
    if not (options.model / 'config.json').is_file():
        return f'{options.model}: no checkpoint lies there; give its folder with --model.'
    off_screen = os.environ.get('MUJOCO_GL', 'osmesa') == 'osmesa'
    if off_screen and ctypes.util.find_library('OSMesa') is None:
        return 'OSMesa is missing, which draws the cell: apt-get install libosmesa6'
    return ''


def _tell(summary: dict[str, object], console: Console) -> None:
    words = [f'The story happened: {summary["outcome"]}']
    if summary['stall_detected_s'] is not None:
        words.append(f'stall called {summary["stall_detected_s"]} s after the fault')
        words.append(f'{summary["replans"]} replan(s)')
    words.append(f'{summary["ticks"]} ticks of {summary["tick_ms_median"]} ms (median)')
    words.append(f'mean error {summary["mae"]} points')
    console.print(
        '; '.join(words) + '.', style='green', markup=False, highlight=False, soft_wrap=True
    )


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == '__main__':
    sys.exit(main())
