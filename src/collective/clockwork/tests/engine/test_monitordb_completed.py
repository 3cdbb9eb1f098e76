"""The command ``asyncdb`` on completed jobs, and in large databases."""

from __future__ import annotations

from collective.clockwork.engine import jobsearch
from collective.clockwork.engine import monitordb
from collective.clockwork.engine.dispatcher import getId
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.queue import Queue
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import set_now
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.monitoring import activate
from collective.clockwork.tests.engine.monitoring import ago
from collective.clockwork.tests.engine.monitoring import FIRST
from collective.clockwork.tests.engine.monitoring import hold
from collective.clockwork.tests.engine.monitoring import ids
from collective.clockwork.tests.engine.monitoring import NOW
from collective.clockwork.tests.engine.monitoring import put

import pytest
import transaction


# Completed jobs


def test_cancelled_jobs_are_told_apart_from_failed_ones(queue, db, ask, ask_json):
    fine, failed, cancelled = put(queue, work.answer, work.boom, work.nothing)
    cancelled.cancel("jane")
    transaction.commit()
    drain(db)
    transaction.begin()
    assert ask_json("jobs", "failed") == ids([failed])
    assert ask_json("jobs", "cancelled") == ids([cancelled])
    assert ask_json("count", "completed") == 3
    numbers = ask_json("jobstats", "completed")
    assert [numbers[s] for s in ("succeeded", "failed", "cancelled")] == [1, 1, 1]
    info = ask_json("lastcompleted", "callable:nothing")
    assert (info["failed"], info["cancelled"]) == (False, True)
    with pytest.raises(ValueError, match="only one of"):
        ask("count", "failed", "cancelled")


def test_the_newest_completed_job_is_the_last(queue, db, ask_json):
    jobs = []
    for seconds in (30, 20, 10):
        set_now(ago(seconds))
        jobs += put(queue, work.answer)
        drain(db)
    set_now(NOW)
    transaction.begin()
    assert ask_json("jobs", "completed") == ids(reversed(jobs))
    assert ask_json("lastcompleted")["repr"] == repr(jobs[2])
    assert ask_json("lastcompleted", "end:before15S")["repr"] == repr(jobs[1])
    assert ask_json("lastcompleted", "end:since5S") is None
    assert ask_json("jobs", "succeeded", "end:since25S") == ids([jobs[2], jobs[1]])
    assert ask_json("lastcompleted", "agent:x") is None


def test_completed_jobs_of_several_queues_are_merged_newest_first(queue, db, ask_json):
    second = queue.parent["second"] = Queue()
    transaction.commit()
    jobs = []
    for number in range(4):
        set_now(ago(10 - number))
        jobs += put((queue, second)[number % 2], work.answer)
        drain(db)
        transaction.begin()
    assert ask_json("jobs", "completed") == ids(reversed(jobs))
    assert ask_json("jobs", "completed", "queue:second") == ids([jobs[3], jobs[1]])


def test_a_finished_job_is_completed_before_it_is_swept(queue, ask_json):
    agent = activate(queue, FIRST)
    (job,) = put(queue, work.answer)
    hold(agent, job, 3, start=ago(5))
    assert ask_json("jobs", "completed") == ids([job])
    assert ask_json("count", "completed") == 1
    assert ask_json("count", "active", "assigned") == 0


def test_a_traceback_comes_in_three_lengths(queue, db, ask, ask_json):
    failed, fine = put(queue, Job(work.boom, "bang"), work.answer)
    drain(db)
    oid = str(getId(failed)[0])
    texts = [
        ask("traceback", oid, f"detail:{d}") for d in ("brief", "default", "verbose")
    ]
    assert all(text.endswith("ValueError: bang\n") for text in texts)
    assert len(texts[0]) < len(texts[1]) < len(texts[2])
    assert ask("traceback", oid) == ask("traceback", oid, "unnamed") == texts[1]
    assert ask_json("job", oid)["result"] == texts[0].rstrip("\n")
    assert ask_json("traceback", str(getId(fine)[0])) is None


# Large databases


@pytest.fixture
def unread(monkeypatch):
    """Makes reading a pending job's place in the order an error."""

    def refuse(self):
        raise AssertionError("a job was read")

    monkeypatch.setattr(Job, "order_key", refuse)


def test_counting_pending_and_completed_jobs_reads_none(queue, db, ask_json, unread):
    put(queue, *[work.answer] * 5)
    assert ask_json("count", "pending", "completed") == 5
    assert ask_json("count", "pending", "queue:*") == 5
    with pytest.raises(AssertionError):
        ask_json("count", "pending", "callable:*")


def test_statistics_of_many_pending_jobs_look_at_the_first_and_the_newest(
    queue, ask_json, monkeypatch
):
    monkeypatch.setattr(monitordb, "SAMPLE", 3)
    jobs = []
    for number in range(6):
        set_now(ago(60 - number))
        jobs += put(queue, work.answer)
    set_now(NOW)
    looked_at = []
    wait_time = monitordb.wait_time
    monkeypatch.setattr(
        monitordb,
        "wait_time",
        lambda job, agent=None: looked_at.append(job) or wait_time(job, agent),
    )
    numbers = ask_json("jobstats")
    assert numbers["pending"] == 6
    assert numbers["longest wait"] == [{"minutes": 1}, *ids([jobs[0]])]
    assert numbers["shortest wait"] == [{"seconds": 55.0}, *ids([jobs[5]])]
    assert len(looked_at) == 4


def test_memory_does_not_grow_with_the_jobs_that_are_read(
    queue, db, connection, monkeypatch
):
    for _ in range(200):
        queue.put(Job(work.answer))
    transaction.commit()
    monkeypatch.setattr(jobsearch, "_READ_AT_ONCE", 10)
    manager = transaction.TransactionManager()
    db.setCacheSize(5)
    other = db.open(manager)
    try:
        other._cache.cache_size = 5
        highest = 0
        for _job in jobsearch.Search(other, ["pending"]):
            highest = max(highest, other._cache.cache_non_ghost_count)
        # Without jobs the queue itself has some 40 records.
        assert 0 < highest < 100
    finally:
        manager.abort()
        other.close()
    assert len(connection.root()[KEY][""]) == 200
