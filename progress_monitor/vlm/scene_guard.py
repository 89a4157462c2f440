"""How far a picture lies from those that the checkpoint knows.

The Mahalanobis distance of the vision tower's features from those of the pictures that the
checkpoint was trained on (Lee et al. 2018, arXiv 1807.03888, with one class), with the covariance
of probabilistic PCA (Tipping and Bishop 1999): the leading directions, and one variance for all the
others. The features are those of the tower's first deepstack layer, or its last where it has none,
averaged over each quarter of the picture: over the whole of it, a mirrored scene is the same scene.
It costs a product of a vector and a matrix a frame, and no forward pass. A model asked about a
scene that it has never seen may answer all the same; this does not depend on what it answers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from progress_monitor.vlm.cache import VisionFeatures
from progress_monitor.vlm.errors import VLMError

FILE_NAME = 'scene_statistics.safetensors'
# The covariance of few pictures is singular: it is drawn towards a sphere of its own size.
SHRINKAGE = 0.1
_SIDE = 2
_MOST_DIRECTIONS = 128
# Pictures to each direction: from fewer, variances of the last ones are too small.
_PICTURES_EACH = 4
_LEAST_PICTURES = 50
_PARTS = 4
# Measured with small_cell on real clips: 1.8 and 3.3 for one table, 5.1 and 5.2 with another in it.
_MOST_UNLIKE = 4.0

Rows = NDArray[np.float32]


class SceneGuard:
    """Distances from the known pictures, in units of the distance from which a scene is unknown.

    :param mean: (width,), where ``width`` is that of ``layout``.
    :param directions: (directions, width), at right angles to each other and of length 1.
    :param deviations: (directions + 1,), along each of them and, last, along any other.
    """

    def __init__(self, mean: Rows, directions: Rows, deviations: Rows) -> None:
        self._mean = torch.from_numpy(mean)
        self._directions = torch.from_numpy(directions)
        self._deviations = torch.from_numpy(deviations)

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
            parts = [values[name] for name in ('mean', 'directions', 'deviations')]
        except (OSError, KeyError, SafetensorError) as error:
            raise VLMError(
                f'{path} is damaged or of an earlier version ({error}); make it again, or remove it'
            ) from error
        mean, directions, deviations = (part.astype(np.float32) for part in parts)
        wide, count = _SIDE * _SIDE * width, len(directions)
        shapes = (mean.shape, directions.shape, deviations.shape)
        if shapes != ((wide,), (count, wide), (count + 1,)):
            raise VLMError(f'{path} belongs to another model; make it again, or remove it')
        return cls(mean, directions, deviations)

    def distance(self, features: VisionFeatures) -> float:
        """Distance of a picture; above 1 the scene is unknown."""
        away = layout(features) - self._mean
        along = self._directions @ away
        beside = torch.linalg.vector_norm(away - along @ self._directions)
        parts = torch.cat([along, beside[None]]) / self._deviations
        return float(torch.linalg.vector_norm(parts))


def layout(features: VisionFeatures) -> torch.Tensor:
    """What a picture shows and where: the average of each quarter, (4 * width,) float32."""
    layer = features.deepstack[0] if features.deepstack else features.embedding
    rows, columns = features.grid
    merged = math.isqrt(rows * columns // len(layer))
    places = layer.float().cpu().reshape(rows // merged, columns // merged, -1).permute(2, 0, 1)
    return torch.nn.functional.adaptive_avg_pool2d(places, _SIDE).permute(1, 2, 0).flatten()


def statistics(known: Rows, held_out: Rows) -> dict[str, Rows]:
    """What ``SceneGuard`` needs, from the layouts of pictures, each (pictures, 4 * width).

    The limit is the farthest of ``held_out``: pictures of other runs than ``known``, with whatever
    the guard is to let pass, such as other light.

    :raises ValueError: if there are too few pictures.
    """
    if len(known) < _LEAST_PICTURES or not len(held_out):
        raise ValueError(
            f'{len(known)} pictures and {len(held_out)} held out are too few; at least '
            f'{_LEAST_PICTURES} and one of another run are needed'
        )
    spread = _Spread.of(known)
    return spread.scaled(spread.farthest(held_out))


def statistics_of_runs(runs: Sequence[Rows]) -> dict[str, Rows]:
    """As ``statistics``, from few runs: each is held out once, and all are learnt from.

    The limit is the farthest that a picture of a run lies from those of the others.

    :param runs: the layouts of each run's pictures, (pictures, 4 * width).
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
        limits.append(_Spread.of(known).farthest(np.concatenate(runs[part::parts])))
    if max(limits) > _MOST_UNLIKE * min(limits):
        raise ValueError(
            'one run lies so far from the others that every scene would pass; give runs of one '
            'scene, and several of each place or light'
        )
    return _Spread.of(np.concatenate(runs)).scaled(max(limits))


@dataclass(frozen=True, eq=False)
class _Spread:
    """How pictures lie about their mean; as the parameters of ``SceneGuard``."""

    mean: Rows
    directions: Rows
    deviations: Rows

    @classmethod
    def of(cls, known: Rows) -> _Spread:
        pictures, width = known.shape
        mean = known.mean(0, dtype=np.float64)
        _, values, directions = np.linalg.svd(known - mean, full_matrices=False)
        variances = values**2 / (pictures - 1)
        count = min(_MOST_DIRECTIONS, pictures // _PICTURES_EACH, width - 1)
        other = variances[count:].sum() / (width - count)
        shrunk = (1.0 - SHRINKAGE) * np.append(variances[:count], other)
        deviations = np.sqrt(np.maximum(shrunk + SHRINKAGE * variances.sum() / width, 1e-12))
        return cls(mean.astype(np.float32), directions[:count].astype(np.float32), deviations)

    def farthest(self, rows: Rows) -> float:
        away = rows.astype(np.float64) - self.mean
        along = away @ self.directions.T
        beside = np.linalg.norm(away - along @ self.directions, axis=1)
        parts = np.column_stack([along, beside]) / self.deviations
        return float(np.linalg.norm(parts, axis=1).max())

    def scaled(self, limit: float) -> dict[str, Rows]:
        return {
            'mean': self.mean,
            'directions': np.ascontiguousarray(self.directions),
            'deviations': np.asarray(limit * self.deviations, np.float32),
        }


def write(folder: Path, values: dict[str, Rows]) -> Path:
    """Write what ``statistics`` found beside a checkpoint's weights."""
    path = folder / FILE_NAME
    save_file(values, path)
    return path
