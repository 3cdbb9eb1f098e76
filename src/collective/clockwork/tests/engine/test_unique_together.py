"""Unique jobs of several producers at a time, and the tidying of their keys."""

from __future__ import annotations

from collections import Counter
from collective.clockwork.engine import unique
from collective.clockwork.engine.errors import DuplicateJobError
from collective.clockwork.engine.interfaces import DatabaseOpened
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.subscribers import queue_installer
from collective.clockwork.engine.testing import drain
from collective.clockwork.tests.engine.keyed import commit
from collective.clockwork.tests.engine.keyed import end_by_run
from collective.clockwork.tests.engine.keyed import end_by_run_all
from collective.clockwork.tests.engine.keyed import keys
from collective.clockwork.tests.engine.keyed import put
from collective.clockwork.tests.engine.keyed import queue_of
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies
from ZODB.DemoStorage import DemoStorage
from ZODB.POSException import ConflictError

import pytest
import random
import threading
import transaction
import ZODB


@pytest.fixture
def queue(queue):
    unique.prepare(queue)
    transaction.commit()
    return queue


# Several at a time


def test_of_two_producers_of_a_key_the_second_finds_the_job_of_the_first(
    queue, elsewhere
):
    one, two = elsewhere(), elsewhere()
    first = put(queue_of(one))
    put(queue_of(two))
    commit(one)
    with pytest.raises(ConflictError):
        commit(two)
    two.transaction_manager.abort()
    with pytest.raises(DuplicateJobError) as caught:
        put(queue_of(two))
    assert caught.value.job._p_oid == first._p_oid


def test_of_two_who_take_over_a_key_that_became_free_one_wins(db, queue, elsewhere):
    end_by_run(db, queue, put(queue))
    one, two = elsewhere(), elsewhere()
    put(queue_of(one))
    put(queue_of(two))
    commit(one)
    with pytest.raises(ConflictError):
        commit(two)


def test_of_two_who_replace_a_job_one_wins(queue, elsewhere):
    put(queue)
    transaction.commit()
    one, two = elsewhere(), elsewhere()
    put(queue_of(one), on_duplicate="replace")
    put(queue_of(two), on_duplicate="replace")
    commit(one)
    with pytest.raises(ConflictError):
        commit(two)


def same_bucket(queue, count: int) -> list[str]:
    """Different keys of one bucket."""
    wanted = queue.keys.bucket("k")
    found = ["k"]
    number = 0
    while len(found) < count:
        number += 1
        if queue.keys.bucket(f"k{number}") is wanted:
            found.append(f"k{number}")
    return found


def test_producers_of_different_keys_never_conflict_in_one_bucket(db, queue, elsewhere):
    """New keys, freed ones, replaced ones and tidied ones, all at the same time."""
    new, ended, replaced, tidied, other = same_bucket(queue, 5)
    put(queue, ended)
    put(queue, tidied)
    end_by_run_all(db)
    transaction.begin()
    put(queue, replaced)
    transaction.commit()
    connections = [elsewhere() for _ in range(5)]
    queues = [queue_of(connection) for connection in connections]
    put(queues[0], new)
    put(queues[1], ended)
    put(queues[2], replaced, on_duplicate="replace")
    put(queues[3], other)
    del queues[4].keys.bucket(tidied)[tidied]
    for connection in connections:
        commit(connection)
    transaction.begin()
    assert keys(queue) == {new, ended, replaced, other}
    assert all(unique.holder(queue, key) for key in keys(queue))


def test_the_first_and_the_last_key_of_a_bucket_do_not_conflict(db, queue, elsewhere):
    one, two = same_bucket(queue, 2)
    put(queue, one)
    end_by_run_all(db)
    tidier, producer = elsewhere(), elsewhere()
    unique.tidy(queue_of(tidier))
    put(queue_of(producer), two)
    commit(tidier)
    commit(producer)
    transaction.begin()
    assert keys(queue) == {two}


@pytest.mark.parametrize("seed", range(3))
def test_connections_in_any_order(db, queue, elsewhere, seed):
    """What is committed has each key once, and different keys do not conflict."""
    dice = random.Random(seed)
    connections = [elsewhere() for _ in range(6)]
    begun: dict = {}
    for _step in range(400):
        number = dice.randrange(len(connections))
        connection = connections[number]
        if number not in begun:
            key = f"key {dice.randrange(8)}"
            try:
                put(queue_of(connection), key)
            except DuplicateJobError:
                continue
            begun[number] = key
        else:
            key = begun.pop(number)
            expected = key in begun.values()
            try:
                commit(connection)
            except ConflictError:
                connection.transaction_manager.abort()
                continue
            if not expected:
                drain_some(db, dice)
    transaction.begin()
    waiting = Counter(job.unique for job in queue)
    assert set(waiting.values()) <= {1}


def drain_some(db, dice) -> None:
    if dice.random() < 0.2:
        drain(db)


ACTIONS = strategies.lists(
    strategies.tuples(
        strategies.integers(0, 2), strategies.sampled_from(["put", "commit", "run"])
    ),
    max_size=40,
)


@settings(max_examples=30, deadline=None, database=None)
@given(ACTIONS)
def test_no_interleaving_of_different_keys_conflicts(steps):
    db = ZODB.DB(DemoStorage())
    queue_installer(DatabaseOpened(db))
    connections = [db.open(transaction.TransactionManager()) for _ in range(3)]
    try:
        unique.prepare(queue_of(connections[0]))
        commit(connections[0])
        names = same_bucket(queue_of(connections[0]), 3)
        for connection in connections:
            queue_of(connection)
        for number, step in steps:
            connection = connections[number]
            if step == "put":
                put(connection.root()[KEY][""], names[number], on_duplicate="drop")
            else:
                commit(connection)
            if step == "run":
                drain(db)
        for connection in connections:
            commit(connection)
        found = queue_of(connections[0])
        waiting = Counter(job.unique for job in found)
        assert set(waiting.values()) <= {1}
        assert all(unique.holder(found, key) for key in waiting)
    finally:
        for connection in connections:
            connection.transaction_manager.abort()
            connection.close()
        db.close()


def run_threads(db, producers: int, produce) -> list:
    """Runs ``produce(number, connection)`` in threads; returns the errors."""
    errors: list = []
    together = threading.Barrier(producers)

    def work_on(number):
        connection = db.open(transaction.TransactionManager())
        try:
            together.wait(20)
            produce(number, connection)
        except Exception as error:
            errors.append(error)
        finally:
            connection.transaction_manager.abort()
            connection.close()

    threads = [
        threading.Thread(target=work_on, args=(number,)) for number in range(producers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_threads_with_different_keys_never_conflict(db, queue):
    def produce(number, connection):
        for count in range(30):
            put(queue_of(connection), f"{number} {count}")
            commit(connection)

    assert run_threads(db, 6, produce) == []
    transaction.begin()
    assert len(queue) == len(keys(queue)) == 180


def test_of_threads_with_one_key_exactly_one_wins(db, queue):
    won: list = []
    lost: list = []

    def produce(number, connection):
        for count in range(20):
            while True:
                try:
                    put(queue_of(connection), f"key {count}")
                    commit(connection)
                    won.append(count)
                    break
                except DuplicateJobError as error:
                    lost.append((count, error.job._p_oid))
                    break
                except ConflictError:
                    connection.transaction_manager.abort()

    assert run_threads(db, 4, produce) == []
    transaction.begin()
    assert sorted(won) == list(range(20))
    assert len(lost) == 60
    assert len(set(lost)) == 20, "all were told of the same job"
    assert len(queue) == 20


# Tidying


def test_entries_of_ended_jobs_are_removed(db, queue):
    for number in range(20):
        put(queue, f"ended {number}")
    end_by_run_all(db)
    transaction.begin()
    for number in range(20):
        put(queue, f"waiting {number}")
    transaction.commit()
    unique.tidy(queue)
    transaction.commit()
    assert keys(queue) == {f"waiting {number}" for number in range(20)}
    unique.tidy(queue)
    assert not queue._p_jar._registered_objects


def test_it_looks_at_a_bounded_number_and_goes_on_where_it_stopped(
    db, queue, monkeypatch
):
    monkeypatch.setattr(unique, "LOOKED_AT_ONCE", 7)
    ended = {f"ended {number}" for number in range(10)}
    for key in ended:
        put(queue, key)
    end_by_run_all(db)
    transaction.begin()
    waiting = {f"waiting {number}" for number in range(30)}
    for key in waiting:
        put(queue, key)
    transaction.commit()
    looks = []
    real = unique._is_free
    monkeypatch.setattr(
        unique, "_is_free", lambda q, key, job: looks.append(key) or real(q, key, job)
    )
    start = unique.START
    rounds = 0
    while keys(queue) != waiting:
        looks.clear()
        start = unique.tidy(queue, start)
        assert len(set(looks) & waiting) <= 7
        rounds += 1
        assert rounds <= 5, "30 of 7 at a time"


def test_it_removes_a_bounded_number(db, queue, monkeypatch):
    monkeypatch.setattr(unique, "REMOVED_AT_ONCE", 4)
    for number in range(10):
        put(queue, f"ended {number}")
    end_by_run_all(db)
    transaction.begin()
    start = unique.START
    left = []
    for _round in range(3):
        start = unique.tidy(queue, start)
        left.append(len(keys(queue)))
    assert left == [6, 2, 0]
    assert all(len(bucket) == 1 for bucket in queue.keys.buckets)


def test_the_entries_of_ended_jobs_keep_no_job_in_the_database(db, root, queue):
    for number in range(3):
        put(queue, f"ended {number}")
    end_by_run_all(db)
    transaction.begin()
    for agents in queue.dispatchers.values():
        agents["main"].completed.clear()
    transaction.commit()
    for intake in queue.intakes.values():
        intake.items.clear()
    transaction.commit()
    db.pack()
    transaction.begin()
    queue._p_jar.cacheMinimize()
    assert len(keys(queue)) == 3
    assert unique.holder(queue, "ended 0") is None
    unique.tidy(queue)
    assert keys(queue) == set()


def test_a_put_writes_one_bucket_and_little_more(queue):
    put(queue, "one")
    transaction.commit()
    put(queue, "two")
    written = [type(obj).__name__ for obj in queue._p_jar._registered_objects]
    assert sorted(written) == ["Job", "OOBucket", "SmallTree"]
