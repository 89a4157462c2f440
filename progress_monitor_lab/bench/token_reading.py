"""``bench token_reading``: frozen scenes, calibration and error rates of the token reading.

The reading of TOPReward (arXiv 2602.19313) grows with the number of frames shown even where nothing
moves. Frozen scenes are read with windows of several lengths, so that the growth is seen; live, the
number of frames is constant. Floor and ceiling come from undisturbed runs on seeds that no other
benchmark judges, and so does the share of the token's reading in the progress of ``combined``. All
of it is measured with frames shown one by one and as a video, in turn on the same windows.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from progress_monitor.config import MonitorConfig
from progress_monitor.offline.proposals import parameter_yaml
from progress_monitor.strategies.calibration import calibrate
from progress_monitor.strategies.procvlm import ProcVLM
from progress_monitor.strategies.topreward import TopReward
from progress_monitor.strategy_config import TopRewardConfig
from progress_monitor.types import (
    Backend,
    Evidence,
    Frame,
    Generated,
    Recollection,
    Request,
    Scored,
    View,
    new_uid,
)
from progress_monitor_lab.bench.judgement_demonstrations import SEED
from progress_monitor_lab.bench.judgement_recordings import Recording, default_cache, load
from progress_monitor_lab.bench.metrics import Floats, mae, mean, voc
from progress_monitor_lab.sim.tasks import TASKS

FROZEN_FRAMES = (2, 4, 6, 8, 10, 12, 16)
STRIDE = 5
TEXT_AGES = (1, 2, 4, 8)
WAYS = ('images', 'video')


@dataclass
class Readings:
    """Log p(True) of one way of showing the frames, and what each cost.

    ``runs`` holds one list a run; ``cpu_ms`` and ``tokens`` (of the prompt) are of every reading;
    ``frozen`` holds readings of one moment, by the number of frames in which it is shown.
    """

    runs: list[list[float]] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    frozen: dict[int, list[float]] = field(default_factory=dict)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write the figures."""
    options = _parse(arguments)
    backend = _load(options.model, options.threads)
    found = {way: Readings() for way in WAYS}
    texts: list[list[float]] = []
    truths: list[list[float]] = []
    for task in options.tasks:
        recording = load(options.cache, task, SEED, 'nominal')
        text = TASKS[task].instruction
        for way in WAYS:
            _read_frozen(backend, recording, text, way, found[way])
        truth, said = _run(backend, recording, text, found)
        truths.append(truth)
        texts.append(said)
        print(f'{task}: {len(truth)} readings', flush=True)
    report: dict[str, Any] = {
        way: _of_way(found[way], truths, texts, options.readings) for way in WAYS
    }
    report['video_over_images_cpu'] = float(
        np.median(np.divide(found['video'].cpu_ms, found['images'].cpu_ms))
    )
    report['text_voc'] = mean([voc(*pair) for pair in zip(texts, truths, strict=True)])
    report['text_error'] = mean([mae(*pair) for pair in zip(texts, truths, strict=True)])
    report['readings_of_each_way'] = sum(map(len, truths))
    print(json.dumps(report, indent=2))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')
    chosen = report['video' if options.video else 'images']
    named = ('topreward.floor', 'topreward.ceiling', 'combined.token_share')
    values = {name: round(chosen[name], 4) for name in named}
    parameters = options.out.with_suffix('.yaml')
    parameters.write_text(
        parameter_yaml(
            {'topreward.video': options.video, 'topreward.readings': options.readings, **values}
        ),
        encoding='utf-8',
    )
    print(f'written to {options.out}, and the parameters to {parameters}')
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--model', default='models/small_cell', help='checkpoint folder')
    parser.add_argument('--cache', type=Path, default=default_cache(), help='recordings')
    parser.add_argument('--tasks', nargs='+', default=list(TASKS), choices=list(TASKS))
    parser.add_argument('--video', action='store_true', help='write the parameters of videos')
    parser.add_argument(
        '--readings',
        type=int,
        default=TopRewardConfig().readings,
        help='newest readings whose mean is held against the ceiling',
    )
    parser.add_argument('--threads', type=int, default=1, help='CPU threads of the model')
    parser.add_argument('--out', type=Path, default=Path('out/bench/token_reading.json'))
    return parser.parse_args(arguments)


def _load(model: str, threads: int) -> Backend:
    from progress_monitor.backends.inline import InlineBackend
    from progress_monitor.vlm.config import ModelConfig

    return InlineBackend(
        ModelConfig(
            path=model, quantization='none', max_pixels=128 * 128, max_new_tokens=120,
            threads=threads,
        )
    )  # fmt: skip


def _strategy(way: str) -> TopReward:
    return TopReward(MonitorConfig(), TopRewardConfig(video=way == 'video'))


def _frames(recording: Recording, indices: Sequence[int], step: int = 0) -> tuple[Frame, ...]:
    """Frames by their index at 10 Hz; with ``step`` so many of these apart in time instead."""
    return tuple(
        Frame(
            new_uid(),
            'camera',
            (number * step if step else index) * 10**8,
            np.array(recording.images[index]),
        )
        for number, index in enumerate(indices)
    )


def _ask(
    backend: Backend,
    strategy: TopReward | ProcVLM,
    frames: Sequence[Frame],
    text: str,
    session: str = '',
) -> Any:
    view = View(tuple(frames), frames[-1].stamp_ns)
    (asked,) = strategy.ask(view, Recollection(text))
    session = session or asked.session
    backend.submit(Request(new_uid(), session, asked.parts, asked.want, asked.chat))
    completion = backend.poll()
    assert completion is not None and completion.answer is not None, completion
    return completion.answer


def _read_frozen(
    backend: Backend, recording: Recording, text: str, way: str, found: Readings
) -> None:
    """Read one moment shown many times: the start, and half-way."""
    for count in FROZEN_FRAMES:
        for share in (0.0, 0.5):
            index = int(np.argmax(recording.progress >= share))
            shown = _frames(recording, [index] * count, STRIDE)
            answer = _ask(backend, _strategy(way), shown, text)
            assert isinstance(answer, Scored)
            found.frozen.setdefault(count, []).append(answer.log_probabilities[0])


def _run(
    backend: Backend, recording: Recording, text: str, found: dict[str, Readings]
) -> tuple[list[float], list[float]]:
    """Read a run in every way; the truth at each reading, and what the text said of progress."""
    words = ProcVLM(MonitorConfig())
    tokens = {way: _strategy(way) for way in WAYS}
    count = TopRewardConfig().frames
    truths, said = [], []
    for way in WAYS:
        found[way].runs.append([])
    frames = _frames(recording, range(0, len(recording.images), STRIDE))
    for newest in range(count - 1, len(frames)):
        window = frames[newest - count + 1 : newest + 1]
        for way in WAYS:
            started = time.process_time()
            scored = _ask(backend, tokens[way], window, text, way)
            found[way].cpu_ms.append((time.process_time() - started) * 1e3)
            assert isinstance(scored, Scored)
            found[way].tokens.append(scored.stats.prompt_tokens)
            found[way].runs[-1].append(scored.log_probabilities[0])
        answer = _ask(backend, words, window, text)
        assert isinstance(answer, Generated)
        estimate = words.read((answer,), View(window, window[-1].stamp_ns))
        good = estimate.evidence is Evidence.GOOD
        said.append(estimate.progress if good else float('nan'))
        truths.append(float(recording.progress[newest * STRIDE]))
    return truths, said


def _of_way(
    found: Readings,
    truths: Sequence[Sequence[float]],
    texts: Sequence[Sequence[float]],
    readings: int,
) -> dict[str, Any]:
    finished = [[value >= 1.0 for value in truth] for truth in truths]
    limits = calibrate(found.runs, finished, readings)
    span = limits.ceiling - limits.floor
    scaled = [np.clip((np.array(run) - limits.floor) / span, 0.0, 1.0) for run in found.runs]
    growth = {str(count): mean(values) for count, values in found.frozen.items()}
    return {
        'frozen_log_p_true_by_frames': growth,
        'frozen_voc_of_growing_windows': voc(list(growth.values()), list(found.frozen)),
        'topreward.floor': limits.floor,
        'topreward.ceiling': limits.ceiling,
        'success_true_rate': limits.true_rate,
        'success_false_rate': limits.false_rate,
        'voc': mean([voc(run, truth) for run, truth in zip(found.runs, truths, strict=True)]),
        'error': mean([mae(run, truth) for run, truth in zip(scaled, truths, strict=True)]),
        'combined.token_share': token_share(
            np.concatenate(texts), np.concatenate(scaled), np.concatenate(truths)
        ),
        'error_of_a_text_by_age_s': {
            f'{age * STRIDE / 10:g}': dict(
                zip(('held', 'moved'), aged_errors(texts, scaled, truths, age), strict=True)
            )
            for age in TEXT_AGES
        },
        'prompt_tokens': float(np.median(found.tokens)),
        'cpu_ms': float(np.median(found.cpu_ms)),
    }


def aged_errors(
    texts: Sequence[Sequence[float]],
    tokens: Sequence[Floats],
    truths: Sequence[Sequence[float]],
    age: int,
) -> tuple[float, float]:
    """Mean error of a text's progress ``age`` readings later, held, and moved by the token."""
    held: list[float] = []
    moved: list[float] = []
    for text, token, truth in zip(texts, tokens, truths, strict=True):
        then, now = np.array(text)[:-age], np.array(truth)[age:]
        held += np.abs(then - now).tolist()
        carried = np.clip(then + token[age:] - token[:-age], 0.0, 1.0)
        moved += np.abs(carried - now).tolist()
    return mean(held), mean(moved)


def token_share(text: Floats, token: Floats, truth: Floats) -> float:
    """The token's share, 0..1, that leaves the least squared error of both together."""
    known = np.isfinite(text)
    apart = (token - text)[known]
    scale = float(apart @ apart)
    best = float(apart @ (truth - text)[known]) / scale if scale > 0.0 else 0.0
    return min(max(best, 0.0), 1.0)
