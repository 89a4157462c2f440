"""Enums of the messages against Python's, printable text, and stamps. Needs no DDS."""

from __future__ import annotations

import enum
import re
import threading

import numpy as np
import pytest

pytest.importorskip('rclpy')

from progress_monitor.action import MonitorTask
from progress_monitor.msg import MonitorStatus, RecoveryEvent, Stall, Step
from progress_monitor.printable import printable
from progress_monitor.recovery import Kind
from progress_monitor.ros.diagnostics import OK, diagnostics, task
from progress_monitor.ros.latest import LatestWorker
from progress_monitor.ros.messages import image_message, status_message, to_ns, to_time
from progress_monitor.types import (
    NAN,
    BackendState,
    BackendStatus,
    Evidence,
    MonitorUpdate,
    RecoveryHint,
    StallCause,
    State,
    StepStatus,
)


def constants(message: type, prefix: str) -> dict[str, int]:
    """Constants of a message class whose name begins with ``prefix``, without it."""
    names = {*dir(type(message)), *dir(message)}
    return {
        name.removeprefix(prefix): getattr(message, name)
        for name in names
        if name.startswith(prefix)
        and re.fullmatch(r'[A-Z_0-9]+', name)
        and isinstance(getattr(message, name), int)
    }


@pytest.mark.parametrize(
    ('message', 'prefix', 'expected'),
    [
        (MonitorStatus, 'STATE_', State),
        (MonitorStatus, 'EVIDENCE_', Evidence),
        (Stall, 'CAUSE_', StallCause),
        (Stall, 'HINT_', RecoveryHint),
        (Step, '', StepStatus),
        (RecoveryEvent, 'KIND_', Kind),
    ],
)
def test_enums_of_messages_equal_those_of_python(
    message: type, prefix: str, expected: type[enum.IntEnum]
) -> None:
    assert constants(message, prefix) == {item.name: item.value for item in expected}


def test_error_codes_of_the_action_are_a_block_of_their_own() -> None:
    named = constants(MonitorTask.Result, '')
    codes = {name: value for name, value in named.items() if not name.startswith('OUTCOME_')}
    assert codes.pop('NONE') == 0
    assert codes.pop('UNKNOWN') == 10000
    codes = {name: code for name, code in codes.items() if not name.startswith('OUTCOME_')}
    assert len(set(codes.values())) == len(codes) > 5
    assert all(10000 < code < 11000 for code in codes.values())


@pytest.mark.parametrize(
    ('text', 'shown'),
    [
        ('Lift the block.', 'Lift the block.'),
        ('Öffne die Schublade 取', 'Öffne die Schublade 取'),
        ('a\x1b[31mb\x07', 'a\\x1b[31mb\\x07'),
        ('two\r\nlines', 'two\\r\\nlines'),
        ('\x9b2J', '\\x9b2J'),
        ('a\u202eb\u2028c', 'a\\u202eb\\u2028c'),
        ('\ud800', '\\ud800'),
        ('x' * 600, 'x' * 500 + '…'),
    ],
)
def test_text_of_others_is_made_printable(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(text).isprintable()


def test_a_status_is_short_and_printable_whatever_it_says() -> None:
    update = MonitorUpdate(0, State.STALE, Evidence.UNREADABLE, '\x1b' + 'é' * 1_000_000, None)
    message = status_message(update, None, NAN, NAN).message
    assert message.isprintable()
    assert len(message) < 600


@pytest.mark.parametrize('state', BackendState)
def test_diagnostics_know_every_state_of_the_model(state: BackendState) -> None:
    backend = BackendStatus(state, message='\x1b[2J')
    update = MonitorUpdate(0, State.LOADING, Evidence.UNKNOWN, '', None, backend=backend)
    handled = task('messages', OK, 'all are handled')
    array = diagnostics('monitor', update, None, (), NAN, NAN, handled)
    assert [status.name for status in array.status] == [
        f'monitor: {name}' for name in ('camera', 'inference', 'model', 'memory', 'messages')
    ]
    assert all(status.message.isprintable() for status in array.status)


def test_of_much_work_only_the_newest_is_done_and_errors_end_nothing() -> None:
    started, go = threading.Event(), threading.Event()
    done: list[int] = []
    failed: list[Exception] = []

    def work(item: int) -> None:
        started.set()
        assert go.wait(10)
        done.append(item)
        if item == 0:
            raise ValueError('the first one')

    worker = LatestWorker('test', work, failed.append)
    worker.hand_over(0)
    assert started.wait(10)
    for item in range(1, 100):
        worker.hand_over(item)
    started.clear()
    go.set()
    assert started.wait(10)
    worker.close()
    assert done == [0, 99]
    assert [str(error) for error in failed] == ['the first one']
    worker.hand_over(100)
    assert done == [0, 99]


@pytest.mark.parametrize('stamp_ns', [1, 999_999_999, 1_700_000_000_123_456_789])
def test_a_stamp_comes_back_to_the_nanosecond(stamp_ns: int) -> None:
    image = image_message(np.zeros((2, 2, 3), np.uint8), stamp_ns, 'camera')
    assert to_ns(image.header.stamp) == to_ns(to_time(stamp_ns)) == stamp_ns


@pytest.mark.parametrize(('stamp_ns', 'second'), [(-(10**18), 0), (2**62, 2**31 - 1)])
def test_a_stamp_that_no_message_holds_is_the_nearest_that_one_does(
    stamp_ns: int, second: int
) -> None:
    assert to_time(stamp_ns).sec == second
