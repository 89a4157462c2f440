"""What is given to ``adapt`` is checked before anything is read or trained."""

from __future__ import annotations

import pytest

from progress_monitor.__main__ import main


@pytest.mark.parametrize(
    ('option', 'value'), [('--steps', '-5'), ('--threads', '0'), ('--out', 'mine.txt')]
)
def test_what_cannot_be_used_is_told_before_the_training(
    tmp_path, monkeypatch, capsys, option, value
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'mine.txt').write_text('mine')
    given = {'--model': 'none', '--out': 'adapter', option: value}
    assert main(['adapt', 'none.json', *(part for pair in given.items() for part in pair)]) == 2
    assert f'{option}: {value}' in capsys.readouterr().err
    assert not (tmp_path / 'adapter').exists()
