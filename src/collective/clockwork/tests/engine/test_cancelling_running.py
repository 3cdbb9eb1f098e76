"""Cancelling jobs that a worker has, or that wait for others."""

from __future__ import annotations

from collective.clockwork.engine import cancelling
from collective.clockwork.engine import monitor
from collective.clockwork.engine import pool as pool_module
from collective.clockwork.engine.agent import Agent
from collective.clockwork.engine.base import identity
from collective.clockwork.engine.compose import parallel
from collective.clockwork.engine.compose import serial
from collective.clockwork.engine.dispatcher import getId
from collective.clockwork.engine.explain import explain
from collective.clockwork.engine.interfaces import COMPLETED
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import deferring
from collective.clockwork.tests.engine import stopping
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.cancelled import assert_cancelled
from collective.clockwork.tests.engine.cancelled import assert_tidy
from collective.clockwork.tests.engine.cancelled import cancel
from collective.clockwork.tests.engine.dispatching import keep_from_threads
from collective.clockwork.tests.engine.dispatching import NEVER
from collective.clockwork.tests.engine.dispatching import pool_of
from collective.clockwork.tests.engine.dispatching import wait_until_begun
from collective.clockwork.tests.engine.stopping import PATIENCE
from uuid import UUID
from ZODB.POSException import ConflictError

import pytest
import transaction


WORKER = UUID(int=7)


@pytest.fixture
def begun(put, counter, start_dispatcher):
    """Puts a job, and returns it when it has begun."""

    def begun(function, **options):
        start_dispatcher(poll_interval=NEVER)
        job = put(function, counter, "job", **options)
        wait_until_begun("job")
        return job

    return begun


# What a worker has


@pytest.mark.parametrize(
    "function",
    [
        stopping.check_until_stopped,
        stopping.sleep_until_stopped,
        stopping.fail_when_stopped,
    ],
)
def test_a_running_one_ends_and_has_written_nothing(begun, counter, queue, function):
    options = {}
    if function is stopping.fail_when_stopped:
        options["retry_policy_factory"] = work.AtOnce
    job = begun(function, **options)
    assert cancel(job) == cancelling.ASKED
    reason = explain(job)
    assert reason.code in ("cancelling", "cancelled")
    assert_cancelled(job)
    assert counter.count == 0
    assert_tidy(queue)


def test_a_running_one_is_counted_as_cancelled_and_not_as_failed(
    put, counter, start_dispatcher
):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    job = put(stopping.check_until_stopped, counter, "job")
    wait_until_begun("job")
    cancel(job)
    number = getId(job)[0]

    def info():
        return dispatcher.getJobInfo(number)

    wait_until(lambda: info()["completed"], "its record", PATIENCE)
    assert (info()["failed"], info()["cancelled"]) == (False, True)
    numbers = dispatcher.getStatistics()
    wanted = {"started": 1, "successful": 0, "failed": 0, "cancelled": 1}
    assert {name: numbers[name] for name in wanted} == wanted
    assert numbers["longest cancelled"] == getId(job)
    assert numbers["longest failed"] is None
    assert monitor.jobstats(uuid=dispatcher.UUID) == numbers


def test_a_running_loop_ends_at_a_commit(begun, counter, queue):
    job = begun(stopping.each_until_stopped)
    assert cancel(job) == cancelling.ASKED
    assert_cancelled(job)
    assert counter.count == 1
    assert_tidy(queue)


def test_one_that_never_looks_ends_as_if_nothing_was_asked(begun, counter, queue):
    job = begun(stopping.ignore)
    assert cancel(job) == cancelling.ASKED
    assert explain(job).code == "cancelling"
    assert explain(job).values["by"] == "jane"
    work.gate("job").set()
    assert wait_for_result(job, PATIENCE) == "job"
    assert counter.count == 1
    assert_tidy(queue)


def test_one_that_catches_it_may_end_as_it_likes(begun, counter, queue):
    job = begun(stopping.catch)
    cancel(job)
    text = "caught: cancelled by jane: not needed"
    assert wait_for_result(job, PATIENCE) == text
    assert counter.count == 2
    assert_tidy(queue)


def test_the_first_who_asks_counts(begun):
    job = begun(stopping.ignore)
    assert cancel(job) == cancel(job, "bert") == cancelling.ASKED
    assert explain(job).values["by"] == "jane"
    work.gate("job").set()


def test_one_that_is_put_off_after_it_was_asked_is_withdrawn(begun, counter, queue):
    job = begun(stopping.fail_when_stopped, retry_policy_factory=work.InAnHour)
    assert cancel(job) == cancelling.ASKED
    assert_cancelled(job)
    assert counter.count == 0
    assert_tidy(queue)


def test_callbacks_get_the_failure_and_are_not_cancelled(
    put, counter, ledger, queue, start_dispatcher
):
    start_dispatcher()
    job = Job(stopping.check_until_stopped, counter, "job")
    job.addCallback(Job(stopping.note_failure, ledger))
    job.addCallback(Job(stopping.check_in_callback, ledger, "callback"))
    queue.put(job)
    transaction.commit()
    wait_until_begun("job")
    cancel(job)
    wait_until_begun("callback")
    assert cancel(job) == cancelling.LATE
    work.gate("callback").set()
    assert_cancelled(job)
    assert list(ledger.values()) == [
        "CancelledError: cancelled by jane: not needed",
        "callback",
    ]
    assert_tidy(queue)


def test_a_request_that_comes_with_the_end_does_not_reach_the_callbacks(
    put, counter, ledger, queue, start_dispatcher
):
    dispatcher = start_dispatcher()
    job = Job(work.answer)
    job.addCallback(Job(stopping.check_in_callback, ledger, "callback"))
    queue.put(job)
    transaction.commit()
    wait_until_begun("callback")
    pool_of(dispatcher).cancel(identity(job), "jane", None)
    work.gate("callback").set()
    assert wait_for_result(job, PATIENCE) == 42
    assert list(ledger.values()) == ["callback"]


@pytest.mark.parametrize("callback", [False, True])
def test_one_that_is_claimed_but_not_begun(
    put, counter, ledger, queue, start_dispatcher, monkeypatch, callback
):
    monkeypatch.setattr(pool_module, "GIVE_BACK_AFTER", NEVER)
    dispatcher = start_dispatcher(poll_interval=NEVER)
    pool = pool_of(dispatcher)
    keep_from_threads(pool)
    transaction.begin()
    job = Job(stopping.ignore, counter, "job")
    if callback:
        job.addCallback(Job(stopping.note_failure, ledger))
    queue.put(job)
    transaction.commit()
    wait_until(lambda: pool.queued, "a claim", PATIENCE)
    assert explain_now(job).code == "claimed"
    assert cancel(job) == cancelling.ASKED
    wait_until(lambda: pool._cancelled, "the request", PATIENCE)
    with pool._changed:
        pool._inbox.extend(pool._tails)
        pool._tails.clear()
        pool._changed.notify()
    assert_cancelled(job)
    assert counter.count == 0
    assert len(ledger) == callback
    assert_tidy(queue)


def explain_now(job):
    transaction.begin()
    return explain(job)


def test_one_that_a_pause_gives_back_after_it_was_asked(
    counter, queue, start_dispatcher, monkeypatch
):
    monkeypatch.setattr(pool_module, "GIVE_BACK_AFTER", NEVER)
    dispatcher = start_dispatcher(poll_interval=NEVER)
    pool = pool_of(dispatcher)
    keep_from_threads(pool)
    transaction.begin()
    job = queue.put(Job(stopping.ignore, counter, "job"))
    transaction.commit()
    wait_until(lambda: pool.queued, "a claim", PATIENCE)
    assert cancel(job) == cancelling.ASKED
    wait_until(lambda: pool._cancelled, "the request", PATIENCE)
    queue.pause()
    transaction.commit()
    assert_cancelled(job)
    assert not pool._cancelled
    queue.resume()
    transaction.commit()
    assert_tidy(queue)


def test_one_that_waits_for_a_deferred(begun, counter, queue):
    job = begun(stopping.defer_and_count)
    wait_until(lambda: is_deferred(job), "waiting", PATIENCE)
    assert cancel(job) == cancelling.ASKED
    assert_cancelled(job)
    deferring.deferreds["job"].callback("late")
    assert_tidy(queue)
    assert_cancelled(job)
    assert counter.count == 1, "what it did was committed before it waited"


def is_deferred(job):
    transaction.begin()
    return job._deferred


def test_a_withdrawal_that_meets_the_begin_throws_the_work_away(
    put, counter, queue, elsewhere, start_dispatcher
):
    job = put(stopping.ignore, counter, "job")
    other = elsewhere()
    seen = other.get(job._p_oid)
    assert seen.cancel("jane", "not needed") == cancelling.WITHDRAWN
    start_dispatcher(poll_interval=NEVER)
    wait_until_begun("job")
    other.transaction_manager.commit()
    work.gate("job").set()
    assert_cancelled(job)
    assert_tidy(queue)
    assert counter.count == 0


def test_a_withdrawal_that_comes_after_the_end_conflicts(
    put, counter, queue, elsewhere, start_dispatcher
):
    job = put(stopping.ignore, counter, "job")
    other = elsewhere()
    seen = other.get(job._p_oid)
    assert seen.cancel() == cancelling.WITHDRAWN
    work.gate("job").set()
    start_dispatcher(poll_interval=NEVER)
    assert wait_for_result(job, PATIENCE) == "job"
    with pytest.raises(ConflictError):
        other.transaction_manager.commit()
    assert counter.count == 1
    assert_tidy(queue)


def test_a_request_outlives_the_worker(put, counter, queue, start_dispatcher):
    """It stops before it has heard of the request."""
    first = start_dispatcher()
    job = put(stopping.ignore, counter, "job")
    wait_until_begun("job")
    first.waker.wait = lambda *args, **kwargs: first.stopping.wait(PATIENCE)
    wait_until(lambda: first.last_poll, "a poll")
    first.deactivate(0)
    transaction.begin()
    queue.cancels = queue.cancels or cancelling._tree(queue, "cancels")
    request = cancelling.Request(job, "jane", 1, "not needed")
    queue.cancels[cancelling._key(job)] = request
    transaction.commit()
    work.gate("job").set()
    start_dispatcher()
    assert_cancelled(job)
    assert counter.count == 0
    assert_tidy(queue)


def test_those_that_do_not_stop_keep_nobody_from_being_heard(
    begun, put, counter, queue
):
    job = begun(stopping.check_until_stopped)
    tree = cancelling._tree(queue, "cancels")
    others = [Job(work.answer) for _ in range(cancelling.CLEARED_AT_ONCE + 1)]
    for number, other in enumerate(others):
        queue._p_jar.add(other)
        other._status = 1
        tree["", b"%08d" % number] = cancelling.Request(other, None, 1, None)
    transaction.commit()
    cancel(job)
    assert_cancelled(job)
    for other in others:
        other._status = 3
    transaction.commit()
    assert_tidy(queue)


# What waits for others


def is_waiting(job):
    transaction.begin()
    return job.is_waiting


def test_one_that_waits_for_an_inner_job(queue, put, ledger, start_dispatcher):
    queue.quotas.create("none", 0)
    queue.quotas.create("one", 1)
    start_dispatcher(poll_interval=NEVER)
    outer = Job(work.put_in_quota_and_return, "none")
    outer.quota_names = ("one",)
    outer.addCallback(Job(stopping.note_failure, ledger))
    queue.put(outer)
    transaction.commit()
    wait_until(lambda: is_waiting(outer), "waiting", PATIENCE)
    inner = outer.result
    assert cancel(outer) == cancelling.ASKED
    assert_cancelled(inner)
    assert_cancelled(outer)
    assert len(ledger) == 1
    assert_tidy(queue)


@pytest.mark.parametrize("compose", [serial, parallel])
def test_a_batch_is_cancelled_with_all_its_members(
    queue, counter, start_dispatcher, compose
):
    start_dispatcher(poll_interval=NEVER)
    names = ["a", "b", "c"]
    members = [Job(stopping.check_until_stopped, counter, name) for name in names]
    end = Job(work.echo)
    batch = queue.put(compose(*members, postprocess=end))
    transaction.commit()
    wait_until_begun("a")
    wait_until(lambda: is_waiting(batch), "waiting", PATIENCE)
    assert cancel(batch) == cancelling.ASKED
    for job in (*members, end, batch):
        assert_cancelled(job)
    assert counter.count == 0
    assert_tidy(queue)


def test_an_argument_is_not_what_it_waits_for(queue, start_dispatcher):
    queue.quotas.create("none", 0)
    other = Job(work.answer)
    other.quota_names = ("none",)
    queue.put(other)
    start_dispatcher(poll_interval=NEVER)
    job = Job(return_inner_of, other)
    queue.put(job)
    transaction.commit()
    wait_until(lambda: is_waiting(job), "waiting", PATIENCE)
    cancel(job)
    assert_cancelled(job)
    assert other.status != COMPLETED
    assert list(queue) == [other]


def return_inner_of(other):
    return work.put_in_quota_and_return("none")


# More than one database


def test_one_of_another_database(databases):
    connection = databases["main"].open()
    root = connection.root()
    queue = connection.get_connection("async").root()[KEY][""]
    job = Job(work.answer)
    root["job"] = job
    connection.add(job)
    queue.put(job)
    transaction.commit()
    assert job._p_jar is connection
    assert cancel(job) == cancelling.WITHDRAWN
    assert_cancelled(job)
    drain(databases["async"])
    assert_tidy(queue)
    connection.close()


def test_a_request_for_one_of_another_database(databases):
    connection = databases["main"].open()
    queue = connection.get_connection("async").root()[KEY][""]
    job = connection.root()["job"] = Job(work.answer)
    connection.add(job)
    queue.put(job)
    transaction.commit()
    agents = queue.dispatchers.register(WORKER)
    agents.activate()
    agents["main"] = Agent()
    assert agents["main"].claimJob() is job
    transaction.commit()
    assert cancel(job) == cancelling.ASKED
    assert list(queue.cancels)[1:] == [("main", job._p_oid)]
    assert explain(job).code == "cancelling"
    transaction.begin()
    agents.deactivate()
    transaction.commit()

    class Nobody:
        """A pool without this job."""

        def cancel(self, *args):
            raise AssertionError("it was given back")

    assert cancelling.heed(queue, agents["main"], Nobody()) == (True, [])
    transaction.commit()
    assert_cancelled(job)
    drain(databases["async"])
    assert_tidy(queue)
    connection.close()
