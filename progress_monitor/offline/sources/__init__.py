"""Where pictures come from. A further kind is a file here and a line in ``SOURCES``."""

from __future__ import annotations

from pathlib import Path

from progress_monitor.offline.sources.bag import BAG
from progress_monitor.offline.sources.folder import FOLDER
from progress_monitor.offline.sources.source import Picture, Source, SourceKind, SourceOptions
from progress_monitor.offline.sources.video import VIDEO

# The first that accepts a path opens it.
SOURCES: tuple[SourceKind, ...] = (BAG, FOLDER, VIDEO)


def open_source(path: Path, options: SourceOptions) -> Source:
    """Open the video, folder of pictures or bag at ``path``.

    :raises OSError: if it is missing or none of these; the text says what to do.
    """
    if not path.exists():
        raise FileNotFoundError(f'{path}: no such file')
    for kind in SOURCES:
        if kind.accepts(path):
            return kind.open(path, options)
    known = ', '.join(kind.name for kind in SOURCES)
    raise OSError(f'{path}: none of {known}')


__all__ = ['SOURCES', 'Picture', 'Source', 'SourceKind', 'SourceOptions', 'open_source']
