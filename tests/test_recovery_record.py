"""What the supervisor keeps on disk, and who may act by it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from progress_monitor.recovery.record import Record, RecordError, RecordFile


def test_a_record_survives_and_rubbish_is_named(tmp_path: Path) -> None:
    path = tmp_path / 'sub' / 'record.json'
    file = RecordFile(path)
    assert file.acquire()
    assert file.read() is None
    record = Record(handled=['a'], owed='a', asked='b')
    record.attempts('task').rungs['0.1'] = 2
    file.write(record)
    assert file.read() == record
    assert [item.name for item in path.parent.iterdir() if item.suffix != '.lock'] == [path.name]
    endless = record.to_json().replace(': 2', ': Infinity')
    rubbish = ('', '{}', '[]', '{"handled": 3}', '\x00', '[' * 100_000, endless, ' ' * 2_000_000)
    for text in rubbish:
        path.write_text(text)
        with pytest.raises(RecordError):
            file.read()


@pytest.mark.parametrize('make', [Path.mkdir, os.mkfifo])
def test_a_record_is_kept_in_a_file_and_in_nothing_else(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = tmp_path / 'record.json'
    make(path)
    with pytest.raises(OSError, match='no regular file'):
        RecordFile(path)


def test_a_full_disk_leaves_the_old_record_whole(tmp_path: Path) -> None:
    path = tmp_path / 'record.json'
    file, record = RecordFile(path), Record(handled=['a'])
    file.write(record)
    # What is written goes to where nothing fits; the file itself is replaced only afterwards.
    path.with_name(f'{path.name}.{os.getpid()}').symlink_to('/dev/full')
    with pytest.raises(OSError, match='No space left'):
        file.write(Record(handled=['a', 'b']))
    assert file.read() == record
    file.write(Record(handled=['a', 'b']))
    assert file.read() == Record(handled=['a', 'b'])


def test_one_process_holds_the_lock(tmp_path: Path) -> None:
    first, second = (RecordFile(tmp_path / 'record.json') for _ in range(2))
    assert first.acquire()
    assert not second.acquire()
    first.close()
    assert second.acquire()
