"""Intakes: producers never conflict, and nothing that they put is lost."""

from __future__ import annotations

from collective.clockwork.engine.intake import Intake
from collective.clockwork.engine.intake import STOCK
from collective.clockwork.engine.intake import TRIM
from collective.clockwork.engine.interfaces import DatabaseOpened
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.queue import Queue
from collective.clockwork.engine.subscribers import queue_installer
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.trouble import commit_again
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies
from ZODB.DemoStorage import DemoStorage
from ZODB.POSException import ConflictError

import pytest
import random
import transaction
import ZODB


class Party:
    """Connections that put and one that claims, in any interleaving."""

    def __init__(self, db, producers: int):
        self.connections = [
            db.open(transaction.TransactionManager()) for _ in range(producers)
        ]
        self.claimer = db.open(transaction.TransactionManager())
        #: What each connection has put and not committed.
        self.open: list[list] = [[] for _ in range(producers)]
        self.committed: list = []
        self.claimed: list = []
        self.count = 0

    def put(self, number: int) -> None:
        name = (number, self.count)
        self.count += 1
        queue = self.connections[number].root()[KEY][""]
        queue.put(Job(work.mirror, name))
        self.open[number].append(name)

    def begin(self, number: int) -> None:
        self.connections[number].transaction_manager.begin()
        self.open[number] = []

    def commit(self, number: int) -> None:
        self.connections[number].transaction_manager.commit()
        self.committed.extend(self.open[number])
        self.open[number] = []

    def claim(self, number: int) -> None:
        self.claimer.transaction_manager.begin()
        queue = self.claimer.root()[KEY][""]
        for _time in range(number + 1):
            job = queue.claim()
            if job is None:
                break
            self.claimed.append(tuple(job.args[0]))
        self.claimer.transaction_manager.commit()

    def finish(self) -> None:
        """Commit all, claim all, and compare."""
        for number in range(len(self.connections)):
            self.commit(number)
        left = -1
        while left != len(self.claimed):
            left = len(self.claimed)
            self.claim(20)
        assert len(self.claimer.root()[KEY][""]) == 0
        assert sorted(self.claimed) == sorted(self.committed)
        for number in range(len(self.connections)):
            mine = [name for name in self.claimed if name[0] == number]
            assert mine == [name for name in self.committed if name[0] == number]

    def close(self) -> None:
        for connection in (*self.connections, self.claimer):
            connection.transaction_manager.abort()
            connection.close()


ACTIONS = ("put", "put", "begin", "commit", "claim")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("producers", [2, 20])
def test_connections_that_queue_at_once_never_conflict(db, seed, producers):
    dice = random.Random(seed)
    party = Party(db, producers)
    for _step in range(600):
        getattr(party, dice.choice(ACTIONS))(dice.randrange(producers))
    party.finish()
    assert len(party.claimed) > 50
    party.close()


@settings(max_examples=40, deadline=None, database=None)
@given(
    strategies.lists(
        strategies.tuples(strategies.sampled_from(ACTIONS), strategies.integers(0, 3)),
        max_size=60,
    )
)
def test_no_interleaving_conflicts_or_loses_a_job(steps):
    db = ZODB.DB(DemoStorage())
    queue_installer(DatabaseOpened(db))
    party = Party(db, 4)
    try:
        for action, number in steps:
            getattr(party, action)(number)
        party.finish()
    finally:
        party.close()
        db.close()


def test_a_producer_drops_what_the_claimers_have_passed(queue):
    for _round in range(10):
        for number in range(TRIM):
            queue.put(Job(work.mirror, number))
            transaction.commit()
        assert len(queue) == TRIM
        for number in range(TRIM):
            assert queue.claim().args == [number]
        transaction.commit()
        assert len(queue) == 0
    entries = [len(intake.items) for intake in queue.intakes.values()]
    assert sum(entries) <= 2 * TRIM


def test_a_connection_keeps_its_intake(db, queue):
    for _time in range(5):
        queue.put(work.answer)
        transaction.commit()
    used = [intake for intake in queue.intakes.values() if len(intake)]
    assert len(used) == 1
    assert len(used[0]) == 5


def test_each_connection_has_an_intake_of_its_own_and_the_stock_is_filled(
    queue, elsewhere
):
    for _time in range(3 * STOCK):
        other = elsewhere()
        other.root()[KEY][""].put(work.answer)
        other.transaction_manager.commit()
    transaction.begin()
    used = [intake for intake in queue.intakes.values() if len(intake)]
    assert len(used) == 3 * STOCK
    assert len(queue.intakes.stock) == STOCK
    assert not any(len(queue.intakes.by_name[name]) for name in queue.intakes.stock)


def test_a_snapshot_older_than_all_leases_still_finds_an_intake(queue, elsewhere):
    old = [elsewhere() for _ in range(2 * STOCK)]
    for connection in old:
        assert len(connection.root()[KEY][""]) == 0
    for connection in old:
        connection.root()[KEY][""].put(work.answer)
    for connection in old[:STOCK]:
        connection.transaction_manager.commit()
    for connection in old[STOCK:]:
        commit_again(connection, lambda c: c.root()[KEY][""].put(work.answer))
    transaction.begin()
    assert len(queue) == 2 * STOCK


def test_a_put_that_was_aborted_leaves_its_intake_usable(queue):
    queue.put(work.answer)
    transaction.abort()
    queue.put(work.answer)
    transaction.commit()
    assert len(queue) == 1


def test_the_length_knows_about_a_closing_entry():
    intake = Intake()
    assert len(intake) == 0 and not intake.closed
    intake.append(Job(work.answer))
    assert len(intake) == 1
    intake.cursor.position = 1
    assert len(intake) == 0
    intake.close()
    assert intake.closed
    assert len(intake) == 0
    assert list(intake.unread()) == []


PASSED = [0, 1, TRIM - 1, TRIM, 15, 16, 17, 40]


def used_intake(queue, passed: int) -> str:
    """Let so many jobs pass through this connection's intake; returns its name."""
    before = set(queue.intakes.stock)
    for number in range(passed):
        queue.put(Job(work.mirror, number))
    transaction.commit()
    while queue.claim() is not None:
        transaction.commit()
    transaction.commit()
    if not passed:
        # Lease it, and leave it as it was.
        queue.put(work.answer)
        transaction.abort()
    transaction.begin()
    (name,) = before - set(queue.intakes.stock)
    assert len(queue.intakes.by_name[name]) == 0
    return name


def close_elsewhere(connection, name) -> None:
    connection.transaction_manager.begin()
    connection.root()[KEY][""].intakes.remove(name)
    connection.transaction_manager.commit()


@pytest.mark.parametrize("passed", PASSED)
def test_a_put_in_flight_while_its_intake_is_closed_is_done_again(
    queue, elsewhere, passed
):
    name = used_intake(queue, passed)
    queue.put(Job(work.mirror, "in flight"))
    close_elsewhere(elsewhere(), name)
    with pytest.raises(ConflictError):
        transaction.commit()
    transaction.abort()
    queue.put(Job(work.mirror, "again"))
    transaction.commit()
    assert name not in queue.intakes.by_name
    assert [job.args[0] for job in queue] == ["again"]
    assert queue.claim().args == ["again"]


@pytest.mark.parametrize("passed", PASSED)
def test_an_old_snapshot_does_not_put_into_a_closed_intake(queue, elsewhere, passed):
    name = used_intake(queue, passed)
    assert len(queue) == 0
    close_elsewhere(elsewhere(), name)
    queue.put(Job(work.mirror, "old snapshot"))
    with pytest.raises(ConflictError):
        transaction.commit()
    transaction.abort()
    queue.put(Job(work.mirror, "again"))
    transaction.commit()
    assert [job.args[0] for job in queue] == ["again"]


@pytest.mark.parametrize("passed", PASSED)
def test_an_intake_that_was_just_used_cannot_be_closed(queue, elsewhere, passed):
    name = used_intake(queue, passed)
    closer = elsewhere()
    closer.root()[KEY][""].intakes.remove(name)
    queue.put(Job(work.mirror, "first"))
    transaction.commit()
    with pytest.raises(ConflictError):
        closer.transaction_manager.commit()
    closer.transaction_manager.abort()
    assert [job.args[0] for job in queue] == ["first"]
    assert queue.claim().args == ["first"]


def test_a_producer_of_a_closed_intake_gets_another_without_a_conflict(
    queue, elsewhere
):
    name = used_intake(queue, 3)
    close_elsewhere(elsewhere(), name)
    transaction.begin()
    queue.put(Job(work.mirror, "next"))
    transaction.commit()
    assert [job.args[0] for job in queue] == ["next"]


def test_a_queue_that_was_just_made_takes_jobs_before_its_commit(root):
    made = root[KEY]["new"] = Queue()
    made.put(Job(work.mirror, 1))
    made.put(Job(work.mirror, 2))
    transaction.commit()
    made.put(Job(work.mirror, 3))
    transaction.commit()
    assert [job.args[0] for job in made] == [1, 2, 3]
    assert [made.claim().args[0] for _ in range(3)] == [1, 2, 3]


def test_a_claimer_and_a_producer_on_one_connection(queue):
    queue.put(Job(work.mirror, 1))
    assert queue.claim().args == [1]
    queue.put(Job(work.mirror, 2))
    transaction.commit()
    assert [job.args[0] for job in queue] == [2]
