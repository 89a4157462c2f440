"""A little of what the small checkpoint was trained on, in ProcVLM's published form.

An adaptation mixes it in, so that the known tasks are not unlearnt.

    python -m progress_monitor_lab.training.replay EPISODES FOLDER
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2

from progress_monitor.adapt.replay import FILE
from progress_monitor_lab.training.data import load
from progress_monitor_lab.training.samples import Sampler

FORM = 'procvlm'
SAMPLES = 900
FOREIGN_IMAGES = 200


def write(episodes: Path, folder: Path, samples: int = SAMPLES, seed: int = 0) -> None:
    """Draw questions from rendered episodes and write them with the pictures that they show.

    :raises SystemExit: if there are no episodes.
    """
    corpus = load(episodes, held_out=False).with_foreign(FOREIGN_IMAGES, seed)
    sampler = Sampler(corpus, seed)
    (folder / 'images').mkdir(parents=True, exist_ok=True)
    rows, shown = [], set()
    for _ in range(samples):
        sample = sampler.draw(FORM, sampler.frames_of(FORM))
        frames = [part for part in sample.parts if isinstance(part, int)]
        text = ''.join(part for part in sample.parts if isinstance(part, str))
        shown.update(frames)
        names = [f'images/{index:06d}.jpg' for index in frames]
        asked = {'from': 'human', 'value': '<image>\n' * len(frames) + text}
        said = {'from': 'gpt', 'value': sample.answer}
        rows.append(json.dumps({'image': names, 'conversations': [asked, said]}))
    for index in sorted(shown):
        picture = cv2.cvtColor(corpus.images[index], cv2.COLOR_RGB2BGR)
        path = folder / 'images' / f'{index:06d}.jpg'
        cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 95])
    (folder / FILE).write_text('\n'.join(rows) + '\n', encoding='utf-8')


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('episodes', type=Path)
    parser.add_argument('folder', type=Path)
    parser.add_argument('--samples', type=int, default=SAMPLES)
    arguments = parser.parse_args()
    write(arguments.episodes, arguments.folder, arguments.samples)


if __name__ == '__main__':
    main()
