"""Evidence on real footage: what is doubted without cause, and whether causes are found.

The folder holds clips and a ``manifest.json``: a list of objects with ``file``, ``camera`` (words
that begin with "fixed" or name the wrist), ``group`` and ``task``. Each clip is played at the pace
that a monitor gets it, once as it is, and then with its view shifted, turned, scaled, cut to a clip
of another workplace, blacked out, covered and frozen, and swaying or knocked as the model is then
shown it (``footage_steady``). A cut to a plain scene may as well be called covered: it is doubted.
With ``--variants`` the clips are also played as another camera, codec or light would show them;
with ``--model`` those of fixed cameras are played to the whole monitor, each with its own task,
which the checkpoint cannot know.

The cost is processor time: of all that is done with a frame, and of a check of the view alone (the
thumbnail and the registration), which is made at most five times a second.

    python -m progress_monitor_lab.bench footage --footage FOLDER
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import platform
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from progress_monitor.config import EvidenceConfig
from progress_monitor.evidence.camera import CameraWatch
from progress_monitor.evidence.thumbnail import grey_thumbnail
from progress_monitor.evidence.view import ViewWatch
from progress_monitor.offline.video import frame_rate, read_video
from progress_monitor.types import Evidence
from progress_monitor_lab.bench.footage_changes import FAULTS, MOVES, Image
from progress_monitor_lab.bench.footage_steady import steadied, summed
from progress_monitor_lab.bench.footage_variants import VARIANTS

PIXELS = 256 * 256
# The manifest calls these fixed; the gripper keeps its place in them while the table moves.
ON_THE_HAND = ('berkeley_rpt',)
LEARNT_S = 3.0
FOUND_WITHIN_S = 1.0
FROZEN_WITHIN_S = 1.5
BEFORE_S = 4.0
LEAST_BEFORE_S = 1.0
_VIEW = frozenset({Evidence.VIEW_CHANGED})
_CUT = frozenset({Evidence.VIEW_CHANGED, Evidence.COVERED})
_OUTCOMES = {
    'black': frozenset({Evidence.BLACK}),
    'covered': frozenset({Evidence.COVERED}),
    'frozen': frozenset({Evidence.FROZEN}),
}


@dataclass(frozen=True, eq=False)
class Clip:
    """A clip as a monitor gets it: pictures of at most ``PIXELS`` pixels at ``rate`` a second."""

    name: str
    group: str
    task: str
    fixed: bool
    rate: float
    images: tuple[Image, ...]


@dataclass(frozen=True)
class Played:
    """What the evidence made of each picture, and the processor time of one, s."""

    verdicts: tuple[Evidence, ...]
    mounting: str
    cost: float


def load(folder: Path, rate: float) -> Iterator[Clip]:
    """Read the clips that the manifest names, thinned to at most ``rate`` pictures a second.

    :raises OSError: if the manifest or a clip cannot be read.
    """
    for entry in json.loads((folder / 'manifest.json').read_text(encoding='utf-8')):
        path = folder / entry['file']
        stride = max(1, round(frame_rate(path) / rate))
        images = tuple(
            _reduce(image) for index, _, image in read_video(path) if index % stride == 0
        )
        name = path.stem
        fixed = entry['camera'].startswith('fixed') and not name.startswith(ON_THE_HAND)
        yield Clip(name, entry['group'], entry['task'], fixed, frame_rate(path) / stride, images)


def watch(images: Sequence[Image], rate: float) -> Played:
    """Show ``images`` to a watch that knows nothing of the camera."""
    camera = CameraWatch(EvidenceConfig(), 'clip')
    verdicts = []
    spent = 0.0
    for index, image in enumerate(images):
        now_ns = 1_000_000_000 + round(index / rate * 1e9)
        start = time.process_time()
        camera.observe(now_ns, image)
        verdicts.append(camera.verdict(now_ns)[0])
        spent += time.process_time() - start
    return Played(tuple(verdicts), camera.mounting.value, spent / max(len(images), 1))


def check_costs(images: Sequence[Image], rate: float) -> list[float]:
    """Processor time of each check of the view, s."""
    view = ViewWatch()
    costs = []
    for index, image in enumerate(images):
        stamp_ns = 1_000_000_000 + round(index / rate * 1e9)
        if view.due(stamp_ns):
            start = time.process_time()
            view.observe(stamp_ns, grey_thumbnail(image))
            costs.append(time.process_time() - start)
    return costs


def disturbed(clip: Clip, others: Sequence[Clip], times: int, seed: int) -> dict[str, list[bool]]:
    """Whether each disturbance, set in at ``times`` places of the clip, was found in time."""
    rng = np.random.default_rng([seed, *clip.name.encode()])
    found: dict[str, list[bool]] = {}
    size = clip.images[0].shape[:2]
    for _ in range(times):
        for kind, make in MOVES.items():
            images, start = _cut_out(clip, rng, FOUND_WITHIN_S)
            images[start:] = make(rng, (size[0], size[1]))(images[start:])
            found.setdefault(kind, []).append(_found(clip, images, start, _VIEW))
        images, start = _cut_out(clip, rng, FOUND_WITHIN_S)
        other = others[int(rng.integers(len(others)))]
        first = int(rng.integers(max(1, len(other.images) - len(images) + start)))
        new = other.images[first : first + len(images) - start]
        images[start:] = [_resized(image, size[1], size[0]) for image in new]
        found.setdefault('cut', []).append(_found(clip, images, start, _CUT))
        for kind, fault in FAULTS.items():
            images, start = _cut_out(clip, rng, FROZEN_WITHIN_S)
            images[start:] = fault(images[start:])
            found.setdefault(kind, []).append(_found(clip, images, start, _OUTCOMES[kind]))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables and write the JSON file; 2 with one sentence if the footage is no good."""
    options = _parse(arguments)
    cv2.setNumThreads(1)
    try:
        clips = list(load(options.footage, options.rate))
    except (OSError, ValueError, KeyError) as error:
        print(f'--footage {options.footage}: {error}', file=sys.stderr)
        return 2
    rows = [_row(clip, clips, options) for clip in clips]
    report: dict[str, Any] = {
        'date': datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'),
        'machine': platform.platform(),
        'rate': options.rate,
        'totals': _totals(rows),
        'clips': rows,
    }
    _print(rows, report['totals'])
    if options.variants:
        report['variants'] = _variants(clips)
    if options.model:
        # The model's libraries are wanted for this part only.
        from progress_monitor_lab.bench.footage_model import misfits

        fixed = [clip for clip in clips if clip.fixed][: options.model_clips]
        report['misfits'] = misfits(fixed, options.model, options.threads)
        print(json.dumps(report['misfits'], indent=2))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='progress_monitor_lab.bench footage', description=__doc__)
    parser.add_argument('--footage', type=Path, required=True, help='folder with manifest.json')
    parser.add_argument('--rate', type=float, default=10.0, help='most pictures a second')
    parser.add_argument('--times', type=int, default=4, help='places of each change in each clip')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--variants', action='store_true', help='play the clips as others show them'
    )
    parser.add_argument('--model', default='', help='checkpoint folder: play whole clips to it')
    parser.add_argument('--model-clips', type=int, default=1000, help='most clips played to it')
    parser.add_argument('--threads', type=int, default=1, help='CPU threads of the model')
    parser.add_argument('--out', type=Path, default=Path('out/bench/footage.json'))
    return parser.parse_args(arguments)


def _row(clip: Clip, clips: Sequence[Clip], options: argparse.Namespace) -> dict[str, Any]:
    row = _judged(clip, clip.images, clip.rate)
    row['check_ms'] = [1e3 * cost for cost in check_costs(clip.images, clip.rate)]
    others = [other for other in clips if _cell(other) != _cell(clip)]
    if len(clip.images) > round((LEAST_BEFORE_S + FROZEN_WITHIN_S) * clip.rate) and others:
        found = disturbed(clip, others, options.times, options.seed)
        if not clip.fixed:
            found = {kind: hits for kind, hits in found.items() if kind in FAULTS}
        row['found'] = {kind: [sum(hits), len(hits)] for kind, hits in found.items()}
    row['steady'] = steadied(clip.images, clip.rate, clip.fixed)
    return row


def _judged(clip: Clip, images: Sequence[Image], rate: float) -> dict[str, Any]:
    """What was made of a clip, shown as ``images``; a wrist's from where it should be known."""
    played = watch(images, rate)
    judged = played.verdicts[0 if clip.fixed else round(LEARNT_S * rate) :]
    doubts = Counter(verdict.name for verdict in judged if verdict is not Evidence.GOOD)
    return {
        'clip': clip.name,
        'fixed': clip.fixed,
        'mounting': played.mounting,
        'frames': len(judged),
        'doubted': doubts.total(),
        'doubts': dict(doubts),
        'cost_ms': 1e3 * played.cost,
    }


def _variants(clips: Sequence[Clip]) -> dict[str, Any]:
    """Print what is doubted of the clips as other cameras would show them, and return it."""
    print(f'{"shown":24}{"fixed":>8}{"worst":>8}{"moving":>8}{"wrist":>8}{"worst":>8}{"fixed":>8}')
    results: dict[str, Any] = {}
    for name, show in VARIANTS.items():
        rows = [_judged(clip, *show(clip.images, clip.rate)) for clip in clips]
        results[name] = {'shares': _shares(rows), 'clips': rows}
        line = f'{name:24}'
        for camera, wrong in (('fixed', 'moving'), ('wrist', 'fixed')):
            part = results[name]['shares'][camera]
            mistaken = sum(
                row['mounting'] == wrong for row in rows if row['fixed'] is (camera == 'fixed')
            )
            line += f'{part["doubted_share"]:8.2%}{part["worst_clip"]:8.1%}{mistaken:8}'
        print(line)
    return results


def _cell(clip: Clip) -> str:
    """The workplace: clips of one may share their camera, and no cut between them is one."""
    return clip.name.split('_', maxsplit=1)[0]


def _cut_out(clip: Clip, rng: np.random.Generator, after_s: float) -> tuple[list[Image], int]:
    """A stretch of the clip, and the index in it from which it is to be disturbed."""
    after = math.ceil(after_s * clip.rate) + 1
    least = math.ceil(LEAST_BEFORE_S * clip.rate)
    change = int(rng.integers(least, max(least + 1, len(clip.images) - after + 1)))
    first = max(0, change - round(BEFORE_S * clip.rate))
    return list(clip.images[first : change + after]), change - first


def _found(clip: Clip, images: Sequence[Image], start: int, kinds: frozenset[Evidence]) -> bool:
    within = FROZEN_WITHIN_S if Evidence.FROZEN in kinds else FOUND_WITHIN_S
    limit = start + math.floor(within * clip.rate) + 1
    return not kinds.isdisjoint(watch(images, clip.rate).verdicts[start:limit])


def _totals(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    totals: dict[str, Any] = _shares(rows)
    kinds: dict[str, list[int]] = {}
    for row in rows:
        for kind, (hits, count) in row.get('found', {}).items():
            sums = kinds.setdefault(kind, [0, 0])
            sums[0] += hits
            sums[1] += count
    totals['found'] = {kind: {'found': hits, 'of': count} for kind, (hits, count) in kinds.items()}
    totals['steady'] = {
        name: summed([row['steady'] for row in rows if row['fixed'] is fixed])
        for name, fixed in (('fixed', True), ('wrist', False))
    }
    totals['cost_ms'] = float(np.mean([row['cost_ms'] for row in rows])) if rows else 0.0
    checks = np.concatenate([row['check_ms'] for row in rows]) if rows else np.zeros(1)
    totals['check_ms'] = {'mean': float(checks.mean())}
    totals['check_ms'] |= {f'p{q}': float(np.percentile(checks, q)) for q in (50, 95, 99)}
    return totals


def _shares(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What is doubted of the cameras of each kind."""
    shares = {}
    for name, fixed in (('fixed', True), ('wrist', False)):
        mine = [row for row in rows if row['fixed'] is fixed and row['frames']]
        frames = sum(row['frames'] for row in mine)
        shares[name] = {
            'clips': len(mine),
            'frames': frames,
            'doubted_share': sum(row['doubted'] for row in mine) / max(frames, 1),
            'worst_clip': max((row['doubted'] / row['frames'] for row in mine), default=0.0),
        }
    return shares


def _print(rows: Sequence[dict[str, Any]], totals: dict[str, Any]) -> None:
    kinds = list(totals['found'])
    print(f'{"clip":42}{"camera":>8}{"seen as":>9}{"doubted":>9}{"ms":>6}{"check":>7}', end='')
    print(''.join(f'{kind:>10}' for kind in kinds))
    for row in rows:
        share = row['doubted'] / row['frames'] if row['frames'] else math.nan
        camera = 'fixed' if row['fixed'] else 'wrist'
        line = f'{row["clip"]:42}{camera:>8}{row["mounting"]:>9}{share:9.1%}{row["cost_ms"]:6.2f}'
        line += f'{np.mean(row["check_ms"]):7.2f}'
        for kind in kinds:
            hits = row.get('found', {}).get(kind)
            line += f'{"-" if hits is None else f"{hits[0]}/{hits[1]}":>10}'
        print(line, *(f'{kind} {count}' for kind, count in row['doubts'].items()))
    for name in ('fixed', 'wrist'):
        part = totals[name]
        print(
            f'{name}: {part["clips"]} clips, {part["frames"]} frames, '
            f'doubted {part["doubted_share"]:.2%}, worst clip {part["worst_clip"]:.1%}'
        )
    for kind, part in totals['found'].items():
        print(f'{kind}: {part["found"]} of {part["of"]} found ({part["found"] / part["of"]:.1%})')
    for name, shares in totals['steady'].items():
        said = ', '.join(f'{kind} {value:.2f}' for kind, value in shares.items())
        print(f'{name}: shown otherwise than filmed, and corners in their place: {said}')
    print(f'{totals["cost_ms"]:.2f} ms a frame; a check of the view', end=' ')
    print(', '.join(f'{name} {value:.2f} ms' for name, value in totals['check_ms'].items()))


def _reduce(image: Image) -> Image:
    height, width = image.shape[:2]
    scale = min(1.0, math.sqrt(PIXELS / (height * width)))
    return image if scale == 1.0 else _resized(image, int(width * scale), int(height * scale))


def _resized(image: Image, width: int, height: int) -> NDArray[np.uint8]:
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, np.uint8)


if __name__ == '__main__':
    sys.exit(main())
