"""Groups of one process take turns, and what may happen to them while they wait."""

from __future__ import annotations

from collective.clockwork.engine import groups
from collective.clockwork.engine import pool as pools
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import grouping
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.dispatching import pool_of

import pytest
import transaction


@pytest.fixture(autouse=True)
def be_patient(monkeypatch):
    grouping.be_patient(monkeypatch.setattr)


@pytest.fixture
def ledger(root):
    made = root["ledger"] = work.Ledger()
    transaction.commit()
    return made


@pytest.fixture
def pool(queue, start_dispatcher):
    return pool_of(grouping.start_ready(queue, start_dispatcher))


@pytest.fixture
def turn():
    """Another group has the turn, until this is called or the test ends."""
    groups._turn.acquire()
    held = [True]

    def release():
        held.clear()
        groups._turn.release()

    yield release
    if held:
        release()


def put_two(queue, ledger) -> list:
    jobs = [
        queue.put(Job(grouping.note, ledger, name), groupable=True)
        for name in ("first", "second")
    ]
    transaction.commit()
    return jobs


def waits_for_its_turn(pool) -> bool:
    return bool(pool._tails) and not pool.running


def test_a_group_waits_for_its_turn(queue, pool, ledger, turn, monkeypatch):
    monkeypatch.setattr(groups, "PATIENCE", grouping.PATIENCE)
    jobs = put_two(queue, ledger)
    wait_until(lambda: waits_for_its_turn(pool), "a thread that waits")
    assert pool.queued == 2
    turn()
    assert grouping.finish(*jobs) == ["first", "second"]
    assert len(grouping.commits_of(jobs)) == 1


def test_it_goes_on_behind_one_that_keeps_the_turn(
    queue, pool, ledger, turn, monkeypatch
):
    monkeypatch.setattr(groups, "PATIENCE", 0.01)
    jobs = put_two(queue, ledger)
    assert grouping.finish(*jobs) == ["first", "second"]


def test_what_was_given_back_meanwhile_is_run_once(
    queue, pool, ledger, turn, monkeypatch
):
    monkeypatch.setattr(groups, "PATIENCE", grouping.PATIENCE)
    jobs = put_two(queue, ledger)
    wait_until(lambda: waits_for_its_turn(pool), "a thread that waits")
    pool.withdraw()
    assert pool.queued == 0
    turn()
    assert grouping.finish(*jobs) == ["first", "second"]
    assert grouping.names(ledger) == ["first", "second"]


def test_what_waits_for_long_is_given_back(queue, pool, ledger, turn, monkeypatch):
    monkeypatch.setattr(groups, "PATIENCE", grouping.PATIENCE)
    jobs = put_two(queue, ledger)
    wait_until(lambda: waits_for_its_turn(pool), "a thread that waits")
    assert not pool.is_stuck()
    monkeypatch.setattr(pools, "GIVE_BACK_GROUPABLE_AFTER", 0.0)
    pool.dispatcher.waker.set()
    wait_until(lambda: not pool._tails, "the jobs given back")
    monkeypatch.setattr(pools, "GIVE_BACK_GROUPABLE_AFTER", 1e6)
    turn()
    assert grouping.finish(*jobs) == ["first", "second"]
    assert grouping.names(ledger) == ["first", "second"]
