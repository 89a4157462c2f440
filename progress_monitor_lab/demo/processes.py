"""The demo's other processes: started in groups of their own, and none outlives the demo."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

_PATIENCE_S = ((signal.SIGINT, 6.0), (signal.SIGTERM, 3.0), (signal.SIGKILL, 2.0))
_TAIL_LINES = 15


class Processes:
    """Children by name; their output goes to ``<logs>/<name>.log``.

    As a context manager it ends them all on the way out, whatever the reason.
    """

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        self._logs = logs
        self._environment = dict(environment)
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start(self, name: str, command: Sequence[str]) -> None:
        """Start a child. Call it from the main thread: children end when that thread does."""
        # Should the demo itself be killed, nobody is left to end its children but the kernel.
        guard = shutil.which('setpriv')
        prefix = [guard, '--pdeathsig', 'TERM', '--'] if guard else []
        # A shell lets its background jobs ignore Ctrl-C, and children would inherit that.
        previous = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with self._log(name).open('wb') as log:
                self._children[name] = subprocess.Popen(
                    [*prefix, *command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self._environment,
                    start_new_session=True,
                )
        finally:
            signal.signal(signal.SIGINT, previous or signal.SIG_DFL)

    def ended(self) -> str:
        """Name of a child that has ended by itself; empty: all run."""
        return next((n for n, child in self._children.items() if child.poll() is not None), '')

    def describe(self, name: str) -> str:
        """How a child ended, and the end of its log."""
        code = self._children[name].returncode
        log = self._log(name)
        lines = log.read_text(encoding='utf-8', errors='replace').splitlines()[-_TAIL_LINES:]
        shown = '\n'.join(f'  {line}' for line in lines)
        return f'The process {name} ended with code {code}. The end of {log}:\n{shown}'

    def close(self) -> None:
        """End every child and what it started; a second Ctrl-C does not stop this."""
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            for number, patience_s in _PATIENCE_S:
                running = [c for c in self._children.values() if c.poll() is None]
                if not running:
                    break
                for child in running:
                    _signal_group(child.pid, number)
                deadline = time.monotonic() + patience_s
                while time.monotonic() < deadline and any(c.poll() is None for c in running):
                    time.sleep(0.02)
            for child in self._children.values():
                _signal_group(child.pid, signal.SIGKILL)
        finally:
            signal.signal(signal.SIGINT, previous or signal.SIG_DFL)

    def _log(self, name: str) -> Path:
        return self._logs / f'{name}.log'


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        pass
