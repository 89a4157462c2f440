"""What the shipped checkpoint knows of the simulated cell, on seeds that it never saw.

Every task is played nominally and with a fault to the strategy, window and memory that the monitor
uses, a tick each half second, in every precision asked for. VOC is the rank correlation with time
over the nominal episode; the static one is the same for a single frame repeated.

    python -m progress_monitor_lab.bench model --precision fp32 --precision nf4
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from progress_monitor.backends.inline import InlineBackend
from progress_monitor.config import MonitorConfig
from progress_monitor.dialogue import Dialogue
from progress_monitor.history import FrameHistory
from progress_monitor.memory import PlanMemory
from progress_monitor.resize import fit
from progress_monitor.strategies import make_strategy
from progress_monitor.types import Backend, Estimate, Frame, Recollection, new_uid
from progress_monitor.vlm.config import ModelConfig
from progress_monitor_lab.bench.metrics import mae, mean, voc
from progress_monitor_lab.sim.cell import STEP_PERIOD_S, TASKS, Truth, Workcell, applicable

FIRST_SEED = 9000
TICK_STEPS = 5
MAXIMUM_STEPS = 600
REPLAN_STEPS = 60
STATIC_TICKS = 20
PIXELS = 128 * 128
# Quantisation and dtype of the unquantised weights.
PRECISIONS = {'fp32': ('none', 'float32'), 'bf16': ('none', 'bfloat16'), 'nf4': ('nf4', 'float32')}


@dataclasses.dataclass(frozen=True, eq=False)
class Clip:
    """Frames half a second apart, with the truth about each."""

    task: str
    nominal: bool
    images: tuple[NDArray[np.uint8], ...]
    truths: tuple[Truth, ...]


def record(task: str, seed: int, fault: str, speed: float) -> Clip:
    """Play one episode until the task is done, replanning six seconds after the fault."""
    cell = Workcell(task, seed, speed=speed, fault=fault)
    images: list[NDArray[np.uint8]] = []
    truths: list[Truth] = []
    faulty = 0
    try:
        for index in range(MAXIMUM_STEPS):
            step = cell.step(picture=index % TICK_STEPS == 0)
            if index % TICK_STEPS == 0:
                images.append(fit(step.image, PIXELS, 32))
                truths.append(step.truth)
            faulty += bool(step.truth.fault)
            if faulty == REPLAN_STEPS:
                cell.replan()
            if step.truth.done:
                break
    finally:
        cell.close()
    return Clip(task, fault == 'none', tuple(images), tuple(truths))


def clips(seeds: int) -> list[Clip]:
    """``seeds`` nominal episodes of each task and as many with a fault."""
    recorded: list[Clip] = []
    for task in TASKS:
        faults = [f for f in ('drop', 'missed_grasp', 'freeze_robot') if applicable(task, f)]
        for number in range(seeds):
            seed = FIRST_SEED + number
            recorded.append(record(task, seed, 'none', (0.8, 0.5)[number % 2]))
            recorded.append(record(task, seed, faults[number % len(faults)], 0.8))
    return recorded


def play(backend: Backend, task: str, images: Sequence[NDArray[np.uint8]]) -> list[Estimate]:
    """Ask about ``images``, one a tick, as the monitor does."""
    config = MonitorConfig()
    strategy, memory = make_strategy(config), PlanMemory(config.memory)
    history = FrameHistory(strategy.sample_period_s, len(images) + 1)
    dialogue = Dialogue(backend)
    estimates: list[Estimate] = []
    for number, image in enumerate(images):
        stamp_ns = round(number * TICK_STEPS * STEP_PERIOD_S * 1e9)
        history.observe(Frame(new_uid(), 'camera', stamp_ns, image))
        view = strategy.select(history, stamp_ns)
        assert view is not None
        told = Recollection(TASKS[task].instruction, memory.prompt_text())
        dialogue.ask(strategy.ask(view, told), view, told.task)
        (reply,) = dialogue.replies()
        if reply.answer is None:
            raise RuntimeError(reply.message)
        estimate = strategy.read((reply.answer,), view)
        if estimate.remaining_steps is not None:
            memory.update(estimate.remaining_steps, stamp_ns)
        estimates.append(estimate)
    return estimates


def score(backend: Backend, recorded: Sequence[Clip]) -> dict[str, dict[str, float]]:
    """Figures of every task: ``mae`` in points, ``voc``, ``steps_exact``, ``static_voc``."""
    rows: dict[str, dict[str, float]] = {}
    for task in TASKS:
        errors: list[float] = []
        orders: list[float] = []
        exact: list[bool] = []
        still: list[float] = []
        for clip in (clip for clip in recorded if clip.task == task):
            estimates = play(backend, task, clip.images)
            progress = [estimate.progress for estimate in estimates]
            errors.append(100.0 * mae(progress, [truth.progress for truth in clip.truths]))
            exact += [
                _steps(estimate) == truth.remaining_steps
                for estimate, truth in zip(estimates, clip.truths, strict=True)
            ]
            if clip.nominal:
                orders.append(voc(progress, np.arange(len(progress))))
                middle = clip.images[len(clip.images) // 2]
                frozen = play(backend, task, [middle] * STATIC_TICKS)
                values = [estimate.progress for estimate in frozen]
                still.append(voc(values, np.arange(len(values))))
        rows[task] = {
            'mae': mean(errors),
            'voc': mean(orders),
            'steps_exact': float(np.mean(exact)),
            'static_voc': mean(still),
        }
    return rows


def _steps(estimate: Estimate) -> tuple[str, ...] | None:
    if estimate.remaining_steps is None:
        return None
    return tuple(step.rstrip('.') for step in estimate.remaining_steps)


def _print(precision: str, rows: dict[str, dict[str, float]]) -> None:
    print(f'\n{precision:<20}{"MAE":>8}{"VOC":>8}{"steps":>8}{"static":>8}')
    for task, row in rows.items():
        figures = (row['mae'], row['voc'], row['steps_exact'], row['static_voc'])
        print(f'{task:<20}{figures[0]:8.2f}' + ''.join(f'{value:8.3f}' for value in figures[1:]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables and write the JSON file."""
    parser = argparse.ArgumentParser(prog='progress_monitor_lab.bench model', description=__doc__)
    default = Path(__file__).resolve().parents[2] / 'models' / 'small_cell'
    parser.add_argument('--checkpoint', type=Path, default=default)
    parser.add_argument('--precision', action='append', choices=tuple(PRECISIONS))
    parser.add_argument('--seeds', type=int, default=2, help='episodes of each kind per task')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--out', type=Path, default=Path('out/check_model.json'))
    options = parser.parse_args(arguments)
    recorded = clips(options.seeds)
    report: dict[str, dict[str, object]] = {}
    for precision in options.precision or tuple(PRECISIONS):
        config = ModelConfig(
            path=str(options.checkpoint),
            device='cpu',
            threads=options.threads,
            max_pixels=PIXELS,
            quantization=PRECISIONS[precision][0],
            dtype=PRECISIONS[precision][1],
        )
        backend = InlineBackend(config)
        rows = score(backend, recorded)
        backend.close()
        whole = {
            name: mean([row[name] for row in rows.values()]) for name in next(iter(rows.values()))
        }
        report[precision] = {**whole, 'tasks': rows}
        _print(precision, {**rows, 'all tasks': whole})
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({'precisions': report}, indent=2) + '\n', encoding='utf-8')
    return 0
