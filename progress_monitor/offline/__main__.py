"""Command line: ``python -m progress_monitor.offline VIDEO --task "..." --model FOLDER``."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from progress_monitor.monitor import ProgressMonitor
from progress_monitor.node_config import NodeConfig
from progress_monitor.offline.player import CAMERA, Played, play, row, spread_of
from progress_monitor.offline.plot import draw_progress, draw_states, label_axes
from progress_monitor.offline.video import frame_rate, read_video, write_video
from progress_monitor.overlay import Overlay, draw_overlay
from progress_monitor.parameter_file import read_parameters
from progress_monitor.parameters import ParameterError, build
from progress_monitor.types import NAN, Backend, Evidence, State
from progress_monitor.vlm.errors import VLMError


def main(arguments: list[str] | None = None) -> int:
    """Play the video; 0, or 2 with one sentence if something that was given cannot be used."""
    parser = argparse.ArgumentParser(
        prog='python -m progress_monitor.offline',
        description='Play a video to the monitor: JSON lines, an annotated video and a plot.',
    )
    parser.add_argument('video', type=Path)
    parser.add_argument('--task', required=True, help='what the robot is to do, in words')
    parser.add_argument('--model', required=True, help='folder of a checkpoint, or its hub name')
    parser.add_argument(
        '--params', type=Path, help='YAML file with the parameters of the node progress_monitor'
    )
    parser.add_argument('--out', type=Path, default=Path('out/offline'), help='folder to write to')
    given = parser.parse_args(arguments)
    try:
        values = read_parameters(given.params, 'progress_monitor') if given.params else {}
        config = build(NodeConfig, {**values, 'model.path': given.model})
        if not given.task.strip():
            raise ParameterError('--task is empty; say what the robot is to do')
        if not given.video.is_file():
            raise FileNotFoundError(f'{given.video}: no such file')
        from progress_monitor.backends.inline import InlineBackend

        backend = InlineBackend(config.model)
        try:
            ticks = run(given.video, given.task, config, backend, given.out)
        finally:
            backend.close()
    except (OSError, ParameterError, VLMError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f'{ticks} ticks; written to {given.out}')
    return 0


def run(video: Path, task: str, config: NodeConfig, backend: Backend, out: Path) -> int:
    """Write ``ticks.jsonl``, ``overlay.mp4`` and ``timeline.png`` to ``out``; count the ticks.

    :raises OSError: if the video cannot be read or something cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    monitor = ProgressMonitor(config, backend, (CAMERA,))
    seen: list[Played] = []
    fps = frame_rate(video)

    def pictures() -> Iterator[NDArray[np.uint8]]:
        ticks = 0
        with (out / 'ticks.jsonl').open('w', encoding='utf-8') as file:
            for played in play(read_video(video), monitor, task, config.model.max_pixels):
                if played.update.estimate is not None:
                    line = row(played, str(video), task, ticks)
                    file.write(json.dumps(line, ensure_ascii=False) + '\n')
                    ticks += 1
                yield _annotate(played, task)
                # The plot needs no picture, and a long video's would fill the memory.
                bare = dataclasses.replace(played.update, window=())
                nothing = np.empty((0, 0, 3), np.uint8)
                seen.append(dataclasses.replace(played, image=nothing, update=bare))

    write_video(pictures(), out / 'overlay.mp4', fps)
    _plot(seen, task, out / 'timeline.png')
    return sum(played.update.estimate is not None for played in seen)


def _annotate(played: Played, task: str) -> NDArray[np.uint8]:
    update = played.update
    hangs = update.state in (State.STALLED, State.REGRESSING)
    overlay = Overlay(
        task=task,
        state=update.state,
        progress=update.progress,
        spread=spread_of(played),
        plan=update.plan,
        reasoning=played.estimate.reasoning if played.estimate else '',
        note=update.message if hangs or update.evidence is not Evidence.GOOD else '',
        footer=f'{played.seconds:.1f} s   tick {update.ticks}',
    )
    return draw_overlay(played.image, overlay)


def _plot(seen: list[Played], task: str, path: Path) -> None:
    from matplotlib import pyplot

    end = seen[-1].seconds
    ticks = [played for played in seen if played.update.estimate is not None]
    figure, axes = pyplot.subplots(figsize=(10.0, 4.2), dpi=120, layout='constrained')
    draw_states(axes, [(played.seconds, played.update.state) for played in seen], end)
    draw_progress(
        axes,
        [played.seconds for played in ticks],
        [played.estimate.progress if played.estimate else NAN for played in ticks],
        [spread_of(played) for played in ticks],
    )
    label_axes(axes, task, end)
    figure.savefig(path)
    pyplot.close(figure)


if __name__ == '__main__':
    sys.exit(main())
