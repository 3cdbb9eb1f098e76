"""Cancelling jobs that wait, wherever they do."""

from __future__ import annotations

from collective.clockwork.engine import cancelling
from collective.clockwork.engine import clock
from collective.clockwork.engine import deaths
from collective.clockwork.engine import quarantine
from collective.clockwork.engine.explain import explain
from collective.clockwork.engine.interfaces import BadStatusError
from collective.clockwork.engine.interfaces import COMPLETED
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.queue import Queue
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import stopping
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.cancelled import assert_cancelled
from collective.clockwork.tests.engine.cancelled import assert_tidy
from collective.clockwork.tests.engine.cancelled import cancel
from collective.clockwork.tests.engine.cancelled import is_tidy
from collective.clockwork.tests.engine.stopping import PATIENCE
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from ZODB.POSException import ConflictError

import logging
import pytest
import transaction


HOUR = timedelta(hours=1)
LATER = datetime(2130, 1, 1, tzinfo=timezone.utc)


# What waits


def test_one_in_an_intake(db, queue, put):
    job, other = put(work.answer), put(work.answer)
    assert cancel(job) == cancelling.WITHDRAWN
    assert job.status == COMPLETED
    assert_cancelled(job)
    drain(db)
    assert_tidy(queue)
    assert other.result == 42


@pytest.mark.parametrize("options", [{}, {"begin_by": HOUR}])
def test_one_behind_a_full_quota(db, queue, put, options):
    queue.quotas.create("none", 0)
    ahead, job, behind = (put(work.answer, quotas=("none",), **options) for _ in "abc")
    drain(db)
    transaction.begin()
    assert len(queue.lanes[("none",)].jobs) == 3
    assert cancel(job) == cancelling.WITHDRAWN
    assert_cancelled(job)
    drain(db)
    transaction.begin()
    assert list(queue) == [ahead, behind]
    assert is_tidy(queue)
    assert len(queue.deadlines) == (2 if options else 0)


@pytest.mark.parametrize("arrived", [True, False])
def test_one_with_callbacks_behind_a_full_quota(db, queue, put, ledger, arrived):
    queue.quotas.create("none", 0)
    job = put(work.answer, quotas=("none",))
    job.addCallback(Job(stopping.note_failure, ledger))
    transaction.commit()
    if arrived:
        drain(db)
    assert cancel(job) == cancelling.WITHDRAWN
    drain(db)
    assert_cancelled(job)
    assert list(ledger.values()) == ["CancelledError: cancelled by jane: not needed"]
    assert_tidy(queue)


@pytest.mark.parametrize("arrived", [True, False])
def test_one_in_the_schedule(db, queue, put, arrived):
    job = put(work.answer, begin_after=LATER)
    if arrived:
        drain(db)
        transaction.begin()
        assert queue.schedule.length == 1
    assert cancel(job) == cancelling.WITHDRAWN
    assert_cancelled(job)
    drain(db)
    assert_tidy(queue)


def test_one_that_fell_due_behind_many_others(db, queue, put):
    queue.quotas.create("none", 0)
    job = queue.put(due_job(timedelta(seconds=0.5)))
    transaction.commit()
    # Queued later, but due before it.
    for _number in range(cancelling.CLEARED_AT_ONCE + 30):
        queue.put(due_job(timedelta(seconds=-2)))
    transaction.commit()
    wait_until(lambda: fell_due(db, queue), "falling due", PATIENCE)
    cancel(job)
    drain(db)
    transaction.begin()
    assert len(queue) == cancelling.CLEARED_AT_ONCE + 30
    assert is_tidy(queue)


def due_job(after):
    job = Job(work.answer)
    job.quota_names = ("none",)
    job.begin_after = datetime.now(timezone.utc) + after
    return job


def fell_due(db, queue) -> bool:
    drain(db)
    transaction.begin()
    return not queue.schedule.length and queue.lanes[("none",)].length


def test_one_that_was_put_off_for_a_retry(db, queue, put):
    job = put(work.boom, retry_policy_factory=work.InAnHour)
    drain(db)
    transaction.begin()
    assert queue.schedule.length == 1
    assert cancel(job) == cancelling.WITHDRAWN
    assert_cancelled(job)
    drain(db)
    assert_tidy(queue)


def test_a_unique_key_is_free_at_once(db, queue, put):
    job = put(work.answer, unique="k")
    transaction.begin()
    assert queue.cancel(job) == cancelling.WITHDRAWN
    second = queue.put(Job(work.answer), unique="k")
    transaction.commit()
    assert_cancelled(job, None, None)
    drain(db)
    transaction.begin()
    assert second.result == 42
    assert_tidy(queue)


def test_one_in_quarantine(db, queue, put, ledger):
    plain, with_callback = put(work.answer), put(work.answer)
    with_callback.addCallback(Job(stopping.note_failure, ledger))
    for job in (plain, with_callback):
        job._deaths = deaths.Evidence()
        queue._take_out(job)
        quarantine.set_aside(queue, job, clock.now_us())
    transaction.commit()
    for job in (plain, with_callback):
        assert explain(job).code == "quarantined"
        assert cancel(job) == cancelling.WITHDRAWN
    assert not queue.quarantine
    drain(db)
    assert_cancelled(plain)
    assert_cancelled(with_callback)
    assert len(ledger) == 1
    assert_tidy(queue)


def test_many_at_once(db, queue, put):
    queue.quotas.create("none", 0)
    jobs = [Job(work.answer) for _ in range(cancelling.CLEARED_AT_ONCE * 2 + 1)]
    for job in jobs:
        job.quota_names = ("none",)
        queue.put(job)
    transaction.commit()
    drain(db)
    transaction.begin()
    for job in jobs:
        assert queue.cancel(job) == cancelling.WITHDRAWN
    transaction.commit()
    for _time in range(3):
        drain(db)
    assert_tidy(queue)


def test_it_is_done_when_the_transaction_is(db, queue, put):
    job = put(work.answer)
    assert job.cancel() == cancelling.WITHDRAWN
    transaction.abort()
    drain(db)
    transaction.begin()
    assert job.result == 42


def test_it_is_logged_and_no_error(db, put, caplog):
    job = put(work.answer)
    with caplog.at_level(logging.INFO):
        cancel(job)
        drain(db)
    assert "cancelled by jane: not needed" in caplog.text
    assert all(record.levelno <= logging.INFO for record in caplog.records)


# What cannot be cancelled


def test_a_finished_one(db, queue, put):
    job = put(work.answer)
    drain(db)
    assert cancel(job) == cancelling.LATE
    assert queue.cancel(job) == cancelling.LATE
    assert job.result == 42
    assert queue.cancels is None


def test_one_that_was_cancelled_already(db, queue, put):
    job = put(work.answer)
    assert cancel(job) == cancelling.WITHDRAWN
    assert cancel(job, "bert") == cancelling.LATE
    drain(db)
    assert_cancelled(job)


def test_one_in_no_queue(queue, put):
    new, removed = Job(work.answer), put(work.answer)
    queue.remove(removed)
    transaction.commit()
    for job in (new, removed):
        with pytest.raises(BadStatusError, match="is in no queue"):
            job.cancel()
        with pytest.raises(BadStatusError, match="is in no queue"):
            queue.cancel(job)


def test_one_of_another_queue(db, root, queue, put):
    other = root[KEY]["other"] = Queue()
    job = put(work.answer)
    with pytest.raises(LookupError, match="item not in queue"):
        other.cancel(job)
    transaction.commit()
    assert other.withdrawn is None
    assert job.queue is queue
    drain(db)
    transaction.begin()
    assert job.result == 42


def test_a_callback(db, put):
    job = put(work.answer)
    callback = job.addCallback(work.mirror)
    proxy = job.addCallbacks(work.mirror)
    transaction.commit()
    for each in (callback, proxy.success):
        with pytest.raises(BadStatusError, match="is part of another job: cancel that"):
            each.cancel()
    drain(db)
    transaction.begin()
    assert callback.result == 42


def test_of_two_at_once_one_conflicts_and_is_late_then(db, elsewhere, put, queue):
    job = put(work.answer)
    other = elsewhere()
    seen = other.get(job._p_oid)
    assert seen.cancel("bert") == cancelling.WITHDRAWN
    assert cancel(job) == cancelling.WITHDRAWN
    with pytest.raises(ConflictError):
        other.transaction_manager.commit()
    other.transaction_manager.abort()
    assert other.get(job._p_oid).cancel("bert") == cancelling.LATE
    drain(db)
    assert_cancelled(job)
    assert_tidy(queue)
