"""The judgement benchmark's player against a real node over DDS."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip('rclpy')

from ros_helpers import TESTS, picture

from progress_monitor.config import MonitorConfig
from progress_monitor_lab.bench import judgement_dds
from progress_monitor_lab.bench.judgement_episodes import FRAME_S, Episode, Plan, Shown, plans
from progress_monitor_lab.bench.judgement_recordings import Recording

STILL_FROM, FRAMES = 50, 100


@pytest.fixture
def _picture_monitor(monkeypatch):
    """The node with a model that reads progress from the picture; its own environment is kept."""
    module = (str(TESTS / 'ros_fake_monitor.py'), 'picture')
    monkeypatch.setattr(judgement_dds, 'MONITOR_MODULE', module)
    for name in ('ROS_DOMAIN_ID', 'ROS_AUTOMATIC_DISCOVERY_RANGE'):
        monkeypatch.setenv(name, '0')


def episode() -> Episode:
    progress = np.minimum(np.arange(FRAMES) / FRAMES, STILL_FROM / FRAMES)
    images = np.stack([picture(value, seed=index) for index, value in enumerate(progress)])
    steps = ('Reach', 'Pull')
    remaining = np.full(FRAMES, 2)
    recording = Recording(images, progress, remaining, steps, -1, FRAMES)
    shown = tuple(Shown(index) for index in range(FRAMES))
    return Episode(
        Plan('robot_frozen', 'drawer_open', 1), 'open', recording, shown, stall_from=STILL_FROM
    )


@pytest.mark.usefixtures('_picture_monitor')
def test_the_real_node_calls_what_is_played_to_it_over_dds(tmp_path):
    config = MonitorConfig()
    config = replace(
        config,
        stall=replace(config.stall, allowance=2.0),
        window=replace(config.window, sample_period=0.2),
    )
    with judgement_dds.monitor(str(tmp_path), config) as player:
        record = player.play(episode())
    stalls = [call for call in record.calls if call['stalled']]
    assert [call['cause'] for call in stalls] == ['NO_CHANGE']
    assert stalls[0]['at'] > STILL_FROM * FRAME_S + 1.0
    assert len(record.ticks) > 5
    errors = [abs(value - episode().progress()[index]) for _, index, value, *_ in record.ticks]
    assert np.median(errors) < 0.05


def test_the_chosen_episodes_differ_in_kind_and_task():
    chosen = judgement_dds.chosen(plans(7000), 8)
    assert len({plan.kind for plan in chosen}) == 8
    assert len({plan.task for plan in chosen}) >= 7
