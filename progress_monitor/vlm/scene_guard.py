"""How far a picture lies from those that the checkpoint knows.

The Mahalanobis distance of the vision tower's features, averaged over the picture, from those of
the pictures that the checkpoint was trained on (Lee et al. 2018, arXiv 1807.03888, with one class).
It costs a product of a vector and a matrix a frame, and no forward pass. A model asked about a
scene that it has never seen may answer all the same; this does not depend on what it answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from progress_monitor.vlm.errors import VLMError

FILE_NAME = 'scene_statistics.safetensors'
# The covariance of few pictures is singular: it is drawn towards a sphere of its own size.
SHRINKAGE = 0.1
_LEAST_PICTURES = 50
_PARTS = 4
# Measured with small_cell on real clips: 1.7 and 2.5 for one table, 8.9 for three.
_MOST_UNLIKE = 4.0

Floats = NDArray[np.float64]


class SceneGuard:
    """Distances from the known pictures, in units of the distance from which a scene is unknown."""

    def __init__(self, mean: NDArray[np.float32], whitening: NDArray[np.float32]) -> None:
        self._mean = torch.from_numpy(mean)
        self._whitening = torch.from_numpy(whitening)

    @classmethod
    def read(cls, folder: Path, width: int) -> SceneGuard | None:
        """Read the statistics beside a checkpoint's weights; None if there are none.

        :param width: of the vision tower's features.
        :raises VLMError: if the file is damaged or belongs to another model.
        """
        path = folder / FILE_NAME
        if not path.is_file():
            return None
        try:
            values = load_file(path)
            mean, whitening = values['mean'], values['whitening']
        except (OSError, KeyError, SafetensorError) as error:
            raise VLMError(f'{path} is damaged ({error}); make it again, or remove it') from error
        if mean.shape != (width,) or whitening.shape != (width, width):
            raise VLMError(f'{path} belongs to another model; make it again, or remove it')
        return cls(mean.astype(np.float32), whitening.astype(np.float32))

    def distance(self, features: torch.Tensor) -> float:
        """Distance of a picture by its features, (tokens, width); above 1 the scene is unknown."""
        away = pooled(features) - self._mean
        return float(torch.linalg.vector_norm(self._whitening @ away))


def pooled(features: torch.Tensor) -> torch.Tensor:
    """Features of a picture, (tokens, width), averaged over it: (width,) float32 on the CPU."""
    return features.mean(0).float().cpu()


def statistics(
    known: NDArray[np.float32], held_out: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    """What ``SceneGuard`` needs, from the averaged features of pictures, each (pictures, width).

    The limit is the farthest of ``held_out``: pictures of other runs than ``known``, with whatever
    the guard is to let pass, such as other light.

    :raises ValueError: if there are too few pictures.
    """
    if len(known) < _LEAST_PICTURES or not len(held_out):
        raise ValueError(
            f'{len(known)} pictures and {len(held_out)} held out are too few; at least '
            f'{_LEAST_PICTURES} and one of another run are needed'
        )
    mean, whitening = _spread(known)
    return _scaled(mean, whitening, _farthest(mean, whitening, held_out))


def statistics_of_runs(runs: Sequence[NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """As ``statistics``, from few runs: each is held out once, and all are learnt from.

    The limit is the farthest that a picture of a run lies from those of the others.

    :param runs: the averaged features of each run's pictures, (pictures, width).
    :raises ValueError: if there are too few runs or pictures, or one run is quite unlike the rest.
    """
    parts = min(len(runs), _PARTS)
    if parts < 2:
        raise ValueError(
            'what scenes have in common is learnt from two runs or more; give more recordings'
        )
    limits = []
    for part in range(parts):
        rest = [run for index, run in enumerate(runs) if index % parts != part]
        known = np.concatenate(rest)
        if len(known) < _LEAST_PICTURES:
            raise ValueError(
                f'{len(known)} pictures are too few with one part of the runs held out; at least '
                f'{_LEAST_PICTURES} are needed: give more or longer recordings'
            )
        limits.append(_farthest(*_spread(known), np.concatenate(runs[part::parts])))
    if max(limits) > _MOST_UNLIKE * min(limits):
        raise ValueError(
            'one run lies so far from the others that every scene would pass; give runs of one '
            'scene, and several of each place or light'
        )
    return _scaled(*_spread(np.concatenate(runs)), max(limits))


def _spread(known: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Mean (width,) and whitening (width, width)."""
    covariance = np.cov(known.T.astype(np.float64))
    width = known.shape[1]
    sphere = np.trace(covariance) / width * np.eye(width)
    values, vectors = np.linalg.eigh((1.0 - SHRINKAGE) * covariance + SHRINKAGE * sphere)
    whitening = vectors.T / np.sqrt(np.maximum(values, 1e-12))[:, None]
    return known.mean(0, dtype=np.float64), whitening


def _farthest(mean: Floats, whitening: Floats, rows: NDArray[np.float32]) -> float:
    return float(np.linalg.norm((rows - mean) @ whitening.T, axis=1).max())


def _scaled(mean: Floats, whitening: Floats, limit: float) -> dict[str, NDArray[np.float32]]:
    return {
        'mean': mean.astype(np.float32),
        # The file holds the buffer as it lies in memory.
        'whitening': np.ascontiguousarray(whitening / limit, np.float32),
    }


def write(folder: Path, values: dict[str, NDArray[np.float32]]) -> Path:
    """Write what ``statistics`` found beside a checkpoint's weights."""
    path = folder / FILE_NAME
    save_file(values, path)
    return path
