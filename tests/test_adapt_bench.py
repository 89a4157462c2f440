"""What adaptbench makes of an adapter's report."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest

from progress_monitor.adapt.annotation import Annotation, Stage
from progress_monitor_lab.bench import adapt_training
from progress_monitor_lab.bench.adapt_training import believed, doubted, train, verdict

SHOWN = Annotation('turn the knob', (Path('run.mp4'),), (Stage('Turn the knob', 0.0, 2.0),), True)
OPTIONS = Namespace(model='base', threads=1, vision=True)


def adapter(folder: Path, doubts: list[str]) -> Path:
    folder.mkdir(parents=True)
    purpose = {'format': 1, 'tasks': ['turn the knob'], 'doubtful_ends': doubts}
    (folder / 'adaptation.json').write_text(json.dumps(purpose))
    (folder / 'report.json').write_text('{"verdict": "Do not trust the monitor here: so."}')
    return folder


def test_an_end_that_is_doubted_is_believed_in_a_copy_alone(tmp_path: Path) -> None:
    sure = adapter(tmp_path / 'sure', [])
    assert believed(sure, tmp_path / 'believed') == sure
    unsure = adapter(tmp_path / 'unsure', ['turn the knob'])
    copy = believed(unsure, tmp_path / 'believed')
    assert copy == tmp_path / 'believed' / 'unsure'
    assert doubted(unsure)
    assert not doubted(copy)
    assert verdict(copy) == verdict(unsure)


def test_an_adapter_is_made_once_by_the_command_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[list[str]] = []

    def command(arguments: list[str]) -> int:
        called.append(arguments)
        adapter(tmp_path / 'knob', [])
        return 1

    monkeypatch.setattr(adapt_training, 'adapt_command', command)
    for _ in range(2):
        assert train(SHOWN, tmp_path / 'knob', OPTIONS, tmp_path / 'old') == tmp_path / 'knob'
    ((shown, *arguments),) = called
    assert json.loads(Path(shown).read_text())['demonstrations'][0]['task'] == 'turn the knob'
    assert '--vision' in arguments
    assert arguments[arguments.index('--replay') + 1] == str(tmp_path / 'old')


@pytest.mark.parametrize(('code', 'error'), [(2, ValueError), (130, KeyboardInterrupt)])
def test_a_command_that_makes_no_adapter_ends_the_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, error: type[BaseException]
) -> None:
    monkeypatch.setattr(adapt_training, 'adapt_command', lambda arguments: code)
    with pytest.raises(error):
        train(SHOWN, tmp_path / 'knob', OPTIONS)
