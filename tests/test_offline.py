"""Recordings played to the monitor without ROS nodes and without a model."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bags import write_bag, write_ros1_bag
from rosbags.rosbag2 import CompressionMode, StoragePlugin
from synchronous import Said, SynchronousBackend, generated

from progress_monitor.__main__ import COMMANDS
from progress_monitor.node_config import NodeConfig
from progress_monitor.offline import command
from progress_monitor.offline.api import infer_progress
from progress_monitor.offline.command import main
from progress_monitor.offline.sinks import SINKS
from progress_monitor.offline.sources import SourceOptions, open_source
from progress_monitor.offline.video import frame_rate, read_video, write_video
from progress_monitor.offline.watch import Outcome, recording_of, watch
from progress_monitor.parameter_file import read_parameters
from progress_monitor.parameters import ParameterError, build
from progress_monitor.types import Failure, Request

FIELDS = [
    'video_path',
    'task',
    'sample_index',
    'frame_index',
    'timestamp_sec',
    'window_frame_indices',
    'progress',
    'parsed_progress',
    'progress_source',
    'reasoning',
    'model_output',
]
SECOND = 10**9


class Brightness(SynchronousBackend):
    """Answers with the brightness of the newest picture as percent; babbles above 80."""

    def answer(self, request: Request) -> Said:
        percent = round(float(np.mean(request.frames[-1].image)) / 2.0)
        if percent > 80:
            return generated('I see nothing.')
        text = f'1. Go on.\nTherefore, it is <progress>{percent}%</progress>'
        return generated(text, percent=float(percent))


class Broken(SynchronousBackend):
    """Answers nothing; or only every other question."""

    def __init__(self, every: int = 1) -> None:
        super().__init__()
        self._count = itertools.count()
        self._every = every

    def answer(self, request: Request) -> Said:
        if next(self._count) % self._every == 0:
            return Failure.LOST
        return generated('1. Go on.\nTherefore, it is <progress>40%</progress>')


def pictures(levels: list[int]) -> list[np.ndarray]:
    """One scene in ever other light, with the noise of a sensor."""
    rng = np.random.default_rng(0)
    scene = rng.normal(0.0, 12.0, (64, 96, 3))
    return [
        np.clip(scene + level + rng.normal(0.0, 1.5, scene.shape), 0, 255).astype(np.uint8)
        for level in levels
    ]


def config(**values: Any) -> NodeConfig:
    return build(NodeConfig, {'model.path': 'none', 'window.sample_period': 0.5, **values})


def run(path: Path, backend: SynchronousBackend, out: Path, **options: Any) -> Outcome:
    out.mkdir(exist_ok=True)
    source = open_source(path, SourceOptions(**options))
    recording = recording_of(source, path, 'make it bright', config(), out)
    return watch(source, recording, config(), backend, list(SINKS.values()))


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / 'ticks.jsonl').read_text().splitlines()]


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / 'video.mp4'
    write_video(pictures([40 + 2 * index for index in range(40)]), path, 10.0)
    return path


def shots(topic: str, levels: list[int], start_ns: int = 100 * SECOND) -> list[Any]:
    made = pictures(levels)
    return [(topic, start_ns + i * SECOND // 10, picture) for i, picture in enumerate(made)]


def test_a_video_is_read_as_it_was_written(video: Path) -> None:
    frames = list(read_video(video))
    assert [index for index, _, _ in frames] == list(range(40))
    assert [seconds for _, seconds, _ in frames] == pytest.approx([i / 10 for i in range(40)])
    assert frame_rate(video) == pytest.approx(10.0)
    assert frames[0][2].shape == (64, 96, 3)
    assert abs(float(np.mean(frames[30][2])) - 100.0) < 4.0


def test_each_tick_is_one_line_with_the_published_fields(video: Path, tmp_path: Path) -> None:
    out = tmp_path / 'out'
    outcome = run(video, Brightness(), out)
    written = lines(out)
    assert len(written) == outcome.ticks == outcome.usable == 8
    assert all(list(line)[: len(FIELDS)] == FIELDS for line in written)
    assert [line['frame_index'] for line in written] == list(range(0, 40, 5))
    assert [line['sample_index'] for line in written] == list(range(8))
    assert written[4]['window_frame_indices'] == [0, 5, 10, 15, 20]
    assert written[4]['timestamp_sec'] == pytest.approx(2.0)
    assert 36 <= written[4]['progress'] <= 44
    assert written[4]['reasoning'].startswith('1. Go on.')
    assert '<progress>' in written[4]['model_output']
    assert written[4]['spread'] == pytest.approx(0.01)
    assert written[4]['strategy'] == 'procvlm'
    assert written[4]['max_pixels'] == config().model.max_pixels
    assert written[4]['finish'] == 'stop'
    assert len(list(read_video(out / 'overlay.mp4'))) == 40
    plot = cv2.imread(str(out / 'timeline.png'))
    assert plot is not None
    assert plot.shape[1] > 1000
    assert (outcome.failures, outcome.notes) == (0, ())


def test_an_answer_without_a_number_is_null_and_not_the_last_value(tmp_path: Path) -> None:
    path = tmp_path / 'video.mp4'
    write_video(pictures([100, 100, 100, 200, 200]), path, 2.0)
    outcome = run(path, Brightness(), tmp_path / 'out')
    rows = lines(tmp_path / 'out')
    assert [r['progress_source'] for r in rows] == ['model'] * 3 + ['unknown'] * 2
    assert rows[3]['progress'] is None
    assert rows[3]['parsed_progress'] is None
    assert rows[3]['evidence'] == 'NO_NUMBER'
    assert (outcome.ticks, outcome.usable) == (5, 3)


def test_two_plays_of_one_video_are_the_same(video: Path, tmp_path: Path) -> None:
    for name in ('a', 'b'):
        run(video, Brightness(), tmp_path / name)
    assert lines(tmp_path / 'a') == lines(tmp_path / 'b')


def test_questions_that_the_model_did_not_answer_are_counted(video: Path, tmp_path: Path) -> None:
    outcome = run(video, Broken(every=2), tmp_path / 'out')
    assert (outcome.ticks, outcome.usable, outcome.failures) == (4, 4, 4)
    assert outcome.reason == 'lost'


def test_a_video_that_is_cut_short_is_named(tmp_path: Path) -> None:
    whole, cut = tmp_path / 'whole.avi', tmp_path / 'cut.avi'
    writer = cv2.VideoWriter(str(whole), cv2.VideoWriter.fourcc(*'MJPG'), 10.0, (96, 64))
    for picture in pictures([60] * 40):
        writer.write(picture)
    writer.release()
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    outcome = run(cut, Brightness(), tmp_path / 'out')
    assert outcome.ticks >= 2
    assert len(outcome.notes) == 1
    assert 'of the 40 frames that it names; it is cut short or damaged' in outcome.notes[0]


def test_a_folder_of_pictures_is_played_by_name(tmp_path: Path) -> None:
    folder = tmp_path / 'pictures'
    folder.mkdir()
    for number, picture in enumerate(pictures([40 + 8 * index for index in range(12)])):
        cv2.imwrite(str(folder / f'frame_{number}.png'), picture)
    (folder / 'frame_12.png').write_bytes(b'no picture')
    outcome = run(folder, Brightness(), tmp_path / 'out', period_s=0.5)
    rows = lines(tmp_path / 'out')
    assert [row['timestamp_sec'] for row in rows] == [i / 2 for i in range(12)]
    assert [row['progress'] for row in rows] == pytest.approx(
        [20 + 4 * index for index in range(12)], abs=1.5
    )
    assert len(outcome.notes) == 1
    assert 'frame_12.png: no picture' in outcome.notes[0]


@pytest.mark.parametrize('kind', ['film', 'folder'])
def test_a_recording_is_never_written_over(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    source = out = tmp_path / 'recording'
    out.mkdir()
    if kind == 'film':
        source = video.rename(out / 'overlay.mp4')
    else:
        cv2.imwrite(str(out / '0.png'), pictures([40])[0])
    before = {item.name: item.read_bytes() for item in out.iterdir()}
    given = [str(source), '--task', 'x', '--model', 'none', '--out', str(out)]
    assert command.main(given) == 2
    assert f'--out: {source} is the recording itself' in capsys.readouterr().err
    assert {item.name: item.read_bytes() for item in out.iterdir()} == before


@pytest.mark.parametrize('period_s', [3600.0, 0.001])
def test_pictures_at_any_pace_are_filmed(tmp_path: Path, period_s: float) -> None:
    folder = tmp_path / 'pictures'
    folder.mkdir()
    for index, picture in enumerate(pictures([40, 60, 80])):
        cv2.imwrite(str(folder / f'{index}.png'), picture)
    assert run(folder, Brightness(), tmp_path / 'out', period_s=period_s).usable
    capture = cv2.VideoCapture(str(tmp_path / 'out' / 'overlay.mp4'))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 3


@pytest.mark.parametrize('storage', StoragePlugin)
@pytest.mark.parametrize('topic', ['/camera/image', '/camera/image/compressed'])
def test_a_bag_is_played_by_the_stamps_of_its_headers(
    tmp_path: Path, storage: StoragePlugin, topic: str
) -> None:
    pytest.importorskip('sensor_msgs')
    bag = write_bag(tmp_path / 'bag', shots(topic, [40 + 2 * i for i in range(40)]), storage)
    outcome = run(bag, Brightness(), tmp_path / 'out')
    rows = lines(tmp_path / 'out')
    assert [row['timestamp_sec'] for row in rows] == pytest.approx([i / 2 for i in range(8)])
    assert {row['camera'] for row in rows} == {topic}
    assert rows[4]['progress'] == pytest.approx(40, abs=3)
    assert (outcome.usable, outcome.notes) == (8, ())


def _seen(path: Path) -> list[int]:
    """The brightness of all pictures, in their order."""
    return [int(item.image.mean()) for item in open_source(path, SourceOptions()).pictures()]


@pytest.mark.parametrize('storage', StoragePlugin)
@pytest.mark.parametrize('compression', [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_a_compressed_bag_is_read(
    tmp_path: Path, storage: StoragePlugin, compression: CompressionMode
) -> None:
    pytest.importorskip('sensor_msgs')
    told = shots('/image', [40, 50, 60])
    bag = write_bag(tmp_path / 'bag', told, storage, compression=compression)
    assert _seen(bag) == pytest.approx([40, 50, 60], abs=2)


@pytest.mark.parametrize('topic', ['/camera/image', '/camera/image/compressed'])
def test_a_bag_of_ros_1_is_read(tmp_path: Path, topic: str) -> None:
    pytest.importorskip('sensor_msgs')
    bag = write_ros1_bag(tmp_path / 'run.bag', shots(topic, [40 + 2 * i for i in range(40)]))
    assert run(bag, Brightness(), tmp_path / 'out').usable == 8
    assert lines(tmp_path / 'out')[4]['progress'] == pytest.approx(40, abs=3)


@pytest.mark.parametrize('storage', StoragePlugin)
def test_all_files_of_a_bag_without_metadata_are_read(
    tmp_path: Path, storage: StoragePlugin
) -> None:
    pytest.importorskip('sensor_msgs')
    bag = tmp_path / 'split'
    bag.mkdir()
    told = shots('/image', [40, 50, 60, 70])
    for number, part in enumerate((told[:2], told[2:])):
        written = next(
            item
            for item in write_bag(tmp_path / f'{number}', part, storage).iterdir()
            if item.suffix != '.yaml'
        )
        written.rename(bag / f'split_{number}{written.suffix}')
    assert _seen(bag) == pytest.approx([40, 50, 60, 70], abs=2)


def test_a_camera_recorded_raw_and_compressed_is_one(tmp_path: Path) -> None:
    topics = ('/camera/image_raw', '/camera/image_raw/compressed', '/wrist/compressed')
    bag = write_bag(tmp_path / 'bag', [shot for topic in topics for shot in shots(topic, [60])])
    assert open_source(bag, SourceOptions()).cameras == (topics[0], topics[2])
    assert open_source(bag, SourceOptions(topics=topics[1:2])).cameras == topics[1:2]


def test_two_cameras_of_a_bag_are_shown_together(tmp_path: Path) -> None:
    pytest.importorskip('sensor_msgs')
    both = [*shots('/left', [60] * 20), *shots('/right', [90] * 20, 100 * SECOND + SECOND // 50)]
    bag = write_bag(tmp_path / 'bag', sorted(both, key=lambda shot: shot[1]))
    source = open_source(bag, SourceOptions(topics=('/right', '/left')))
    assert source.cameras == ('/right', '/left')
    outcome = run(bag, Brightness(), tmp_path / 'out')
    assert outcome.usable >= 3
    rows = lines(tmp_path / 'out')
    assert len(rows[-1]['window_frame_indices']) % 2 == 0
    assert len(list(read_video(tmp_path / 'out' / 'overlay.mp4'))) == 20


def test_gaps_stamps_that_go_back_and_pictures_without_a_stamp_are_named(tmp_path: Path) -> None:
    pytest.importorskip('sensor_msgs')
    first = shots('/image', [60] * 20)
    second = shots('/image', [60] * 20, 110 * SECOND)
    odd = [('/image', 0, first[0][2]), ('/image', 105 * SECOND, first[0][2])]
    bag = write_bag(tmp_path / 'bag', [*first, *second, *odd])
    outcome = run(bag, Brightness(), tmp_path / 'out')
    said = '\n'.join(outcome.notes)
    assert '1 gap of more than 2 s between pictures, the longest 8.1 s at 1.9 s (/image)' in said
    assert 'stamps go back 1 times' in said
    assert '1 pictures cannot be used; the last: /image: header.stamp is 0' in said


def test_a_recording_whose_clock_was_set_back_is_judged_to_its_end(tmp_path: Path) -> None:
    pytest.importorskip('sensor_msgs')
    before = shots('/image', [40] * 20, 9000 * SECOND)
    after = shots('/image', [80] * 60, 100 * SECOND)
    stray = ('/image', 8000 * SECOND, before[0][2])
    bag = write_bag(tmp_path / 'bag', [*before[:10], stray, *before[10:], *after])
    run(bag, Brightness(), tmp_path / 'out')
    rows = lines(tmp_path / 'out')
    first = [row['progress'] for row in rows if row['timestamp_sec'] >= 0]
    assert first == pytest.approx([20.0] * 4, abs=1.0)  # a stray picture changes nothing
    assert len(rows) - len(first) >= 8
    assert rows[-1]['progress'] == pytest.approx(40.0, abs=1.0)
    assert rows[-1]['state'] in ('OBSERVING', 'PROGRESSING')


def test_a_bag_that_is_damaged_is_played_up_to_there(tmp_path: Path) -> None:
    pytest.importorskip('sensor_msgs')
    bag = write_bag(tmp_path / 'bag', shots('/image', [60] * 150))
    file = next(bag.glob('*.mcap'))
    data = bytearray(file.read_bytes())
    start, end = len(data) * 8 // 10, len(data) * 9 // 10
    data[start:end] = bytes(end - start)
    file.write_bytes(data)
    outcome = run(bag, Brightness(), tmp_path / 'out')
    assert 5 < outcome.usable < 30
    assert 'of 150 messages can be read; it is cut short or damaged' in outcome.notes[-1]


def test_a_recording_without_its_end_is_refused_with_what_mends_it(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', shots('/image', [60] * 20))
    file = next(bag.glob('*.mcap'))
    (bag / 'metadata.yaml').unlink()
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    with pytest.raises(OSError, match='mcap recover'):
        open_source(bag, SourceOptions())


def test_a_bag_names_the_topics_that_it_has(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', shots('/left', [60] * 3))
    with pytest.raises(OSError, match='no camera topic /right; those that it has: /left'):
        open_source(bag, SourceOptions(topics=('/right',)))


def test_progress_of_a_video_in_three_lines(video: Path) -> None:
    rows = infer_progress(video, 'make it bright', backend=Brightness())
    assert [row['sample_index'] for row in rows] == list(range(8))
    assert rows[4]['progress'] == pytest.approx(40, abs=3)
    assert rows[4]['state'] in ('OBSERVING', 'PROGRESSING')
    with pytest.raises(ValueError, match='task'):
        infer_progress(video, ' ', backend=Brightness())


def test_parameter_files_of_the_node_are_understood(tmp_path: Path) -> None:
    path = tmp_path / 'p.yaml'
    path.write_text(
        '/**/supervisor:\n  ros__parameters: {max_attempts: 1}\n'
        '/**:\n  ros__parameters: {use_sim_time: true, stall: {allowance: 4.0}}\n'
        '/**/progress_monitor:\n  ros__parameters: {qos_overrides: {/clock: {depth: 1}}}\n'
        'progress_monitor:\n  ros__parameters: {stall.minimum_gain: 0.1}\n'
    )
    assert read_parameters(path, 'progress_monitor') == {
        'stall.allowance': 4.0,
        'stall.minimum_gain': 0.1,
    }


@pytest.mark.parametrize(
    'text',
    [
        '- 1',
        'progress_monitor: {stall: 1}',
        'a: [',
        '',
        '/**: {ros__parameters: {stall: {allowance: 4.0}, stall.allowance: 5.0}}',
    ],
)
def test_what_is_no_parameter_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / 'bad.yaml'
    path.write_text(text)
    with pytest.raises(ParameterError, match=r'bad\.yaml'):
        read_parameters(path, 'progress_monitor')


def test_the_shipped_parameter_files_build() -> None:
    folder = Path(__file__).parents[1] / 'config'
    for path in (folder / 'monitor.yaml', folder / 'cell.yaml'):
        build(NodeConfig, read_parameters(path, 'progress_monitor'))


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['missing.mp4', '--task', 'x', '--model', 'm'], 'missing.mp4: no such file'),
        (['{video}', '--task', ' ', '--model', 'm'], 'task: the text is empty'),
        (['{video}', '--task', 'x', '--model', 'm', '--period', '0'], '--period'),
        (['{video}', '--task', 'x', '--model', 'm', '--period', '1'], 'has times of its own'),
        (['{video}', '--task', 'x', '--model', 'm', '--topic', '/a'], 'has no topics'),
        (['{video}', '--task', 'x', '--model', '/no/such/model'], '/no/such/model'),
        (['{video}', '--task', 'x', '--model', 'm', '--params', 'no.yaml'], 'no.yaml'),
    ],
)
def test_mistakes_are_told_in_one_sentence(
    arguments: list[str],
    said: str,
    video: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([part.format(video=video) for part in arguments]) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize(
    ('backend', 'code', 'said'),
    [
        (Brightness, 0, '8 ticks, 8 of them usable; written to'),
        (Broken, 1, 'not a single answer was usable: lost'),
    ],
)
def test_a_run_without_one_usable_answer_fails(
    backend: type[SynchronousBackend],
    code: int,
    said: str,
    video: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(command, 'inline_backend', lambda config: backend())
    given = [str(video), '--task', 'x', '--model', 'm', '--out', str(tmp_path), '--write', 'jsonl']
    assert main(given) == code
    told = capsys.readouterr()
    assert said in (told.err if code else told.out)
    assert (tmp_path / 'ticks.jsonl').is_file()
    assert not (tmp_path / 'overlay.mp4').exists()


@pytest.mark.parametrize('module', ['progress_monitor', 'progress_monitor.offline'])
def test_both_commands_are_one(module: str, tmp_path: Path) -> None:
    words = ['watch'] if module == 'progress_monitor' else []
    ran = subprocess.run(
        [sys.executable, '-m', module, *words, 'no.mp4', '--task', 'x', '--model', 'm'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (2, 'no.mp4: no such file\n')


def test_an_unknown_command_lists_those_that_there_are() -> None:
    ran = subprocess.run(
        [sys.executable, '-m', 'progress_monitor', 'dance'],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 2
    assert all(name in ran.stderr for name in COMMANDS)


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'text.mp4'
    path.write_text('no video')
    with pytest.raises(OSError, match='no picture can be read'):
        list(open_source(path, SourceOptions()).pictures())
