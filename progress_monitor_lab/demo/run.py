"""One run of the demo: start the system, watch it, judge the story, write down what happened."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from rich.console import Console

from progress_monitor.types import State
from progress_monitor_lab.demo.display import Display
from progress_monitor_lab.demo.processes import Processes
from progress_monitor_lab.demo.recording import Recording, write_rows
from progress_monitor_lab.demo.story import Ending, Verdict, judge, summarise
from progress_monitor_lab.demo.watcher import CELL, MONITOR, Watcher
from progress_monitor_lab.domains import own_domain
from progress_monitor_lab.sim.tasks import TASKS

MONITOR_MODULE = ('-m', 'progress_monitor.ros.monitor_node')
_UPDATE_PERIOD_S = 0.2
_ENDING_S = 2.0
_LOAD_LIMIT_S = 300.0
_CELL_LIMIT_S = 120.0


class DemoError(RuntimeError):
    """The demo cannot go on. The message says why, and what to do."""


@dataclasses.dataclass(frozen=True)
class DemoOptions:
    """What to play. ``time_limit_s`` counts from the cell's first picture.

    ``monitor`` are the interpreter's arguments that start the monitor node.
    """

    task: str
    fault: str
    seed: int
    out: Path
    model: Path
    film: bool = True
    time_limit_s: float = 120.0
    monitor: tuple[str, ...] = MONITOR_MODULE


def share_folder() -> Path:
    """Where ``config/`` and ``models/`` lie: the checkout, or the installed package's share."""
    root = Path(__file__).resolve().parents[2]
    if (root / 'config').is_dir():
        return root
    from ament_index_python.packages import get_package_share_directory

    return Path(get_package_share_directory('progress_monitor'))


def play(options: DemoOptions, console: Console) -> dict[str, Any]:
    """Run the demo and return its summary, which also lies in ``<out>/summary.json``.

    :raises DemoError: if a part of the system cannot be started or ends by itself.
    :raises NoDomainError: if no ROS domain is free.
    """
    options.out.mkdir(parents=True, exist_ok=True)
    logs = options.out / 'logs'
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    os.environ['ROS_LOG_DIR'] = str(logs / 'ros')
    recording = Recording(
        options.task, options.fault, options.seed, TASKS[options.task].instruction
    )
    with own_domain() as domain:
        os.environ['ROS_DOMAIN_ID'] = str(domain)
        with Processes(logs, os.environ) as processes:
            verdict = _watch(options, console, recording, processes)
    write_rows(recording, options.out / 'recording.jsonl')
    summary = summarise(recording, verdict)
    text = json.dumps(summary, indent=2, ensure_ascii=False)
    (options.out / 'summary.json').write_text(text + '\n', encoding='utf-8')
    if options.film and recording.frames:
        _illustrate(recording, options.out)
    return summary


def _illustrate(recording: Recording, out: Path) -> None:
    # Slow to import, and not needed where no film is wanted.
    from progress_monitor_lab.demo.film import write_film
    from progress_monitor_lab.demo.plots import write_picture, write_timeline

    write_timeline(recording, out / 'timeline.png')
    write_picture(recording, out / 'timeline.png', out / 'demo.png')
    write_film(recording, out / 'overlay.mp4')


def _watch(
    options: DemoOptions, console: Console, recording: Recording, processes: Processes
) -> Verdict:
    """Start everything and follow it until the story is over or time is up."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    watcher = Watcher(recording, pictures=options.film)
    executor = SingleThreadedExecutor()
    executor.add_node(watcher)
    try:
        with Display(recording, console) as display:
            run = _Run(options, recording, processes, watcher, executor, display)
            return run.follow()
    finally:
        executor.shutdown()
        watcher.destroy_node()
        rclpy.try_shutdown()


@dataclasses.dataclass
class _Run:
    options: DemoOptions
    recording: Recording
    processes: Processes
    watcher: Watcher
    executor: SingleThreadedExecutor
    display: Display

    def follow(self) -> Verdict:
        options = self.options
        self.processes.start(
            'monitor',
            self._command(
                options.monitor,
                {
                    'task': self.recording.instruction,
                    'image_topics': [f'{CELL}/image'],
                    'model.path': str(options.model),
                },
            ),
        )
        replan = {'replan_service': f'{CELL}/replan'}
        supervisor = ('-m', 'progress_monitor.ros.supervisor_node')
        self.processes.start('supervisor', self._command(supervisor, replan))
        cell = {
            'task': options.task,
            'seed': options.seed,
            'fault': options.fault,
            'wait_for': MONITOR,
        }
        self.processes.start('cell', self._command(('-m', 'progress_monitor_lab.sim.node'), cell))
        self._spin_until(self._monitor_ready, _LOAD_LIMIT_S, 'the monitor was not ready')
        first = 'the cell published no picture'
        self._spin_until(lambda: bool(self.recording.truths), _CELL_LIMIT_S, first)
        deadline = time.monotonic() + options.time_limit_s
        verdict = judge(self.recording)
        while verdict.ending is Ending.PENDING and time.monotonic() < deadline:
            self._spin(_UPDATE_PERIOD_S)
            verdict = judge(self.recording)
        self._spin(_ENDING_S)
        return judge(self.recording)

    def _command(self, module: Sequence[str], parameters: Mapping[str, object]) -> list[str]:
        command = [sys.executable, *module, '--ros-args']
        command += ['--params-file', str(share_folder() / 'config' / 'cell.yaml')]
        for name, value in parameters.items():
            command += ['-p', f'{name}:={json.dumps(value)}']
        return command

    def _monitor_ready(self) -> bool:
        if not self.recording.statuses:
            return False
        status = self.recording.statuses[-1]
        if status.state is State.ERROR:
            raise DemoError(f'The monitor reports: {status.message}')
        return status.state not in (State.UNKNOWN, State.IDLE, State.LOADING)

    def _spin_until(self, reached: Any, limit_s: float, what: str) -> None:
        deadline = time.monotonic() + limit_s
        while not reached():
            if time.monotonic() > deadline:
                raise DemoError(f'After {limit_s:.0f} s {what}; see {self.options.out / "logs"}.')
            self._spin(_UPDATE_PERIOD_S)

    def _spin(self, seconds: float) -> None:
        """Take in messages, keep the display going, and notice a process that ended."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0.0:
            self.executor.spin_once(timeout_sec=min(left, _UPDATE_PERIOD_S))
        self.display.update(self.watcher.now_ns())
        ended = self.processes.ended()
        if ended:
            raise DemoError(self.processes.describe(ended))
