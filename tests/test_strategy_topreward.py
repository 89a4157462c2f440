from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
from judging import frame, ns

from progress_monitor.config import MonitorConfig
from progress_monitor.parameters import ParameterError
from progress_monitor.strategies import make_strategy
from progress_monitor.strategies.topreward import TopReward, episode_progress
from progress_monitor.strategy_config import TopRewardConfig
from progress_monitor.types import (
    DecodeStats,
    Evidence,
    Recollection,
    Score,
    Scored,
    Verdict,
    View,
)


def _history(count: int):
    return SimpleNamespace(samples=[(frame(0.5 * i),) for i in range(count)])


def _strategy(**own) -> TopReward:
    return TopReward(MonitorConfig(), TopRewardConfig(**own))


def _read(strategy: TopReward, true: float, seconds: float, false: float = -5.0):
    return strategy.read((Scored((true, false), DecodeStats(1.0)),), View((), ns(seconds)))


def test_the_question_is_the_open_turn_that_true_continues():
    strategy = _strategy(frames=2)
    history = _history(3)
    view = strategy.select(history, 0)
    (question,) = strategy.ask(view, Recollection('open the {frames}'))
    assert question.parts == (
        history.samples[1][0],
        history.samples[2][0],
        'The above video shows a robot manipulation trajectory that completes the following task: '
        'open the {frames} Decide whether the above statement is True or not. The answer is:',
    )
    assert question.want == Score((' True', ' False'))
    assert not question.chat
    assert strategy.sample_period_s == 0.5


def test_as_a_video_the_frames_are_one_clip():
    strategy = _strategy(frames=4, video=True)
    history = _history(6)
    view = strategy.select(history, 0)
    (question,) = strategy.ask(view, Recollection('open it'))
    clip, text = question.parts
    assert clip.frames == view.frames == tuple(sample[0] for sample in history.samples[-4:])
    assert text.startswith('The above video')
    assert strategy.clips
    assert not _strategy().clips


@pytest.mark.parametrize('name', ['topreward', 'combined'])
def test_a_video_is_of_one_camera(name):
    own = TopRewardConfig(video=True)
    config = MonitorConfig(strategy=name, topreward=own)
    assert make_strategy(config, cameras=('front',)).clips
    with pytest.raises(ParameterError, match=r'topreward\.video.*one camera'):
        make_strategy(config, cameras=('front', 'wrist'))


def test_the_number_of_frames_never_changes():
    strategy = _strategy()
    assert strategy.select(_history(7), 0) is None
    assert {len(strategy.select(_history(n), 0).frames) for n in (8, 9, 40)} == {8}


def test_frames_of_several_cameras_stand_by_time_then_camera():
    samples = [(frame(0.5 * i, camera='a'), frame(0.5 * i, camera='b')) for i in range(9)]
    strategy = _strategy(frames=4)
    shown = strategy.select(SimpleNamespace(samples=samples), 0).frames
    assert shown == (*samples[-2], *samples[-1])
    silent = [*samples, (frame(4.5, camera='a'),)]
    assert strategy.select(SimpleNamespace(samples=silent), 0).frames == (
        samples[-2][1], *samples[-1], silent[-1][0],
    )  # fmt: skip


def test_a_single_frame_is_doubled():
    history = _history(3)
    assert _strategy(frames=1).select(history, 0).frames == (history.samples[-1][0],) * 2


def test_the_floor_is_learnt_from_the_first_seconds_only():
    strategy = _strategy(floor_period=2.0)
    assert _read(strategy, -4.0, 0.0).progress == 0.0
    assert _read(strategy, -4.0, 1.0).progress == 0.0
    assert _read(strategy, -2.0, 3.0).progress == pytest.approx(0.5)
    assert _read(strategy, -8.0, 4.0).progress == 0.0
    assert _read(strategy, -2.0, 5.0).progress == pytest.approx(0.5)


def test_one_low_reading_does_not_lift_those_that_follow():
    strategy = _strategy()
    for seconds, true in enumerate((-4.0, -4.0, -40.0, -4.0)):
        _read(strategy, true, seconds)
    assert _read(strategy, -2.0, 10.0).progress == pytest.approx(0.5)


def test_a_reset_forgets_the_floor():
    strategy = _strategy()
    _read(strategy, -8.0, 0.0)
    strategy.reset()
    assert _read(strategy, -4.0, 100.0).progress == 0.0


def test_calibrated_readings_give_a_verdict_from_their_mean():
    strategy = _strategy(floor=-5.0, ceiling=-1.0)
    verdicts = [_read(strategy, true, i).verdict for i, true in enumerate((-0.5, -0.5, -0.9, -3.0))]
    assert verdicts == [Verdict.NOT_DONE, Verdict.NOT_DONE, Verdict.DONE, Verdict.NOT_DONE]
    assert _read(strategy, -3.0, 5.0).progress == pytest.approx(0.5)


def test_without_calibration_nothing_is_said_of_success():
    strategy = _strategy()
    assert {_read(strategy, -0.01, i).verdict for i in range(9)} == {Verdict.UNKNOWN}


def test_the_probability_of_success_weighs_true_against_false():
    estimate = _read(_strategy(), math.log(0.3), 0.0, math.log(0.1))
    assert estimate.success_probability == pytest.approx(0.75)
    assert estimate.remaining_steps is None
    assert estimate.evidence is Evidence.GOOD
    assert _read(_strategy(), -2000.0, 0.0, -1.0).success_probability == 0.0


def test_a_reading_that_is_no_number_is_unknown():
    estimate = _read(_strategy(), math.nan, 0.0)
    assert estimate.evidence is Evidence.NO_NUMBER
    assert math.isnan(estimate.progress)


def test_episodes_are_scaled_as_published():
    assert episode_progress([-4.0, -1.0, -2.5]) == pytest.approx((0.0, 1.0, 0.5))
    assert episode_progress([-4.0, -4.0]) == (1.0, 1.0)
    assert episode_progress([-4.0]) == (1.0,)
    assert episode_progress([]) == ()
