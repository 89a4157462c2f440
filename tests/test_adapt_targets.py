"""Progress targets of a demonstration, as ProcVLM's one-shot adaptation publishes them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from progress_monitor.adapt.targets import (
    FINISHED,
    NOT_DONE_CUTOFF,
    perceptual_hash,
    stage_progress,
    visual_change,
)

lengths = st.lists(st.integers(2, 30), min_size=1, max_size=6)


def staged(counts: list[int], finished: int) -> np.ndarray:
    parts = [np.full(count, number) for number, count in enumerate(counts)]
    return np.concatenate([*parts, np.full(finished, FINISHED)]).astype(np.int64)


@settings(max_examples=60, deadline=None)
@given(lengths, st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_progress_rises_from_0_to_1_and_each_stage_begins_at_the_budgets_before_it(
    counts: list[int], finished: int, seed: int
) -> None:
    stages = staged(counts, finished)
    change = np.random.default_rng(seed).uniform(0.5, 1.5, len(stages) - 1)
    progress = stage_progress(stages, change)
    assert progress[0] == 0.0
    assert np.all(np.diff(progress) >= -1e-12)
    assert progress[-finished:] == pytest.approx(np.ones(finished))
    weights = np.clip(len(counts) * np.array(counts) / sum(counts), 0.75, 1.25)
    starts = np.concatenate([[0], np.cumsum(counts)])
    for number, start in enumerate(starts[:-1]):
        assert progress[start] == pytest.approx(weights[:number].sum() / weights.sum())


def test_inside_a_stage_progress_follows_what_changes() -> None:
    stages = staged([5], 1)
    progress = stage_progress(stages, np.array([0.5, 0.5, 1.5, 0.5, 0.5]))
    steps = np.diff(progress)
    # Progress of a picture tells what lies behind the one before it.
    assert steps[3] == pytest.approx(3.0 * steps[2])


def test_what_is_not_done_ends_at_the_published_cutoff() -> None:
    stages = staged([6, 6], 0)
    progress = stage_progress(stages, np.ones(11), done=False)
    assert 0.0 < progress[-1] <= NOT_DONE_CUTOFF


def test_stages_that_fall_are_refused() -> None:
    with pytest.raises(ValueError, match='never fall'):
        stage_progress(np.array([1, 0]), np.ones(1))


def test_a_picture_changes_against_another_and_not_against_itself_in_other_light() -> None:
    rng = np.random.default_rng(3)
    one, other = (
        np.kron(rng.integers(0, 200, (6, 8, 3)), np.ones((20, 20, 1))).astype(np.uint8)
        for _ in range(2)
    )
    assert visual_change([one, one, other])[0] == 0.5
    assert visual_change([one, other])[0] > 0.7
    brighter = (one.astype(float) * 1.2 + 10).astype(np.uint8)
    assert np.mean(perceptual_hash(one) != perceptual_hash(brighter)) < 0.1
