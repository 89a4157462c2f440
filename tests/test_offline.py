"""Videos played to the monitor without ROS and without a model."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from progress_monitor.monitor import ProgressMonitor
from progress_monitor.node_config import NodeConfig
from progress_monitor.offline.__main__ import main, run
from progress_monitor.offline.player import CAMERA, play, row
from progress_monitor.offline.video import frame_rate, read_video, write_video
from progress_monitor.parameter_file import read_parameters
from progress_monitor.parameters import ParameterError, build
from progress_monitor.types import (
    Answer,
    BackendState,
    BackendStatus,
    Completion,
    DecodeStats,
    Prompt,
)

FIELDS = {
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
}


class Brightness:
    """Answers with the brightness of the newest picture as percent; silent below 1."""

    def __init__(self) -> None:
        self._completion: Completion | None = None

    def status(self) -> BackendStatus:
        return BackendStatus(BackendState.READY)

    def submit(self, prompt: Prompt) -> None:
        percent = round(float(np.mean(prompt.frames[-1].image)) / 2.0)
        text = f'1. Go on.\nTherefore, it is <progress>{percent}%</progress>'
        if percent > 80:
            text = 'I see nothing.'
        self._completion = Completion(Answer(text, (), 'tag', DecodeStats(1.0), number_std=2.0))

    def poll(self) -> Completion | None:
        completion, self._completion = self._completion, None
        return completion

    def close(self) -> None:
        pass


def pictures(levels: list[int]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [
        np.clip(rng.normal(level, 12.0, (64, 96, 3)), 0, 255).astype(np.uint8) for level in levels
    ]


def config() -> NodeConfig:
    return build(NodeConfig, {'model.path': 'none', 'window.sample_period': 0.5})


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / 'video.mp4'
    write_video(pictures([40 + 2 * index for index in range(40)]), path, 10.0)
    return path


def test_a_video_is_read_as_it_was_written(video: Path) -> None:
    frames = list(read_video(video))
    assert [index for index, _, _ in frames] == list(range(40))
    assert [seconds for _, seconds, _ in frames] == pytest.approx([i / 10 for i in range(40)])
    assert frame_rate(video) == pytest.approx(10.0)
    assert frames[0][2].shape == (64, 96, 3)
    assert abs(float(np.mean(frames[30][2])) - 100.0) < 4.0


def test_each_tick_is_one_line_with_the_published_fields(video: Path, tmp_path: Path) -> None:
    out = tmp_path / 'out'
    ticks = run(video, 'make it bright', config(), Brightness(), out)
    lines = [json.loads(line) for line in (out / 'ticks.jsonl').read_text().splitlines()]
    assert len(lines) == ticks == 8
    assert all(set(line) >= FIELDS for line in lines)
    assert [line['frame_index'] for line in lines] == list(range(0, 40, 5))
    assert [line['sample_index'] for line in lines] == list(range(8))
    assert lines[4]['window_frame_indices'] == [0, 5, 10, 15, 20]
    assert lines[4]['timestamp_sec'] == pytest.approx(2.0)
    assert 36 <= lines[4]['progress'] <= 44
    assert lines[4]['reasoning'].startswith('1. Go on.')
    assert '<progress>' in lines[4]['model_output']
    assert len(list(read_video(out / 'overlay.mp4'))) == 40
    plot = cv2.imread(str(out / 'timeline.png'))
    assert plot is not None
    assert plot.shape[1] > 1000


def test_an_answer_without_a_number_is_null_and_not_the_last_value() -> None:
    frames = [(i, i / 2, p) for i, p in enumerate(pictures([100, 100, 100, 200, 200]))]
    monitor = ProgressMonitor(config(), Brightness(), (CAMERA,))
    ticks = [p for p in play(frames, monitor, 'make it bright', 64 * 96) if p.update.estimate]
    rows = [row(played, 'v', 't', number) for number, played in enumerate(ticks)]
    assert [r['progress_source'] for r in rows] == ['model'] * 3 + ['unknown'] * 2
    assert rows[3]['progress'] is None
    assert rows[3]['parsed_progress'] is None
    assert rows[3]['evidence'] == 'NO_NUMBER'


def test_two_plays_of_one_video_are_the_same(video: Path, tmp_path: Path) -> None:
    for name in ('a', 'b'):
        run(video, 'make it bright', config(), Brightness(), tmp_path / name)
    read = [(tmp_path / name / 'ticks.jsonl').read_text() for name in ('a', 'b')]
    assert read[0] == read[1]


def test_parameter_files_of_the_node_are_understood(tmp_path: Path) -> None:
    path = tmp_path / 'p.yaml'
    path.write_text(
        '/**/supervisor:\n  ros__parameters: {max_attempts: 1}\n'
        '/**:\n  ros__parameters: {stall: {allowance: 4.0}}\n'
        'progress_monitor:\n  ros__parameters: {stall.minimum_gain: 0.1}\n'
    )
    assert read_parameters(path, 'progress_monitor') == {
        'stall.allowance': 4.0,
        'stall.minimum_gain': 0.1,
    }


@pytest.mark.parametrize('text', ['- 1', 'progress_monitor: {stall: 1}', 'a: [', ''])
def test_what_is_no_parameter_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / 'bad.yaml'
    path.write_text(text)
    with pytest.raises(ParameterError, match=r'bad\.yaml'):
        read_parameters(path, 'progress_monitor')


def test_the_shipped_parameter_files_build() -> None:
    folder = Path(__file__).parents[1] / 'config'
    for path in folder.glob('*.yaml'):
        build(NodeConfig, read_parameters(path, 'progress_monitor'))


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['missing.mp4', '--task', 'x', '--model', 'm'], 'missing.mp4: no such file'),
        (['{video}', '--task', ' ', '--model', 'm'], '--task is empty'),
        (['{video}', '--task', 'x', '--model', '/no/such/model'], '/no/such/model'),
        (['{video}', '--task', 'x', '--model', 'm', '--params', 'no.yaml'], 'no.yaml'),
    ],
)
def test_mistakes_are_told_in_one_sentence(
    arguments: list[str], said: str, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([part.format(video=video) for part in arguments]) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert 'Traceback' not in errors


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'text.mp4'
    path.write_text('no video')
    with pytest.raises(OSError, match='no picture can be read'):
        list(read_video(path))
