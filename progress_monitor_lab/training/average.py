"""Average a checkpoint with the one that its training started from.

What was learnt anew stays, and what was known before comes back (weight-space ensembles for
fine-tuning, arXiv 2109.01903).

    python -m progress_monitor_lab.training.average OLD NEW CHECKPOINT --share 0.85
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen3VLForConditionalGeneration

from progress_monitor_lab.training.train_language import write


def main() -> None:
    """Write the average."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('old', type=Path)
    parser.add_argument('new', type=Path)
    parser.add_argument('checkpoint', type=Path, help='folder to write the checkpoint to')
    parser.add_argument('--share', type=float, default=0.85, help='of the new one')
    arguments = parser.parse_args()
    old, new = (_load(folder) for folder in (arguments.old, arguments.new))
    before = old.state_dict()
    mixed = {
        name: torch.lerp(before[name], value, arguments.share)
        for name, value in new.state_dict().items()
    }
    new.load_state_dict(mixed)
    write(new, arguments.new, arguments.checkpoint)


def _load(folder: Path) -> Any:
    return Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)


if __name__ == '__main__':
    main()
