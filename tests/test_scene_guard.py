"""The guard against scenes that a checkpoint does not know."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from progress_monitor.offline import calibrate
from progress_monitor.offline.video import write_video
from progress_monitor.resize import fit
from progress_monitor.vlm.architectures import architecture_of
from progress_monitor.vlm.cache import VisionFeatures
from progress_monitor.vlm.errors import VLMError
from progress_monitor.vlm.loading import VLM
from progress_monitor.vlm.scene_guard import (
    FILE_NAME,
    SceneGuard,
    layout,
    statistics,
    statistics_of_runs,
    write,
)
from progress_monitor_lab.sim.cell import Workcell

WIDTH = 6
CHECKPOINT = Path(__file__).parents[1] / 'models/small_cell'
WIDTH_OF_CHECKPOINT = 192


@pytest.fixture
def features() -> np.ndarray:
    """Layouts that spread much in some directions and little in others, and hang together."""
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(4 * WIDTH, 4 * WIDTH)) * np.geomspace(5.0, 0.1, 4 * WIDTH)
    return (rng.normal(size=(600, 4 * WIDTH)) @ mixed.T + 3.0).astype(np.float32)


def picture(row: np.ndarray) -> VisionFeatures:
    """One of 4 x 6 patches, merged to 2 x 3 tokens, whose quarters have the means of ``row``."""
    left, right = torch.from_numpy(row).reshape(2, 2, WIDTH).unbind(1)
    middle = (left + right) / 2.0
    # The middle column belongs to both sides.
    tokens = torch.stack([2.0 * left - middle, middle, 2.0 * right - middle], 1)
    return VisionFeatures((4, 6), tokens.flatten(0, 1))


def distances(guard: SceneGuard, rows: np.ndarray) -> np.ndarray:
    return np.array([guard.distance(picture(row)) for row in rows])


def mirrored(features: VisionFeatures) -> VisionFeatures:
    tokens = features.embedding.reshape(2, 3, WIDTH).flip(1).flatten(0, 1)
    return VisionFeatures(features.grid, tokens)


def test_a_layout_says_what_is_where_at_any_size() -> None:
    row = np.arange(4 * WIDTH, dtype=np.float32)
    np.testing.assert_allclose(layout(picture(row)), row, rtol=1e-5)
    strip = VisionFeatures((2, 2), torch.ones(1, WIDTH), (torch.zeros(1, WIDTH),))
    # The first deepstack layer goes before the last one.
    np.testing.assert_allclose(layout(strip), np.zeros(4 * WIDTH))


def test_a_mirrored_scene_is_unknown(tmp_path: Path, features: np.ndarray) -> None:
    sided = features + np.repeat([0.0, 30.0, 0.0, 30.0], WIDTH).astype(np.float32)
    write(tmp_path, statistics(sided[:500], sided[500:]))
    guard = SceneGuard.read(tmp_path, WIDTH)
    assert guard is not None
    pictures = [picture(row) for row in sided[500:]]
    assert max(map(guard.distance, pictures)) <= 1.001
    assert min(guard.distance(mirrored(item)) for item in pictures) > 1.0


def test_what_is_read_back_knows_the_held_out_pictures_and_no_others(
    tmp_path: Path, features: np.ndarray
) -> None:
    write(tmp_path, statistics(features[:500], features[500:]))
    guard = SceneGuard.read(tmp_path, WIDTH)
    assert guard is not None
    assert distances(guard, features[500:]).max() == pytest.approx(1.0, abs=1e-3)
    away = features[500:] + 40.0 * np.linalg.svd(features - features.mean(0))[2][-1]
    assert distances(guard, away.astype(np.float32)).min() > 1.0


def test_the_shipped_checkpoint_knows_its_cell_and_not_the_mirrored_one() -> None:
    vlm = VLM.from_pretrained(str(CHECKPOINT), 'none', 'cpu', 'float32')
    vision = architecture_of(vlm).vision
    guard = SceneGuard.read(CHECKPOINT, WIDTH_OF_CHECKPOINT)
    assert guard is not None
    cell = Workcell('drawer_open', 7703, speed=1.0)
    try:
        image = fit(cell.step().image, 128 * 128, 32)
    finally:
        cell.close()
    with torch.inference_mode():
        assert guard.distance(vision.encode(image)) < 0.9
        assert guard.distance(vision.encode(np.ascontiguousarray(image[:, ::-1]))) > 1.1


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
        for rows, shift in zip(
            np.split(features, 6), rng.normal(0.0, 2.0, (6, 4 * WIDTH)), strict=True
        )
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
