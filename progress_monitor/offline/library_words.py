"""What libraries in C write to standard error, which they offer no other way to hear."""

from __future__ import annotations

import os
import tempfile
from types import TracebackType

_STDERR = 2


class LibraryWords:
    """Inside a ``with``, standard error of the whole process goes to ``said`` and is not shown.

    Meant for single short calls; ``show`` shows what was said after all. Where standard error is
    closed nothing is heard.
    """

    def __init__(self) -> None:
        self.said = b''
        self._file = tempfile.TemporaryFile()
        self._shown: int | None = None

    def __enter__(self) -> LibraryWords:
        try:
            self._shown = os.dup(_STDERR)
        except OSError:
            return self
        os.dup2(self._file.fileno(), _STDERR)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shown is None:
            return
        os.dup2(self._shown, _STDERR)
        os.close(self._shown)
        self._shown = None
        self._file.seek(0)
        self.said = self._file.read()
        if self.said:
            self._file.seek(0)
            self._file.truncate()

    def show(self) -> None:
        """Write what was said to standard error."""
        if self.said:
            os.write(_STDERR, self.said)

    def close(self) -> None:
        """Give the temporary file back."""
        self._file.close()
