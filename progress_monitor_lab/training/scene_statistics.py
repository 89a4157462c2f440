"""Write what the guard against unknown scenes needs beside a checkpoint's weights.

    python -m progress_monitor_lab.training.scene_statistics EPISODES CHECKPOINT

From rendered episodes: every fourth picture of those to learn from and of those held out, as half
of the cameras show them that something disturbs; and as many again of cameras that were nudged.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from progress_monitor.vlm.known_scenes import embed
from progress_monitor.vlm.loading import VLM
from progress_monitor.vlm.scene_guard import statistics, write
from progress_monitor_lab.sim.disturbance import Bump
from progress_monitor_lab.training.data import Corpus, load

EVERY = 4


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('episodes', type=Path)
    parser.add_argument('checkpoint', type=Path)
    arguments = parser.parse_args()
    vlm = VLM.from_pretrained(str(arguments.checkpoint), 'none', 'cpu', 'float32')
    shown = [
        np.concatenate([corpus.disturbed(seed).images[::EVERY], _nudged(corpus, seed)])
        for corpus, seed in (
            (load(arguments.episodes, held_out=False), 5),
            (load(arguments.episodes, held_out=True), 6),
        )
    ]
    known, held_out = (embed(vlm, item, item.shape[1] * item.shape[2]) for item in shown)
    path = write(arguments.checkpoint, statistics(known, held_out))
    print(f'{path}: {len(known)} pictures, {len(held_out)} held out')


def _nudged(corpus: Corpus, seed: int) -> NDArray[np.uint8]:
    """Every fourth picture, as a nudged camera shows it; nudged anew in each half of an episode."""
    rng = np.random.default_rng(seed)
    images = []
    for episode in corpus.episodes:
        places = episode.first + np.arange(0, len(episode.progress), EVERY)
        for half in np.array_split(places, 2):
            bump = Bump(rng, at=0.0)
            images += [bump(corpus.images[place], 0.0) for place in half]
    return np.stack(images)


if __name__ == '__main__':
    main()
