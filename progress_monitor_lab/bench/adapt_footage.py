"""Real clips: adapted to one of a group and played the others, and one long run in two parts."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from progress_monitor.adapt.annotation import Annotation, Stage
from progress_monitor.adapt.demonstration import load
from progress_monitor.adapt.playing import Curve, run
from progress_monitor.adapt.recipe import recipe_for
from progress_monitor.adapt.report import figures
from progress_monitor.node_config import NodeConfig
from progress_monitor.offline.video import frame_rate
from progress_monitor.parameters import build
from progress_monitor.types import Backend
from progress_monitor.vlm.profiles import resolve
from progress_monitor_lab.bench.adapt_training import believed, doubted, train, verdict

# The frame at which each stage of the demonstration ends, as seen in the clip; what comes after
# the last is the end. ``DONE`` has the frame from which each other clip shows the task done.
GROUPS: dict[str, tuple[str, str, tuple[tuple[str, int], ...]]] = {
    'rice': (
        'bridge_rice_act_success.mp4',
        'sweep the rice to the left side of the tray',
        (
            ('Reach and grasp the brush', 37),
            ('Sweep the rice to the left', 64),
            ('Bring the brush back', 85),
            ('Sweep the rest to the left', 108),
        ),
    ),
    'drawer': (
        'bridge_drawer_act_success.mp4',
        'pull the drawer open',
        (('Reach the drawer handle', 35), ('Pull the drawer open', 46)),
    ),
}
DONE = {
    'bridge_rice_crl_success.mp4': 166,
    'bridge_rice_ddpm_success.mp4': 150,
    'bridge_rice_gcbc_success.mp4': 168,
    'bridge_drawer_crl_success.mp4': 54,
    'bridge_drawer_ddpm_success.mp4': 45,
    'bridge_drawer_gcbc_success.mp4': 51,
}
TABLE = ('cam_high', 'cam_left_wrist', 'cam_right_wrist')
LEARNT_SHARE = 0.6
MULTIPLE = 32


def measure(footage: Path, out: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Figures of every clip by group.

    :raises OSError: if a clip or the manifest is missing.
    """
    manifest = json.loads((footage / 'manifest.json').read_text(encoding='utf-8'))
    found: dict[str, Any] = {}
    for group, (name, task, ends) in GROUPS.items():
        shown = _annotation((footage / name,), task, ends)
        adapter = train(shown, out / group, options)
        backend = _model(adapter, out, options)
        try:
            found[group] = {
                item['file']: {
                    'outcome': item['outcome'],
                    **_clip(footage / item['file'], shown, adapter, backend, options.model),
                }
                for item in manifest
                if item['group'] == group and item['file'] != name
            }
        finally:
            backend.close()
        found[group]['verdict'] = verdict(adapter)
        (out / group / 'played.json').write_text(json.dumps(found[group]), encoding='utf-8')
    found['table'] = _table(footage, out / 'table', options)
    return found


def _annotation(
    videos: tuple[Path, ...], task: str, ends: tuple[tuple[str, int], ...]
) -> Annotation:
    fps = frame_rate(videos[0])
    starts = [0.0, *(end / fps for _, end in ends)]
    stages = tuple(
        Stage(text, starts[number], starts[number + 1]) for number, (text, _) in enumerate(ends)
    )
    return Annotation(task, videos, stages, True)


def _model(adapter: Path, out: Path, options: argparse.Namespace) -> Backend:
    from progress_monitor_lab.bench.adapt import BELIEVED, load_model

    return load_model(options.model, (str(believed(adapter, out / BELIEVED)),), options.threads)


def _configured(model: str) -> tuple[NodeConfig, float]:
    """What the command trains with, and how far apart, s, it takes a recording's pictures."""
    config = build(NodeConfig, resolve({'model.path': model}, model))
    return config, config.window.sample_period / recipe_for(model).pictures_per_sample


def _clip(
    path: Path, shown: Annotation, adapter: Path, backend: Backend, model: str
) -> dict[str, Any]:
    """A clip has no stages: its order in time is what can be judged, up to where it is done."""
    done = path.name in DONE
    end_s = DONE[path.name] / frame_rate(path) if done else 1e6
    whole = Annotation(shown.task, (path,), (Stage('all', 0.0, end_s),), done)
    config, period = _configured(model)
    clip = load(whole, period, config.model.max_pixels, MULTIPLE)
    curve = run(path.stem, clip, range(len(clip.images)), config, backend)
    return _row(curve, doubted(adapter))


def _row(curve: Curve, doubted_end: bool) -> dict[str, Any]:
    """Figures of a clip; ``would_call_done_s`` counts where the end is doubted as well."""
    found = figures(curve)
    known = curve.progress[np.isfinite(curve.progress)]
    return {
        'voc': found['voc'],
        'refused': found['refused'],
        'end': float(np.median(known[-5:])) if known.size else float('nan'),
        'called_done_s': [] if doubted_end else list(curve.successes),
        'would_call_done_s': list(curve.successes),
        'seconds': curve.seconds.tolist(),
        'progress': curve.progress.tolist(),
    }


def _table(footage: Path, out: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One run of many stages before three cameras: learnt are the first, played is the rest."""
    videos = tuple(footage / f'table_episode1_{camera}.mp4' for camera in TABLE)
    bounds = json.loads((footage / 'table_episode1_stages.json').read_text(encoding='utf-8'))
    fps = frame_rate(videos[0])
    stages = tuple(
        Stage(f'Clear away item {number}', first / fps, last / fps)
        for number, (first, last) in enumerate(bounds, 1)
    )
    learnt = round(LEARNT_SHARE * len(stages))
    part = Annotation('clean the table', videos, stages[:learnt], False)
    adapter = train(part, out, options)
    config, period = _configured(options.model)
    whole = load(
        Annotation('clean the table', videos, stages, True),
        period,
        config.model.max_pixels,
        MULTIPLE,
    )
    first = int(np.argmax(whole.stage >= learnt))
    backend = _model(adapter, out.parent, options)
    try:
        curve = run('rest', whole, range(first, len(whole.images)), config, backend)
    finally:
        backend.close()
    return {
        **_row(curve, doubted(adapter)),
        'mae': figures(curve)['mae'],
        'verdict': verdict(adapter),
    }
