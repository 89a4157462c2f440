"""Plays an episode to the monitor, or to a baseline, in simulated time and notes what it says."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from progress_monitor.config import MonitorConfig
from progress_monitor.dialogue import Dialogue
from progress_monitor.monitor import ProgressMonitor
from progress_monitor.strategies import STRATEGIES as KNOWN_STRATEGIES
from progress_monitor.strategies.procvlm import ProcVLM
from progress_monitor.types import (
    Backend,
    Estimate,
    Evidence,
    Frame,
    Recollection,
    State,
    Task,
    Verdict,
    View,
    new_uid,
)
from progress_monitor_lab.bench.judgement_answers import MeteredBackend
from progress_monitor_lab.bench.judgement_episodes import FRAME_S, NOISE_FREE, Episode
from progress_monitor_lab.bench.paced import PacedBackend

START_NS = 1_000_000_000_000
STRATEGIES = tuple(KNOWN_STRATEGIES)
ABLATION = 'memory_off'
BASELINES = ('published_tool', 'last_frame')
SYSTEMS = (*STRATEGIES, ABLATION, *BASELINES)
OVER_DDS = 'over_dds'
Noted = tuple[float, int, float | None, int, int]


@dataclass
class Record:
    """What one system said about one episode. Times are seconds from its start.

    ``ticks`` holds (time of the newest frame, frame, value, evidence, verdict) for each answer,
    ``costs`` the model's processor time for each of them, ms, ``calls`` each stall message,
    ``successes`` each success message, and ``states`` the seconds spent in each state.
    """

    episode: str
    system: str
    seconds: float
    ticks: list[Noted] = field(default_factory=list)
    costs: list[float | None] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    successes: list[dict[str, Any]] = field(default_factory=list)
    states: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def configured(config: MonitorConfig, system: str, demonstration: str = '') -> MonitorConfig:
    """The monitor's parameters for a strategy, or for ``procvlm`` without the memory's sentence.

    ``demonstration`` is the folder of the task's demonstration, for ``progresslm``.
    """
    memory = replace(config.memory, in_prompt=system != ABLATION)
    shown = replace(config.progresslm, demonstration=demonstration)
    strategy = 'procvlm' if system == ABLATION else system
    return replace(config, memory=memory, strategy=strategy, progresslm=shown)


def play(
    episode: Episode,
    system: str,
    config: MonitorConfig,
    backend: Backend,
    demonstration: str = '',
) -> Record:
    """Play ``episode`` to one of ``SYSTEMS``; ``backend`` must answer inside ``submit``."""
    metered = MeteredBackend(backend)
    if system in BASELINES:
        return _play_plain(episode, system, config, metered)
    return _play_monitor(episode, system, configured(config, system, demonstration), metered)


def deliveries(episode: Episode) -> Iterator[tuple[int, int, Frame]]:
    """(delivery in ns, index in the episode, frame), in the order of delivery."""
    frames = []
    for index, (item, image) in enumerate(zip(episode.shown, episode.pictures(), strict=True)):
        stamp_ns = START_NS + round(index * FRAME_S * 1e9)
        frame = Frame(new_uid(), 'camera', stamp_ns, image)
        frames.append((stamp_ns + round(item.late * 1e9), index, frame))
    return iter(sorted(frames, key=lambda delivery: delivery[:2]))


def _play_monitor(
    episode: Episode, system: str, config: MonitorConfig, metered: MeteredBackend
) -> Record:
    record = Record(episode.plan.name, system, episode.seconds)
    if episode.disturbance == NOISE_FREE:
        # As a simulator states of its own cameras.
        config = replace(config, camera=replace(config.camera, noise_free='yes'))
    backend: Backend = metered
    if episode.answer_s > 0.0:
        backend = PacedBackend(metered, episode.answer_s)
    monitor = ProgressMonitor(config, backend, cameras=('camera',))
    monitor.set_task(Task(episode.plan.name, episode.text), START_NS)
    for delivered_ns, _, frame in deliveries(episode):
        if isinstance(backend, PacedBackend):
            backend.now_ns = delivered_ns
        monitor.observe(frame)
        update = monitor.tick(delivered_ns)
        name = State(update.state).name
        record.states[name] = round(record.states.get(name, 0.0) + FRAME_S, 3)
        if update.estimate is not None:
            value = update.progress if update.estimate.evidence is Evidence.GOOD else math.nan
            _note_tick(record, update.estimate, value, metered)
        now = seconds(delivered_ns)
        for report in update.stalls:
            record.calls.append(
                {
                    'at': now,
                    'stalled': report.stalled,
                    'cause': report.cause.name,
                    'since': seconds(report.since_ns),
                    'step': report.step,
                }
            )
        record.successes += [
            {'at': now, 'succeeded': success.succeeded} for success in update.successes
        ]
    return record


def _play_plain(
    episode: Episode, system: str, config: MonitorConfig, metered: MeteredBackend
) -> Record:
    """The baselines: single answers against fixed thresholds, with neither memory nor evidence.

    ``published_tool`` is the way of ProcVLM's own tool: the newest eight samples, the start padded
    with copies of the first, the last value repeated where no tag is found, success at 95 %.
    ``last_frame`` shows the newest frame alone. Both are given the plainest rules for stall and
    regression.
    """
    record = Record(episode.plan.name, system, episode.seconds)
    strategy, rule = ProcVLM(config), PlainRule(config, repeats=system == 'published_tool')
    dialogue = Dialogue(metered)
    window: list[Frame] = []
    next_ns = START_NS
    for delivered_ns, _, frame in deliveries(episode):
        if delivered_ns < next_ns:
            continue
        next_ns = delivered_ns + round(config.window.sample_period * 1e9)
        window = [*window, frame][-8:] if system == 'published_tool' else [frame]
        shown = [window[0]] * (8 - len(window)) + window if system == 'published_tool' else window
        view = View(tuple(shown), frame.stamp_ns)
        dialogue.ask(strategy.ask(view, Recollection(episode.text)), view, episode.text)
        (reply,) = dialogue.replies()
        if reply.answer is None:
            continue
        estimate = strategy.read((reply.answer,), view)
        value = rule.add(seconds(delivered_ns), estimate, record)
        _note_tick(record, estimate, value, metered)
    return record


class PlainRule:
    """Stall, regression and success by one threshold each, on single values."""

    def __init__(self, config: MonitorConfig, repeats: bool) -> None:
        self._config = config
        self._repeats = repeats
        self._value = 0.0 if repeats else math.nan
        self._best, self._best_at = -1.0, 0.0
        self._stalled = self._done = False

    def add(self, now: float, estimate: Estimate, record: Record) -> float:
        """Take in one answer and return the value that the baseline goes by."""
        if math.isfinite(estimate.progress):
            self._value = estimate.progress
        elif not self._repeats:
            return math.nan
        value = self._value
        done = value >= 0.95
        if done != self._done:
            self._done = done
            record.successes.append({'at': now, 'succeeded': done})
        if value >= self._best + self._config.stall.minimum_gain or self._best < 0.0:
            if self._stalled:
                self._call(record, now, False, 'NONE')
            self._best, self._best_at, self._stalled = value, now, False
        elif not self._stalled and not done:
            if value <= self._best - self._config.regression.drop:
                self._call(record, now, True, 'REGRESSION')
            elif now - self._best_at >= self._config.stall.allowance:
                self._call(record, now, True, 'NO_CHANGE')
        return value

    def _call(self, record: Record, now: float, stalled: bool, cause: str) -> None:
        self._stalled = stalled
        since = self._best_at if stalled else now
        record.calls.append(
            {'at': now, 'stalled': stalled, 'cause': cause, 'since': since, 'step': ''}
        )


def interpolate(episode: Episode, usual_s: float, config: MonitorConfig) -> Record:
    """The baseline that looks at nothing: the share of the task's usual time."""
    record = Record(episode.plan.name, 'time', episode.seconds)
    done = False
    for at in np.arange(0.0, episode.seconds, config.window.sample_period):
        index = min(round(float(at) / FRAME_S), len(episode.shown) - 1)
        value = min(float(at) / usual_s, 1.0)
        verdict = Verdict.DONE if value >= 1.0 else Verdict.NOT_DONE
        known = round(value, 4)
        record.ticks.append((round(float(at), 3), index, known, int(Evidence.GOOD), int(verdict)))
        if value >= 1.0 and not done:
            done = True
            record.successes.append({'at': float(at), 'succeeded': True})
    return record


def _note_tick(record: Record, estimate: Estimate, value: float, metered: MeteredBackend) -> None:
    at = seconds(estimate.stamp_ns)
    known = round(value, 4) if math.isfinite(value) else None
    verdict = int(estimate.verdict)
    record.ticks.append((at, round(at / FRAME_S), known, int(estimate.evidence), verdict))
    cost = metered.take()
    record.costs.append(round(cost, 3) if math.isfinite(cost) else None)


def seconds(stamp_ns: int) -> float:
    """Seconds from the start of an episode, of a stamp in simulated time."""
    return round((stamp_ns - START_NS) * 1e-9, 3)
