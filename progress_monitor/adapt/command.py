"""Command line: ``python -m progress_monitor adapt ANNOTATIONS --model FOLDER --out ADAPTER``."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from progress_monitor.adapt.annotation import Annotation, read
from progress_monitor.parameter_file import read_parameters
from progress_monitor.printable import printable
from progress_monitor.vlm.errors import VLMError

_MOST_CHARACTERS = 2000

if TYPE_CHECKING:
    from progress_monitor.adapt.adapting import Adapted


def main(arguments: list[str] | None = None) -> int:
    """Train an adapter and judge it.

    :returns: 0; 1 if it was trained and is not to be trusted; 2 with one sentence if something
        that was given cannot be used; 130 if interrupted: the same call goes on.
    """
    given = _parser().parse_args(arguments)
    try:
        return _adapt(given)
    except (OSError, VLMError, ValueError) as error:
        print(printable(str(error), _MOST_CHARACTERS), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            f'interrupted; the same call goes on from {printable(str(given.out))}', file=sys.stderr
        )
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m progress_monitor adapt',
        description='Adapt a checkpoint to the tasks of annotated demonstrations: a LoRA adapter '
        'in the layout of PEFT, and a report whether the monitor may be trusted with it.',
    )
    parser.add_argument('annotations', type=Path, help='file of annotated demonstrations')
    parser.add_argument('--model', required=True, help='folder of a checkpoint, or its hub name')
    parser.add_argument('--out', type=Path, required=True, help='folder of the adapter')
    parser.add_argument(
        '--held-out', type=Path, help='annotations of other runs, to judge by and not to learn from'
    )
    parser.add_argument(
        '--quantization',
        default='none',
        choices=('none', 'nf4', 'int8'),
        help='of the base while training; nf4 makes a 2B model fit in 8 GB',
    )
    parser.add_argument('--device', default='auto', help='torch device; auto takes CUDA if present')
    parser.add_argument('--vision', action='store_true', help='adapt the vision tower as well')
    parser.add_argument(
        '--replay', type=Path, help="folder with qa_pairs.jsonl of the checkpoint's old data"
    )
    parser.add_argument(
        '--steps', type=int, default=0, help='for each demonstration; 0: those of the recipe'
    )
    parser.add_argument(
        '--params', type=Path, help='YAML file with the parameters that the monitor will watch with'
    )
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--threads', type=int, default=2, help='CPU threads')
    return parser


def _adapt(given: argparse.Namespace) -> int:
    if given.steps < 0:
        raise ValueError(f'--steps: {given.steps}; give 0 or more')
    if given.threads < 1:
        raise ValueError(f'--threads: {given.threads}; give 1 or more')
    if given.out.exists() and not given.out.is_dir():
        raise ValueError(f'--out: {given.out} is no folder; name another')
    annotations = _read(given.annotations)
    held_out = _read(given.held_out) if given.held_out else ()
    parameters = read_parameters(given.params, 'progress_monitor') if given.params else {}
    # torch is wanted from here on.
    from progress_monitor.adapt.adapting import Options, adapt
    from progress_monitor.adapt.recipe import recipe_for

    recipe = recipe_for(given.model)
    if given.steps:
        recipe = replace(recipe, steps=given.steps)
    options = Options(
        base=given.model,
        out=given.out,
        quantization=given.quantization,
        device=given.device,
        vision=given.vision,
        replay=given.replay,
        seed=given.seed,
        threads=given.threads,
        recipe=recipe,
        parameters=parameters,
    )
    adapted = adapt(annotations, options)
    for note in adapted.notes:
        print(printable(note, _MOST_CHARACTERS), file=sys.stderr)
    return _judge(given, adapted, held_out)


def _judge(given: argparse.Namespace, adapted: Adapted, held_out: tuple[Annotation, ...]) -> int:
    from progress_monitor.adapt import folder as adapter_folder
    from progress_monitor.adapt import report
    from progress_monitor.adapt.demonstration import load
    from progress_monitor.backends.inline import InlineBackend
    from progress_monitor.vlm.linear_probe import find_probe

    config = adapted.config
    model = replace(
        config.model,
        adapters=(str(given.out),),
        quantization=given.quantization,
        device=given.device,
        threads=given.threads,
    )
    print('trained; now the adapted model is judged', file=sys.stderr)
    trusted = True
    doubtful: list[str] = []
    with ExitStack() as stack:
        backend = stack.enter_context(closing(InlineBackend(model)))
        unprobed = None
        if find_probe(given.out) is not None:
            without = Path(stack.enter_context(TemporaryDirectory())) / given.out.name
            adapter_folder.copy_unprobed(given.out, without)
            alone = replace(model, adapters=(str(without),))
            unprobed = stack.enter_context(closing(InlineBackend(alone)))
        capabilities = backend.capabilities()
        assert capabilities is not None
        multiple = capabilities.frame_multiple
        for number, demonstration in enumerate(adapted.demonstrations):
            others = [
                load(
                    item,
                    demonstration.period_s,
                    config.model.max_pixels,
                    multiple,
                    config.camera,
                )
                for item in held_out
                if item.task == demonstration.task
            ]
            curves = report.examine(
                demonstration,
                config,
                backend,
                others,
                lambda name: print(f'playing: {name}', file=sys.stderr),
                unprobed,
            )
            verdict = report.decide(curves, demonstration.done)
            folder = given.out if number == 0 else given.out / f'demonstration{number + 1}'
            folder.mkdir(exist_ok=True)
            report.write(folder, demonstration.task, curves, verdict, asdict(adapted.course))
            for name, curve in curves.items():
                found = report.figures(curve)
                print(
                    f'{name:20} VOC {found["voc"]:5.2f}  MAE {found["mae"]:5.1f}  '
                    f'refused {found["refused"]:4.0%}  noise {found["noise"]:.1f}  '
                    f'successes {len(curve.successes)}  stalls {len(curve.stalls)}'
                )
            print(f'{printable(demonstration.task)}: {verdict.sentence}')
            trusted = trusted and not verdict.reasons
            doubtful += [demonstration.task] if verdict.end_doubtful else []
    if doubtful:
        adapter_folder.doubt_ends(given.out, doubtful)
        print('it takes unfinished work for done: no success will be called with it')
    print(f'adapter and report: {printable(str(given.out))}')
    return 0 if trusted else 1


def _read(path: Path) -> tuple[Annotation, ...]:
    found = read(path)
    if not found:
        raise ValueError(f'{path}: holds no demonstration')
    return found
