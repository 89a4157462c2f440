"""Parameters that are proposed from recorded runs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from progress_monitor.node_config import NodeConfig
from progress_monitor.offline.calibrate import main
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
