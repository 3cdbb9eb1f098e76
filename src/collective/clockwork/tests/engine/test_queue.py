"""The queue: order, times, quotas' names, and what it refuses."""

from __future__ import annotations

from collective.clockwork.engine import interfaces
from collective.clockwork.engine.agent import Agent
from collective.clockwork.engine.interfaces import IQueue
from collective.clockwork.engine.interfaces import IQueues
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.interfaces import TimeoutError
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.queue import getDefaultQueue
from collective.clockwork.engine.queue import Queue
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import set_now
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.moments import NOW
from collective.clockwork.tests.engine.trouble import without_record
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from uuid import uuid4
from zope.component import provideUtility
from zope.interface.verify import verifyObject

import pytest
import transaction


HOUR = timedelta(hours=1)


@pytest.fixture
def put(queue):
    """Puts a job that mirrors a name, in a transaction of its own."""

    def put_named(name, **options):
        job = queue.put(Job(work.mirror, name), **options)
        transaction.commit()
        return job

    return put_named


def names(jobs) -> list:
    return [job.args[0] for job in jobs]


def test_an_empty_queue(root, queue):
    assert verifyObject(IQueue, queue)
    assert queue.name == ""
    assert queue.parent is root[KEY]
    assert len(queue) == 0
    assert not queue
    assert list(queue) == []
    assert list(queue.dispatchers) == []
    assert not queue.dispatchers
    with pytest.raises(IndexError):
        queue.pull()
    with pytest.raises(IndexError):
        queue.pull(-1)


def test_queues_are_a_mapping_of_queues_only(root):
    queues = root[KEY]
    assert verifyObject(IQueues, queues)
    other = queues["other"] = Queue()
    assert list(queues) == list(queues.keys()) == ["", "other"]
    assert queues.get("other") is queues["other"] is other
    assert "other" in queues and "strange" not in queues
    assert len(queues) == 2
    assert (other.name, other.parent) == ("other", queues)
    with pytest.raises(KeyError):
        queues["strange"]
    with pytest.raises(ValueError, match="not a queue"):
        queues["strange"] = object()
    del queues["other"]
    assert (other.name, other.parent) == (None, None)
    queues["again"] = other
    assert (other.name, other.parent) == ("again", queues)


def test_put_wraps_a_function_and_returns_the_job(frozen, queue):
    job = queue.put(work.answer)
    assert isinstance(job, Job)
    assert list(queue) == [job]
    assert job in queue
    assert job.parent is queue
    assert job.begin_after == job.queued_at == NOW
    assert job.begin_by is None
    assert bool(queue) is True


def test_claim_takes_the_job_out(put, queue):
    job = put("a")
    assert queue.claim() is job
    assert job.parent is None
    assert len(queue) == 0
    assert queue.claim() is None
    assert queue.claim(default="nothing") == "nothing"


def test_a_held_job_is_claimed_when_its_time_has_come(frozen, put, queue):
    job = put("later", begin_after=NOW + HOUR)
    assert queue.claim() is None
    assert len(queue) == 1
    set_now(NOW + HOUR)
    assert queue.claim() is job


def test_held_jobs_are_ordered_by_their_time(frozen, put, queue):
    for hours in (3, 2, 1):
        put(hours, begin_after=NOW + hours * HOUR)
    assert names(queue) == [1, 2, 3]
    assert queue.claim() is None
    assert names(queue) == [1, 2, 3]
    assert [queue[n].args[0] for n in (0, 1, 2, -1)] == [1, 2, 3, 3]
    set_now(NOW + 4 * HOUR)
    assert names(queue.claim() for _ in range(3)) == [1, 2, 3]


def test_pull_takes_out_by_position_and_the_job_can_be_put_again(frozen, put, queue):
    for hours in (1, 2, 3):
        put(hours, begin_after=NOW + hours * HOUR)
    job = queue.pull()
    assert names([job]) == [1]
    assert names(queue) == [2, 3]
    assert (job.status, job.parent, job.assignerUUID) == (interfaces.NEW, None, None)
    queue.put(job)
    transaction.commit()
    assert names(queue) == [1, 2, 3]
    assert names([queue.pull(-1)]) == [3]
    assert names([queue.pull(1)]) == [2]
    with pytest.raises(IndexError):
        queue.pull(1)


@pytest.mark.parametrize("place", ["intake", "lane", "schedule"])
def test_remove_takes_out_wherever_the_job_waits(frozen, db, put, queue, place):
    queue.quotas.create("none", 0)
    options = {"begin_after": NOW + HOUR} if place == "schedule" else {}
    job = Job(work.mirror, "gone")
    job.quota_names = ("none",)
    queue.put(job, **options)
    transaction.commit()
    if place != "intake":
        drain(db)
        transaction.begin()
    kept = put("kept")
    queue.remove(job)
    transaction.commit()
    assert list(queue) == [kept]
    assert len(queue) == 1
    with pytest.raises(LookupError):
        queue.remove(job)
    drain(db)
    transaction.begin()
    assert len(queue) == 0
    assert job.status == interfaces.NEW
    assert kept.result == "kept"


def test_removing_several_from_an_intake_keeps_the_count_right(put, queue):
    jobs = [put(n) for n in range(6)]
    for job in (jobs[4], jobs[1], jobs[5]):
        queue.remove(job)
        transaction.commit()
    assert len(queue) == 3
    assert names(queue) == [0, 2, 3]
    assert names(queue.claim() for _ in range(3)) == [0, 2, 3]
    assert len(queue) == 0
    put("next")
    assert len(queue) == 1
    assert names([queue.claim()]) == ["next"]


def test_undated_and_past_jobs_come_before_held_ones_in_put_order(frozen, put, queue):
    put("held", begin_after=NOW + HOUR)
    assert queue.claim() is None
    put("undated")
    put("past", begin_after=NOW - HOUR)
    assert names(queue) == ["undated", "past", "held"]
    assert names([queue.claim(), queue.claim()]) == ["undated", "past"]
    assert queue.claim() is None


def test_a_time_of_another_zone_is_kept_as_utc_and_a_naive_one_refused(queue):
    zone = timezone(timedelta(hours=-5))
    job = queue.put(work.answer, begin_after=datetime(2031, 1, 1, tzinfo=zone))
    assert job.begin_after == datetime(2031, 1, 1, 5, tzinfo=timezone.utc)
    assert job.begin_after.tzinfo is timezone.utc
    with pytest.raises(ValueError, match="time zone"):
        queue.put(work.answer, begin_after=datetime(2031, 1, 1))
    assert len(queue) == 1


def test_only_due_jobs_are_claimed(frozen, put, queue):
    put("held", begin_after=NOW + HOUR)
    put("a")
    put("b")
    assert names([queue.claim(), queue.claim()]) == ["a", "b"]
    assert queue.claim() is None


def test_a_filter_limits_what_is_claimed(frozen, put, queue):
    for name in ("a", "b", "a"):
        put(name)
    put("b", begin_after=NOW + HOUR)

    def only_b(job):
        return job.args[0] == "b"

    assert names([queue.claim(only_b)]) == ["b"]
    assert queue.claim(only_b) is None
    assert names([queue.claim(), queue.claim()]) == ["a", "a"]


def test_quota_names_are_checked_against_the_queue(put, queue):
    job = put("a")
    with pytest.raises(ValueError, match="unknown quota name"):
        job.quota_names = ("strange",)
    queue.pull()
    job.quota_names = ("strange",)
    with pytest.raises(ValueError, match="unknown quota name"):
        queue.put(job)
    with pytest.raises(TypeError, match="is the string"):
        job.quota_names = "strange"
    assert job.quota_names == ("strange",)
    assert len(queue) == 0
    queue.quotas.create("strange")
    queue.put(job)
    assert list(queue) == [job]


def test_a_job_cannot_be_put_twice(put, queue):
    job = put("a")
    with pytest.raises(ValueError, match="already-assigned"):
        queue.put(job)
    queue.claim()()
    with pytest.raises(ValueError, match="already-assigned"):
        queue.put(job)


def test_an_expired_job_fails_with_a_timeout_and_is_not_run(
    frozen, db, root, counter, put
):
    queue = root[KEY][""]
    job = queue.put(counter.add, begin_by=HOUR)
    transaction.commit()
    set_now(NOW + 2 * HOUR)
    drain(db)
    transaction.begin()
    assert job.result.check(TimeoutError)
    assert job.status == interfaces.COMPLETED
    assert counter.count == 0


def test_an_expired_job_fails_although_no_filter_accepts_it_mended_left_alone(
    frozen, db, queue
):
    """In zc.async a strict filter left expired jobs where they were."""
    drain(db)
    transaction.begin()
    queue.put(work.answer)
    transaction.commit()
    drain(db)
    transaction.begin()
    next(iter(queue.dispatchers.values()))["main"].filter = work.mirrors
    job = queue.put(work.answer, begin_by=HOUR)
    transaction.commit()
    assert drain(db) == 0
    set_now(NOW + 2 * HOUR)
    drain(db)
    transaction.begin()
    assert job.result.check(TimeoutError)


def test_an_expired_job_behind_a_filled_quota_fails_when_its_turn_comes(
    frozen, db, queue
):
    queue.quotas.create("none", 0)
    job = Job(work.answer)
    job.quota_names = ("none",)
    queue.put(job, begin_by=HOUR)
    transaction.commit()
    set_now(NOW + 2 * HOUR)
    drain(db)
    transaction.begin()
    queue.quotas["none"].size = 1
    transaction.commit()
    drain(db)
    transaction.begin()
    assert job.result.check(TimeoutError)


def test_the_assigner_is_the_process_that_queued_mended_inverted_test(queue):
    """zc.async never set it for a new job."""
    assert queue.put(work.answer).assignerUUID is None
    uuid = uuid4()
    provideUtility(uuid, interfaces.IUUID)
    job = queue.put(work.answer)
    transaction.commit()
    assert job.assignerUUID == uuid


def test_a_job_that_is_put_back_is_first_again(put, queue):
    first, second = put("first"), put("second")
    job = queue.claim()
    queue.putBack(job)
    transaction.commit()
    assert list(queue) == [first, second]
    assert job.status == interfaces.PENDING
    assert queue.claim() is first


def test_a_job_that_is_put_back_does_not_wait_for_its_own_place(queue):
    queue.quotas.create("one")
    job = Job(work.answer)
    job.quota_names = ("one",)
    queue.put(job)
    transaction.commit()
    assert queue.claim() is job
    queue.putBack(job)
    transaction.commit()
    assert queue.claim() is job


def test_the_order_is_that_of_the_transactions_not_of_the_calls(queue, elsewhere):
    other = elsewhere()
    there = other.root()[KEY][""]
    queue.put(Job(work.mirror, "called first"))
    there.put(Job(work.mirror, "committed first"))
    other.transaction_manager.commit()
    transaction.commit()
    assert names(queue) == ["committed first", "called first"]
    assert names([queue.claim(), queue.claim()]) == ["committed first", "called first"]


def test_jobs_of_one_transaction_keep_the_order_of_the_calls(queue):
    for number in range(50):
        queue.put(Job(work.mirror, number))
    transaction.commit()
    assert names(queue) == list(range(50))
    assert names(queue.claim() for _ in range(50)) == list(range(50))


def test_a_job_that_is_written_while_it_waits_keeps_its_place(put, queue, elsewhere):
    jobs = [put(name) for name in ("a", "b", "c")]
    other = elsewhere()
    for _time in range(3):
        other.transaction_manager.begin()
        other.get(jobs[0]._p_oid).addCallback(work.mirror)
        other.transaction_manager.commit()
    transaction.begin()
    assert names(queue) == ["a", "b", "c"]
    assert names(queue.claim() for _ in range(3)) == ["a", "b", "c"]


def test_a_job_that_its_producer_writes_twice_keeps_its_place(db, put, queue):
    jobs = [put(name) for name in ("a", "b", "c")]
    for _time in range(3):
        jobs[0].addCallback(work.mirror)
        transaction.commit()
        assert names(queue) == ["a", "b", "c"]
    fresh = db.open(transaction.TransactionManager())
    assert names(fresh.root()[KEY][""]) == ["a", "b", "c"]
    fresh.close()
    assert names(queue.claim() for _ in range(3)) == ["a", "b", "c"]


def test_a_job_that_was_put_behind_a_savepoint_keeps_its_place(db, queue):
    first = queue.put(Job(work.mirror, "a"))
    transaction.savepoint()
    first.addCallback(work.mirror)
    transaction.commit()
    queue.put(Job(work.mirror, "b"))
    transaction.commit()
    first.addCallback(work.mirror)
    transaction.commit()
    assert names(queue) == ["a", "b"]


def test_a_job_that_was_stored_before_is_ordered_by_its_put(root, put, queue):
    stored = root["stored"] = Job(work.mirror, "stored")
    transaction.commit()
    put("first")
    queue.put(stored)
    transaction.commit()
    put("last")
    assert names(queue) == ["first", "stored", "last"]
    stored.addCallback(work.mirror)
    transaction.commit()
    assert names(queue) == ["first", "stored", "last"]
    assert names(queue.claim() for _ in range(3)) == ["first", "stored", "last"]


def test_a_put_that_is_aborted_never_was(queue):
    queue.put(work.answer)
    transaction.abort()
    assert len(queue) == 0
    savepoint = transaction.savepoint()
    queue.put(work.answer)
    savepoint.rollback()
    assert len(queue) == 0


def test_the_default_queue_of_an_object(root, queue, connection):
    assert getDefaultQueue(connection) is queue
    root["counter"] = work.Counter()
    transaction.commit()
    assert getDefaultQueue(root["counter"]) is queue


def test_put_takes_a_log_level_and_a_retry_policy(queue):
    job = queue.put(
        work.answer, failure_log_level=10, retry_policy_factory=work.InAnHour
    )
    assert job.failure_log_level == 10
    assert job.retry_policy_factory is work.InAnHour


def test_jobs_queued_by_jobs_are_run_too(db, root, queue):
    ledger = root["ledger"] = work.Ledger()
    queue.put(Job(work.spawn, ledger, 3))
    transaction.commit()
    assert drain(db) == 4
    transaction.begin()
    assert list(ledger.values()) == [f"spawned {n}" for n in range(3)]


def test_a_job_whose_record_is_gone_does_not_block_the_others(
    db, put, queue, monkeypatch
):
    lost, kept = put("lost"), put("kept")
    oid = lost._p_oid
    original = type(db.storage).loadBefore
    claimers = without_record(original, oid)
    db.cacheMinimize()
    monkeypatch.setattr(type(db.storage), "loadBefore", claimers)
    drain(db)
    transaction.begin()
    assert kept.status == interfaces.COMPLETED
    assert len(queue) == 1, "it is never dropped, but looked at again"


# Dispatchers in the queue: see test_presence; here what a put-back means


def test_a_job_taken_back_keeps_its_slot_in_the_order_of_its_quota(db, queue):
    """Internal wrapper jobs do not exist: the job itself takes its place again."""
    queue.quotas.create("one")
    jobs = []
    for name in ("a", "b"):
        job = Job(work.mirror, name)
        job.quota_names = ("one",)
        jobs.append(queue.put(job))
        transaction.commit()
    agents = queue.dispatchers.register(uuid4())
    agents.activate()
    agents["main"] = Agent()
    assert agents["main"].claimJob() is jobs[0]
    transaction.commit()
    agents.deactivate()
    transaction.commit()
    assert list(queue) == jobs
    assert queue.claim() is jobs[0]
    assert queue.claim() is None
    jobs[0]()
    assert queue.claim() is jobs[1]
