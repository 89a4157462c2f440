"""Write what the guard against unknown scenes needs beside a checkpoint's weights.

    python -m progress_monitor_lab.training.scene_statistics EPISODES CHECKPOINT

From rendered episodes: every fourth picture of those to learn from and of those held out, as half
of the cameras show them that something disturbs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from progress_monitor.vlm.architectures import architecture_of
from progress_monitor.vlm.loading import VLM
from progress_monitor.vlm.scene_guard import statistics, write
from progress_monitor_lab.training.data import load

EVERY = 4


def pooled(vlm: VLM, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Features of (n, height, width, 3) uint8 images, averaged over each: (n, width) float32."""
    vision = architecture_of(vlm).vision
    with torch.inference_mode():
        rows = [vision.encode(image).embedding.mean(0).float().numpy() for image in images]
    return np.stack(rows)


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('episodes', type=Path)
    parser.add_argument('checkpoint', type=Path)
    arguments = parser.parse_args()
    vlm = VLM.from_pretrained(str(arguments.checkpoint), 'none', 'cpu', 'float32')
    known, held_out = (
        pooled(vlm, load(arguments.episodes, held_out).disturbed(seed).images[::EVERY])
        for held_out, seed in ((False, 5), (True, 6))
    )
    path = write(arguments.checkpoint, statistics(known, held_out))
    print(f'{path}: {len(known)} pictures, {len(held_out)} held out')


if __name__ == '__main__':
    main()
