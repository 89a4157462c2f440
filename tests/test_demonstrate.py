"""Demonstrations recorded from videos, bags, words and a live camera."""

from __future__ import annotations

import json

import numpy as np
import pytest
from bags import write_bag

from progress_monitor.__main__ import main
from progress_monitor.offline import keyframes
from progress_monitor.offline.keyframes import Keyframes
from progress_monitor.offline.video import write_video
from progress_monitor.strategies.demonstration import Demonstration

FPS = 10.0
WAITS, WORKS, RESTS = 20, 40, 30
SECOND = 10**9


def scene(done: float, seed: int) -> np.ndarray:
    """A bright block whose column tells how much of the task is done."""
    noise = np.random.default_rng(seed).normal(0.0, 1.0, (64, 96, 3))
    image = np.clip(100.0 + noise, 0, 255).astype(np.uint8)
    column = round(70 * done)
    image[20:44, column : column + 24] = 230
    return image


def done_at(index: int) -> float:
    return min(max((index - WAITS) / WORKS, 0.0), 1.0)


def shots() -> list[np.ndarray]:
    return [scene(done_at(index), index) for index in range(WAITS + WORKS + RESTS)]


def seen(image: np.ndarray) -> float:
    """How much is done in a picture."""
    bright = np.flatnonzero(image[32].mean(axis=1) > 180)
    return float(bright[0]) / 70.0


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp('video') / 'run.avi'
    write_video(shots(), path, FPS)
    return path


def demonstrate(*arguments) -> int:
    return main(['demonstrate', *map(str, arguments)])


def shown(folder) -> list[float]:
    return [seen(step.image.image) for step in Demonstration.load(folder).steps]


def test_pictures_are_evenly_spaced_over_the_work_and_not_over_the_wait(video, tmp_path, capsys):
    out = tmp_path / 'demo'
    assert demonstrate(video, '--goal', 'push the block', '--out', out) == 0
    made = Demonstration.load(out)
    assert (made.kind, made.goal) == ('visual', 'push the block')
    assert [step.progress for step in made.steps] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert shown(out) == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0], abs=0.05)
    assert 'progresslm.demonstration' in capsys.readouterr().out


def test_times_of_the_steps_may_be_given(video, tmp_path):
    out = tmp_path / 'demo'
    assert demonstrate(video, '--goal', 'x', '--out', out, '--at', 2.0, 3.0, 6.0) == 0
    assert shown(out) == pytest.approx([0.0, 0.25, 1.0], abs=0.04)
    assert [step.progress for step in Demonstration.load(out).steps] == [0.0, 0.5, 1.0]


def test_the_progress_that_a_monitor_named_may_be_taken(video, tmp_path):
    ticks = tmp_path / 'ticks.jsonl'
    rows = [
        {'timestamp_sec': index / FPS, 'progress': None if index == 25 else 90.0 * done_at(index)}
        for index in range(0, WAITS + WORKS + RESTS, 5)
    ]
    ticks.write_text(''.join(json.dumps(row) + '\n' for row in rows))
    out = tmp_path / 'demo'
    assert demonstrate(video, '--goal', 'x', '--out', out, '--ticks', ticks, '--count', 3) == 0
    assert [step.progress for step in Demonstration.load(out).steps] == [0.0, 0.45, 0.9]
    assert shown(out) == pytest.approx([0.0, 0.5, 1.0], abs=0.05)


def test_steps_in_words_need_no_source(tmp_path):
    out = tmp_path / 'demo'
    assert demonstrate('--goal', 'x', '--out', out, '--words', 'Reach it', 'Pull: it') == 0
    made = Demonstration.load(out)
    assert made.kind == 'text'
    assert [(step.text, step.progress) for step in made.steps] == [
        ('Reach it', 0.5),
        ('Pull: it', 1.0),
    ]


def test_a_bag_gives_a_demonstration(tmp_path):
    pytest.importorskip('sensor_msgs')
    stamped = [
        ('/cam', 100 * SECOND + round(index * SECOND / FPS), image)
        for index, image in enumerate(shots())
    ]
    bag = write_bag(tmp_path / 'bag', stamped)
    assert demonstrate(bag, '--goal', 'x', '--out', tmp_path / 'demo', '--topic', '/cam') == 0
    assert shown(tmp_path / 'demo')[-1] == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['--at', 2.0, 99.0], 'lasts 8.9 s'),
        (['--at', 3.0, 2.0], 'rising'),
        (['--count', 1], '--count'),
        (['--count', 100_000], 'at most 64 pictures'),
        (['--at', *range(65)], '--at: a demonstration has at most 64'),
        (['--words', 'a'], 'leave the source out'),
        (['--live', '/cam'], 'give a recording, or --live'),
        (['--ticks', 'none.jsonl'], 'none.jsonl'),
        (['--goal', ' '], '--goal must be'),
        (['--goal', 'zur\udcfcck'], '--goal is not valid Unicode'),
        (['--words', *'x' * 65], '--words: a demonstration has at most 64'),
    ],
)
def test_what_cannot_be_used_is_told_in_a_sentence(video, tmp_path, capsys, arguments, said):
    goal = [] if '--goal' in arguments else ['--goal', 'x']
    assert demonstrate(video, '--out', tmp_path / 'demo', *goal, *arguments) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / 'demo').exists()


def test_a_scene_in_which_nothing_moves_is_no_demonstration(tmp_path, capsys):
    path = tmp_path / 'still.avi'
    write_video([scene(0.0, 0)] * 20, path, FPS)
    assert demonstrate(path, '--goal', 'x', '--out', tmp_path / 'demo') == 2
    assert 'nothing moves' in capsys.readouterr().err


def test_a_folder_that_holds_something_is_left_alone(video, tmp_path, capsys):
    (tmp_path / 'mine').write_text('mine')
    assert demonstrate(video, '--goal', 'x', '--out', tmp_path) == 2
    assert 'name another folder' in capsys.readouterr().err
    assert [item.name for item in tmp_path.iterdir()] == ['mine']


def test_a_long_recording_is_held_in_bounds(monkeypatch):
    monkeypatch.setattr(keyframes, 'MOST', 16)
    frames = Keyframes(1000)
    for index in range(500):
        frames.add(index * SECOND, np.full((40, 60, 3), index % 256, np.uint8))
    times = [frame.seconds for frame in frames.pictures]
    assert 8 <= len(times) <= 16
    assert len(set(np.diff(times).round(3).tolist())) == 1
    assert times[-1] > 450
    assert frames.at(100.0).image().shape == (25, 38, 3)


def test_a_live_camera_is_recorded_for_a_while(tmp_path):
    pytest.importorskip('rclpy')
    from ros_helpers import fresh_domain, running

    out = tmp_path / 'demo'
    command = ['-m', 'progress_monitor', 'demonstrate', '--live', '/cell/image', '--goal', 'x']
    command += ['--seconds', '3', '--at', '0', '1', '2', '--out', str(out)]
    with running(tmp_path, fresh_domain(), command) as (probe, (recorder,)):
        probe.show = 0.5
        probe.wait(lambda: recorder.child.poll() is not None, what='the end of the recording')
        assert recorder.child.returncode == 0
    made = Demonstration.load(out)
    assert len(made.steps) == 3
    assert made.steps[0].image.image.shape == (96, 96, 3)
    assert abs(float(made.steps[2].image.image[-8:, -8:].mean()) - 110) < 3


def test_a_topic_without_a_camera_is_named(tmp_path, monkeypatch, capsys):
    pytest.importorskip('rclpy')
    from ros_helpers import fresh_domain

    from progress_monitor.ros import live_pictures

    monkeypatch.setenv('ROS_DOMAIN_ID', str(fresh_domain()))
    monkeypatch.setattr(live_pictures, '_FIRST_S', 0.2)
    monkeypatch.setattr(live_pictures, '_SILENCE_S', 0.1)
    assert demonstrate('--live', '/nobody', '--goal', 'x', '--out', tmp_path / 'demo') == 2
    assert '/nobody: 0 publishers' in capsys.readouterr().err
    assert demonstrate('--live', 'a b', '--goal', 'x', '--out', tmp_path / 'demo') == 2
    assert '--live' in capsys.readouterr().err


@pytest.mark.parametrize(
    'ticks', [b'[' * 100_000, b'\xff\xfe{\x00', b'{"progress": "1", "a": 1}', b'']
)
def test_ticks_of_others_are_named(video, tmp_path, capsys, ticks):
    path = tmp_path / 'ti\x1bcks.jsonl'
    path.write_bytes(ticks)
    assert demonstrate(video, '--goal', 'x', '--out', tmp_path / 'demo', '--ticks', path) == 2
    said = capsys.readouterr().err
    assert 'ti\\x1bcks.jsonl' in said
    assert not (tmp_path / 'demo').exists()
