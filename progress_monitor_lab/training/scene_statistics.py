"""Write what the guard against unknown scenes needs beside a checkpoint's weights.

    python -m progress_monitor_lab.training.scene_statistics EPISODES CHECKPOINT

From rendered episodes: every fourth picture of those to learn from and of those held out, as half
of the cameras show them that something disturbs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from progress_monitor.vlm.known_scenes import embed
from progress_monitor.vlm.loading import VLM
from progress_monitor.vlm.scene_guard import statistics, write
from progress_monitor_lab.training.data import load

EVERY = 4


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('episodes', type=Path)
    parser.add_argument('checkpoint', type=Path)
    arguments = parser.parse_args()
    vlm = VLM.from_pretrained(str(arguments.checkpoint), 'none', 'cpu', 'float32')
    shown = [
        load(arguments.episodes, held_out).disturbed(seed).images[::EVERY]
        for held_out, seed in ((False, 5), (True, 6))
    ]
    known, held_out = (embed(vlm, item, item.shape[1] * item.shape[2]) for item in shown)
    path = write(arguments.checkpoint, statistics(known, held_out))
    print(f'{path}: {len(known)} pictures, {len(held_out)} held out')


if __name__ == '__main__':
    main()
