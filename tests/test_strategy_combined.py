from __future__ import annotations

import dataclasses
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
from judging import frame, ns

from progress_monitor.config import MonitorConfig
from progress_monitor.strategies import make_strategy
from progress_monitor.strategies.combined import Combined
from progress_monitor.strategies.procvlm import ProcVLM
from progress_monitor.strategies.topreward import TopReward
from progress_monitor.strategy_config import CombinedConfig, TopRewardConfig
from progress_monitor.types import (
    DecodeStats,
    Evidence,
    Finish,
    Generated,
    Recollection,
    Scored,
    Verdict,
    View,
)

STATS = DecodeStats(1.0)
DONE = 'No further steps are required. <progress>100%</progress>'


def _strategy(frames: int = 4) -> Combined:
    config = MonitorConfig()
    own = TopRewardConfig(frames=frames, floor=-4.0, ceiling=-1.0, readings=1)
    return Combined(ProcVLM(config), TopReward(config, own))


def _text(strategy: Combined, said: str, seconds: float, number=()):
    answer = Generated(said, (), Finish.STOP, STATS, number)
    return strategy.read((answer,), View((), ns(seconds)))


def _half(strategy: Combined, seconds: float):
    return _text(strategy, '1. Pull it.\n<progress>50%</progress>', seconds)


def _token(strategy: Combined, true: float, seconds: float, false: float = -9.0):
    return strategy.read((Scored((true, false), STATS),), View((), ns(seconds)))


def _sessions(strategy: Combined) -> list[str]:
    history = SimpleNamespace(samples=[(frame(0.5 * i),) for i in range(9)])
    view = strategy.select(history, 0)
    return [q.session for q in strategy.ask(view, Recollection('x'))]


def test_the_token_is_asked_for_once_a_text_was_readable():
    strategy = _strategy()
    assert set(strategy.sessions) == {'procvlm', 'topreward'}
    assert _sessions(strategy) == ['procvlm']
    _half(strategy, 0.0)
    assert _sessions(strategy) == ['procvlm', 'topreward']
    _text(strategy, 'what?', 1.0)
    assert _sessions(strategy) == ['procvlm']


def test_a_token_that_costs_more_than_a_text_is_read_where_it_decides():
    strategy = _strategy()
    _half(strategy, 0.0)
    dear = Scored((-3.4, -9.0), DecodeStats(2.0))
    strategy.read((dear,), View((), ns(0.5)))
    assert _sessions(strategy) == ['procvlm']
    # What was read before is of another time than the texts to come.
    assert math.isnan(_half(strategy, 5.0).spread)
    assert _text(strategy, DONE, 6.0).verdict is Verdict.UNKNOWN
    assert _sessions(strategy) == ['procvlm', 'topreward']
    strategy.read((dataclasses.replace(dear, log_probabilities=(-0.5, -9.0)),), View((), ns(6.5)))
    assert _text(strategy, DONE, 6.5).verdict is Verdict.DONE
    strategy.reset()
    _half(strategy, 9.0)
    assert _sessions(strategy) == ['procvlm']


def test_a_token_that_costs_more_is_there_when_a_slow_model_says_done_at_last():
    strategy = _strategy()
    _half(strategy, 0.0)
    strategy.read((Scored((-3.4, -9.0), DecodeStats(2.0)),), View((), ns(0.5)))
    _text(strategy, '1. Pull it.\n<progress>70%</progress>', 5.0)
    assert _sessions(strategy) == ['procvlm']
    _text(strategy, '1. Pull it.\n<progress>90%</progress>', 10.0)
    assert _sessions(strategy) == ['procvlm', 'topreward']


def test_the_token_moves_the_texts_progress_between_texts():
    strategy = _strategy()
    _half(strategy, 0.0)
    assert _token(strategy, -2.5, 0.5).progress == pytest.approx(0.5)
    assert _token(strategy, -2.2, 1.0).progress == pytest.approx(0.6)
    assert _half(strategy, 1.0).progress == pytest.approx(0.5)


def test_the_token_moves_the_expected_value_as_far_as_the_number():
    strategy = _strategy()
    said = '1. Pull it.\n<progress>50%</progress>'
    first = _text(strategy, said, 0.0, ((40.0, 0.5), (50.0, 0.5)))
    assert first.expected == pytest.approx(0.45)
    _token(strategy, -3.4, 0.0)
    moved = _token(strategy, -2.8, 0.5)
    assert moved.progress > 0.5
    assert moved.expected - 0.45 == pytest.approx(moved.progress - 0.5)


def test_a_token_of_the_texts_own_frames_moves_nothing():
    strategy = _strategy()
    _token(strategy, -3.4, 0.5)
    _half(strategy, 1.0)
    assert _token(strategy, -2.5, 1.0).progress == pytest.approx(0.5)
    assert _token(strategy, -2.2, 1.5).progress == pytest.approx(0.6)


def test_the_token_counts_by_its_measured_share():
    token = TopRewardConfig(frames=4, floor=-4.0, ceiling=-1.0, readings=1)
    shared = MonitorConfig(strategy='combined', topreward=token, combined=CombinedConfig(0.1))
    strategy = make_strategy(shared)
    _half(strategy, 0.0)
    assert _token(strategy, -1.0, 0.0).progress == pytest.approx(0.5 + 0.1 * 0.5)
    for uncalibrated in (
        replace(shared, topreward=replace(token, floor=0.0)),
        replace(shared, combined=CombinedConfig()),
    ):
        strategy = make_strategy(uncalibrated)
        _half(strategy, 0.0)
        assert _token(strategy, -1.0, 0.0).progress == pytest.approx(0.5)


def test_disagreement_widens_the_spread():
    strategy = _strategy()
    _half(strategy, 0.0)
    near = _token(strategy, -2.5, 0.5).spread
    far = _token(strategy, -4.0, 1.0).spread
    assert near == pytest.approx(0.0)
    assert far == pytest.approx(0.25)


def test_success_needs_both():
    strategy = _strategy()
    assert _text(strategy, DONE, 0.0).verdict is Verdict.UNKNOWN
    assert _token(strategy, -2.0, 0.5).verdict is Verdict.NOT_DONE
    assert _token(strategy, -0.5, 1.0).verdict is Verdict.DONE
    assert _half(strategy, 1.5).verdict is Verdict.NOT_DONE


def test_the_lower_probability_of_success_counts():
    strategy = _strategy()
    _text(strategy, DONE, 0.0, ((100.0, 0.9), (50.0, 0.1)))
    assert _token(strategy, -0.5, 0.5).success_probability == pytest.approx(0.9)
    assert _token(strategy, -2.0, 1.0, -2.0).success_probability == pytest.approx(0.5)


def test_a_text_that_comes_late_does_not_turn_time_back():
    strategy = _strategy()
    _half(strategy, 0.0)
    _token(strategy, -2.5, 3.0)
    assert _half(strategy, 1.0).stamp_ns == ns(3.0)


def test_a_text_that_refuses_is_not_made_good_by_a_token():
    strategy = _strategy()
    _half(strategy, 0.0)
    estimate = _text(strategy, '<progress>n/a</progress>', 1.0)
    assert estimate.evidence is Evidence.REFUSED
    assert math.isnan(estimate.progress)


def test_a_reset_forgets_both():
    strategy = _strategy()
    _half(strategy, 9.0)
    strategy.reset()
    assert _sessions(strategy) == ['procvlm']
    assert _half(strategy, 1.0).stamp_ns == ns(1.0)
