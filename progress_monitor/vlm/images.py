"""Frames to pixel values, as the checkpoint's image processor makes them with resizing off."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from progress_monitor.vlm.checkpoint import IMAGE_FORMATS
from progress_monitor.vlm.errors import VLMError


@dataclass(frozen=True)
class ImageFormat:
    """How a checkpoint wants its images: patch layout and normalisation.

    ``scale`` and ``offset`` are float32, one per channel: a pixel becomes
    ``pixel * scale + offset``.
    """

    patch_size: int
    merge_size: int
    temporal_patch_size: int
    scale: NDArray[np.float32]
    offset: NDArray[np.float32]

    @classmethod
    def read(cls, path: Path) -> ImageFormat:
        """Read the configuration of a checkpoint's image processor.

        :param path: the checkpoint's folder, or one of the two files in which it may stand:
            ``preprocessor_config.json``, or ``processor_config.json`` as transformers 5 saves it.
        :raises VLMError: if it is missing, damaged or lacks a field.
        """
        if path.is_dir():
            path = next(
                (path / name for name in IMAGE_FORMATS if (path / name).is_file()),
                path / IMAGE_FORMATS[0],
            )
        try:
            values = json.loads(path.read_text(encoding='utf-8'))
            values = values.get('image_processor', values)
            rescale, mean, std = 1.0, np.zeros(3), np.ones(3)
            if values.get('do_rescale', True) and values.get('rescale_factor', 1) is not None:
                rescale = float(values.get('rescale_factor', 1 / 255))
            if values.get('do_normalize', True):
                mean = np.asarray(values['image_mean'], np.float64)
                std = np.asarray(values['image_std'], np.float64)
            return cls(
                patch_size=int(values['patch_size']),
                merge_size=int(values['merge_size']),
                temporal_patch_size=int(values['temporal_patch_size']),
                scale=np.asarray(rescale / std, np.float32),
                offset=np.asarray(-mean / std, np.float32),
            )
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            OverflowError,
            RecursionError,
        ) as error:
            raise VLMError(
                f'{path}: not a readable image processor configuration ({error}); '
                'fetch the checkpoint again'
            ) from error

    @property
    def multiple(self) -> int:
        """Both sides of a frame are multiples of this number of pixels."""
        return self.patch_size * self.merge_size

    def grid(self, image: NDArray[np.uint8]) -> tuple[int, int]:
        """Rows and columns of patches of an (height, width, 3) image.

        :raises ValueError: if a side is no multiple of the merged patch.
        """
        height, width = image.shape[:2]
        if height % self.multiple or width % self.multiple or image.ndim != 3:
            raise ValueError(
                f'a frame of shape {image.shape} is no multiple of {self.multiple} pixels; '
                'resize it with progress_monitor.resize.fit'
            )
        return height // self.patch_size, width // self.patch_size

    def pixel_values(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Flattened patches of all ``images``, (patches, 3 * temporal * patch * patch) float32.

        Patches that are merged into one token stand next to each other, as in Qwen2-VL.
        """
        return np.concatenate([self.picture(image) for image in images])

    def picture(self, *images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Flattened patches of one image, or of as many of one size as a video merges into one.

        Shapes are as in ``pixel_values``. One image fills all its ``temporal_patch_size`` places.
        """
        rows, columns = self.grid(images[0])
        patch, merge = self.patch_size, self.merge_size
        values = np.stack(images).astype(np.float32) * self.scale + self.offset
        blocks = values.reshape(-1, rows // merge, merge, patch, columns // merge, merge, patch, 3)
        ordered = blocks.transpose(1, 4, 2, 5, 7, 0, 3, 6)
        shape = (*ordered.shape[:5], self.temporal_patch_size, patch, patch)
        return np.broadcast_to(ordered, shape).reshape(rows * columns, -1)
