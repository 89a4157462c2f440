"""What the supervisor has done, kept so that no restart and no second supervisor does it again."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_EVENTS = 100
_TASKS = 20
# Far above what so many events and tasks take.
_MOST_BYTES = 1_000_000


class RecordError(ValueError):
    """A record cannot be read."""


@dataclass
class Call:
    """A request that was sent and not answered yet."""

    task_id: str
    event_id: str
    do: str


@dataclass
class Attempts:
    """What was tried for one task: per rung, and in all. ``last_ns`` is ROS time."""

    rungs: dict[str, int] = field(default_factory=dict)
    total: int = 0
    last_ns: int | None = None


@dataclass
class Record:
    """Events that are dealt with, attempts per task, the call under way, and what is owed.

    ``owed`` is the event that the monitor must still be told of; ``asked`` the one for which a
    person is needed. Both are empty where there is none. ``written_ns`` is wall time.
    """

    handled: list[str] = field(default_factory=list)
    tasks: dict[str, Attempts] = field(default_factory=dict)
    call: Call | None = None
    owed: str = ''
    asked: str = ''
    succeeded: str = ''
    written_ns: int = 0

    def handle(self, event_id: str) -> None:
        """Note that nothing more is to be done about an event."""
        if event_id not in self.handled:
            self.handled = [*self.handled, event_id][-_EVENTS:]

    def attempts(self, task_id: str) -> Attempts:
        """The attempts of a task; the task becomes the newest of those remembered."""
        found = self.tasks.pop(task_id, None) or Attempts()
        self.tasks[task_id] = found
        while len(self.tasks) > _TASKS:
            del self.tasks[next(iter(self.tasks))]
        return found

    def merge(self, other: Record) -> None:
        """Take over the events that another has dealt with, and the attempts that it made."""
        for event_id in other.handled:
            self.handle(event_id)
        for task_id, theirs in other.tasks.items():
            own = self.attempts(task_id)
            own.total = max(own.total, theirs.total)
            for key, count in theirs.rungs.items():
                own.rungs[key] = max(own.rungs.get(key, 0), count)

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Record:
        """The record that ``to_json`` wrote.

        :raises RecordError: if it did not.
        """
        try:
            data: dict[str, Any] = json.loads(text)
            call = data['call']
            return cls(
                handled=[str(item) for item in data['handled']][-_EVENTS:],
                tasks={
                    str(name): Attempts(
                        {str(key): int(count) for key, count in item['rungs'].items()},
                        int(item['total']),
                        None if item['last_ns'] is None else int(item['last_ns']),
                    )
                    for name, item in data['tasks'].items()
                },
                call=Call(*(str(call[key]) for key in ('task_id', 'event_id', 'do')))
                if call is not None
                else None,
                owed=str(data['owed']),
                asked=str(data['asked']),
                succeeded=str(data['succeeded']),
                written_ns=int(data['written_ns']),
            )
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise RecordError(f'is no record of a supervisor: {error!r}') from error
        except RecursionError as error:
            raise RecordError('is no record of a supervisor: it is nested too deeply') from error


class RecordFile:
    """A record on disk, written whole or not at all; who holds its lock may act by it.

    :param path: None keeps nothing, and every process holds the lock of nothing.
    :raises OSError: if the folder cannot be made or the lock file not be opened, or if something
        else than a file has the name.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = -1
        self._held = path is None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and not path.is_file():
                raise OSError(errno.EEXIST, 'is no regular file; name another')
            self._lock = os.open(f'{path}.lock', os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def acquire(self) -> bool:
        """Take the lock, if nobody else on this machine holds it; whether it is held now."""
        if not self._held:
            with contextlib.suppress(OSError):
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._held = True
        return self._held

    def read(self) -> Record | None:
        """The record; None if there is none yet.

        :raises RecordError: if the file holds something else.
        """
        if self._path is None or not self._path.exists():
            return None
        try:
            if self._path.stat().st_size > _MOST_BYTES:
                raise RecordError(f'is no record of a supervisor: above {_MOST_BYTES} bytes')
            return Record.from_json(self._path.read_text(encoding='utf-8'))
        except (OSError, UnicodeDecodeError) as error:
            raise RecordError(f'cannot be read: {error}') from error

    def write(self, record: Record) -> None:
        """Replace the file.

        :raises OSError: if that fails; the old one is whole then.
        """
        if self._path is None:
            return
        fresh = self._path.with_name(f'{self._path.name}.{os.getpid()}')
        with _removed_on_failure(fresh), fresh.open('w', encoding='utf-8') as file:
            file.write(record.to_json() + '\n')
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)

    def close(self) -> None:
        """Give the lock back."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock, self._held = -1, False


@contextlib.contextmanager
def _removed_on_failure(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError:
        path.unlink(missing_ok=True)
        raise
