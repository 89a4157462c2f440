"""Recordings as people have them: odd names, sizes and times, damaged pictures."""

from __future__ import annotations

import base64
import json
import os
import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from synchronous import Said, SynchronousBackend, generated

from progress_monitor import __main__ as entry
from progress_monitor.config import MonitorConfig
from progress_monitor.monitor import ProgressMonitor, check_task
from progress_monitor.offline import calibrate, command
from progress_monitor.offline.api import infer_progress
from progress_monitor.offline.player import play
from progress_monitor.offline.sources import SourceOptions, open_source
from progress_monitor.offline.sources.source import START_NS, Picture
from progress_monitor.offline.video import frame_rate, read_video, write_video
from progress_monitor.types import Evidence, Request, Task, Verdict

# Three interlaced pictures of MPEG-2, 32 by 32.
INTERLACED = (
    'AAABswIAIBP//+AYAAABtRSCAAEAAAAAAbgACABAAAABAAAP//gAAAG1j//zgAAAAAEB+3zhWy71HKK9zOB7ibttxr'
    'mDw68opAw29jJCBLW8ApOvQpKQbZsAl5+UHtl2tIHg8OVe5kZwFlzOvc2AAAABAvt8wxItHs2JFo95V3FAOLcK6nuV'
    '7qe+o1xYk6AAAAEAAFf/+4AAAAG1gR/zgAAAAAEB+oXANzoA5OI8AbVD4AOIAHcADqAAAAEC+pYGiJTYAAABAACX//'
    'uAAAABtYEf84AAAAABAfpubAAAAQL6bmw='
)
NO_UTF8 = os.fsdecode(b'n\xffme')


class Steady(SynchronousBackend):
    """Says the same of everything; with ``distance``, that the scene is so far from those known."""

    def __init__(self, distance: float = float('nan')) -> None:
        super().__init__()
        self._distance = distance

    def answer(self, request: Request) -> Said:
        text = 'The following steps are required:\n1. Go on.\nTherefore, it is '
        said = generated(f'{text}<progress>40%</progress>', percent=40.0)
        return type(said)(**{**vars(said), 'scene_distance': self._distance})


def pictures(count: int, height: int = 64, width: int = 96) -> list[np.ndarray]:
    """One scene with the noise of a sensor."""
    rng = np.random.default_rng(0)
    scene = rng.integers(60, 180, (height, width, 3))
    return [(scene + rng.integers(-3, 4, scene.shape)).astype(np.uint8) for _ in range(count)]


def png_of_size(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))
        )

    head = chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0))
    return b'\x89PNG\r\n\x1a\n' + head + chunk(b'IDAT', zlib.compress(b'\0')) + chunk(b'IEND', b'')


def with_second_half_slower(data: bytes, factor: int) -> bytes:
    """An MP4 file whose later half has so many times the duration of a picture."""
    at = data.index(b'stts')
    _, _, _, entries, count, delta = struct.unpack('>I4sIIII', data[at - 4 : at + 20])
    assert entries == 1
    table = struct.pack('>IIIII', 2, count // 2, delta, count - count // 2, delta * factor)
    grown = data[: at + 8] + table + data[at + 20 :]
    for box in (b'moov', b'trak', b'mdia', b'minf', b'stbl', b'stts'):
        where = grown.index(box) - 4
        (size,) = struct.unpack('>I', grown[where : where + 4])
        grown = grown[:where] + struct.pack('>I', size + 8) + grown[where + 4 :]
    # The list of edits says how long the video was.
    return grown.replace(b'edts', b'free')


def test_pictures_of_a_variable_rate_come_when_they_were_taken(tmp_path: Path) -> None:
    path = tmp_path / 'video.mp4'
    write_video(pictures(20), path, 10.0)
    data = path.read_bytes()
    assert data.index(b'mdat') < data.index(b'moov')  # else the table would move the pictures
    path.write_bytes(with_second_half_slower(data, 5))
    times = [seconds for _, seconds, _ in read_video(path)]
    assert times == pytest.approx(
        [i / 10 for i in range(11)] + [1.0 + (i - 10) / 2 for i in range(11, 20)]
    )


@pytest.mark.parametrize('place', ['source', 'out'])
def test_a_name_that_is_no_utf8_ends_in_a_sentence(place: str, tmp_path: Path) -> None:
    video = tmp_path / 'video.mp4'
    write_video(pictures(5), video, 10.0)
    (tmp_path / f'{NO_UTF8}.mp4').write_bytes(video.read_bytes())
    given = {'source': video, 'out': tmp_path / 'out'}
    given[place] = tmp_path / f'{NO_UTF8}.mp4' if place == 'source' else tmp_path / NO_UTF8
    # In a process of its own: OpenCV ends it.
    program = (
        'import sys\n'
        'from test_offline_sources import Steady\n'
        'from progress_monitor.offline import command\n'
        'command.inline_backend = lambda config: Steady()\n'
        'sys.exit(command.main(sys.argv[1:]))\n'
    )
    options = ['--task', 'x', '--model', 'm', '--out', given['out']]
    ran = subprocess.run(
        [sys.executable, '-c', program, given['source'], *options],
        env={**os.environ, 'PYTHONPATH': f'{Path(__file__).parent}:{os.environ["PYTHONPATH"]}'},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 2, ran.stderr
    assert b'UTF-8' in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_what_is_no_video_is_refused_before_the_model_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / 'empty.mp4'
    path.touch()
    with pytest.raises(OSError, match='no picture can be read'):
        open_source(path, SourceOptions())


def test_pictures_that_cannot_be_read_are_left_out_one_by_one(tmp_path: Path) -> None:
    whole = pictures(1)[0]
    for number in (1, 3, 9):
        cv2.imwrite(str(tmp_path / f'{number}.png'), whole)
    cv2.imwrite(str(tmp_path / '10\u00b2.png'), whole)
    (tmp_path / '4.png').write_bytes(png_of_size(40000, 40000))
    (tmp_path / '5.png').write_bytes(b'')
    (tmp_path / '6.png').mkdir()
    (tmp_path / '7.png').symlink_to(tmp_path / 'nowhere')
    (tmp_path / '8.png').symlink_to('/dev/zero')
    source = open_source(tmp_path, SourceOptions(period_s=1.0))
    stamps = [(picture.stamp_ns - START_NS) // 10**9 for picture in source.pictures()]
    assert stamps == [0, 1, 4, 5]
    assert len(source.notes) == 2
    assert '4.png: no picture; left out' in source.notes[0]
    assert 'max_image_pixels' in source.notes[0]


def test_interlaced_pictures_are_refused_where_opencv_shows_others(tmp_path: Path) -> None:
    path = tmp_path / 'field.m2v'
    path.write_bytes(base64.b64decode(INTERLACED))
    capture = cv2.VideoCapture(str(path))
    first, second = capture.read()[1], capture.read()[1]
    capture.release()
    if np.array_equal(first, second):  # The test picture moves: this is what lay in memory.
        with pytest.raises(OSError, match=r'ffmpeg -i field\.m2v -vf yadif'):
            list(read_video(path))
    else:
        assert len(list(read_video(path))) == 3


def test_a_name_with_a_colon_is_no_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(pictures(5), tmp_path / 'a.mp4', 10.0)
    monkeypatch.chdir(tmp_path)
    for name in ('2026-11-29T10:00:00.mp4', 'file:a.mp4'):
        Path(name).write_bytes(Path('a.mp4').read_bytes())
        assert len(list(open_source(Path(name), SourceOptions()).pictures())) == 5


def test_a_rate_that_is_the_unit_of_the_times_is_measured(tmp_path: Path) -> None:
    path = tmp_path / 'fast.mp4'
    write_video(pictures(40), path, 1000.0)
    assert frame_rate(path) == pytest.approx(1000.0)
    data = path.read_bytes()
    path.write_bytes(with_second_half_slower(data, 5))
    assert frame_rate(path) == pytest.approx(39 / 0.116, rel=0.1)


def test_a_film_is_written_without_a_word(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_video(pictures(5), tmp_path / 'film.mp4', 10.0)
    assert capfd.readouterr().err == ''
    with pytest.raises(OSError, match='cannot write this video'):
        write_video(pictures(1), tmp_path / 'missing' / 'film.mp4', 10.0)


def test_a_film_that_does_not_fit_on_the_disk_is_named(tmp_path: Path) -> None:
    name = 'film.mp4'
    noise = np.random.default_rng(0)
    shots = (noise.integers(0, 255, (240, 320, 3), np.uint8) for _ in range(60))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match=rf'{name}: a frame cannot be written'):
            write_video(shots, tmp_path / name, 10.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_pictures_of_other_sizes_are_in_the_video_too(tmp_path: Path) -> None:
    path = tmp_path / 'video.mp4'
    small = np.full((32, 96, 3), 255, np.uint8)
    write_video([*pictures(3), small, *pictures(2, 130, 96)], path, 10.0)
    read = [picture for _, _, picture in read_video(path)]
    assert [picture.shape for picture in read] == [(64, 96, 3)] * 6
    assert read[3][:24].mean() > 240
    assert read[3][40:].mean() < 15


def test_a_scene_that_the_model_does_not_know_gives_no_figure(tmp_path: Path) -> None:
    video = tmp_path / 'video.mp4'
    write_video(pictures(20), video, 10.0)
    known = infer_progress(video, 'go on', backend=Steady(0.9))
    assert [row['progress'] for row in known] == pytest.approx([40.0] * 4)
    unknown = infer_progress(video, 'go on', backend=Steady(1.1))
    assert len(unknown) == 4
    for row in unknown:
        assert (row['progress'], row['parsed_progress'], row['spread']) == (None, None, None)
        assert (row['evidence'], row['verdict']) == ('UNKNOWN_SCENE', 'UNKNOWN')
        assert row['remaining_steps'] is None
        assert '40%' in row['model_output']


def test_what_the_topic_is_told_of_an_unknown_scene_has_no_figure() -> None:
    monitor = ProgressMonitor(MonitorConfig(), Steady(2.0), ('c',))
    shots = (Picture('c', START_NS + i * 10**9, image) for i, image in enumerate(pictures(3)))
    found = [played.update.estimate for played in play(shots, monitor, 'go on', 4096)]
    assert all(estimate is not None for estimate in found)
    for estimate in found:
        assert estimate is not None
        assert estimate.progress != estimate.progress
        assert (estimate.evidence, estimate.verdict) == (Evidence.UNKNOWN_SCENE, Verdict.UNKNOWN)


def test_a_task_with_dollars_and_controls_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = tmp_path / 'video.mp4'
    write_video(pictures(8), video, 10.0)
    monkeypatch.setattr(command, 'inline_backend', lambda config: Steady())
    task = 'put $5 and \\frac{ $x_{ in \x00\x1b[31m the box'
    given = [str(video), '--task', task, '--model', 'm', '--out', str(tmp_path / 'out')]
    assert command.main(given) == 0
    assert cv2.imread(str(tmp_path / 'out' / 'timeline.png')) is not None


def test_a_task_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(ValueError, match='not valid Unicode'):
        check_task(Task('1', 'go \udcff on'))


@pytest.mark.parametrize(
    'row',
    [
        b'\xff\xfe',
        b'{"timestamp_sec": NaN, "progress": 1}',
        b'{"timestamp_sec": 1, "progress": Infinity}',
        b'{"timestamp_sec": 1, "progress": 1' + b'0' * 400 + b'}',
        b'{"timestamp_sec": 1, "progress": 101}',
        b'[' * 100_000,
        b'[]',
        b'',
    ],
)
def test_what_is_no_record_of_a_run_is_named_by_its_line(
    row: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / 'good.jsonl', tmp_path / 'bad.jsonl'
    lines = [json.dumps({'timestamp_sec': i, 'progress': 10.0 * i}).encode() for i in range(6)]
    good.write_bytes(b'\n'.join(lines))
    bad.write_bytes(b'\n'.join([*lines[:2], row, *lines[2:]]))
    out = tmp_path / 'out.yaml'
    given = ['--success', str(good), '--failure', str(bad), '--out', str(out)]
    assert calibrate.main(given) == 2
    assert 'bad.jsonl: line 3 is no tick' in capsys.readouterr().err
    assert not out.exists()


def test_a_pipe_that_is_closed_ends_a_command_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    buffered = {k: v for k, v in os.environ.items() if k != 'PYTHONUNBUFFERED'}
    with os.fdopen(writer, 'wb') as closed:
        ran = subprocess.run(
            [sys.executable, '-m', 'progress_monitor', 'watch', '--help'],
            env=buffered,
            stdout=closed,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert (ran.returncode, ran.stderr) == (141, b'')


def test_a_command_without_standard_streams_says_its_result_by_its_code() -> None:
    closed = ['sh', '-c', 'exec "$@" <&- >&- 2>&-', 'sh']
    for given, code in ([], 2), (['watch', '--help'], 0):
        command = [*closed, sys.executable, '-m', 'progress_monitor', *given]
        assert subprocess.run(command, timeout=60, check=False).returncode == code


def test_a_command_that_is_interrupted_while_it_starts_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(entry, 'import_module', interrupted)
    assert entry.main(['watch']) == 130
    assert capsys.readouterr().err == 'interrupted\n'
