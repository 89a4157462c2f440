"""Where pictures come from. A further kind is a file here and a line in ``SOURCES``."""

from __future__ import annotations

from pathlib import Path

from progress_monitor.offline.sources.bag import BAG
from progress_monitor.offline.sources.folder import FOLDER
from progress_monitor.offline.sources.source import Picture, Source, SourceKind, SourceOptions
from progress_monitor.offline.sources.video import VIDEO
from progress_monitor.parameters import ParameterError

# The first that accepts a path opens it.
SOURCES: tuple[SourceKind, ...] = (BAG, FOLDER, VIDEO)


def open_source(path: Path, options: SourceOptions) -> Source:
    """Open the video, folder of pictures or bag at ``path``.

    :raises OSError: if it is missing or none of these; the text says what to do.
    :raises ParameterError: for an option that this kind has no use for.
    """
    if not path.exists():
        raise FileNotFoundError(f'{path}: no such file')
    for kind in SOURCES:
        if kind.accepts(path):
            _check_used(path, kind, options)
            return kind.open(path, options)
    known = ', '.join(kind.name for kind in SOURCES)
    raise OSError(f'{path}: none of {known}')


def _check_used(path: Path, kind: SourceKind, options: SourceOptions) -> None:
    if options.topics and 'topics' not in kind.reads:
        raise ParameterError(f'--topic: {path} is {kind.name}, which has no topics')
    if options.period_s is not None and 'period_s' not in kind.reads:
        raise ParameterError(f'--period: {path} is {kind.name}, which has times of its own')


__all__ = ['SOURCES', 'Picture', 'Source', 'SourceKind', 'SourceOptions', 'open_source']
