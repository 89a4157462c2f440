"""Samples of an adaptation: what is shown, what is asked, what is to be answered."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from progress_monitor.adapt.annotation import Annotation, AnnotationError, Stage
from progress_monitor.adapt.augmentation import Look, pause, reverse, window
from progress_monitor.adapt.batches import digit_shares
from progress_monitor.adapt.demonstration import Demonstration, load
from progress_monitor.adapt.samples import Pool, Sampler, render
from progress_monitor.adapt.wording import PUBLISHED, SMALL_CELL
from progress_monitor.config import CameraConfig, MemoryConfig
from progress_monitor.node_config import NodeConfig
from progress_monitor.types import Frame
from progress_monitor_lab.training import answers

STEPS = ('Reach the knob', 'Turn the knob')


def demonstration(count: int = 40) -> Demonstration:
    stage = np.minimum(np.arange(count) * 3 // (count - 4), 2)
    images = tuple((np.full((64, 64, 3), 20 + index, np.uint8),) for index in range(count))
    progress = np.minimum(np.arange(count) / (2 * (count - 4) // 3 + 1), 1.0)
    progress[stage == 2] = 1.0
    return Demonstration('turn the knob', STEPS, images, progress, stage, 0.1, True)


@pytest.fixture(scope='module')
def sampler() -> tuple[Sampler, Pool, Demonstration]:
    shown = demonstration()
    pool = Pool()
    config = NodeConfig(memory=MemoryConfig(in_prompt=True))
    renditions = [render(shown, pool, Look.plain(), np.random.default_rng(0))]
    foreign = [pool.add(np.full((64, 64, 3), 250, np.uint8))]
    return Sampler(renditions, pool, config, SMALL_CELL, foreign, ('open the door',)), pool, shown


def test_an_answer_tells_the_progress_and_the_steps_of_the_newest_frame(
    sampler: tuple[Sampler, Pool, Demonstration],
) -> None:
    drawn, pool, shown = sampler
    rng = np.random.default_rng(5)
    kinds = set()
    for _ in range(400):
        sample = drawn.draw(drawn.frames(rng), rng)
        frames = [part for part in sample.parts if isinstance(part, Frame)]
        text = sample.parts[-1]
        assert isinstance(text, str)
        level = int(pool.image(frames[-1].uid)[0, 0, 0])
        if 'n/a' in sample.answer:
            kinds.add('scene' if level == 250 else 'task')
            assert level == 250 or '"turn the knob"' not in text
            continue
        if '"turn the knob"' not in text:
            assert '"reach the knob"' in text
            kinds.add('prefix')
            continue
        place = level - 20
        left = STEPS[int(shown.stage[place]) :]
        assert sample.answer == SMALL_CELL.answer(float(shown.progress[place]), left)
        kinds.add('done' if not left else 'working')
        levels = [int(pool.image(frame.uid)[0, 0, 0]) for frame in frames]
        if len(levels) > 1 and levels[-1] < max(levels):
            kinds.add('undone')
        if len(levels) > 1 and len(set(levels)) == 1:
            kinds.add('still')
    assert kinds == {'scene', 'task', 'prefix', 'done', 'working', 'undone', 'still'}


def test_the_memory_tells_nothing_of_what_is_to_be_answered(
    sampler: tuple[Sampler, Pool, Demonstration],
) -> None:
    drawn, _, _ = sampler
    rng = np.random.default_rng(6)
    heard: dict[str, set[str]] = {'No further': set(), 'The following': set(), 'The task': set()}
    for _ in range(600):
        sample = drawn.draw(1, rng)
        text = str(sample.parts[-1])
        if '"turn the knob"' in text:
            found = re.search('Steps done so far: (.*)\\.', text)
            begun = next(words for words in heard if sample.answer.startswith(words))
            heard[begun].add(found[1] if found else '')
    all_of_them = {'', 'none', 'Reach the knob', 'Reach the knob; Turn the knob'}
    assert heard == dict.fromkeys(heard, all_of_them)


def test_a_scene_at_rest_tells_nothing_of_whether_it_is_done() -> None:
    # Most recordings rest when the task is done and nowhere else, some of them for long.
    count = 100
    stage = np.repeat((0, 1, 2), (20, 20, 60))
    images = tuple((np.full((64, 64, 3), 20 + index, np.uint8),) for index in range(count))
    progress = np.minimum(np.arange(count) / 40, 1.0)
    shown = Demonstration('turn the knob', STEPS, images, progress, stage, 0.1, True)
    pool = Pool()
    renditions = [render(shown, pool, Look.plain(), np.random.default_rng(0))]
    sampler = Sampler(renditions, pool, NodeConfig(), SMALL_CELL)
    rng = np.random.default_rng(6)
    done: dict[bool, list[bool]] = {True: [], False: []}
    for _ in range(1500):
        sample = sampler.draw(6, rng)
        levels = {part.uid for part in sample.parts if isinstance(part, Frame)}
        if '"turn the knob"' in str(sample.parts[-1]):
            resting = len(levels) == 1 or min(levels) >= 40
            done[resting].append('100%' in sample.answer)
    assert len(done[True]) > 200
    assert 0.4 < np.mean(done[True]) < 0.6
    assert 0.4 < np.mean(done[False]) < 0.6


def test_what_the_next_sample_shows_as_done_is_neither(
    sampler: tuple[Sampler, Pool, Demonstration],
) -> None:
    drawn, _, shown = sampler
    rng = np.random.default_rng(2)
    newest = set()
    for _ in range(600):
        sample = drawn.draw(1, rng)
        (uid,) = (part.uid for part in sample.parts if isinstance(part, Frame))
        if '"turn the knob"' in str(sample.parts[-1]) and 'n/a' not in sample.answer:
            newest.add(uid)
    end = int(np.argmax(shown.progress == 1.0))
    close = round(NodeConfig().window.sample_period / shown.period_s)
    assert close > 1
    assert newest.isdisjoint(range(end - close, end))
    assert end - close - 1 in newest
    assert end in newest


def test_windows_hold_one_frame_or_those_of_the_monitor(
    sampler: tuple[Sampler, Pool, Demonstration],
) -> None:
    rng = np.random.default_rng(1)
    counts = {sampler[0].frames(rng) for _ in range(500)}
    assert counts == {1, *range(5, 18)}


def test_a_window_that_is_edited_still_ends_with_its_newest_frame() -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        last = int(rng.integers(0, 50))
        indices = window(last, int(rng.integers(1, 18)), 4.0, rng)
        for edited in (indices, pause(indices, rng), reverse(indices, 60, rng)):
            assert edited[-1] == last
            assert len(edited) == len(indices)
            assert edited.min() >= 0 and edited.max() <= 60


def test_a_look_is_the_same_from_first_to_last_and_none_changes_nothing() -> None:
    rng = np.random.default_rng(4)
    image = rng.integers(0, 255, (64, 96, 3)).astype(np.uint8)
    assert np.array_equal(Look.plain().apply(image, rng), image)
    look = Look.draw(rng)
    one, other = (look.apply(image, np.random.default_rng(9)) for _ in range(2))
    assert np.array_equal(one, other)
    assert not np.array_equal(one, image)


def test_a_pool_shows_a_picture_as_its_look_does_and_the_same_each_time() -> None:
    pool, look = Pool(), Look.draw(np.random.default_rng(3))
    image = np.random.default_rng(4).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    plain, first, second = pool.add(image), pool.add(image, look, 1), pool.add(image, look, 2)
    assert np.array_equal(pool.image(plain), image)
    assert np.array_equal(pool.image(first), look.apply(image, np.random.default_rng(1)))
    assert not np.array_equal(pool.image(first), pool.image(second)), 'noise of its own'
    assert len(pool) == 3


def test_looks_put_things_elsewhere_and_keep_the_picture_filled() -> None:
    rng = np.random.default_rng(8)
    image = np.full((96, 96, 3), 120, np.uint8)
    image[40:56, 40:56] = (250, 20, 20)
    places = []
    for _ in range(20):
        seen = Look.draw(rng).apply(image, rng).astype(int)
        red = np.argwhere(seen[..., 0] - seen[..., 1] > 90)
        assert 100 < len(red) < 500
        assert seen[..., 1].max() - np.median(seen[..., 1]) < 30, 'no black or white corner'
        places.append(red.mean(0))
    assert np.ptp(places, axis=0).min() > 6


def test_numbers_near_the_truth_are_nearly_right() -> None:
    tens, ones = digit_shares(39.0, 2, 3.0)
    assert tens.argmax() == 3 and 0.3 < tens[4] < tens[3]
    assert ones.argmax() == 9 and ones[8] > ones[5] > ones[0]
    wide, _ = digit_shares(39.0, 2, 8.0)
    assert tens[2] < wide[2] < wide[3]
    (single,) = digit_shares(4.2, 1, 3.0)
    assert single.argmax() == 4 and single[5] > single[0]


def test_the_small_checkpoints_words_are_those_that_it_was_trained_with() -> None:
    for progress, left in ((0.07, STEPS), (0.996, STEPS[1:]), (1.0, ())):
        assert SMALL_CELL.answer(progress, left) == answers.answer(progress, left)
    assert SMALL_CELL.refusal == answers.refusal()


def test_published_answers_name_a_reason_and_two_decimals() -> None:
    said = PUBLISHED.answer(0.4213, STEPS)
    assert said.endswith('is <progress>42.13%</progress>.')
    assert re.search(r'required: \n1\. Reach the knob\n2\. Turn the knob\n', said)
    done = PUBLISHED.answer(1.0, (), 'the knob points up')
    assert done.startswith('Image shows the final result. Reason: the knob points up.\n')


def film(path: Path, count: int) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), 10.0, (64, 64))
    for index in range(count):
        writer.write(np.full((64, 64, 3), 5 * index, np.uint8))
    writer.release()


def test_a_recording_is_read_at_an_even_pace_with_its_stages(tmp_path: Path) -> None:
    path = tmp_path / 'run.mp4'
    film(path, 40)
    stages = (Stage('a', 0.5, 1.5), Stage('b', 1.5, 3.0))
    found = load(Annotation('turn', (path,), stages, True), 0.2, 64 * 64, 32)
    assert [int(value) for value in np.bincount(found.stage)] == [5, 7, 5]
    assert found.images[0][0].shape == (64, 64, 3)
    assert found.progress[0] == 0.0 and found.progress[-1] == 1.0
    assert found.finished(len(found.stage) - 1) and not found.finished(0)


def test_a_stage_that_lies_beyond_the_recording_is_named(tmp_path: Path) -> None:
    path = tmp_path / 'run.mp4'
    film(path, 10)
    stages = (Stage('a', 0.0, 5.0), Stage('b', 5.0, 6.0))
    with pytest.raises(AnnotationError, match='stage 2'):
        load(Annotation('turn', (path,), stages, True), 0.2, 64 * 64, 32)


def test_a_look_goes_as_far_aside_as_its_strength_says_and_its_light_does_not_depend_on_it() -> (
    None
):
    still, weak, strong = (Look.draw(np.random.default_rng(5), way) for way in (0.0, 1.0, 2.0))
    assert np.allclose(still.aim, np.eye(2, 3))
    assert not still.bend.any()
    assert np.allclose(strong.bend, 2.0 * weak.bend)
    assert np.abs(strong.aim - np.eye(2, 3)).max() > np.abs(weak.aim - np.eye(2, 3)).max()
    assert np.allclose(strong.gain, still.gain)
    assert (strong.offset, strong.noise) == (still.offset, still.noise)


def swaying(path: Path, seconds: float) -> None:
    """A recording by a camera that somebody holds before a patterned wall."""
    wall = np.random.default_rng(2).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    wall = cv2.resize(wall, (200, 200), interpolation=cv2.INTER_CUBIC)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), 10.0, (200, 200))
    for index in range(round(10 * seconds)):
        swing = np.sin(0.1 * index * np.array([2.7, 2.0, 3.3]))
        matrix = cv2.getRotationMatrix2D((100, 100), 3.0 * swing[0], 1.0)
        matrix[:, 2] += 8.0 * swing[1:]
        writer.write(cv2.warpAffine(wall, matrix, (200, 200), borderMode=cv2.BORDER_REFLECT_101))
    writer.release()


def test_a_demonstration_is_learnt_from_as_the_monitor_shows_such_a_camera(tmp_path: Path) -> None:
    path = tmp_path / 'run.mp4'
    swaying(path, 12.0)
    annotation = Annotation('turn', (path,), (Stage('a', 0.0, 12.0),), True)
    moved = []
    for stabilise in (True, False):
        found = load(annotation, 0.5, 160 * 160, 32, CameraConfig(stabilise=stabilise))
        inner = [image[30:-30, 30:-30].astype(int) for (image,) in found.images[10:]]
        moved.append(np.mean([np.abs(a - b).mean() for a, b in itertools.pairwise(inner)]))
    assert moved[0] < 0.3 * moved[1]
