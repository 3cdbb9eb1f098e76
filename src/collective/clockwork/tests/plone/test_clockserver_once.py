"""Of several processes one calls: the record in the database."""

from __future__ import annotations

from collective.clockwork import clockonce
from collective.clockwork.clockonce import FORGET_AFTER
from collective.clockwork.clockonce import ROOT_KEY
from collective.clockwork.clockonce import take_slice
from collective.clockwork.clocksection import ClockSection
from collective.clockwork.clockthread import Clock
from collective.clockwork.tests.plone.clockhands import Calls
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from unittest import mock
from ZODB.DB import DB
from ZODB.MappingStorage import MappingStorage

import pytest


HOUR = 3600


@pytest.fixture
def db():
    db = DB(MappingStorage())
    yield db
    db.close()


def records(db):
    with db.transaction() as connection:
        return dict(connection.root().get(ROOT_KEY, {}))


def take(db, start, name="tick", method="/@@tick"):
    return take_slice(db, name, method, start, HOUR)


def test_the_first_who_asks_has_the_slice(db):
    assert take(db, 10 * HOUR)
    assert not take(db, 10 * HOUR)
    assert take(db, 11 * HOUR)
    assert not take(db, 10 * HOUR)
    assert records(db) == {("tick", "/@@tick"): (11 * HOUR, HOUR)}


def test_another_name_or_method_is_another_clock(db):
    assert take(db, HOUR)
    assert take(db, HOUR, name="other")
    assert take(db, HOUR, method="/Plone/@@tick")


def test_of_many_that_ask_at_the_same_moment_one_has_it(db):
    crowd = 8
    barrier = Barrier(crowd)

    def ask(start):
        barrier.wait()
        return take(db, start)

    with ThreadPoolExecutor(crowd) as threads:
        for number in range(1, 21):
            answers = list(threads.map(ask, [number * HOUR] * crowd))
            assert sum(answers) == 1


def overtaken(db, **other):
    """Somebody else takes a slice after this process has looked."""
    original = clockonce._take
    pending = [other]

    def take_late(*arguments):
        if pending:
            assert take(db, HOUR, **pending.pop())
        return original(*arguments)

    return mock.patch.object(clockonce, "_take", take_late)


@pytest.mark.parametrize("recorded_before", [False, True])
def test_a_conflict_about_the_same_clock_means_that_another_has_it(db, recorded_before):
    if recorded_before:
        take(db, 0)
    with overtaken(db):
        assert not take(db, HOUR)


@pytest.mark.parametrize("recorded_before", [False, True])
def test_a_conflict_about_another_clock_costs_no_call(db, recorded_before):
    if recorded_before:
        take(db, 0)
    with overtaken(db, name="other"):
        assert take(db, HOUR)
    assert {name for name, _method in records(db)} == {"tick", "other"}


def test_a_record_from_the_future_is_replaced(db):
    take(db, 1000 * HOUR)
    assert take(db, 10 * HOUR)
    assert not take(db, 10 * HOUR)


def test_a_process_whose_time_is_a_little_ahead_does_not_have_others_call_too(db):
    def take_second(start):
        return take_slice(db, "tick", "/@@tick", start, period=1)

    for now in range(1000, 1003):
        assert take_second(now + 5)
        assert not take_second(now)


def test_a_slice_that_is_lost_writes_nothing(db):
    take(db, HOUR)
    before = db.lastTransaction()
    take(db, HOUR)
    assert db.lastTransaction() == before


def test_records_of_clocks_that_are_gone_are_dropped(db):
    later = int(FORGET_AFTER.total_seconds()) + 3 * HOUR
    take(db, HOUR, name="gone")
    take(db, 3 * HOUR, name="recent")
    take(db, later, name="new")
    assert {name for name, _method in records(db)} == {"recent", "new"}


def test_of_two_clocks_with_once_one_calls_in_each_slice(db):
    section = ClockSection("tick", "/@@tick", once=True)
    calls = Calls()
    clocks = [Clock(section, db, call=calls) for _process in range(2)]
    for start in (60, 120, 180):
        for clock in clocks:
            clock.pulse(start)
    assert calls.count == 3


def test_without_once_both_call_and_nothing_is_written(db):
    calls = Calls()
    clocks = [Clock(ClockSection("a", "/"), db, call=calls) for _process in range(2)]
    for clock in clocks:
        clock.pulse(60)
    assert calls.count == 2
    assert records(db) == {}


def test_a_database_that_fails_makes_no_call_and_is_reported(db, caplog):
    calls = Calls()
    clock = Clock(ClockSection("a", "/", once=True), db, call=calls)
    with mock.patch.object(db.storage, "tpc_begin", side_effect=OSError("disk full")):
        clock.pulse(60)
    assert calls.count == 0
    assert "The clock-server a (/): the call failed" in caplog.messages
