"""The worker as a process: started, talked to by datagrams, and ended with this one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from typing import Any

import progress_monitor
from progress_monitor.backends.messages import DATAGRAM_BYTES, decode, encode

# Before Python 3.11, where PYTHONSAFEPATH is not known, the current folder is taken out by hand.
_MAIN = (
    'import sys; sys.path[:] = filter(None, sys.path); '
    'from progress_monitor.backends.worker_main import main; main()'
)


class WorkerProcess:
    """One started worker. It ends when this process does, however that ends.

    :param setup: what the worker is to load, as ``worker_main`` reads it.
    :param frames: descriptor of the shared frames.
    :param threads: CPU threads that the model may use.
    :raises OSError: if it cannot be started.
    """

    def __init__(self, setup: dict[str, Any], frames: int, threads: int) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        lifeline_read, lifeline_write = os.pipe()
        self._channel = ours
        self._lifeline = lifeline_write
        self._ended = False
        whole = {
            **setup,
            'channel': theirs.fileno(),
            'lifeline': lifeline_read,
            'frames': frames,
            'parent': os.getpid(),
        }
        here = _current_folder()
        # Waiting threads that spin would fight with the rest of the robot for its cores: measured
        # on two busy cores, a tick took three times as long.
        environment = {
            **os.environ,
            'PYTHONPATH': os.pathsep.join(_import_path(here)),
            'PYTHONSAFEPATH': '1',
            'OMP_NUM_THREADS': str(threads),
            'MKL_NUM_THREADS': str(threads),
            'OMP_WAIT_POLICY': 'PASSIVE',
        }
        try:
            self._process = subprocess.Popen(
                [sys.executable, '-c', _MAIN, json.dumps(whole)],
                pass_fds=(theirs.fileno(), lifeline_read, frames),
                env=environment,
                cwd=here,
                stdin=subprocess.DEVNULL,
                # A Ctrl-C in the node's terminal is the node's: it ends the worker itself, while
                # one that is still importing would write a traceback.
                start_new_session=True,
            )
        except OSError:
            ours.close()
            os.close(lifeline_write)
            raise
        finally:
            theirs.close()
            os.close(lifeline_read)

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, message: dict[str, Any]) -> None:
        """Send one message.

        :raises OSError: if it does not fit a datagram, or the worker cannot be reached.
        """
        self._channel.send(encode(message))

    def receive(self) -> dict[str, Any] | None:
        """The next message; None if there is none now.

        :raises ProtocolError: if what came is no message.
        """
        try:
            datagram = self._channel.recv(DATAGRAM_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return None
        return decode(datagram) if datagram else None

    def death(self) -> str:
        """How the process ended by itself; empty: it runs."""
        code = self._process.poll()
        if code is None:
            return ''
        if code >= 0:
            return f'the worker ended by itself with exit code {code}'
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        hint = '; the system may be out of memory' if -code == signal.SIGKILL else ''
        return f'the worker was ended by {name}{hint}'

    def end(self) -> None:
        """Kill it. May be called again."""
        if self._ended:
            return
        self._ended = True
        self._process.kill()
        self._channel.close()
        os.close(self._lifeline)

    @property
    def gone(self) -> bool:
        """Whether the system has taken it down."""
        return self._process.poll() is not None

    def wait(self) -> None:
        """Wait for its end."""
        self._process.wait()


def _current_folder() -> str:
    """The current folder, or the topmost where that was removed: MKL does not load in none."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return os.sep


def _import_path(here: str) -> list[str]:
    """Where this process imports from, but for the folder ``here``: what lies there is not ours."""
    own = [os.path.dirname(os.path.join(here, path)) for path in progress_monitor.__path__]
    others = [os.path.normpath(os.path.join(here, path)) for path in filter(None, sys.path)]
    return list(dict.fromkeys([*own, *(path for path in others if path != here)]))
