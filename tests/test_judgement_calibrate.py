"""Parameters that are proposed from recorded runs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from bags import write_bag
from synchronous import SynchronousBackend, generated

from progress_monitor.node_config import NodeConfig
from progress_monitor.offline import command
from progress_monitor.offline.calibrate import main
from progress_monitor.offline.video import write_video
from progress_monitor.parameter_file import read_parameters
from progress_monitor.parameters import build


def write(path, numbers):
    path.write_text(
        ''.join(
            json.dumps({'timestamp_sec': 0.5 * i, 'progress': 100.0 * float(number)}) + '\n'
            for i, number in enumerate(numbers)
        )
    )
    return str(path)


def test_runs_give_a_parameter_file_that_tells_them_apart(tmp_path, capsys):
    rise = np.linspace(0.0, 1.0, 60)
    paused = np.concatenate((rise[:30], np.full(20, rise[30]), rise[30:]))
    stuck = np.concatenate((rise[:30], np.full(120, rise[30])))
    good = [write(tmp_path / f'good{i}.jsonl', run * 0.97) for i, run in enumerate((rise, paused))]
    bad = [write(tmp_path / f'bad{i}.jsonl', run) for i, run in enumerate((stuck, stuck * 0.8))]
    out = tmp_path / 'found.yaml'
    assert main(['--success', *good, '--failure', *bad, '--out', str(out)]) == 0
    assert 'area under the ROC 1.00' in capsys.readouterr().out
    config = build(NodeConfig, read_parameters(out, 'progress_monitor'))
    assert 10.0 < config.stall.allowance < 20.0
    assert 0.52 < config.success.progress < 0.97


@pytest.mark.parametrize('content', ['', 'no json\n', '{"progress": 3}\n'])
def test_a_file_that_is_no_run_is_named(tmp_path, capsys, content):
    path = tmp_path / 'run.jsonl'
    path.write_text(content)
    assert main(['--success', str(path), '--failure', str(path), '--out', str(path) + '.y']) == 2
    assert str(path) in capsys.readouterr().err


def rows(path, **columns):
    """A ticks.jsonl whose lines take their values from ``columns``."""
    lines = [
        {'timestamp_sec': 0.5 * i, **dict(zip(columns, values, strict=True))}
        for i, values in enumerate(zip(*columns.values(), strict=True))
    ]
    path.write_text(''.join(json.dumps(line) + '\n' for line in lines))
    return str(path)


def proposed(out):
    return build(NodeConfig, read_parameters(out, 'progress_monitor'))


def test_runs_of_other_tasks_tell_how_many_refusals_count(tmp_path, capsys):
    rise = np.linspace(0.0, 1.0, 60)
    good, bad = write(tmp_path / 'good.jsonl', rise), write(tmp_path / 'bad.jsonl', rise * 0.5)
    # Every third answer is a number all the same: three in a row are never refused.
    said = [None, None, 40.0] * 20
    evidence = ['GOOD' if item else 'REFUSED' for item in said]
    other = rows(tmp_path / 'other.jsonl', progress=said, evidence=evidence)
    out = tmp_path / 'found.yaml'
    given = ['--success', good, '--failure', bad, '--other', other, '--out', str(out)]
    assert main(given) == 0
    told = capsys.readouterr().out
    assert '67% of' in told
    assert proposed(out).evidence.confirm == 2
    steady = ['REFUSED', 'GOOD', 'GOOD'] * 20
    wavering = rows(tmp_path / 'wavering.jsonl', progress=rise.tolist(), evidence=steady)
    never = rows(tmp_path / 'never.jsonl', progress=[None] * 60, evidence=['REFUSED'] * 60)
    given = ['--success', wavering, '--failure', bad, '--other', never, '--out', str(out)]
    assert main(given) == 0
    assert proposed(out).evidence.confirm == 2


def test_readings_of_topreward_give_floor_and_ceiling_and_the_progress_between(tmp_path):
    rng = np.random.default_rng(0)

    def scored(name, readings):
        pairs = [(value, -1.0) for value in readings + rng.normal(0.0, 0.02, len(readings))]
        return rows(tmp_path / name, progress=[90.0] * len(pairs), log_probabilities=pairs)

    good = [scored(f'good{i}.jsonl', np.linspace(-5.0, -0.2, 40)) for i in range(3)]
    bad = [scored(f'bad{i}.jsonl', np.linspace(-5.0, -2.5, 40)) for i in range(3)]
    out = tmp_path / 'found.yaml'
    assert main(['--success', *good, '--failure', *bad, '--out', str(out)]) == 0
    config = proposed(out)
    assert config.topreward.floor == pytest.approx(-4.9, abs=0.1)
    assert -2.5 < config.topreward.ceiling < -0.2
    # The ticks' own 90 % tell nothing: these are of the scale that the file brings.
    assert 0.5 < config.success.progress < 1.0


class Brightness(SynchronousBackend):
    """Answers with half the brightness of the newest picture as percent."""

    def answer(self, request):
        percent = round(float(np.mean(request.frames[-1].image)) / 2.0)
        text = f'1. Go on.\nTherefore, it is <progress>{percent}%</progress>'
        return generated(text, percent=float(percent))


def pictures(levels):
    """One scene in ever other light, with the noise of a sensor."""
    rng = np.random.default_rng(0)
    scene = rng.normal(0.0, 12.0, (64, 96, 3))
    return [
        np.clip(scene + level + rng.normal(0.0, 1.5, scene.shape), 0, 255).astype(np.uint8)
        for level in levels
    ]


def test_videos_and_bags_are_watched_with_one_model_for_all(tmp_path, monkeypatch, capsys):
    loaded = []

    def load(config):
        loaded.append(Brightness())
        return loaded[-1]

    monkeypatch.setattr(command, 'inline_backend', load)
    good, bad, out = (tmp_path / name for name in ('good.mp4', 'bad', 'found.yaml'))
    write_video(pictures(np.linspace(30.0, 180.0, 60)), good, 4.0)
    stuck = pictures([*np.linspace(30.0, 90.0, 25), *[90.0] * 60])
    write_bag(bad, [('/image', (400 + i) * 250_000_000, item) for i, item in enumerate(stuck)])
    runs = ['--success', str(good), '--failure', str(bad), '--out', str(out)]
    assert main(runs) == 2
    assert '--task and --model' in capsys.readouterr().err
    assert main([*runs, '--task', 'make it bright', '--model', 'none']) == 0
    assert len(loaded) == 1
    config = proposed(out)
    assert 0.45 < config.success.progress < 0.9
    assert config.stall.allowance < 12.0


def test_what_is_missing_is_named(tmp_path, capsys):
    good = write(tmp_path / 'good.jsonl', np.linspace(0.0, 1.0, 20))
    assert main(['--success', good]) == 2
    assert '--failure' in capsys.readouterr().err
    given = ['--success', good, '--scene-statistics', '--task', 'go', '--model', 'none']
    assert main(given) == 2
    assert 'ticks hold no pictures' in capsys.readouterr().err
    none = rows(tmp_path / 'none.jsonl', progress=[None] * 9, evidence=['UNKNOWN_SCENE'] * 9)
    assert main(['--success', good, '--failure', none]) == 2
    assert 'UNKNOWN_SCENE' in capsys.readouterr().err
