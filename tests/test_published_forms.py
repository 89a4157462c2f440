from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from progress_monitor.adapt.annotation import Annotation, Stage
from progress_monitor.adapt.published_forms import (
    PublishedFormError,
    QaPair,
    SubTasks,
    Target,
    from_sub_tasks,
    read_qa_pairs,
    read_sub_tasks,
    target,
    to_sub_tasks,
    write_qa_pairs,
    write_sub_tasks,
)
from progress_monitor.adapt.published_pairs import from_qa_pairs
from progress_monitor.adapt.wording import PUBLISHED

# As the published tool writes them; the texts are the test's own.
UNFINISHED = (
    'The following actions are required: \n1. Reach the mug\n2. Lift it 3. 5 cm\n'
    'Therefore, the estimated progress is <progress>41.07%</progress>.'
)
FINISHED = (
    'Image shows the final result. Reason: The mug hangs.\n'
    'Therefore, the estimated progress is <progress>100%</progress>.'
)
ROW = {
    'image': ['images/hang_the_mug/a_17/000000.jpg', 'images/hang_the_mug/a_17/000001.jpg'],
    'conversations': [
        {'from': 'human', 'value': '<image>\n<image>\nGiven the recent observation, what is left?'},
        {'from': 'gpt', 'value': UNFINISHED},
    ],
}
PAIR = QaPair(tuple(ROW['image']), 'Given the recent observation, what is left?', UNFINISHED)  # type: ignore[arg-type]


def answer(said: Target) -> str:
    return PUBLISHED.answer(said.percent / 100.0, said.steps, said.reason)


LINES = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=1, max_size=30).map(
    str.strip
)
WORDS = LINES.filter(
    lambda text: (
        text.isprintable()
        and bool(text.rstrip('. '))
        and text.casefold() not in ('done', 'not done', '/delete')
    )
)


def lines(path: Path, *rows: object) -> Path:
    path.write_text('\n'.join(json.dumps(row) for row in rows), encoding='utf-8')
    return path


def test_a_published_row_is_read_and_written_as_it_was(tmp_path: Path) -> None:
    path = lines(tmp_path / 'qa_pairs.jsonl', ROW)
    assert read_qa_pairs(path) == (PAIR,)
    write_qa_pairs([PAIR, PAIR], tmp_path / 'again.jsonl')
    written = (tmp_path / 'again.jsonl').read_text(encoding='utf-8').splitlines()
    assert [json.loads(line) for line in written] == [ROW, ROW]


def test_published_answers_mean_what_they_say() -> None:
    assert target(UNFINISHED) == Target(('Reach the mug', 'Lift it 3. 5 cm'), 41.07)
    assert target(FINISHED) == Target((), 100.0, 'The mug hangs')
    assert answer(target(UNFINISHED)) == UNFINISHED
    assert answer(target(FINISHED)) == FINISHED
    assert answer(Target((), 100.0)).startswith('Image shows the final result.\nTherefore')
    for other in ('Reach the mug', UNFINISHED.replace('1. ', ''), UNFINISHED.replace('41', '141')):
        with pytest.raises(PublishedFormError):
            target(other)


@settings(deadline=None, max_examples=50)
@given(st.lists(WORDS, max_size=5), st.floats(0, 100), st.one_of(st.just(''), WORDS))
def test_answers_round_trip(steps: list[str], percent: float, reason: str) -> None:
    percent, reason = (round(percent, 2), '') if steps else (100.0, reason.rstrip('.'))
    said = Target(tuple(steps), percent, reason)
    bare = Target(tuple(step.rstrip('. ') for step in steps), percent, reason)
    assert target(answer(said)) == bare


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.lists(WORDS, max_size=4),
            WORDS.filter(lambda text: '<image>' not in text),
            st.text(st.characters(blacklist_categories=['Cs'], blacklist_characters='\r')),
        ),
        max_size=4,
    )
)
def test_rows_round_trip(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[list[str], str, str]]
) -> None:
    pairs = tuple(QaPair(tuple(images), question, said) for images, question, said in rows)
    path = tmp_path_factory.getbasetemp() / 'pairs.jsonl'
    write_qa_pairs(pairs, path)
    assert read_qa_pairs(path) == pairs


def test_what_real_files_hold_is_taken(tmp_path: Path) -> None:
    turns = ROW['conversations']
    one = {'image': 'a.jpg', 'conversations': turns, 'id': 7}
    roles = [
        {'from': 'system', 'value': 'You watch a robot.'},
        {'from': 'user', 'value': 'What is left? <image>'},
        {'from': 'assistant', 'value': UNFINISHED.replace('\n', '\r\n')},
    ]
    path = tmp_path / 'qa_pairs.jsonl'
    rows = [{'image': ['a.jpg'], 'conversations': roles}, {**one, 'image': ['a.jpg', 'ü\u2028b']}]
    rows[1]['image'] = ['a.jpg', 'ü.jpg']
    text = '\r\n\r\n'.join(json.dumps(row, ensure_ascii=False) for row in rows) + '\r\n'
    path.write_bytes(b'\xef\xbb\xbf' + text.encode())
    first, second = read_qa_pairs(path)
    assert first == QaPair(('a.jpg',), 'What is left?', UNFINISHED)
    assert second.images == ('a.jpg', 'ü.jpg')


@pytest.mark.parametrize(
    ('line', 'named'),
    [
        ('{', 'no JSON'),
        ('[' * 100_000, 'no JSON'),
        ('[]', 'must be an object'),
        (json.dumps({**ROW, 'image': 'a.jpg'}), 'image: 1 paths for 2 marks'),
        (json.dumps({**ROW, 'image': [3]}), 'image: must be a list'),
        (json.dumps({**ROW, 'image': ['a\0']}), 'image: must be a list'),
        (json.dumps({'image': [], 'conversations': 4}), 'conversations: must be a list'),
        (json.dumps({'image': [], 'conversations': []}), 'one question and one answer'),
        (json.dumps({'image': [], 'conversations': [{}, {}]}), 'a turn from human'),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path: Path, line: str, named: str) -> None:
    path = tmp_path / 'qa_pairs.jsonl'
    path.write_text(f'{json.dumps(ROW)}\n\n{line}\n')
    with pytest.raises(PublishedFormError) as caught:
        read_qa_pairs(path)
    assert f'{path}: line 3: ' in str(caught.value)
    assert named in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_published_form_becomes_stages(tmp_path: Path) -> None:
    form = {
        'sub_tasks': [['/delete', 9], ['reach', 19], ['grasp ', 39.0], ['Not Done', '49']],
        'is_done': False,
        'reason': 'it slipped',
        'success_cutoff': 0.5,
        'video': 'a.mp4',
    }
    path = lines(tmp_path / 'form.json', form)
    read = read_sub_tasks(path)
    assert read.success_cutoff == 0.5
    item = from_sub_tasks(read, 'hang the mug', (Path('a.mp4'),), 10.0)
    assert item.stages == (Stage('reach', 1.0, 2.0), Stage('grasp', 2.0, 4.0))
    assert (item.done, item.reason) == (False, 'it slipped')
    assert to_sub_tasks(item, 10.0, 50).sub_tasks == (
        ('/delete', 9),
        ('reach', 19),
        ('grasp', 39),
        ('Not Done', 49),
    )


@settings(deadline=None, max_examples=50)
@given(
    st.integers(0, 30),
    st.lists(st.tuples(WORDS, st.integers(1, 40)), min_size=1, max_size=6),
    st.integers(0, 20),
    st.booleans(),
    st.one_of(st.just(''), WORDS),
    st.sampled_from([5.0, 10.0, 15.0, 24000 / 1001, 29.97, 30.0, 60.0]),
)
def test_forms_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    lead: int,
    parts: list[tuple[str, int]],
    tail: int,
    done: bool,
    reason: str,
    fps: float,
) -> None:
    segments = [('/delete', lead - 1)] if lead else []
    frame = lead - 1
    for text, length in parts:
        frame += length
        segments.append((text, frame))
    if tail:
        segments.append(('Done' if done else 'Not Done', frame + tail))
    form = SubTasks(tuple(segments), done, reason)
    path = tmp_path_factory.getbasetemp() / 'form.json'
    write_sub_tasks(form, path)
    assert read_sub_tasks(path) == form
    item = from_sub_tasks(form, 'a task', (Path('a.mp4'),), fps)
    assert isinstance(item, Annotation)
    assert to_sub_tasks(item, fps, frame + tail + 1) == form


@pytest.mark.parametrize(
    ('changes', 'named'),
    [
        ({'sub_tasks': []}, 'sub_tasks: must be a list'),
        ({'sub_tasks': [['a']]}, 'segment 1: must be'),
        ({'sub_tasks': [['a', 3.5]]}, 'segment 1: end_frame'),
        ({'sub_tasks': [['a', float('nan')]]}, 'segment 1: end_frame'),
        ({'sub_tasks': [['a', True]]}, 'segment 1: end_frame'),
        ({'sub_tasks': [['a', 1e300]]}, 'segment 1: end_frame'),
        ({'sub_tasks': [['a', 3], ['b', 3]]}, 'segment 2: ends at frame 3'),
        ({'is_done': 'no'}, 'is_done'),
        ({'reason': 3}, 'reason'),
        ({'success_cutoff': 7}, 'success_cutoff'),
    ],
)
def test_a_bad_form_is_named(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    path = lines(tmp_path / 'form.json', {'sub_tasks': [['a', 3]], **changes})
    with pytest.raises(PublishedFormError) as caught:
        read_sub_tasks(path)
    assert str(path) in str(caught.value) and named in str(caught.value)


@pytest.mark.parametrize(
    ('segments', 'named'),
    [
        ((('a', 3), ('/delete', 5), ('b', 9)), 'segment 2: is deleted'),
        ((('a', 3), ('Done', 5), ('b', 9)), 'segment 3: follows'),
        ((('a', 3), ('not done', 5)), 'segment 2: is called'),
        ((('a\nb', 3),), 'segment 1: text'),
        ((('Done', 3),), 'stages: must be'),
    ],
)
def test_a_form_that_no_annotation_can_hold_is_refused(
    segments: tuple[tuple[str, int], ...], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        from_sub_tasks(SubTasks(segments, True), 'a task', (Path('a.mp4'),), 10.0)


def test_a_stage_without_a_frame_is_refused() -> None:
    item = Annotation('t', (Path('a'),), (Stage('a', 0.0, 0.01), Stage('b', 0.01, 0.02)), True)
    with pytest.raises(PublishedFormError, match='stage 2 holds no frame'):
        to_sub_tasks(item, 10.0, 50)


QUESTION = 'Given the recent observation and the task "hang the "red" mug", first infer the rest.'


def pair(folder: str, frame: int, steps: tuple[str, ...], reason: str = '') -> QaPair:
    images = tuple(f'images/hang_the_mug/{folder}/{i:06d}.jpg' for i in range(frame - 2, frame + 1))
    return QaPair(images, QUESTION, answer(Target(steps, 100.0 if not steps else frame, reason)))


def test_stages_are_read_back_from_training_rows() -> None:
    rows = [pair('run_a_17', frame, ('reach', 'grasp', 'hang')) for frame in range(2, 20)]
    rows += [pair('run_a_17', frame, ('grasp', 'hang')) for frame in range(20, 30)]
    rows += [pair('run_a_17', frame, ('hang',)) for frame in range(30, 50)]
    rows += [pair('run_a_17', frame, (), 'it hangs') for frame in (52, 52, 60)]
    other = [pair('run_b_18', frame, ('push',)) for frame in range(2, 9)]
    task, form = from_qa_pairs(rows, Path('any.mp4'))
    assert task == 'hang the "red" mug'
    segments = (('reach', 19), ('grasp', 29), ('hang', 49), ('Done', 60))
    assert form == SubTasks(segments, True, 'it hangs')
    assert from_qa_pairs(rows + other, Path('run a.mp4'))[1] == form
    assert from_qa_pairs(rows + other, Path('run_b.mp4'))[1] == SubTasks((('push', 8),), False)
    for wrong, named in (
        (rows + other, '2 demonstrations may be'),
        ([], '0 demonstrations may be'),
        ([pair('a', 2, ())], 'lists an action'),
        ([*rows, pair('run_a_17', 70, ('reach', 'grasp', 'hang'))], 'frame 70'),
        ([*rows, pair('run_a_17', 70, ('dance',))], 'frame 70'),
        ([QaPair(('a/b.jpg',), 'x', UNFINISHED)], 'number of a frame'),
    ):
        with pytest.raises(PublishedFormError, match=named):
            from_qa_pairs(wrong, Path('any.mp4'))
