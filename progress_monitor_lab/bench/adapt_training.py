"""Adapters made as a user makes them: by the command, which ends with its report."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from progress_monitor.adapt.annotation import Annotation, write
from progress_monitor.adapt.command import main as adapt_command
from progress_monitor.adapt.folder import doubt_ends
from progress_monitor.adapt.report import REPORT
from progress_monitor.vlm.adapter import ADAPTATION, DOUBTFUL_ENDS

CANNOT, INTERRUPTED = 2, 130


def train(
    annotation: Annotation, out: Path, options: argparse.Namespace, replay: Path | None = None
) -> Path:
    """Train and judge an adapter in ``out``, if that has not been done; the folder.

    :raises ValueError: if the command refuses; it has said why.
    """
    if (out / REPORT).is_file():
        return out
    out.parent.mkdir(parents=True, exist_ok=True)
    demonstration = out.with_name(f'{out.name}.json')
    write([annotation], demonstration)
    arguments = [str(demonstration), '--model', options.model, '--out', str(out)]
    arguments += ['--device', 'cpu', '--threads', str(options.threads)]
    arguments += ['--vision'] * options.vision
    arguments += ['--replay', str(replay)] if replay else []
    code = adapt_command(arguments)
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code == CANNOT:
        raise ValueError(f'{out}: no adapter could be made')
    return out


def verdict(adapter: Path) -> str:
    """What the report says of the adapter."""
    report: dict[str, Any] = json.loads((adapter / REPORT).read_text(encoding='utf-8'))
    return str(report['verdict'])


def doubted(adapter: Path) -> bool:
    """Whether no success is called with the adapter, for what its report has found."""
    purpose = json.loads((adapter / ADAPTATION).read_text(encoding='utf-8'))
    return bool(purpose.get(DOUBTFUL_ENDS))


def believed(adapter: Path, folder: Path) -> Path:
    """The adapter itself, or a copy of it in ``folder`` whose word that it is done is believed."""
    if not doubted(adapter):
        return adapter
    copy = folder / adapter.name
    if not copy.is_dir():
        shutil.copytree(adapter, copy)
    doubt_ends(copy, ())
    return copy
