"""The linear probe of an adapter, in closed form from looks at the demonstrations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from progress_monitor.adapt.batches import Eyes
from progress_monitor.adapt.samples import Rendition
from progress_monitor.vlm import linear_probe

Shapes = tuple[tuple[int, ...], ...]

PICTURES = 1200
# In shares of the pictures' mean square: less follows the demonstration and not the next run.
RIDGE = 0.1
# Shares of the pictures that show what is done, however long the recording rests there, and what
# comes just before it, the last part of the way.
DONE, NEAR_END, LAST_PART = 0.25, 0.2, 0.125


def fit_probe(
    eyes: Eyes,
    renditions: Sequence[Rendition],
    tasks: Sequence[str],
    done_token: int,
    seed: int,
) -> Mapping[str, torch.Tensor] | None:
    """The tensors of a probe with a row for each of ``tasks``, from ``PICTURES`` looks at each.

    None where the pictures of the tasks differ in size.

    :param done_token: the first of an answer which says that the task is done.
    """
    rng = np.random.default_rng([seed, 2])
    rows: list[torch.Tensor] = []
    biases: list[torch.Tensor] = []
    shapes: list[Shapes] = []
    for task in tasks:
        shown = [item for item in renditions if item.demonstration.task == task]
        pictures, progress = _drawn(shown, rng)
        features, each = _features(eyes, pictures)
        weight, bias = ridge(features, torch.from_numpy(progress).float())
        rows.append(weight)
        biases.append(bias)
        shapes.append(each)
    if len(set(shapes)) != 1:
        return None
    return linear_probe.tensors(torch.stack(rows), torch.stack(biases), shapes[0], done_token)


def ridge(features: torch.Tensor, progress: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights (width,) and bias () of the regression of (n,) on (n, width), in its dual form."""
    mean, level = features.mean(0), progress.mean()
    centred = features - mean
    products = centred @ centred.T
    damping = RIDGE * products.diagonal().mean()
    shares = torch.linalg.solve(products + damping * torch.eye(len(products)), progress - level)
    weight = centred.T @ shares
    return weight, level - weight @ mean


def _drawn(
    renditions: Sequence[Rendition], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pictures (n, cameras) of the pool, and the progress (n,) that each shows."""
    pictures, progress = [], []
    for _ in range(PICTURES):
        rendition = renditions[int(rng.integers(len(renditions)))]
        truth, end = rendition.demonstration.progress, rendition.demonstration.end
        kind = rng.random()
        first, last = 0, end
        if kind < DONE or end == 0:
            first, last = end, len(truth)
        elif kind < DONE + NEAR_END:
            first = min(int(end * (1.0 - LAST_PART)), end - 1)
        index = int(rng.integers(first, last))
        pictures.append(rendition.pictures[index])
        progress.append(float(truth[index]))
    return np.array(pictures), np.array(progress)


def _features(eyes: Eyes, pictures: NDArray[np.int64]) -> tuple[torch.Tensor, Shapes]:
    """Features (n, width) of ``pictures`` (n, cameras), and the shape of each camera's."""
    parts: list[torch.Tensor] = []
    shapes: list[tuple[int, ...]] = []
    for camera in pictures.T.tolist():
        layers = [
            layer.float().cpu().reshape(len(camera), -1, layer.shape[-1])
            for layer in eyes.see(camera)
        ]
        seen = torch.stack(layers, dim=1)
        shapes.append(tuple(seen.shape[1:]))
        parts.append(seen.flatten(1))
    return torch.cat(parts, dim=1), tuple(shapes)
