"""Callbacks that hang past their timeout."""

from __future__ import annotations

from collective.clockwork.engine import station
from collective.clockwork.engine.callbacks import SuccessFailureCallbackProxy
from collective.clockwork.engine.errors import JobTimeoutError
from collective.clockwork.engine.explain import explain
from collective.clockwork.engine.interfaces import COMPLETED
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import deferring
from collective.clockwork.tests.engine import stopping
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.cancelled import assert_tidy
from collective.clockwork.tests.engine.dispatching import NEVER
from collective.clockwork.tests.engine.dispatching import pool_of
from collective.clockwork.tests.engine.dispatching import wait_until_begun
from collective.clockwork.tests.engine.stopping import PATIENCE
from datetime import timedelta
from ZODB.utils import u64

import pytest
import threading
import transaction


SOON = timedelta(milliseconds=100)


@pytest.fixture(autouse=True)
def grace(monkeypatch):
    """Nothing is given up before the test has had a look; see ``lose_patience``."""
    monkeypatch.setattr(station, "GRACE", NEVER)


def lose_patience() -> None:
    # What it was is set again by the fixture.
    station.GRACE = 0.1


@pytest.fixture
def worker(start_dispatcher):
    return start_dispatcher(poll_interval=NEVER)


def hanging(function, *args, policy=None) -> Job:
    callback = Job(function, *args)
    callback.timeout = SOON
    callback.retry_policy_factory = policy
    return callback


def thread_of(pool, name="callback") -> threading.Thread:
    """The thread that hangs in the callback of this name; it may be given up now."""
    wait_until_begun(name)
    (running,) = pool.running
    thread = next(each for each in threading.enumerate() if each.name == running)
    lose_patience()
    return thread


def let_go(thread, name="callback") -> None:
    """What a thread that was given up comes to, when its function returns."""
    work.gate(name).set()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    transaction.begin()


def is_completed(job) -> bool:
    transaction.begin()
    return job.status == COMPLETED


def wait_for_end(job) -> None:
    wait_until(lambda: is_completed(job), "the job's end", PATIENCE)


def test_one_that_hangs_fails_and_those_behind_it_are_called(
    queue, counter, ledger, worker, caplog
):
    job = Job(work.answer)
    callback = job.addCallback(hanging(stopping.ignore_result, counter, "callback"))
    job.addCallback(Job(work.note_result, ledger))
    queue.put(job)
    transaction.commit()
    pool = pool_of(worker)
    thread = thread_of(pool)
    wait_for_end(job)
    assert job.result == 42
    assert callback.result.check(JobTimeoutError)
    assert callback.result.value.seconds == 0.1
    assert explain(callback).code == "timed-out"
    assert list(ledger.values()) == ["42"]
    assert "is given up: it ran longer than its timeout of 0.1 s" in caplog.text
    assert_tidy(queue)
    wait_until(lambda: len(pool.threads) == pool.size, "a new thread", PATIENCE)
    assert thread.is_alive() and thread not in pool.threads
    let_go(thread)
    assert callback.result.check(JobTimeoutError)
    assert counter.count == 0, "what the lost thread did is not there"
    assert list(ledger.values()) == ["42"]
    assert len(pool.threads) == pool.size


def test_one_that_its_policy_wants_to_have_called_again(queue, counter, worker):
    callback = hanging(
        stopping.hang_first_result, counter, "callback", policy=stopping.soon()
    )
    job = Job(work.answer)
    job.addCallback(callback)
    queue.put(job)
    transaction.commit()
    thread = thread_of(pool_of(worker))
    wait_for_end(job)
    assert callback.result == 2
    assert callback._tries == 1
    let_go(thread)
    assert (callback.result, counter.count) == (2, 1)


def test_a_lost_thread_leaves_one_alone_that_waits_to_be_called_again(
    queue, counter, worker
):
    callback = hanging(
        stopping.hang_first_result, counter, "callback", policy=stopping.soon()
    )
    job = Job(work.answer)
    job.addCallback(callback)
    queue.put(job)
    transaction.commit()
    pool = pool_of(worker)
    thread = thread_of(pool)
    queue.pause()
    transaction.commit()
    wait_until(lambda: thread not in pool.threads, "giving up", PATIENCE)
    let_go(thread)
    assert (callback._status, counter.count) == (0, 0)
    assert list(queue) == [job]
    queue.resume()
    transaction.commit()
    wait_for_end(job)
    assert (callback.result, counter.count) == (2, 1)


def test_one_that_has_committed_in_the_middle(queue, counter, ledger, worker):
    job = Job(work.answer)
    callback = job.addCallback(hanging(stopping.commit_and_ignore, counter, "callback"))
    job.addCallback(Job(work.note_result, ledger))
    queue.put(job)
    transaction.commit()
    thread = thread_of(pool_of(worker))
    wait_for_end(job)
    assert callback.result.check(JobTimeoutError)
    let_go(thread)
    assert callback.result.check(JobTimeoutError)
    assert counter.count == 1, "what it committed stays, and nothing else"
    assert list(ledger.values()) == ["42"]
    assert_tidy(queue)


def test_one_that_belongs_to_a_callback_and_was_chosen_for_a_failure(
    queue, counter, ledger, worker
):
    nested = hanging(stopping.ignore_result, counter, "callback")
    job = Job(work.boom)
    above = job.addCallback(work.mirror)
    above.addCallback(SuccessFailureCallbackProxy(None, nested))
    job.addCallback(Job(stopping.note_failure, ledger))
    queue.put(job)
    transaction.commit()
    thread = thread_of(pool_of(worker))
    wait_for_end(job)
    assert nested.result.check(JobTimeoutError)
    assert above.status == COMPLETED
    assert len(ledger) == 1
    let_go(thread)
    assert len(ledger) == 1
    assert_tidy(queue)


def test_one_of_a_job_that_had_waited_for_another(queue, counter, ledger, worker):
    outer = Job(work.put_and_return, work.pass_gate, "inner")
    callback = outer.addCallback(hanging(stopping.ignore_result, counter, "callback"))
    outer.addCallback(Job(work.note_result, ledger))
    queue.put(outer)
    transaction.commit()
    wait_until_begun("inner")

    def waits():
        transaction.begin()
        return u64(outer._p_oid) in queue.waiting

    wait_until(waits, "waiting for the inner job", PATIENCE)
    work.gate("inner").set()
    thread = thread_of(pool_of(worker))
    wait_for_end(outer)
    assert callback.result.check(JobTimeoutError)
    assert outer.result == "inner"
    assert list(ledger.values()) == ["inner"]
    assert len(queue.waiting) == 0
    let_go(thread)
    assert list(ledger.values()) == ["inner"]
    assert_tidy(queue)


def test_one_of_a_job_that_had_returned_a_deferred(queue, counter, ledger, worker):
    job = Job(deferring.defer, "deferred")
    callback = job.addCallback(hanging(stopping.ignore_result, counter, "callback"))
    job.addCallback(Job(work.note_result, ledger))
    queue.put(job)
    transaction.commit()
    pool = pool_of(worker)
    wait_until(lambda: pool.deferred, "waiting for it", PATIENCE)
    deferring.deferreds["deferred"].callback("fired")
    wait_until_begun("callback")
    (thread,) = (
        each
        for each in threading.enumerate()
        if each.name == f"clockwork-deferred-{u64(job._p_oid)}"
    )
    lose_patience()
    wait_for_end(job)
    assert callback.result.check(JobTimeoutError)
    assert list(ledger.values()) == ["fired"]
    let_go(thread)
    assert callback.result.check(JobTimeoutError)
    assert counter.count == 0
    assert list(ledger.values()) == ["fired"]
    assert not pool.deferred
    assert_tidy(queue)


def test_one_that_stops_by_itself_has_its_thread_still(queue, counter, worker):
    job = Job(work.answer)
    callback = job.addCallback(hanging(stopping.check_late, counter))
    job.addCallback(Job(stopping.ignore_result, counter, "next"))
    queue.put(job)
    transaction.commit()
    pool = pool_of(worker)
    thread = thread_of(pool, "next")
    transaction.begin()
    assert callback.result.check(JobTimeoutError)
    # The next one has no timeout, whatever the one before it had.
    wait_for_result(queue_next(queue), PATIENCE)
    assert pool.overdue(0) == []
    assert thread in pool.threads
    work.gate("next").set()
    wait_for_end(job)
    assert counter.count == 1


def queue_next(queue) -> Job:
    other = queue.put(Job(work.answer), timeout=SOON)
    transaction.commit()
    return other
