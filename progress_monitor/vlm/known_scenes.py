"""What the guard against unknown scenes needs, from pictures: for a checkpoint or an adapter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from progress_monitor.resize import fit
from progress_monitor.vlm import scene_guard
from progress_monitor.vlm.architectures import architecture_of
from progress_monitor.vlm.checkpoint import checkpoint_folder
from progress_monitor.vlm.config import ModelConfig
from progress_monitor.vlm.errors import VLMError
from progress_monitor.vlm.loading import VLM, release_memory
from progress_monitor.vlm.quantization import load


def embed(vlm: VLM, images: Iterable[NDArray[np.uint8]], max_pixels: int) -> NDArray[np.float32]:
    """Layouts of (height, width, 3) uint8 images, (images, 4 * width) float32."""
    vision = architecture_of(vlm).vision
    with torch.inference_mode():
        rows = [
            scene_guard.layout(vision.encode(fit(image, max_pixels, vlm.images.multiple))).numpy()
            for image in images
        ]
    return np.stack(rows)


def write_known(
    config: ModelConfig, task: str, runs: Sequence[Iterable[NDArray[np.uint8]]]
) -> tuple[Path, int]:
    """Write the statistics of ``runs`` where the guard of ``task`` reads them.

    That is beside the weights of the adapter that serves the task, or else of the checkpoint.

    :param runs: the pictures of each run, (height, width, 3) uint8 RGB.
    :returns: the file and the number of pictures in it.
    :raises VLMError: if the model cannot be loaded, or there is such a file already.
    :raises ValueError: if there are too few runs or pictures.
    """
    vlm = load(config)
    serving = vlm.adapters.use(task).name
    folder = (
        vlm.adapters.folders[serving]
        if serving
        else checkpoint_folder(config.path, config.revision)
    )
    path = folder / scene_guard.FILE_NAME
    if path.exists():
        raise VLMError(f'{path} is there already; move it away to make it again')
    features = [embed(vlm, run, config.max_pixels) for run in runs]
    del vlm
    release_memory()
    written = scene_guard.write(folder, scene_guard.statistics_of_runs(features))
    return written, sum(map(len, features))
