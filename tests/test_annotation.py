from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from progress_monitor.adapt.annotation import Annotation, AnnotationError, Stage, read, write

STAGES = (Stage('reach the handle', 0.0, 1.5), Stage('pull it open', 1.5, 4.0))


def entry(**changes: Any) -> dict[str, Any]:
    return {
        'task': 'open the drawer',
        'videos': ['a.mp4'],
        'stages': [{'text': 'reach', 'start_s': 0, 'end_s': 2}],
        'done': True,
        **changes,
    }


def test_what_was_written_is_read_from_wherever_the_folder_is_moved(tmp_path: Path) -> None:
    here = tmp_path / 'here'
    item = Annotation(
        'öffne die Lade', (here / 'front.mp4', tmp_path / 'b.mp4'), STAGES, False, 'it hung'
    )
    write([item], here / 'demo.json')
    assert read(here / 'demo.json') == (item,)
    moved = here.rename(tmp_path / 'there')
    assert read(moved / 'demo.json')[0].videos == (moved / 'front.mp4', tmp_path / 'b.mp4')


def test_a_relative_path_names_the_same_video_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write([Annotation('t', (Path('v.mp4'),), STAGES, True)], Path('sub/demo.json'))
    assert read(tmp_path / 'sub' / 'demo.json')[0].videos == (tmp_path / 'v.mp4',)


TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=1).filter(
    lambda text: bool(text.strip()) and text.isprintable()
)


@settings(deadline=None, max_examples=50)
@given(
    TEXTS,
    st.lists(st.tuples(TEXTS, st.floats(0.01, 100.0)), min_size=1, max_size=6),
    st.booleans(),
    st.one_of(st.just(''), TEXTS),
)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    task: str,
    parts: list[tuple[str, float]],
    done: bool,
    reason: str,
) -> None:
    path = tmp_path_factory.getbasetemp() / 'round.json'
    stages, time = [], 0.0
    for text, length in parts:
        stages.append(Stage(text, time, time + length))
        time += length
    item = Annotation(task, (path.parent / 'v.mp4',), tuple(stages), done, reason)
    write([item, item], path)
    assert read(path) == (item, item)


@pytest.mark.parametrize(
    ('entries', 'named'),
    [
        ({}, 'demonstrations: must be a list'),
        ([7], 'demonstration 1: must hold'),
        ([entry(), entry(task='  ')], 'demonstration 2: task'),
        ([entry(task='a\nb')], 'task: must be one line'),
        ([entry(task='x' * 3000)], 'task: 3000 characters'),
        ([entry(videos=[])], 'videos: must be 1 to'),
        ([entry(videos='a.mp4')], 'videos: must be a list'),
        ([entry(videos=['a\0'])], 'videos: must be a list'),
        ([entry(videos=['a', 'a'])], 'videos: the same'),
        ([entry(stages=[])], 'stages: must be 1 to'),
        ([entry(done='yes')], 'done: must be true or false'),
        ([entry(done=1)], 'done: must be true or false'),
        ([entry(reason=3)], 'reason: must be a text'),
        ([entry(extra=3)], "'extra': is no field"),
        ([{'task': 'x'}], 'done: is missing'),
        ([entry(stages=[{'text': 'a', 'start_s': 2, 'end_s': 2}])], 'stage 1: end_s: 2 s is not'),
        ([entry(stages=[{'text': 'a', 'start_s': -1, 'end_s': 2}])], 'stage 1: start_s: -1'),
        ([entry(stages=[{'text': 'a', 'start_s': 0, 'end_s': '2'}])], 'stage 1: end_s: must be'),
        ([entry(stages=[{'text': 'a', 'start_s': 0, 'end_s': True}])], 'stage 1: end_s: must be'),
        (
            [
                entry(
                    stages=[
                        {'text': 'a', 'start_s': 0, 'end_s': 2},
                        {'text': 'b', 'start_s': 2.5, 'end_s': 4},
                    ]
                )
            ],
            'stage 1 ends at 2 s and stage 2 starts at 2.5 s',
        ),
    ],
)
def test_an_error_names_file_and_field(tmp_path: Path, entries: object, named: str) -> None:
    path = tmp_path / 'bad.json'
    path.write_text(json.dumps({'demonstrations': entries}))
    with pytest.raises(AnnotationError) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    'content', [b'', b'{', b'[1', b'\xff\xfe\x00', b'[' * 100_000, b'{"demonstrations": [NaN]}']
)
def test_a_hostile_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / 'bad.json'
    path.write_bytes(content)
    with pytest.raises(AnnotationError, match=r'bad\.json'):
        read(path)


def test_times_that_are_no_numbers_are_refused() -> None:
    for value in (float('nan'), float('inf')):
        with pytest.raises(AnnotationError, match='end_s'):
            Stage('a', 0.0, value)


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'demo.json'
    write([Annotation('t', (tmp_path / 'v.mp4',), STAGES, True)], path)
    before = path.read_bytes()

    def fail(self: Path, *_: object) -> None:
        raise OSError('no space')

    monkeypatch.setattr(Path, 'replace', fail)
    with pytest.raises(OSError, match='no space'):
        write([], path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ['demo.json']
