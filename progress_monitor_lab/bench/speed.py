"""``bench speed``: the reference way and the streaming decoder, side by side in one run."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from progress_monitor.vlm.config import ModelConfig
from progress_monitor.vlm.errors import VLMError

POLICIES = ('growing', 'sliding', 'anchored')
SHIPPED = 'models/small_cell'
ANSWERS = Path(__file__).with_name('recorded_answers.json')


def parser() -> argparse.ArgumentParser:
    """The options of the benchmark."""
    made = argparse.ArgumentParser(description=__doc__)
    add = made.add_argument
    add('--checkpoint', default=SHIPPED, help='folder or hub name of a Qwen3-VL checkpoint')
    add('--device', default='auto')
    add('--dtype', default='auto', choices=('auto', 'float32', 'bfloat16', 'float16'))
    add('--quantization', nargs='+', default=['none'], choices=('none', 'nf4', 'int8'))
    add('--size', nargs='+', default=['128x128'], metavar='WxH', help='frame sizes in pixels')
    add('--policy', nargs='+', default=list(POLICIES), choices=POLICIES)
    add('--ticks', type=int, default=60, help='timed ticks per case')
    add('--period', type=float, default=0.5, help='time between samples of the episode, s')
    add('--frames', default='cell', choices=('cell', 'drawn'), help='simulated cell, or drawn')
    add('--task', default='drawer_open', help='task of the simulated cell')
    add('--threads', type=int, default=ModelConfig().threads, help='CPU threads')
    add('--max-new-tokens', type=int, default=128)
    add('--force-text', action='store_true', help='say recorded answers; for random weights')
    add('--long', type=int, default=0, metavar='TICKS', help='then play so many ticks on end')
    add('--bandwidth', type=float, help="the device's memory bandwidth in GB/s, for the roofline")
    add('--peak', type=float, help="the device's 16-bit peak in TFLOP/s, for the roofline")
    add('--out', type=Path, default=Path('out/bench/speed.json'))
    add(
        '--make-random-2b',
        type=Path,
        metavar='FOLDER',
        help='write random weights of the published Qwen3-VL-2B configuration and stop',
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table and write the JSON. Returns the exit code."""
    options = parser().parse_args(arguments)
    try:
        if options.make_random_2b is not None:
            return _make_random(options.make_random_2b)
        return _measure(options)
    except (VLMError, ValueError, KeyError) as error:
        print(f'bench speed: {error}', file=sys.stderr)
        return 1


def _make_random(folder: Path) -> int:
    import torch

    from progress_monitor.vlm.tiny import QWEN3_VL_2B_TEXT, QWEN3_VL_2B_VISION, make_checkpoint

    make_checkpoint(folder, QWEN3_VL_2B_TEXT, QWEN3_VL_2B_VISION, dtype=torch.bfloat16)
    print(f'random weights of Qwen3-VL-2B in {folder}; measure them with --force-text')
    return 0


def _measure(options: argparse.Namespace) -> int:
    import torch

    from progress_monitor.vlm.loading import VLM, release_memory
    from progress_monitor.vlm.quantization import check_kernel
    from progress_monitor_lab.bench.speed_cases import Device, run_case, soak
    from progress_monitor_lab.bench.speed_episode import record
    from progress_monitor_lab.bench.speed_strategies import run_strategies

    torch.set_num_threads(options.threads)
    texts = json.loads(ANSWERS.read_text(encoding='utf-8')) if options.force_text else []
    peak = None
    if options.bandwidth and options.peak:
        peak = Device(options.bandwidth, options.peak)
    cases: list[dict[str, Any]] = []
    strategies: list[dict[str, Any]] = []
    long: dict[str, float] | None = None
    sizes = [_size(text) for text in options.size]
    recorded = [
        record(options.frames, options.task, size, options.period, options.ticks + 2)
        for size in sizes
    ]
    for quantization in options.quantization:
        vlm = VLM.from_pretrained(options.checkpoint, quantization, options.device, options.dtype)
        check_kernel(quantization, vlm.device, vlm.dtype)
        for task, episodes in recorded:
            for policy in options.policy:
                case = run_case(
                    vlm,
                    policy,
                    task,
                    episodes,
                    options.ticks,
                    options.max_new_tokens,
                    texts,
                    peak,
                )
                cases.append(dataclasses.asdict(case))
                _print_case(cases[-1], first=len(cases) == 1)
        if not texts:
            task, episodes = recorded[0]
            found = run_strategies(vlm, task, episodes, options.ticks, options.max_new_tokens)
            strategies += [
                {'quantization': quantization, **dataclasses.asdict(item)} for item in found
            ]
            _print_strategies(strategies)
        if options.long:
            task, episodes = recorded[0]
            long = soak(vlm, task, episodes, options.long, options.max_new_tokens)
            print('  '.join(f'{name} {value:.6g}' for name, value in long.items()))
        del vlm
        release_memory()
    _write(options, cases, strategies, long, _machine())
    return 0


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.split('x'))
    except ValueError as error:
        raise ValueError(f'--size: {text!r} is no size; write for example 640x480') from error
    if width < 32 or height < 32 or width % 32 or height % 32:
        raise ValueError(f'--size: {text!r} must be multiples of 32 in both directions')
    return width, height


COLUMNS = (
    ('policy', '{:>9}'),
    ('frame_size', '{:>11}'),
    ('quantization', '{:>12}'),
    ('ours_ms_median', '{:>14.1f}'),
    ('reference_ms_median', '{:>19.1f}'),
    ('ratio_median', '{:>12.1f}'),
    ('ratio_p95', '{:>9.1f}'),
    ('ticks_per_second', '{:>16.1f}'),
    ('identical_outputs', '{:>17}'),
    ('accepted_draft_share', '{:>20.2f}'),
    ('forwards_per_tick', '{:>17.2f}'),
    ('vision_frames_encoded_per_tick', '{:>30.2f}'),
    ('peak_memory_mb', '{:>14.0f}'),
    ('roofline_ms', '{:>11}'),
)


def _print_case(case: dict[str, Any], first: bool) -> None:
    if first:
        print(' '.join(name.rjust(len(shape.format(0))) for name, shape in COLUMNS))
    cells = []
    for name, shape in COLUMNS:
        value = case[name]
        if value is None:
            value = '-'
        elif name == 'frame_size':
            value = f'{value[0]}x{value[1]}'
        elif name in ('identical_outputs', 'roofline_ms'):
            value = f'{value:.3g}'
        cells.append(shape.format(value))
    print(' '.join(cells), flush=True)


def _print_strategies(rows: Sequence[dict[str, Any]]) -> None:
    print('\n' + ' '.join(name.rjust(max(len(name), 10)) for name in rows[0]))
    for row in rows:
        cells = []
        for name, value in row.items():
            text = f'{value:.3g}' if isinstance(value, float) else str(value)
            cells.append(('-' if value is None else text).rjust(max(len(name), 10)))
        print(' '.join(cells), flush=True)


def _machine() -> dict[str, Any]:
    import torch
    import transformers

    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        'processor': platform.processor() or platform.machine(),
        'cores': os.cpu_count(),
        'gpu': cuda,
        'python': platform.python_version(),
        'torch': torch.__version__,
        'transformers': transformers.__version__,
    }


def _write(
    options: argparse.Namespace,
    cases: list[dict[str, Any]],
    strategies: list[dict[str, Any]],
    long: dict[str, float] | None,
    machine: dict[str, Any],
) -> None:
    report = {
        'date': datetime.date.today().isoformat(),
        'command': shlex.join(
            ['python', '-m', 'progress_monitor_lab.bench', 'speed', *sys.argv[1:]]
        ),
        'checkpoint': options.checkpoint,
        'forced_text': options.force_text,
        'threads': options.threads,
        'machine': machine,
        'cases': cases,
        'strategies': strategies,
        'long': long,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')
    print(f'written to {options.out}')


if __name__ == '__main__':
    sys.exit(main())
