"""What the small checkpoint's training asks of a teacher and of disturbed cameras."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from progress_monitor_lab.sim.disturbance import Bump, Knocked, Picture, Steadied
from progress_monitor_lab.training.data import Corpus, Episode
from progress_monitor_lab.training.samples import Sampler
from progress_monitor_lab.training.train_language import Batch, loss_of, taught_loss_of

FRAMES, WORDS = 20, 5


def batch(said: list[int]) -> Batch:
    """Answers of one token each."""
    ids = torch.zeros(len(said), 2, dtype=torch.long)
    targets = torch.tensor([[-100, token] for token in said])
    weights, nothing = torch.ones(ids.shape), torch.zeros(ids.shape)
    positions = torch.zeros(3, *ids.shape, dtype=torch.long)
    return Batch(ids, positions, targets, torch.zeros(0), weights, ids, nothing)


def test_a_teacher_pulls_towards_what_it_says_and_the_truth_counts_as_much() -> None:
    asked = batch([1, 2])
    logits = torch.zeros(2, WORDS, requires_grad=True)
    taught = 20.0 * torch.nn.functional.one_hot(torch.tensor([3, 2]), WORDS).float()
    (gradient,) = torch.autograd.grad(taught_loss_of(logits, asked, taught), logits)
    towards = -gradient
    assert towards[0, 1] == pytest.approx(float(towards[0, 3]), abs=1e-6)
    assert towards[0, 1] > 0.0 > towards[0, 0]
    assert towards[1].argmax() == 2


def test_a_teacher_that_is_right_adds_no_loss() -> None:
    asked = batch([1, 2])
    sure = 30.0 * torch.nn.functional.one_hot(torch.tensor([1, 2]), WORDS).float()
    assert float(taught_loss_of(sure, asked, sure)) == pytest.approx(
        float(loss_of(sure, asked)), abs=1e-6
    )


def checks(shift: int = 0) -> Picture:
    rows, columns = np.mgrid[:64, :64]
    return np.repeat((((rows // 8 + (columns + shift) // 8) % 2) * 200)[..., None], 3, 2).astype(
        np.uint8
    )


def difference(one: Picture, other: Picture) -> float:
    return float(np.abs(one.astype(float) - other).mean())


def test_a_steadied_camera_has_a_view_of_its_own_and_keeps_it() -> None:
    for seed in range(5):
        show = Steadied(np.random.default_rng(seed))
        pictures = [show(checks(), 0.1 * index) for index in range(10)]
        moved = max(difference(pictures[0], picture) for picture in pictures)
        assert moved < 0.6 * difference(pictures[0], checks())


def test_a_knocked_camera_is_shown_where_it_was_without_what_it_lost() -> None:
    for seed in range(5):
        bump = Bump(np.random.default_rng(seed), 0.0)
        shown = Knocked(np.random.default_rng(seed))(checks(), 0.0)
        middle = np.s_[24:40, 24:40]
        put_back = difference(shown[middle], checks()[middle])
        assert put_back < 0.5 * difference(bump(checks(), 0.0)[middle], checks()[middle])
        assert difference(shown, checks()) > 2.0 * put_back


def backwards(task: str) -> float:
    """Share of the windows of a task that show work being undone."""
    episode = Episode(
        task, 0, 0, np.linspace(0.0, 0.9, FRAMES, dtype=np.float32), np.arange(FRAMES) // 8
    )
    images = np.zeros((FRAMES, 8, 8, 3), np.uint8)
    corpus = Corpus((episode,), images, np.zeros((FRAMES, 10), np.float32))
    sampler = Sampler(corpus, 0)
    windows = [sampler.draw('procvlm', 5).frames for _ in range(300)]
    assert all(0 <= frame < FRAMES for window in windows for frame in window)
    return float(np.mean([window[0] > window[-1] for window in windows]))


def test_work_is_undone_only_where_a_look_tells_how_far_it_is() -> None:
    assert 0.03 < backwards('push') < 0.2
    assert backwards('press_three_times') == 0.0


def test_disturbed_episodes_leave_the_others_and_the_original_alone() -> None:
    images = np.stack([checks()] * FRAMES * 8)
    episodes = tuple(
        Episode('push', seed, FRAMES * seed, np.ones(FRAMES, np.float32), np.zeros(FRAMES, int))
        for seed in range(8)
    )
    corpus = Corpus(episodes, images, np.zeros((len(images), 10), np.float32))
    shown = corpus.disturbed(3).images
    assert np.array_equal(corpus.images, np.stack([checks()] * FRAMES * 8))
    changed = [(shown[e.first : e.first + FRAMES] != checks()).any() for e in episodes]
    assert 0 < sum(changed) < len(episodes)
