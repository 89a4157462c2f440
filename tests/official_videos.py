"""What transformers' own Qwen3-VL processor makes of a video and a text."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor
from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor
from transformers.video_utils import VideoMetadata

FPS = 10.0


class _Videos(Qwen3VLVideoProcessor):
    def normalize(self, image: Any, mean: Any, std: Any, **kwargs: Any) -> Any:
        # The only step that asks for torchvision, which is not installed everywhere.
        return (image - torch.as_tensor(mean)[:, None, None]) / torch.as_tensor(std)[:, None, None]


class _Processor(Qwen3VLProcessor):
    def check_argument_for_proper_class(self, *args: Any) -> None:
        # It imports every video processor there is, and with them torchvision.
        return None


def official_video_inputs(vlm: Any, frames: Any, text: str) -> dict[str, Any]:
    """The model's inputs for a user turn that is left open: the video, then ``text``.

    Frames are taken at ``FPS``. The video's place holder stands bare in the prompt: the processor
    that Qwen3-VL was published with (transformers 4.57) takes its enclosing vision marks away with
    it, that of transformers 5.12 and later leaves them around all pairs.
    """
    half = [0.5] * 3
    videos = _Videos(do_sample_frames=False, image_mean=half, image_std=half)
    processor = _Processor(Qwen2VLImageProcessorPil(patch_size=16), vlm.tokenizer, videos)
    indices = [round((frame.stamp_ns - frames[0].stamp_ns) * 1e-9 * FPS) for frame in frames]
    inputs = processor(
        text=[f'<|im_start|>user\n<|video_pad|>{text}'],
        videos=[np.stack([frame.image for frame in frames])],
        video_metadata=[VideoMetadata(indices[-1] + 1, fps=FPS, frames_indices=indices)],
        do_sample_frames=False,
        do_resize=False,
        do_convert_rgb=False,
        cap_pixels_per_frame=False,
        return_tensors='pt',
    )
    inputs.pop('video_metadata', None)
    return dict(inputs)
