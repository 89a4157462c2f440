"""The first lines of a node's process. Imports next to nothing, so that signals find a handler."""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from types import FrameType
from typing import NoReturn

from progress_monitor.standard_streams import occupy


def ending() -> list[signal.Signals]:
    """The signals that end a node in good order: of the user, of a manager, of a lost terminal.

    One that was ignored at the start, as ``nohup`` does with the last, stays so.
    """
    signals = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signals.append(signal.SIGHUP)
    return signals


def start(module: str) -> NoReturn:
    """Run ``main`` of ``module`` and exit with what it returns.

    Until that has taken the ``ending`` signals over, which importing ROS delays by a second, they
    end the process at once and with 0: there is nothing yet that could be left behind.
    """
    for number in ending():
        signal.signal(number, _leave)
    occupy()
    sys.exit(import_module(module).main())


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(0)
