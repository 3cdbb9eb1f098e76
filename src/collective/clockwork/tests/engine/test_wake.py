"""How dispatchers learn of commits: the relay between storage and database."""

from __future__ import annotations

from collective.clockwork.engine import wake
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.engine.wake import relay_of
from collective.clockwork.engine.wake import Waker
from collective.clockwork.tests.engine import zeoprocess
from collective.clockwork.tests.engine.zeoprocess import PATIENCE

import pytest
import threading
import transaction


@pytest.fixture
def two_clients(tmp_path):
    """Two databases on one ZEO server, as two processes have them."""
    server = zeoprocess.Server(tmp_path, ["main"])
    server.start()
    clients = [zeoprocess.open_database(server.port, ["main"]) for _ in range(2)]
    yield clients
    for client in clients:
        zeoprocess.close_database(client)
    server.process.end()


def commit(db, value) -> None:
    manager = transaction.TransactionManager()
    connection = db.open(manager)
    connection.root()["value"] = value
    manager.commit()
    connection.close()


def wait_in_thread(waker, watch=True) -> threading.Thread:
    thread = threading.Thread(target=waker.wait, args=(PATIENCE, watch), daemon=True)
    thread.start()
    return thread


def test_the_relay_is_made_once_and_hands_on(two_clients):
    here, there = two_clients
    relay = relay_of(here)
    assert relay_of(here) is relay
    connection = here.open()
    told = relay.told
    commit(there, "from there")
    wait_until(lambda: relay.told > told, "invalidation", PATIENCE)
    # The database got it too, so that a new transaction sees it.
    transaction.begin()
    assert connection.root()["value"] == "from there"
    connection.close()


def test_the_first_commit_of_others_wakes_at_once(two_clients, monkeypatch):
    here, there = two_clients
    # So that looking at intervals alone would not do.
    monkeypatch.setattr(wake, "CALM_INTERVAL", 10 * PATIENCE)
    monkeypatch.setattr(wake, "WATCH_INTERVAL", 10 * PATIENCE)
    waker = Waker(here)
    waker.look()
    thread = wait_in_thread(waker)
    wait_until(lambda: waker._eager, "waiting", PATIENCE)
    commit(there, 1)
    thread.join(PATIENCE / 2)
    assert not thread.is_alive()


def test_commits_between_look_and_wait_are_not_missed(two_clients):
    here, there = two_clients
    waker = Waker(here)
    waker.look()
    told = relay_of(here).told
    commit(there, 1)
    wait_until(lambda: relay_of(here).told > told, "invalidation", PATIENCE)
    thread = wait_in_thread(waker)
    thread.join(PATIENCE / 2)
    assert not thread.is_alive()


def test_without_room_commits_of_others_do_not_wake(two_clients):
    here, there = two_clients
    waker = Waker(here)
    waker.look()
    thread = wait_in_thread(waker, watch=False)
    told = relay_of(here).told
    commit(there, 1)
    wait_until(lambda: relay_of(here).told > told, "invalidation", PATIENCE)
    assert thread.is_alive()
    waker.set()
    thread.join(PATIENCE / 2)
    assert not thread.is_alive()


def test_commits_of_the_same_process_are_seen(db):
    waker = Waker(db)
    waker.look()
    thread = wait_in_thread(waker)
    commit(db, 1)
    thread.join(PATIENCE / 2)
    assert not thread.is_alive()
