"""``bench token_reading``: frozen scenes, calibration and error rates of the token reading.

The reading of TOPReward (arXiv 2602.19313) grows with the number of frames shown even where nothing
moves. Frozen scenes are read with windows of several lengths, so that the growth is seen; live, the
number of frames is constant. Floor and ceiling come from undisturbed runs on seeds that no other
benchmark judges, and so do the error rates by which ``combined`` weighs text against token.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from progress_monitor.config import MonitorConfig
from progress_monitor.offline.proposals import parameter_yaml
from progress_monitor.strategies.calibration import calibrate
from progress_monitor.strategies.procvlm import ProcVLM
from progress_monitor.strategies.topreward import TopReward
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
from progress_monitor_lab.bench.metrics import mae, mean, voc
from progress_monitor_lab.sim.tasks import TASKS

FROZEN_FRAMES = (2, 4, 6, 8, 10, 12, 16)
STRIDE = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write the figures."""
    options = _parse(arguments)
    backend = _load(options.model, options.threads)
    frozen: dict[int, list[float]] = {count: [] for count in FROZEN_FRAMES}
    runs, texts, truths = [], [], []
    for task in options.tasks:
        recording = load(options.cache, task, SEED, 'nominal')
        text = TASKS[task].instruction
        for count in FROZEN_FRAMES:
            frozen[count] += _frozen(backend, recording, text, count)
        readings, truth, said = _run(backend, recording, text)
        runs.append(readings)
        truths.append(truth)
        texts.append(said)
        print(f'{task}: {len(readings)} readings', flush=True)
    report = _report(frozen, runs, texts, truths)
    print(json.dumps(report, indent=2))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')
    named = ('topreward.floor', 'topreward.ceiling', 'combined.text_error', 'combined.token_error')
    parameters = options.out.with_suffix('.yaml')
    values = {name: round(report[name], 4) for name in named}
    parameters.write_text(parameter_yaml(values), encoding='utf-8')
    print(f'written to {options.out}, and the parameters to {parameters}')
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--model', default='models/small_cell', help='checkpoint folder')
    parser.add_argument('--cache', type=Path, default=default_cache(), help='recordings')
    parser.add_argument('--tasks', nargs='+', default=list(TASKS), choices=list(TASKS))
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


def _frames(recording: Recording, indices: Iterator[int] | Sequence[int]) -> tuple[Frame, ...]:
    return tuple(
        Frame(new_uid(), 'camera', index * 10**8, np.array(recording.images[index]))
        for index in indices
    )


def _ask(
    backend: Backend, strategy: TopReward | ProcVLM, frames: Sequence[Frame], text: str
) -> Any:
    view = View(tuple(frames), frames[-1].stamp_ns)
    (asked,) = strategy.ask(view, Recollection(text))
    backend.submit(Request(new_uid(), asked.session, asked.parts, asked.want, asked.chat))
    completion = backend.poll()
    assert completion is not None and completion.answer is not None, completion
    return completion.answer


def _frozen(backend: Backend, recording: Recording, text: str, count: int) -> list[float]:
    """Log p(True) over one moment shown ``count`` times: the start, and half-way."""
    strategy = TopReward(MonitorConfig())
    found = []
    for share in (0.0, 0.5):
        index = int(np.argmax(recording.progress >= share))
        answer = _ask(backend, strategy, _frames(recording, [index] * count), text)
        assert isinstance(answer, Scored)
        found.append(answer.log_probabilities[0])
    return found


def _run(
    backend: Backend, recording: Recording, text: str
) -> tuple[list[float], list[float], list[float]]:
    """The readings of a run, the truth at each, and what the text said of progress."""
    config = MonitorConfig()
    token, words = TopReward(config), ProcVLM(config)
    count = config.topreward.frames
    readings, truths, said = [], [], []
    frames = _frames(recording, range(0, len(recording.images), STRIDE))
    for newest in range(count - 1, len(frames)):
        window = frames[newest - count + 1 : newest + 1]
        scored = _ask(backend, token, window, text)
        assert isinstance(scored, Scored)
        readings.append(scored.log_probabilities[0])
        answer = _ask(backend, words, window, text)
        assert isinstance(answer, Generated)
        estimate = words.read((answer,), View(window, window[-1].stamp_ns))
        good = estimate.evidence is Evidence.GOOD
        said.append(estimate.progress if good else float('nan'))
        truths.append(float(recording.progress[newest * STRIDE]))
    return readings, truths, said


def _report(
    frozen: dict[int, list[float]],
    runs: Sequence[Sequence[float]],
    texts: Sequence[Sequence[float]],
    truths: Sequence[Sequence[float]],
) -> dict[str, Any]:
    readings = MonitorConfig().topreward.readings
    finished = [[value >= 1.0 for value in truth] for truth in truths]
    found = calibrate(runs, finished, readings)
    span = found.ceiling - found.floor
    scaled = [[min(max((v - found.floor) / span, 0.0), 1.0) for v in run] for run in runs]
    growth = {str(count): mean(values) for count, values in frozen.items()}
    return {
        'frozen_log_p_true_by_frames': growth,
        'frozen_voc_of_growing_windows': voc(list(growth.values()), list(frozen)),
        'topreward.floor': found.floor,
        'topreward.ceiling': found.ceiling,
        'success_true_rate': found.true_rate,
        'success_false_rate': found.false_rate,
        'token_voc': mean([voc(run, truth) for run, truth in zip(runs, truths, strict=True)]),
        'text_voc': mean([voc(said, truth) for said, truth in zip(texts, truths, strict=True)]),
        'combined.token_error': mean(
            [mae(run, truth) for run, truth in zip(scaled, truths, strict=True)]
        ),
        'combined.text_error': mean(
            [mae(said, truth) for said, truth in zip(texts, truths, strict=True)]
        ),
        'readings': sum(map(len, runs)),
    }
