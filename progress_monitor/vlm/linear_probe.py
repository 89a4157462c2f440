"""The linear probe of an adapter: progress, read off the vision tower by a ridge regression.

A probe (Alain and Bengio 2016, arXiv 1610.01644) reads the features of the newest sample alone and
knows nothing of the text. Where a new run stands elsewhere than the demonstration it errs otherwise
than the language model does. So the number is the mean of both, and whether the task is done is
decided by both, as a logarithmic opinion pool (Genest and Zidek 1986): the first word of the answer
says so, and the probe moves its logit. It costs one product of vectors an answer. Nothing here
imports torch before a probe is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from progress_monitor.vlm.errors import VLMError
from progress_monitor.vlm.weights import read_header

if TYPE_CHECKING:
    import torch

    from progress_monitor.vlm.cache import VisionFeatures

FILE_NAME = 'linear_probe.safetensors'
WEIGHT, BIAS, SHAPES, DONE = 'weight', 'bias', 'shapes', 'done_token'
# How far the probe is off where the task is done, of 1; measured on runs of four tasks.
DEVIATION = 0.05
# Of the probe against the language model's, whose word is too sure for pictures it has not learnt.
WEIGHT_OF_EVIDENCE = 3.0


def find_probe(folder: Path) -> Path | None:
    """The probe's file in an adapter's folder; None if there is none."""
    path = folder / FILE_NAME
    return path if path.is_file() else None


def check_probe(path: Path, tasks: int, parameter: str) -> None:
    """Check by its header that a probe is complete and has a row for each of an adapter's tasks.

    :raises VLMError: if not.
    """
    tensors = read_header(path)
    for name, dimensions in ((WEIGHT, 2), (BIAS, 1), (SHAPES, 2), (DONE, 1)):
        if name not in tensors or len(tensors[name].shape) != dimensions:
            raise VLMError(f'{parameter}: {path} is no linear probe: {name} is missing or damaged')
    rows = {tensors[name].shape[0] for name in (WEIGHT, BIAS)}
    if rows != {tasks}:
        raise VLMError(
            f'{parameter}: {path} has rows for {", ".join(map(str, sorted(rows)))} tasks, and its '
            f'adapter names {tasks}; adapt again, or remove the file'
        )


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """A probe that was read.

    :param weight: (tasks, width) float32, over the features of all cameras one after the other.
    :param bias: (tasks,) float32.
    :param shapes: of each camera's features: (layers, tokens, hidden).
    :param done_token: the first of an answer which says that the task is done.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    shapes: tuple[tuple[int, ...], ...]
    done_token: int

    @classmethod
    def read(cls, path: Path, vocabulary: int) -> LinearProbe:
        """Read the probe that ``check_probe`` has passed, for a model of so many tokens.

        :raises VLMError: if a number in it is not finite, or its parts do not belong together.
        """
        from safetensors.torch import load_file

        values = load_file(path)
        weight, bias = values[WEIGHT].float(), values[BIAS].float()
        shapes = tuple(tuple(row) for row in values[SHAPES].tolist())
        if sum(map(math.prod, shapes)) != weight.shape[1]:
            raise VLMError(f'{path} is damaged: its weights fit no pictures; adapt again')
        if not (bool(weight.isfinite().all()) and bool(bias.isfinite().all())):
            raise VLMError(f'{path} holds numbers that are not finite; adapt again')
        done_token = int(values[DONE][0])
        if not 0 <= done_token < vocabulary:
            raise VLMError(f'{path} was made for other tokens; adapt again')
        return cls(weight, bias, shapes, done_token)

    def percent(
        self, row: int, cameras: Sequence[str], pictures: Sequence[VisionFeatures]
    ) -> float:
        """Progress in percent, 0..100, by the newest of ``pictures``, one of each camera.

        NaN where one of the ``cameras``, which took them, is missing in the newest sample, or
        the pictures are of another number or size than those that it was made from.
        """
        count = len(self.shapes)
        if list(cameras[-count:]) != list(dict.fromkeys(cameras)):
            return math.nan
        newest = pictures[-count:]
        seen = [stacked(item) for item in newest]
        if [tuple(item.shape) for item in seen] != list(self.shapes):
            return math.nan
        import torch

        features = torch.cat([item.float().cpu().flatten() for item in seen])
        value = float(self.weight[row] @ features + self.bias[row])
        return min(max(100.0 * value, 0.0), 100.0)

    def weighed(self, logits: torch.Tensor, percent: float) -> torch.Tensor:
        """Logits (rows, vocabulary) whose first row chooses an answer's first token, with both.

        :param percent: what the probe reads, 0..100.
        """
        moved = logits.clone()
        moved[0, self.done_token] += WEIGHT_OF_EVIDENCE * evidence_of_done(0.01 * percent)
        return moved


def evidence_of_done(progress: float) -> float:
    """How much likelier what the probe reads is of a task that is done, nats.

    Of one that is not, it may be anything from 0 to 1.
    """
    away = max(1.0 - progress, 0.0) / DEVIATION
    return -0.5 * away**2 - math.log(DEVIATION * math.sqrt(2.0 * math.pi))


def stacked(picture: VisionFeatures) -> torch.Tensor:
    """All features of a picture: (layers, tokens, hidden), the embedding first."""
    import torch

    return torch.stack([picture.embedding, *picture.deepstack])


def tensors(
    weight: torch.Tensor,
    bias: torch.Tensor,
    shapes: Sequence[Sequence[int]],
    done_token: int,
) -> Mapping[str, torch.Tensor]:
    """What a probe's file holds; see the class."""
    import torch

    return {
        WEIGHT: weight,
        BIAS: bias,
        SHAPES: torch.tensor([list(item) for item in shapes]),
        DONE: torch.tensor([done_token]),
    }
