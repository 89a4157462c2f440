"""Episodes as arrays in memory, and images as the model's patches."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from progress_monitor_lab.sim.disturbance import DISTURBANCES, Disturbance, Knocked, Steadied
from progress_monitor_lab.sim.tasks import TASKS
from progress_monitor_lab.training.foreign import foreign

TASK_NAMES = tuple(TASKS)
PATCH, MERGE = 16, 2
HELD_OUT = 2
STEP_PERIOD_S = 0.1
FRAME_STEPS = 2
# With ``camera.stabilise`` the monitor shows a swaying camera as a steadied one, once it knows it,
# and the view of before of one that was knocked; what that lacks differs most from any other.
DISTURBED: tuple[Callable[[np.random.Generator], Disturbance], ...] = (
    *DISTURBANCES.values(),
    Steadied,
    Knocked,
    Knocked,
)


@dataclass(frozen=True, eq=False)
class Episode:
    """One rendered episode; ``first`` is the index of its first frame among all frames."""

    task: str
    seed: int
    first: int
    progress: NDArray[np.float32]
    stage: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Corpus:
    """All episodes, their frames one after the other: (frames, 128, 128, 3) uint8.

    The last ``foreign`` images belong to no episode: they show other scenes.
    """

    episodes: tuple[Episode, ...]
    images: NDArray[np.uint8]
    pose: NDArray[np.float32]
    foreign: int = 0

    def with_foreign(self, count: int, seed: int) -> Corpus:
        """The same with ``count`` pictures of other scenes after the episodes' own."""
        made = foreign(self.images, count, seed)
        return dataclasses.replace(self, images=np.concatenate([self.images, made]), foreign=count)

    def disturbed(self, seed: int) -> Corpus:
        """The same as half of the cameras would show it that something disturbs."""
        rng = np.random.default_rng(seed)
        images = self.images.copy()
        for episode in self.episodes:
            if rng.random() < 0.5:
                disturb = DISTURBED[int(rng.integers(len(DISTURBED)))](rng)
                for index in range(len(episode.progress)):
                    place = episode.first + index
                    images[place] = disturb(images[place], index * FRAME_STEPS * STEP_PERIOD_S)
        return dataclasses.replace(self, images=images)

    def of_frame(self, name: str) -> NDArray[np.float32] | NDArray[np.int64]:
        """``progress`` or ``stage`` of every frame, in the order of ``images``."""
        return np.concatenate([getattr(episode, name) for episode in self.episodes])

    def task_of_frame(self) -> NDArray[np.int64]:
        """Index into ``TASK_NAMES`` of every frame."""
        parts = [
            np.full(len(episode.progress), TASK_NAMES.index(episode.task))
            for episode in self.episodes
        ]
        return np.concatenate(parts)


def load(folder: Path, held_out: bool) -> Corpus:
    """Read the rendered episodes: those to learn from, or the two seeds of each hundred held out.

    :raises SystemExit: if there are none.
    """
    episodes: list[Episode] = []
    images: list[NDArray[np.uint8]] = []
    poses: list[NDArray[np.float32]] = []
    first = 0
    for path in sorted(folder.glob('*.npz')):
        task, _, seed = path.stem.rpartition('-')
        if (int(seed) % 100 < HELD_OUT) != held_out:
            continue
        with np.load(path) as file:
            images.append(file['image'])
            poses.append(file['pose'])
            episodes.append(Episode(task, int(seed), first, file['progress'], file['stage']))
        first += len(images[-1])
    if not episodes:
        raise SystemExit(f'{folder}: no episodes; run training.render_episodes')
    return Corpus(tuple(episodes), np.concatenate(images), np.concatenate(poses))


def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Vary light, contrast, noise and the camera's aim of (n, h, w, 3) uint8 images."""
    count, height, width, _ = images.shape
    reach = 3
    padded = torch.nn.functional.pad(
        images.permute(0, 3, 1, 2).float(), (reach,) * 4, mode='replicate'
    )
    shifts = torch.randint(0, 2 * reach + 1, (count, 2), generator=generator).tolist()
    moved = torch.stack(
        [padded[i, :, y : y + height, x : x + width] for i, (y, x) in enumerate(shifts)]
    )
    gain = 0.8 + 0.4 * torch.rand(count, 3, 1, 1, generator=generator) * 0.25
    gain = gain + 0.3 * torch.rand(count, 1, 1, 1, generator=generator)
    offset = 24.0 * (torch.rand(count, 1, 1, 1, generator=generator) - 0.5)
    noise = torch.randn(moved.shape, generator=generator) * 3.0
    return (moved * gain + offset + noise).clamp(0, 255).permute(0, 2, 3, 1)


def patches(images: torch.Tensor) -> torch.Tensor:
    """(n, h, w, 3) images of 0..255 to Qwen3-VL's flattened patches, (n * patches, 1536) float."""
    count, height, width, _ = images.shape
    rows, columns = height // PATCH, width // PATCH
    values = images.float() / 127.5 - 1.0
    blocks = values.reshape(count, rows // MERGE, MERGE, PATCH, columns // MERGE, MERGE, PATCH, 3)
    ordered = blocks.permute(0, 1, 4, 2, 5, 7, 3, 6).unsqueeze(6)
    return ordered.expand(*ordered.shape[:6], 2, PATCH, PATCH).reshape(count * rows * columns, -1)
