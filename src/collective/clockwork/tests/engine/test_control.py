"""What a running job is asked to do."""

from __future__ import annotations

from collective.clockwork.engine import clock
from collective.clockwork.engine.control import Control
from collective.clockwork.engine.errors import CancelledError
from collective.clockwork.engine.errors import JobTimeoutError
from collective.clockwork.engine.testing import set_now
from datetime import timedelta

import pytest
import threading


@pytest.fixture
def stopped_clock():
    set_now(clock.now())
    yield
    clock.freeze(None)


def pass_time(seconds):
    set_now(clock.now() + timedelta(seconds=seconds))


def test_nothing_is_due_at_first():
    control = Control(threading.Event())
    control.check()
    assert not control.is_due
    assert control.cancel is None
    assert control.seconds_left is None


def test_a_cancel_is_raised_with_who_asked_and_why():
    control = Control()
    control.ask_to_cancel("anna", "a mistake")
    control.ask_to_cancel("bert", "later")
    assert control.is_due
    with pytest.raises(CancelledError) as raised:
        control.check()
    assert (raised.value.by, raised.value.reason) == ("anna", "a mistake")


def test_a_timeout_is_raised_when_its_time_has_come(stopped_clock):
    control = Control()
    control.begin_attempt(10)
    pass_time(9)
    control.check()
    assert control.seconds_left == pytest.approx(1)
    pass_time(1)
    assert control.is_overdue and control.is_due
    with pytest.raises(JobTimeoutError) as raised:
        control.check()
    assert raised.value.seconds == 10


def test_each_attempt_has_its_own_time(stopped_clock):
    control = Control()
    control.begin_attempt(10)
    pass_time(20)
    control.begin_attempt(10)
    control.check()
    control.begin_attempt(None)
    pass_time(1_000_000)
    control.check()


def test_a_cancel_comes_before_a_timeout(stopped_clock):
    control = Control()
    control.begin_attempt(1)
    pass_time(2)
    control.ask_to_cancel()
    with pytest.raises(CancelledError):
        control.check()
    with pytest.raises(JobTimeoutError):
        control.check_timeout()


def test_a_stop_is_due_but_raises_nothing():
    stopping = threading.Event()
    control = Control(stopping)
    assert not control.is_stopping
    stopping.set()
    assert control.is_stopping and control.is_due
    control.check()


def test_watchers_are_called_for_a_cancel_while_they_watch():
    control = Control()
    called = []
    with control.watched(lambda: called.append(1)):
        assert called == []
        control.ask_to_cancel()
        assert called == [1]
    control.ask_to_cancel()
    assert called == [1]


def test_a_watcher_that_comes_after_the_cancel_is_called_at_once():
    control = Control()
    control.ask_to_cancel()
    called = []
    with control.watched(lambda: called.append(1)):
        assert called == [1]


def test_one_of_many_threads_asks_first():
    control = Control()
    barrier = threading.Barrier(8)

    def ask(number):
        barrier.wait(20)
        control.ask_to_cancel(str(number))
        seen.append(control.cancel)

    seen: list = []
    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(seen) == 8
    assert set(seen) == {control.cancel}
