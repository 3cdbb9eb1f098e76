"""Jobs that run longer than they may."""

from __future__ import annotations

from collective.clockwork.engine import station
from collective.clockwork.engine.backoff import Backoff
from collective.clockwork.engine.errors import JobTimeoutError
from collective.clockwork.engine.errors import OptionError
from collective.clockwork.engine.explain import explain
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import deferring
from collective.clockwork.tests.engine import stopping
from collective.clockwork.tests.engine import work
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
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def no_grace(monkeypatch):
    monkeypatch.setattr(station, "GRACE", 0.1)


@pytest.fixture
def put(queue, counter):
    def put(function, *args, **options):
        job = queue.put(Job(function, counter, *args), **options)
        transaction.commit()
        return job

    return put


def assert_timed_out(job, counter, seconds=0.1):
    result = wait_for_result(job, PATIENCE)
    assert result.check(JobTimeoutError), result.getTraceback()
    assert result.value.seconds == seconds
    assert explain(job).code == "timed-out"
    assert counter.count == 0


def assert_swept(queue):
    def is_swept():
        transaction.begin()
        agents = [a for each in queue.dispatchers.values() for a in each.values()]
        return not any(map(len, [queue, *agents]))

    wait_until(is_swept, "sweeping", PATIENCE)


@pytest.mark.parametrize(
    "function", [stopping.check_until_stopped, stopping.sleep_until_stopped]
)
def test_one_that_looks_ends_by_itself(
    put, counter, queue, start_dispatcher, monkeypatch, function
):
    monkeypatch.setattr(station, "GRACE", NEVER)
    start_dispatcher(poll_interval=NEVER)
    job = put(function, "job", timeout=SOON)
    assert_timed_out(job, counter)
    assert_swept(queue)


def test_one_that_does_not_look_commits_nothing(
    put, counter, queue, start_dispatcher, monkeypatch
):
    monkeypatch.setattr(station, "GRACE", NEVER)
    dispatcher = start_dispatcher(poll_interval=NEVER)
    job = put(stopping.ignore, "job", timeout=SOON)
    wait_until_begun("job")
    pool = pool_of(dispatcher)
    wait_until(lambda: pool.overdue(0), "the timeout", PATIENCE)
    work.gate("job").set()
    assert_timed_out(job, counter)
    assert_swept(queue)


def test_one_that_hangs_is_given_up_and_its_thread_replaced(
    put, counter, queue, start_dispatcher, caplog
):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    job = put(stopping.ignore, "job", timeout=SOON)
    wait_until_begun("job")
    pool = pool_of(dispatcher)
    (name,) = pool.running
    (thread,) = (each for each in threading.enumerate() if each.name == name)
    assert_timed_out(job, counter)
    wait_until(lambda: not pool.running, "giving up", PATIENCE)
    assert_swept(queue)
    wait_until(lambda: len(pool.threads) == pool.size, "a new thread", PATIENCE)
    assert thread.is_alive() and thread not in pool.threads
    assert "is given up: it ran longer than its timeout of 0.1 s" in caplog.text
    assert dispatcher.history.jobs[u64(job._p_oid), "unnamed"]["reassigned"]
    # As many as before can be run at once.
    names = [f"other {number}" for number in range(pool.size)]
    others = [queue.put(Job(stopping.ignore, counter, each)) for each in names]
    transaction.commit()
    for each in names:
        wait_until_begun(each)
    work.gate("job").set()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert len(pool.threads) == pool.size
    assert not pool._lost
    for each in names:
        work.gate(each).set()
    assert [wait_for_result(other, PATIENCE) for other in others] == names
    assert counter.count == len(names), "what the lost thread did is not there"
    assert wait_for_result(job).check(JobTimeoutError)
    assert_swept(queue)


@pytest.mark.parametrize("function", [stopping.hang_first, stopping.check_first])
def test_a_policy_may_have_it_tried_again(
    put, counter, queue, start_dispatcher, function
):
    start_dispatcher()
    job = put(function, "job", timeout=SOON, retry_policy_factory=stopping.soon())
    assert wait_for_result(job, PATIENCE) == 2
    assert counter.count == (1 if function is stopping.hang_first else 0)
    assert job._tries == 1
    work.gate("job").set()
    assert_swept(queue)


def test_a_policy_that_has_enough_lets_it_fail(put, counter, queue, start_dispatcher):
    start_dispatcher()
    policy = Backoff(tries=2, first=timedelta(milliseconds=10), jitter=0)
    job = put(stopping.ignore, "job", timeout=SOON, retry_policy_factory=policy)
    assert_timed_out(job, counter)
    assert job._tries == 1
    assert_swept(queue)


def test_one_that_waits_for_a_deferred(put, counter, queue, start_dispatcher):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    job = put(stopping.defer_and_count, "job", timeout=SOON)
    result = wait_for_result(job, PATIENCE)
    assert result.check(JobTimeoutError)
    assert_swept(queue)
    pool = pool_of(dispatcher)
    wait_until(lambda: not pool.deferred, "giving up", PATIENCE)
    deferring.deferreds["job"].callback("late")
    job2 = put(stopping.check_first, "second")
    assert pool_of(dispatcher).size == len(pool_of(dispatcher).threads)
    job2.cancel()
    transaction.commit()
    assert wait_for_result(job).check(JobTimeoutError)


def test_one_that_waits_for_an_inner_job_has_its_time_behind_it(
    queue, start_dispatcher
):
    start_dispatcher(poll_interval=NEVER)
    outer = queue.put(Job(work.put_and_return, work.pass_gate, "inner"), timeout=SOON)
    transaction.commit()
    wait_until_begun("inner")
    other = queue.put(
        Job(stopping.check_until_stopped, work.Counter(), "x"), timeout=SOON
    )
    transaction.commit()
    assert wait_for_result(other, PATIENCE).check(JobTimeoutError)
    work.gate("inner").set()
    assert wait_for_result(outer, PATIENCE) == "inner"


def test_each_attempt_has_the_whole_time(put, start_dispatcher):
    start_dispatcher()
    job = put(stopping.conflict_then_check, "job", timeout=HOUR)
    assert wait_for_result(job, PATIENCE) == 4
    left = work.calls["job left"]
    assert len(left) == 4
    # Less a moment, each of them.
    assert all(HOUR.total_seconds() - 1 < each <= HOUR.total_seconds() for each in left)


def test_a_callback_has_a_time_of_its_own(queue, counter, start_dispatcher):
    start_dispatcher(poll_interval=NEVER)
    job = Job(work.answer)
    callback = Job(stopping.check_late, counter)
    callback.timeout = SOON
    job.addCallback(callback)
    job.addCallback(work.mirror)
    queue.put(job, timeout=HOUR)
    transaction.commit()
    assert wait_for_result(job, PATIENCE) == 42
    assert callback.result.check(JobTimeoutError)
    assert counter.count == 0
    assert job.callbacks[1].result == 42
    assert_swept(queue)


def test_a_callback_has_not_the_time_of_its_job(queue, counter, start_dispatcher):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    job = Job(work.answer)
    job.addCallback(Job(stopping.ignore_result, counter, "callback"))
    queue.put(job, timeout=SOON)
    transaction.commit()
    wait_until_begun("callback")
    other = queue.put(Job(stopping.check_until_stopped, counter, "x"), timeout=SOON)
    transaction.commit()
    assert wait_for_result(other, PATIENCE).check(JobTimeoutError)
    assert job._p_oid not in [
        each.ticket.oid for each in pool_of(dispatcher).overdue(0)
    ]
    work.gate("callback").set()
    assert wait_for_result(job, PATIENCE) == 42
    assert counter.count == 1


def test_a_group_has_none(queue):
    with pytest.raises(OptionError, match="groupable and timeout contradict"):
        queue.put(work.answer, groupable=True, timeout=SOON)
    assert len(queue) == 0
