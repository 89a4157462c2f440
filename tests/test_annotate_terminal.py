from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from bags import write_bag
from demonstration_videos import FRAMES, TASK, pictures, write_demonstration
from PIL import Image

from progress_monitor.__main__ import main
from progress_monitor.adapt.annotation import Stage, read
from progress_monitor.adapt.published_forms import read_sub_tasks

SCRIPT = """
# the block
start 1.0
cut f34
end 2 5.8
text 1 push it right
text 2 push it down
failed it stops short
list
sheet {sheet}
save
"""


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_demonstration(tmp_path / 'block.mp4')


def annotate(monkeypatch: pytest.MonkeyPatch, script: str, *arguments: object) -> int:
    monkeypatch.setattr(sys, 'stdin', io.StringIO(script))
    return main(['annotate', *(str(item) for item in arguments), '--terminal'])


def test_a_script_annotates_and_goes_on_from_what_it_wrote(
    tmp_path: Path,
    video: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, form, sheet = tmp_path / 'demo.json', tmp_path / 'form.json', tmp_path / 'sheet.png'
    script = SCRIPT.format(sheet=sheet)
    assert annotate(monkeypatch, script, video, '--task', TASK, '--out', out, '--export', form) == 0
    (item,) = read(out)
    assert item.task == TASK and item.videos == (video,)
    assert item.stages == (Stage('push it right', 1.0, 3.4), Stage('push it down', 3.4, 5.8))
    assert (item.done, item.reason) == (False, 'it stops short')
    assert read_sub_tasks(form).sub_tasks[-1] == ('Not Done', FRAMES - 1)
    assert sheet.stat().st_size > 1000
    assert 'f34..f57' in capsys.readouterr().out

    # Another recording joins the file; the first is replaced, its task known.
    other = write_demonstration(tmp_path / 'other.mp4', shade=20)
    assert annotate(monkeypatch, 'text 1 all\nsave', other, '--task', TASK, '--out', out) == 0
    assert annotate(monkeypatch, 'done it lies there\nsave', video, '--out', out) == 0
    again = read(out)
    assert {entry.videos for entry in again} == {(video,), (other,)}
    (changed,) = (entry for entry in again if entry.videos == (video,))
    assert (changed.done, changed.stages) == (True, item.stages)

    # The published form is a start as well.
    third = ('--task', TASK, '--out', tmp_path / 'third.json', '--published', form)
    assert annotate(monkeypatch, 'save', video, *third) == 0
    assert read(tmp_path / 'third.json') == (item,)


def test_published_forms_count_no_frames_of_uneven_videos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shots = [Image.fromarray(picture) for picture in pictures()]
    video, out = tmp_path / 'screen.gif', tmp_path / 'demo.json'
    shots[0].save(video, save_all=True, append_images=shots[1:], duration=[40] * 30 + [300] * 38)
    given = (video, '--task', TASK, '--out', out)
    assert annotate(monkeypatch, 'text 1 a\nsave\n', *given) == 0
    out.unlink()
    assert (
        annotate(monkeypatch, 'text 1 a\nsave\n', *given, '--export', tmp_path / 'form.json') == 2
    )
    assert 'not evenly spaced' in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ('script', 'code', 'named'),
    [
        ('text 1 a\n', 1, 'not saved'),
        ('text 1 a\nsave\ncut 99\n', 2, 'line 3: 99 s lies outside'),
        ('dance\n', 2, 'line 1: dance: no command'),
        ('cut nan\n', 2, 'line 1: nan s lies outside'),
        ('cut f²\n', 2, 'no time'),
        ('save\n', 2, 'stage 1: text: must be a text, and is empty'),
        ('propose model\n', 2, 'no model was named'),
        ('text 1 a\nend 0 3\n', 2, 'there is no stage 0'),
        ('\x1b[2J\n', 2, 'no command'),
    ],
)
def test_a_script_stops_at_its_first_error(
    tmp_path: Path,
    video: Path,
    script: str,
    code: int,
    named: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / 'demo.json'
    assert annotate(monkeypatch, script, video, '--task', TASK, '--out', out) == code
    said = capsys.readouterr().out
    assert named in said and '\x1b' not in said
    assert out.exists() == ('save' in script and script.startswith('text'))


@pytest.mark.parametrize(
    ('arguments', 'named'),
    [
        (['none.mp4'], 'none.mp4'),
        ([], 'give the videos'),
        (['--record', '5'], '--topic'),
        (['--record', '-5', '--topic', '/a'], '--record'),
        (['a.mp4', 'b.mp4'], 'a.mp4'),
    ],
)
def test_what_cannot_be_annotated_is_named(
    tmp_path: Path, arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['annotate', *arguments, '--out', str(tmp_path / 'demo.json')]) == 2
    error = capsys.readouterr().err
    assert named in error and 'Traceback' not in error


def test_a_damaged_file_of_annotations_is_not_overwritten(
    tmp_path: Path,
    video: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / 'demo.json'
    out.write_text('{"demonstrations": 3}')
    assert annotate(monkeypatch, 'text 1 a\nsave', video, '--task', TASK, '--out', out) == 2
    assert 'demonstrations: must be a list' in capsys.readouterr().err
    assert out.read_text() == '{"demonstrations": 3}'


def test_a_bag_becomes_a_video_for_each_camera(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shots = [
        (topic, 2_000_000_000 + number * 100_000_000, image)
        for number, image in enumerate(pictures())
        for topic in ('/front/image', '/wrist/image')
    ]
    bag = write_bag(tmp_path / 'run', shots)
    out = tmp_path / 'demo.json'
    script = 'text 1 push it\nsave'
    assert annotate(monkeypatch, script, bag, '--task', TASK, '--out', out) == 0
    (item,) = read(out)
    names = ['demo_run_front_image.mp4', 'demo_run_wrist_image.mp4']
    assert [video.name for video in item.videos] == names
    assert item.stages[0].end_s == pytest.approx(6.8, abs=0.2)
    # Opened again, it is the same recording.
    assert annotate(monkeypatch, 'list', bag, '--out', out) == 0
    assert 'push it' in capsys.readouterr().out
