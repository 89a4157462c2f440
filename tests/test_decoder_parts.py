"""Drafts, the number's distribution, stop rules and the key-value buffers, each by itself."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from vlm_checkpoints import tiny_vlm

from progress_monitor.types import Finish
from progress_monitor.vlm.cache import PrefixCache
from progress_monitor.vlm.drafting import Draft
from progress_monitor.vlm.number import mean_of_digits, number_distribution
from progress_monitor.vlm.stopping import StopRule

CERTAIN = 1.0 - 9e-9


def digits(**shares):
    """Probabilities of the ten digits from ``_4=0.9`` and the like; the rest is spread."""
    values = [1e-9] * 10
    for name, share in shares.items():
        values[int(name[1:])] = share
    return values


def forwards_needed(old, new, rows=4):
    """Forward passes that checking ``old`` as a draft of ``new`` takes."""
    draft = Draft(old)
    answer, proposal, forwards = [], draft.proposal(len(new)), 0
    while len(answer) < len(new):
        forwards += 1
        known = len(answer)
        for index in range(len(proposal) + 1):
            if len(answer) == len(new):
                break
            answer.append(new[len(answer)])
            if index >= len(proposal) or proposal[index] != answer[-1]:
                break
        draft.advance(answer, len(answer) - known)
        proposal = draft.proposal(rows - 1)
    return forwards


def test_an_identical_draft_takes_one_forward():
    assert forwards_needed(list(range(50)), list(range(50))) == 1


def test_one_replaced_token_is_followed_by_the_draft_again():
    new = list(range(50))
    new[46] = 99
    assert forwards_needed(list(range(50)), new) == 2


def test_a_step_dropped_from_the_list_is_found_again():
    first = [1, 10, 11, 12, 13, 5]
    second = [2, 20, 21, 22, 23, 5]
    third = [7, 30, 31, 32, 33, 34, 35]
    dropped = [1, *second[1:], *third]
    # The first forward ends at token 1, the second finds the place, the others take 4 rows each.
    assert forwards_needed([*first, *second, *third], dropped) <= 6
    assert forwards_needed([], dropped) == len(dropped)


@given(st.lists(st.integers(0, 3), max_size=30), st.lists(st.integers(0, 3), max_size=30))
def test_a_draft_never_takes_more_forwards_than_tokens(old, new):
    assert forwards_needed(old, new) <= len(new)


@given(st.lists(st.integers(0, 3), max_size=20), st.lists(st.integers(0, 3), max_size=40))
def test_a_proposal_is_a_stretch_of_the_draft(old, new):
    draft = Draft(old)
    answer = []
    for token in new:
        answer.append(token)
        draft.advance(answer, 1)
        proposal = list(draft.proposal(3))
        assert len(proposal) <= 3
        assert any(old[i : i + len(proposal)] == proposal for i in range(len(old) + 1))


def number_of(text, shares, tag='progress'):
    """Pieces are single characters; ``shares`` holds the probabilities of every digit."""
    pieces = list(text)
    start = text.index(f'<{tag}>') + len(tag) + 2
    table = [digits()] * len(pieces)
    places = [i for i in range(start, len(text)) if text[i].isdigit()]
    for place, probabilities in zip(places, shares, strict=True):
        table[place] = probabilities
    found = dict(number_distribution(pieces, table, tag))
    assert sum(found.values()) == pytest.approx(1.0)
    assert list(found) == sorted(found)
    return {value: share for value, share in found.items() if share > 1e-4}


def test_a_certain_number_has_no_other_value():
    found = number_of('<progress>42%</progress>', [digits(_4=CERTAIN), digits(_2=CERTAIN)])
    assert found == {42.0: pytest.approx(1.0, abs=1e-4)}


def test_the_last_digit_spreads_by_its_own_distribution():
    found = number_of('<score>42%</score>', [digits(_4=1.0), digits(_2=0.5, _6=0.5)], 'score')
    assert found == {42.0: pytest.approx(0.5), 46.0: pytest.approx(0.5)}


def test_another_decade_counts_at_its_near_end():
    found = number_of('<answer>41</answer>', [digits(_4=0.5, _3=0.5), digits(_1=CERTAIN)], 'answer')
    assert found == {39.0: pytest.approx(0.5), 41.0: pytest.approx(0.5)}


def test_beside_ninety_a_one_means_a_hundred():
    found = number_of('<progress>98%</progress>', [digits(_9=0.5, _1=0.5), digits(_8=CERTAIN)])
    assert found == {98.0: pytest.approx(0.5), 100.0: pytest.approx(0.5)}
    shares = [digits(_1=0.5, _9=0.5), digits(_0=CERTAIN), digits(_0=CERTAIN)]
    found = number_of('<progress>100%</progress>', shares)
    assert found == {99.0: pytest.approx(0.5), 100.0: pytest.approx(0.5)}


def test_decimals_are_followed_too():
    shares = [digits(_8=1.0), digits(_4=1.0), digits(_1=0.5, _3=0.5), digits(_3=CERTAIN)]
    found = number_of('<progress> 84.13% </progress>', shares)
    assert found == {84.13: pytest.approx(0.5), 84.3: pytest.approx(0.5)}


@given(
    st.integers(0, 100),
    st.lists(st.lists(st.floats(1e-6, 1.0), min_size=10, max_size=10), min_size=3, max_size=3),
)
def test_the_numbers_stay_within_the_scale(number, shares):
    text = f'<progress>{number:02d}%</progress>'
    assert all(0.0 <= value <= 100.0 for value in number_of(text, shares[: len(f'{number:02d}')]))


@pytest.mark.parametrize(
    'text',
    [
        '',
        'no tag',
        '<progress>n/a</progress>',
        '<progress>-4%</progress>',
        '<progress>4',
        '<progress>140</progress>',
        '<score>4</score>',
    ],
)
def test_without_a_number_in_the_tag_there_is_no_distribution(text):
    assert number_distribution(list(text), [digits()] * len(text), 'progress') == ()


def test_a_number_in_one_token_has_no_distribution():
    pieces = ['<progress>', '42', '%', '</progress>']
    assert number_distribution(pieces, [digits()] * 4, 'progress') == ()


@pytest.mark.parametrize(
    ('text', 'shares', 'mean'),
    [
        ('42', [digits(_4=1.0), digits(_2=0.5, _6=0.5)], 44.0),
        ('41', [digits(_4=0.5, _3=0.5), digits(_1=1.0)], 0.5 * 41 + 0.5 * 34.5),
        ('41', [digits(_4=0.5, _1=0.5), digits(_1=1.0)], 0.5 * 41 + 0.5 * 14.5),
        ('98', [digits(_9=0.5, _1=0.5), digits(_8=1.0)], 99.0),
        ('12', [digits(_1=0.5, _0=0.5), digits(_2=1.0)], 0.5 * 12 + 0.5 * 4.5),
        ('7', [digits(_7=1.0)], 7.0),
        ('100', [digits(_1=1.0), digits(_0=1.0), digits(_0=1.0)], 100.0),
        ('42.5', [digits(_4=1.0), digits(_2=1.0), digits(_5=1.0)], 42.5),
        ('n/a', [], math.nan),
    ],
)
def test_the_mean_of_two_digits_puts_another_ten_at_its_middle(text, shares, mean):
    pieces = list(f'<progress>{text}%</progress>')
    table = [digits()] * len(pieces)
    places = [i for i, piece in enumerate(pieces) if piece.isdigit()]
    for place, probabilities in zip(places, shares, strict=True):
        table[place] = probabilities
    found = mean_of_digits(pieces, table, 'progress')
    assert found == pytest.approx(mean, abs=1e-3, nan_ok=True)


def test_an_answer_ends_with_its_tag_and_not_before():
    vlm = tiny_vlm(0)
    rule = StopRule(vlm)
    ids = vlm.tokenizer('so it is <progress>42%</progress>.')['input_ids']
    ends = [rule.finish(ids[: count + 1], ['</Progress>']) for count in range(len(ids))]
    texts = [vlm.tokenizer.decode(ids[: count + 1]) for count in range(len(ids))]
    assert ends.index(Finish.STOP) == next(i for i, t in enumerate(texts) if '</progress>' in t)
    assert rule.finish([next(iter(vlm.end_tokens))], ()) is Finish.END


def test_buffers_hand_back_what_was_written_and_forget_what_was_cropped():
    cache = PrefixCache(1)
    first, second = torch.randn(1, 2, 300, 4), torch.randn(1, 2, 5, 4)
    cache.layers[0].update(first, first)
    keys, values = cache.layers[0].update(second, -second)
    assert torch.equal(keys, torch.cat([first, second], 2))
    assert torch.equal(values, torch.cat([first, -second], 2))
    cache.remember(np.arange(305))
    assert cache.common_prefix(np.array([0, 1, 2, 9, 4])) == 3
    cache.crop(2)
    assert cache.common_prefix(np.arange(305)) == 2
    keys, _ = cache.layers[0].update(second, second)
    assert torch.equal(keys, torch.cat([first[:, :, :2], second], 2))
