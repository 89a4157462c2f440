"""The guard against scenes that a checkpoint does not know."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from progress_monitor.offline import calibrate
from progress_monitor.offline.video import write_video
from progress_monitor.vlm.errors import VLMError
from progress_monitor.vlm.scene_guard import (
    FILE_NAME,
    SceneGuard,
    statistics,
    statistics_of_runs,
    write,
)

WIDTH = 6
CHECKPOINT = Path(__file__).parents[1] / 'models/small_cell'
WIDTH_OF_CHECKPOINT = 192


@pytest.fixture
def features() -> np.ndarray:
    """Features that spread much in some directions and little in others, and hang together."""
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(WIDTH, WIDTH)) * np.array([5.0, 2.0, 1.0, 0.5, 0.2, 0.1])
    return (rng.normal(size=(600, WIDTH)) @ mixed.T + 3.0).astype(np.float32)


def distances(guard: SceneGuard, rows: np.ndarray) -> np.ndarray:
    return np.array([guard.distance(torch.from_numpy(row)[None]) for row in rows])


def test_what_is_read_back_knows_the_held_out_pictures_and_no_others(
    tmp_path: Path, features: np.ndarray
) -> None:
    write(tmp_path, statistics(features[:500], features[500:]))
    guard = SceneGuard.read(tmp_path, WIDTH)
    assert guard is not None
    assert distances(guard, features[500:]).max() == pytest.approx(1.0, abs=1e-3)
    away = features[500:] + 40.0 * np.linalg.svd(features - features.mean(0))[2][-1]
    assert distances(guard, away.astype(np.float32)).min() > 1.0


def test_a_checkpoint_without_the_file_has_no_guard(tmp_path: Path) -> None:
    assert SceneGuard.read(tmp_path, WIDTH) is None


def test_a_file_of_another_model_or_a_damaged_one_is_named(
    tmp_path: Path, features: np.ndarray
) -> None:
    write(tmp_path, statistics(features[:500], features[500:]))
    with pytest.raises(VLMError, match='another model'):
        SceneGuard.read(tmp_path, WIDTH + 1)
    (tmp_path / FILE_NAME).write_bytes(b'nothing')
    with pytest.raises(VLMError, match=f'{FILE_NAME} is damaged'):
        SceneGuard.read(tmp_path, WIDTH)


def test_too_few_pictures_are_refused(features: np.ndarray) -> None:
    with pytest.raises(ValueError, match='too few'):
        statistics(features[:10], features[10:20])


def test_few_runs_know_each_other(tmp_path: Path, features: np.ndarray) -> None:
    # Each run has a place of its own: learnt from its own pictures, the limit would be too near.
    rng = np.random.default_rng(1)
    runs = [
        rows + shift.astype(np.float32)
        for rows, shift in zip(np.split(features, 6), rng.normal(0.0, 2.0, (6, WIDTH)), strict=True)
    ]
    write(tmp_path, statistics_of_runs(runs[:5]))
    guard = SceneGuard.read(tmp_path, WIDTH)
    assert guard is not None
    assert max(distances(guard, run).max() for run in runs[:5]) <= 1.0
    with pytest.raises(ValueError, match='two runs'):
        statistics_of_runs(runs[:1])
    with pytest.raises(ValueError, match='too few'):
        statistics_of_runs([run[:5] for run in runs])
    with pytest.raises(ValueError, match='every scene would pass'):
        statistics_of_runs([*runs, runs[0] + np.float32(1000.0)])


def test_the_command_writes_it_beside_the_weights_from_videos(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / 'checkpoint'
    shutil.copytree(CHECKPOINT, checkpoint, ignore=shutil.ignore_patterns(FILE_NAME))
    rng = np.random.default_rng(0)
    scene = rng.integers(60, 180, (64, 96, 3))
    videos = [tmp_path / f'{number}.mp4' for number in range(2)]
    for video in videos:
        noise = rng.integers(-9, 10, (52, *scene.shape))
        write_video(list((scene + noise).astype(np.uint8)), video, 2.0)
    given = ['--success', *map(str, videos), '--scene-statistics', '--task', 'go']
    given += ['--model', str(checkpoint)]
    assert calibrate.main(given) == 0
    assert '104 pictures of 2 runs' in capsys.readouterr().out
    assert SceneGuard.read(checkpoint, WIDTH_OF_CHECKPOINT) is not None
    assert calibrate.main(given) == 2
    assert 'is there already' in capsys.readouterr().err
