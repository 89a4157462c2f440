"""Files that are replaced whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def replace_file(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, whose folder is made; a failure leaves what was there.

    :raises OSError: if it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        new.write_text(text, encoding='utf-8')
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
