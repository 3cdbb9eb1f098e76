"""Unique jobs: one unfinished job of a key, and no conflicts between different keys."""

from __future__ import annotations

from collective.clockwork.engine import places
from collective.clockwork.engine import unique
from collective.clockwork.engine.agent import Agent
from collective.clockwork.engine.errors import CancelledError
from collective.clockwork.engine.errors import DuplicateJobError
from collective.clockwork.engine.interfaces import DatabaseOpened
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.queue import Queue
from collective.clockwork.engine.subscribers import queue_installer
from collective.clockwork.engine.trees import SmallTree
from collective.clockwork.tests.engine.keyed import action
from collective.clockwork.tests.engine.keyed import end_by_run
from collective.clockwork.tests.engine.keyed import HOUR
from collective.clockwork.tests.engine.keyed import keys
from collective.clockwork.tests.engine.keyed import put
from collective.clockwork.tests.engine.keyed import queue_of
from collective.clockwork.tests.engine.keyed import withdraw
from collective.clockwork.tests.engine.optional import job_with
from uuid import uuid4
from ZODB.broken import Broken
from ZODB.DemoStorage import DemoStorage
from ZODB.POSException import POSKeyError

import pytest
import transaction
import ZODB


MODES = ("refuse", "drop", "replace")


@pytest.fixture
def queue(queue):
    unique.prepare(queue)
    transaction.commit()
    return queue


def assigned(queue):
    """A waiting job, claimed by an agent that does not run it."""
    agents = queue.dispatchers.register(uuid4())
    agents.activate()
    agents["main"] = Agent()
    job = agents["main"].claimJob()
    transaction.commit()
    return job


# What happens to the second


@pytest.mark.parametrize("mode", MODES)
def test_the_first_job_of_a_key_is_queued(queue, mode):
    assert unique.holder(queue, "k") is None
    job = put(queue, on_duplicate=mode)
    transaction.commit()
    assert unique.holder(queue, "k") is job
    assert unique.holder(queue, "other") is None
    assert action(queue, "other", on_duplicate=mode) == unique.GO_ON


def test_refuse_names_the_other_job(queue):
    job = put(queue)
    transaction.commit()
    with pytest.raises(DuplicateJobError, match="key 'k' .*status Pending") as caught:
        put(queue)
    assert caught.value.job is job
    assert caught.value.key == "k"


def test_drop_gives_the_other_job(queue):
    job = put(queue)
    transaction.commit()
    assert put(queue, on_duplicate="drop") is job
    assert len(queue) == 1


def test_replace_withdraws_the_waiting_job(queue):
    old = put(queue)
    transaction.commit()
    new = put(queue, on_duplicate="replace")
    transaction.commit()
    assert str(old.result.value) == "cancelled: another job has its unique key 'k' now"
    assert unique.holder(queue, "k") is new


@pytest.mark.parametrize("mode", ["refuse", "replace"])
def test_debounce_withdraws_the_waiting_job_whatever_the_mode(queue, mode):
    job = put(queue, debounce=HOUR)
    transaction.commit()
    decided = unique.decide(
        queue, job_with(unique="k", debounce=HOUR, on_duplicate=mode)
    )
    assert decided == (unique.WITHDRAW, job)


def test_a_claimed_job_is_not_replaced(queue):
    put(queue)
    transaction.commit()
    job = assigned(queue)
    with pytest.raises(DuplicateJobError, match="Assigned; only a waiting") as caught:
        put(queue, on_duplicate="replace")
    assert caught.value.job is job
    assert put(queue, on_duplicate="drop") is job
    with pytest.raises(DuplicateJobError):
        put(queue)


def test_a_debounced_job_follows_one_that_runs(queue):
    put(queue)
    transaction.commit()
    first = assigned(queue)
    second = put(queue, debounce=HOUR)
    transaction.commit()
    assert unique.holder(queue, "k") is second
    assert first.result is None


def test_a_job_in_its_callbacks_has_its_key_still(queue):
    job = put(queue)
    job._active_start = 1
    job._status = 2
    with pytest.raises(DuplicateJobError, match="Performing Callbacks"):
        put(queue, on_duplicate="replace")
    job._active_start = None
    assert action(queue) == unique.GO_ON, "it was withdrawn"


@pytest.mark.parametrize("mode", ["refuse", "replace"])
def test_nothing_is_stored_when_it_is_refused(queue, mode):
    put(queue)
    transaction.commit()
    assigned(queue)
    transaction.begin()
    with pytest.raises(DuplicateJobError):
        unique.decide(queue, job_with(unique="k", on_duplicate=mode))
    jar = queue._p_jar
    assert not jar._registered_objects
    assert not jar._added


def test_deciding_writes_nothing_even_where_no_job_was_unique_before(root):
    root[KEY]["old"] = Queue()
    transaction.commit()
    old = root[KEY]["old"]
    old.keys = None
    transaction.commit()
    assert action(old) == unique.GO_ON
    assert unique.holder(old, "k") is None
    assert unique.tidy(old) == unique.START
    assert not old._p_jar._registered_objects
    put(old)
    transaction.commit()
    assert keys(old) == {"k"}


@pytest.mark.parametrize("key", ["k", "x" * 500, "schlüssel", "\ud800", "\x00", " "])
def test_any_text_is_a_key(queue, elsewhere, key):
    job = put(queue, key)
    transaction.commit()
    found = unique.holder(queue_of(elsewhere()), key)
    assert found._p_oid == job._p_oid


# Until when


def end_by_withdrawal(db, queue, job):
    withdraw(job)


def end_by_removal(db, queue, job):
    queue.remove(job)


def end_by_pull(db, queue, job):
    while len(queue):
        queue.pull()


def end_by_claim(db, queue, job):
    assert queue.claim() is job


def end_by_another_queue(db, queue, job):
    queue.remove(job)
    other = queue.parent["other"] = Queue()
    other.put(job)


def end_by_another_key(db, queue, job):
    queue.remove(job)
    job.unique = "another"
    queue.put(job)


@pytest.mark.parametrize(
    "end",
    [
        end_by_run,
        end_by_withdrawal,
        end_by_removal,
        end_by_pull,
        end_by_claim,
        end_by_another_queue,
        end_by_another_key,
    ],
)
def test_the_key_is_free_when_its_job_needs_it_no_more(db, queue, end):
    job = put(queue)
    transaction.commit()
    with pytest.raises(DuplicateJobError):
        put(queue)
    end(db, queue, job)
    transaction.commit()
    assert unique.holder(queue, "k") is None
    assert put(queue) is not job
    transaction.commit()
    with pytest.raises(DuplicateJobError):
        put(queue)


def test_a_queue_that_was_made_anew_has_all_keys_free(root, queue):
    put(queue)
    transaction.commit()
    root[KEY][""] = Queue()
    transaction.commit()
    put(root[KEY][""])
    transaction.commit()
    assert keys(root[KEY][""]) == {"k"}


def test_queues_do_not_share_keys(queue):
    put(queue)
    other = queue.parent["other"] = Queue()
    put(other)
    transaction.commit()
    assert keys(queue) == keys(other) == {"k"}


def test_the_key_of_a_job_that_is_not_in_the_database_any_more_is_free(
    queue, monkeypatch
):
    put(queue)
    transaction.commit()
    jar = queue._p_jar

    def lost(oid):
        raise POSKeyError(oid)

    monkeypatch.setattr(jar, "get", lost)
    assert unique.holder(queue, "k") is None


@pytest.mark.parametrize("mode", MODES)
def test_a_job_that_cannot_be_read_here_keeps_its_key(queue, monkeypatch, mode):
    put(queue)
    transaction.commit()
    monkeypatch.setattr(queue._p_jar, "get", lambda oid: Broken())
    with pytest.raises(DuplicateJobError, match="cannot be read here"):
        unique.decide(queue, job_with(unique="k", on_duplicate=mode))
    assert action(queue, debounce=HOUR) == unique.GO_ON
    unique.tidy(queue)
    assert keys(queue) == {"k"}


# In one transaction


def test_two_of_a_key_in_one_transaction(queue):
    job = put(queue)
    with pytest.raises(DuplicateJobError):
        put(queue)
    assert put(queue, on_duplicate="drop") is job
    new = put(queue, on_duplicate="replace")
    transaction.commit()
    assert job.result.check(CancelledError)
    assert unique.holder(queue, "k") is new


def test_what_was_aborted_or_rolled_back_leaves_the_key_free(queue):
    put(queue)
    transaction.abort()
    assert action(queue) == unique.GO_ON
    savepoint = transaction.savepoint()
    put(queue)
    savepoint.rollback()
    assert action(queue) == unique.GO_ON
    put(queue)
    transaction.savepoint()
    with pytest.raises(DuplicateJobError):
        put(queue)
    transaction.commit()
    assert len(queue) == 1


def test_a_queue_that_is_not_stored_yet_knows_keys(root):
    made = Queue()
    made.keys = None
    job = put(made)
    with pytest.raises(DuplicateJobError):
        put(made)
    root[KEY]["made"] = made
    with pytest.raises(DuplicateJobError):
        put(made)
    transaction.commit()
    assert unique.holder(made, "k") is job
    withdraw(job)
    new = put(made)
    transaction.commit()
    assert unique.holder(made, "k") is new


# Two databases


def test_a_job_in_another_database_is_found(components):
    databases: dict = {}
    here = ZODB.DB(DemoStorage(), database_name="here", databases=databases)
    there = ZODB.DB(DemoStorage(), database_name="there", databases=databases)
    queue_installer(DatabaseOpened(here))
    connection = here.open()
    try:
        queue = connection.root()[KEY][""]
        unique.prepare(queue)
        job = job_with(unique="k")
        connection.get_connection("there").add(job)
        assert unique.decide(queue, job).action == unique.GO_ON
        job.mark_queued(queue, 1, 0)
        unique.enter(queue, job, unique.Decision(unique.GO_ON))
        connection.get_connection("there").root()["job"] = job
        transaction.commit()
        assert unique.holder(queue, "k") is job
        assert unique.tidy(queue)
        assert keys(queue) == {"k"}
        withdraw(job)
        assert unique.holder(queue, "k") is None
        unique.tidy(queue)
        assert keys(queue) == set()
    finally:
        transaction.abort()
        connection.close()
        here.close()
        there.close()


# Clearing away what was replaced


def move_to_lanes(queue) -> None:
    """Let the waiting jobs be read by a claimer that takes none of them."""
    transaction.commit()
    assert queue.claim(lambda job: False) is None
    transaction.commit()


def test_a_debounced_job_begins_so_long_after_it_was_queued(queue):
    job = put(queue, debounce=HOUR)
    assert job.begin_after == job.queued_at + HOUR


@pytest.mark.parametrize("in_front", [True, False])
@pytest.mark.parametrize("options", [{"debounce": HOUR}, {"on_duplicate": "replace"}])
def test_the_replaced_job_is_taken_out_of_where_it_waits(queue, options, in_front):
    queue.quotas.create("none", 0)
    old = put(queue, **options)
    if in_front:
        old.quota_names = ("none",)
    for number in range(5):
        put(queue, f"other {number}", **options)
    move_to_lanes(queue)
    new = put(queue, **options)
    transaction.commit()
    assert len(queue) == 7
    assert unique.clear_replaced(queue, new) is old
    assert len(queue) == 6
    assert old not in list(queue)
    assert unique.clear_replaced(queue, new) is None
    transaction.commit()


def test_it_is_found_among_many(queue):
    queue.quotas.create("none", 0)
    jobs = []
    for number in range(2 * places.NEAR + 1):
        jobs.append(put(queue, f"k{number}", ("none",)))
        transaction.commit()
    move_to_lanes(queue)
    old = jobs[places.NEAR + 1]
    new = put(queue, old.unique, ("none",), on_duplicate="replace")
    transaction.commit()
    assert unique.clear_replaced(queue, new) is old


def test_what_is_yet_to_arrive_is_not_cleared_away(queue):
    put(queue)
    transaction.commit()
    new = put(queue, on_duplicate="replace")
    transaction.commit()
    assert unique.clear_replaced(queue, new) is None
    assert len(queue) == 2


def test_a_job_that_replaced_none_clears_nothing_away(queue):
    job = put(queue)
    transaction.commit()
    assert unique.clear_replaced(queue, job) is None


def test_a_replaced_job_that_is_gone_does_no_harm(queue, monkeypatch):
    put(queue)
    transaction.commit()
    new = put(queue, on_duplicate="replace")
    transaction.commit()

    def lost(oid):
        raise POSKeyError(oid)

    monkeypatch.setattr(queue._p_jar, "get", lost)
    assert unique.clear_replaced(queue, new) is None


def test_it_looks_only_near_the_place_of_the_replaced_job(queue):
    put(queue, "k", debounce=HOUR)
    move_to_lanes(queue)
    (key,) = queue.schedule.jobs
    for number in range(300):
        queue.schedule.add(key + 1 + number, job_with())
    old = queue.schedule.jobs[key]
    queue.schedule.remove(key)
    transaction.commit()
    new = put(queue, "k", debounce=HOUR)
    transaction.commit()
    queue._p_jar.cacheMinimize()
    assert unique.clear_replaced(queue, new) is None
    assert old._status == 3
    read = [obj for _oid, obj in queue._p_jar._cache.lru_items()]
    leaves = [obj for obj in read if isinstance(obj, SmallTree._bucket_type)]
    assert 0 < len(leaves) < 20, "of at least 20 with 16 jobs each"


def test_a_new_job_keeps_none_of_those_before_it_in_the_database(queue):
    put(queue)
    transaction.commit()
    for _time in range(3):
        job = put(queue, on_duplicate="replace")
        transaction.commit()
    assert type(job._replaces) is bytes
