"""The judgement benchmark with made recordings and a model that knows the truth."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from judging import ScriptedBackend
from synchronous import SynchronousBackend

from progress_monitor.config import MonitorConfig
from progress_monitor.strategies.demonstration import Demonstration
from progress_monitor.types import DecodeStats, Score, Scored
from progress_monitor_lab.bench import (
    judgement,
    judgement_demonstrations,
    judgement_episodes,
    metrics,
)
from progress_monitor_lab.bench.judgement_answers import RememberingBackend
from progress_monitor_lab.bench.judgement_demonstrations import STATES, demonstration_for
from progress_monitor_lab.bench.judgement_episodes import MAKERS, Plan, make, plans
from progress_monitor_lab.bench.judgement_play import START_NS, SYSTEMS, interpolate, play
from progress_monitor_lab.bench.judgement_recordings import Recording
from progress_monitor_lab.bench.judgement_score import score, summary
from progress_monitor_lab.sim.tasks import TASKS

CONFIG = MonitorConfig()
ALLOWANCE = CONFIG.stall.allowance
STEPS = ('Reach the drawer handle', 'Pull the drawer open')


def recording(variant: str = 'nominal') -> Recording:
    """Nine seconds to the end and three of rest; a dropped one falls after four and recovers."""
    speed = {'half': 0.5, 'quarter': 0.25}.get(variant, 1.0)
    work = np.linspace(0.0, 1.0, round(90 / speed))
    fault = -1
    if variant == 'drop':
        work = np.concatenate([work[:50], np.full(60, 0.2), np.linspace(0.2, 1.0, 70)])
        fault = 50
    if variant == 'missed_grasp':
        work = np.concatenate([work[:25], np.full(150, 0.27)])
    if variant == 'undo':
        work = np.concatenate([work, np.linspace(1.0, 0.4, 60)])
    rest = 0 if variant in ('missed_grasp', 'undo') else 30
    progress = np.concatenate([work, np.full(rest, work[-1])])
    rng = np.random.default_rng(3)
    scene = rng.integers(30, 220, (16, 16, 3)).astype(np.uint8).repeat(2, 0).repeat(2, 1)
    grain = 1 if variant == 'clean' else 4
    images = scene + rng.integers(0, grain, (len(progress), *scene.shape)).astype(np.uint8)
    for image, done in zip(images, progress, strict=True):
        column = round(24 * done)
        image[10:18, column : column + 8] = 240
    remaining = np.where(progress >= 1.0, 0, np.where(progress >= 0.5, 1, 2))
    return Recording(images, progress, remaining, STEPS, fault, len(progress) - rest)


@pytest.fixture(autouse=True)
def _made_recordings(monkeypatch):
    monkeypatch.setattr(
        judgement_episodes, 'load', lambda cache, task, seed, variant: recording(variant)
    )
    for module in (judgement, judgement_demonstrations):
        monkeypatch.setattr(module, 'load', lambda cache, task, seed, variant: recording(variant))


class Oracle(SynchronousBackend):
    """Says what is true of the newest frame, in the form that the question asks for."""

    def __init__(self, episode) -> None:
        super().__init__()
        self._episode = episode
        self._progress = episode.progress()

    def answer(self, request):
        stamp_ns = max(frame.stamp_ns for frame in request.frames)
        index = round((stamp_ns - START_NS) * 1e-8)
        value = f'{self._progress[index] * 100:.0f}%'
        if isinstance(request.want, Score):
            true = float(np.log(0.02 + 0.95 * self._progress[index]))
            return Scored((true, float(np.log1p(-np.exp(true)))), DecodeStats(3.0))
        if request.session == 'progresslm':
            assert len(request.frames) == STATES + 1
            return f'<ref>1</ref><score>{value}</score>'
        steps = self._episode.recording.left(self._episode.shown[index].index)
        if request.session == 'recurrent':
            lines = [f'{step} [{"pending" if step in steps else "completed"}]' for step in STEPS]
            return f'<think>{chr(10).join(lines)}</think><answer>{value}</answer>'
        if not self._episode.answerable:
            text = 'The task does not fit what is seen. <progress>n/a</progress>'
        elif steps:
            value = '99%' if value == '100%' else value
            text = '\n'.join(f'{i}. {step}.' for i, step in enumerate(steps, 1))
            text = f'{text}\n<progress>{value}</progress>'
        else:
            text = 'No further steps are required. <progress>100%</progress>'
        return text


@pytest.mark.parametrize('kind', MAKERS)
def test_a_model_that_knows_the_truth_is_judged_without_a_fault(kind, tmp_path):
    episode = make(Plan(kind, 'drawer_open', 1), tmp_path, ALLOWANCE)
    assert len(list(episode.pictures())) == len(episode.shown)
    record = play(episode, 'procvlm', CONFIG, Oracle(episode))
    result = score(episode, record, CONFIG)
    for tally in (result.stall, result.regression, result.success):
        assert tally.misses == 0
        assert tally.false == 0
    if episode.stall_from >= 0:
        assert result.stall.hits == 1
        grace = CONFIG.stall.grace_period if episode.stall_from < 30 else 0.0
        # Swings look like noise until they have gone on for so long that they are called a loop.
        turns = CONFIG.stall.loop_allowances * ALLOWANCE if kind == 'looping' else 0.0
        ticks = 3.0 * max(0.5, episode.answer_s)
        assert result.stall.delays[0] <= ALLOWANCE + grace + turns + ticks
    if episode.fall_from >= 0:
        assert result.regression.hits == 1
    if kind == 'unanswerable':
        assert result.refused == result.answered > 0


def test_a_task_that_no_checkpoint_has_seen_is_judged_as_well(tmp_path):
    episode = make(Plan('nominal', 'faucet_open', 1), tmp_path, ALLOWANCE)
    record = play(episode, 'procvlm', CONFIG, Oracle(episode))
    result = score(episode, record, CONFIG)
    assert result.voc > 0.9 and result.success.hits == 1


@pytest.mark.parametrize('system', SYSTEMS)
def test_every_system_plays_and_its_record_survives_json(system, tmp_path):
    episode = make(Plan('nominal', 'drawer_open', 1), tmp_path, ALLOWANCE)
    shown = demonstration_for(tmp_path, episode.text) if system == 'progresslm' else ''
    record = play(episode, system, CONFIG, Oracle(episode), shown)
    again = type(record)(**json.loads(json.dumps(record.as_json())))
    result = score(episode, again, CONFIG)
    assert result.voc > (0.8 if system == 'recurrent' else 0.99)
    # A token says nothing of success without calibration, and the newest snippet is 4 s long.
    assert result.success.hits == (system not in ('topreward', 'recurrent'))
    assert len(record.ticks) == len(record.costs) >= (3 if system == 'recurrent' else 17)
    assert result.in_step > 0.6
    assert result.finish > (0.5 if system == 'topreward' else 0.6)


def test_a_tick_costs_what_all_its_answers_cost(tmp_path):
    episode = make(Plan('nominal', 'drawer_open', 1), tmp_path, ALLOWANCE)
    costs = {
        system: score(episode, play(episode, system, CONFIG, Oracle(episode)), CONFIG).costs
        for system in ('procvlm', 'topreward', 'combined')
    }
    assert set(costs['procvlm']) == {1.0}
    assert set(costs['topreward']) == {3.0}
    assert max(costs['combined']) == 4.0


def test_the_demonstration_is_of_the_task_that_is_asked_about(tmp_path):
    text = TASKS['drawer_open'].instruction
    folder = demonstration_for(tmp_path, text)
    made = Demonstration.load(Path(folder))
    assert made.goal == text
    assert [step.progress for step in made.steps] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert demonstration_for(tmp_path, text) == folder


def test_time_knows_the_nominal_episode_and_nothing_else(tmp_path):
    nominal = make(Plan('nominal', 'drawer_open', 1), tmp_path, ALLOWANCE)
    frozen = make(Plan('robot_frozen', 'drawer_open', 1), tmp_path, ALLOWANCE)
    good = score(nominal, interpolate(nominal, 9.0, CONFIG), CONFIG)
    bad = score(frozen, interpolate(frozen, 9.0, CONFIG), CONFIG)
    assert good.success.hits == 1
    assert bad.stall.misses == 1
    figures = summary([good, bad], ['drawer_open', 'drawer_open'])
    assert figures['stall_recall'] == 0.0
    assert figures['voc'] > 0.99


def test_a_wrong_call_in_a_calm_episode_is_a_false_alarm(tmp_path):
    episode = make(Plan('paused', 'drawer_open', 1), tmp_path, ALLOWANCE)
    record = play(episode, 'procvlm', CONFIG, Oracle(episode))
    record.calls.append(
        {'at': 6.0, 'stalled': True, 'cause': 'REGRESSION', 'since': 5.0, 'step': ''}
    )
    result = score(episode, record, CONFIG)
    figures = summary([result], ['drawer_open'])
    assert figures['false_alarms'] == 1
    assert figures['false_alarms_per_hour'] == pytest.approx(3600.0 / episode.seconds)


def test_a_call_that_was_right_early_and_still_stands_is_right(tmp_path):
    episode = make(Plan('robot_frozen', 'drawer_open', 1), tmp_path, ALLOWANCE)
    record = play(episode, 'procvlm', CONFIG, Oracle(episode))
    late = replace(episode, stall_from=episode.stall_from + round((ALLOWANCE + 5.0) * 10.0))
    assert score(late, record, CONFIG).stall.hits == 1
    call = record.calls[0]
    record.calls[1:] = [{**call, 'stalled': False, 'at': call['at'] + 0.5}]
    assert score(late, record, CONFIG).stall.misses == 1


@pytest.mark.parametrize(('kind', 'tick'), [('robot_frozen', 0.5), ('slow_model_5s', 5.0)])
def test_how_late_a_stall_is_called_counts_in_the_ticks_of_its_model(kind, tick, tmp_path):
    episode = make(Plan(kind, 'drawer_open', 1), tmp_path, ALLOWANCE)
    record = play(episode, 'procvlm', CONFIG, Oracle(episode))
    onset = max(episode.stall_from * 0.1, CONFIG.stall.grace_period)
    record.calls[0]['at'] = onset + ALLOWANCE + 2.0 * tick
    figures = summary([score(episode, record, CONFIG)], ['drawer_open'])
    assert figures['stall_late_ticks_max'] == pytest.approx(2.0)


def test_a_success_that_was_called_when_nearly_done_counts_if_it_stands(tmp_path):
    episode = make(Plan('quarter_speed', 'drawer_open', 1), tmp_path, ALLOWANCE)
    record = play(episode, 'procvlm', CONFIG, Oracle(episode))
    nearly = float(np.argmax(episode.progress() >= 0.96)) / 10.0
    finished = float(np.argmax(episode.progress() >= 1.0)) / 10.0
    record.successes[:] = [{'at': nearly, 'succeeded': True}]
    assert score(episode, record, CONFIG).success.hits == 1
    record.successes.append({'at': (nearly + finished) / 2.0, 'succeeded': False})
    result = score(episode, record, CONFIG).success
    assert (result.hits, result.false) == (int(nearly >= finished - 1.0), 0)
    record.successes[:] = [{'at': finished / 2.0, 'succeeded': True}]
    assert score(episode, record, CONFIG).success.false == 1


def test_episodes_are_the_same_each_time_and_differ_between_seeds(tmp_path):
    first, again, other = (
        make(Plan('looping', 'push', seed), tmp_path, ALLOWANCE) for seed in (1, 1, 2)
    )
    assert first.shown == again.shown
    assert first.shown != other.shown
    assert all(
        np.array_equal(a, b) for a, b in zip(first.pictures(), again.pictures(), strict=True)
    )


def test_two_hours_over_all_tasks_and_kinds(tmp_path):
    listed = plans(0)
    assert {plan.kind for plan in listed} == set(MAKERS)
    assert len({plan.task for plan in listed}) >= 8
    assert len({plan.name for plan in listed}) == len(listed)
    seconds = sum(make(plan, tmp_path, ALLOWANCE).seconds for plan in listed if plan.kind != 'drop')
    assert seconds >= 6500.0


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path, monkeypatch):
    played: list[str] = []
    real = judgement.play

    def spy(episode, system, config, backend, demonstration):
        played.append(f'{episode.plan.name}/{system}')
        return real(episode, system, config, Oracle(episode))

    monkeypatch.setattr(judgement, 'play', spy)
    common = [
        '--model', str(tmp_path / 'none'), '--cache', str(tmp_path / 'cache' / 'recordings'),
        '--out', str(tmp_path / 'judgement.json'), '--share', '0.01', '--kinds', 'nominal',
        '--strategy', 'procvlm', '--beside', 'published_tool',
    ]  # fmt: skip
    assert judgement.main([*common, '--shard', '0/2']) == 0
    half = len(played)
    lines = tmp_path / 'judgement' / 'part-0of2.jsonl'
    lines.write_text(lines.read_text()[:-40])
    assert judgement.main(common) == 0
    assert len(set(played)) == 24
    assert len(played) == 24 + 1
    assert 0 < half < 24
    figures = json.loads((tmp_path / 'judgement.json').read_text())
    assert figures['procvlm']['voc'] > 0.99
    assert set(figures['baselines']) == {'published_tool', 'time'}


def test_answers_are_remembered_between_processes(tmp_path):
    asked = []

    def loaded():
        asked.append(1)
        return ScriptedBackend(lambda t: f'<progress>{t:.0f}%</progress>')

    episode = make(Plan('nominal', 'drawer_open', 1), tmp_path, ALLOWANCE)
    records = []
    for writer in ('0/2', '1/2'):
        backend = RememberingBackend(loaded, tmp_path / 'answers', writer)
        records.append(play(episode, 'memory_off', CONFIG, backend))
    assert len(asked) == 1
    assert records[0] == records[1]


def test_a_prediction_is_in_its_step_or_is_not():
    begins = [0.0, 0.2, 0.7]
    assert metrics.in_interval([0.1, 0.2, 0.69, 1.0], [0.19, 0.21, 0.3, 1.0], begins) == 1.0
    assert metrics.in_interval([0.3, 0.1], [0.1, 0.3], begins) == 0.0
    assert metrics.in_interval([np.nan, 0.1], [0.1, 0.1], begins) == 1.0
    assert np.isnan(metrics.in_interval([np.nan], [0.1], begins))


def test_rank_correlation_and_errors():
    assert metrics.voc([1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4]) == pytest.approx(1.0)
    assert metrics.voc([4, 3, 2, 1], [1, 2, 3, 4]) == pytest.approx(-1.0)
    assert metrics.voc([5, 5, 5], [1, 2, 3]) == 0.0
    assert metrics.voc([1, np.nan, 3, 2], [1, 9, 3, 2]) == pytest.approx(1.0)
    # Ties take the mean of their ranks: 1, 2.5, 2.5, 4 against 1 .. 4.
    assert metrics.voc([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(0.9486833)
    assert metrics.mae([0.5, np.nan], [0.25, 0.9]) == 0.25
    assert metrics.nse([0.5, 0.0], [0.25, 0.5]) == pytest.approx((0.25 / 0.75 + 1.0) / 2)
