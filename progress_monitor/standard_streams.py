"""Standard streams for a process that was started without them."""

from __future__ import annotations

import os
import sys

_STREAMS = (('stdin', 'r'), ('stdout', 'w'), ('stderr', 'w'))


def occupy() -> None:
    """Open the null device in the place of closed standard streams, for child processes too.

    The next files and sockets would get their numbers, and what libraries print would end in them.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < len(_STREAMS):
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for descriptor, (name, mode) in enumerate(_STREAMS):
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, closefd=False))
