"""Jobs that return Deferreds, and reactors beside a dispatcher."""

from __future__ import annotations

from collective.clockwork.engine import monitordb
from collective.clockwork.engine import pool
from collective.clockwork.engine.dispatcher import getId
from collective.clockwork.engine.interfaces import AbortedError
from collective.clockwork.engine.interfaces import ACTIVE
from collective.clockwork.engine.interfaces import COMPLETED
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.interfaces import PENDING
from collective.clockwork.engine.job import isFailure
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.job import NeverRetry
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.testing import wait_for_start
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import deferring
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.dispatching import NEVER
from collective.clockwork.tests.engine.dispatching import pool_of
from collective.clockwork.tests.engine.dispatching import wait_for_agents
from collective.clockwork.tests.engine.zeoprocess import output_of

import pytest
import threading
import transaction


@pytest.fixture(autouse=True)
def deferreds():
    deferring.deferreds.clear()


def wait_for_deferred(name="d"):
    return wait_until(lambda: deferring.deferreds.get(name), f"Deferred {name}")


def fire_elsewhere(fire, *arguments):
    thread = threading.Thread(target=fire, args=arguments)
    thread.start()
    thread.join(6)
    assert not thread.is_alive()


def wait_until_deferred(job, dispatcher):
    """Return when the job is committed as active and its thread is free."""
    mine = pool_of(dispatcher)
    wait_until(lambda: mine.deferred and not mine.running, "waiting for the Deferred")
    transaction.begin()
    assert job.status == ACTIVE


# By hand


def test_a_job_called_by_hand_is_active_until_its_deferred_fires(root):
    job = root["job"] = Job(deferring.defer, "d")
    transaction.commit()
    deferred = job()
    assert deferred is deferring.deferreds["d"]
    assert job.status == ACTIVE
    assert job.result is None
    deferred.callback(42)
    assert wait_for_result(job) == 42
    assert job.active_end is not None


def test_a_deferred_that_has_fired_already_gives_its_value(root):
    job = root["job"] = Job(deferring.defer_fired, 42)
    transaction.commit()
    job()
    assert wait_for_result(job) == 42


def test_a_job_that_is_not_stored_cannot_wait_for_a_deferred():
    job = Job(deferring.defer, "d")
    job()
    assert isFailure(job.result)
    assert "is not stored" in job.result.getErrorMessage()


def test_what_the_function_changed_is_committed_with_the_deferred(
    root, counter, elsewhere
):
    job = root["job"] = Job(deferring.count_and_defer, counter, "d")
    transaction.commit()
    deferred = job()
    assert elsewhere().root()["counter"].count == 1
    deferred.callback(None)
    assert wait_for_result(job) is None
    assert counter.count == 1


def test_a_callback_may_return_a_deferred_which_its_job_does_not_wait_for(root):
    job = root["job"] = Job(work.answer)
    callback = job.addCallback(Job(deferring.defer_with, "d"))
    transaction.commit()
    job()
    assert job.status == COMPLETED
    assert callback.status == ACTIVE
    deferring.deferreds["d"].callback("late")
    assert wait_for_result(callback) == "late"


def test_a_late_callback_may_return_a_deferred_too(root):
    job = root["job"] = Job(work.answer)
    transaction.commit()
    job()
    callback = job.addCallback(Job(deferring.defer_with, "d"))
    deferring.deferreds["d"].callback("late")
    assert wait_for_result(callback) == "late"


def test_who_called_the_job_may_go_on_with_the_value(root):
    job = root["job"] = Job(deferring.defer, "d")
    transaction.commit()
    seen = []
    job().addCallback(seen.append)
    deferring.deferreds["d"].callback("value")
    assert seen == ["value"]
    assert wait_for_result(job) == "value"


# In a worker


def test_a_deferred_fired_in_another_thread_gives_the_result(queue, start_dispatcher):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    job = queue.put(Job(deferring.defer, "d"))
    transaction.commit()
    deferred = wait_for_deferred()
    wait_until_deferred(job, dispatcher)
    assert job.result is None
    assert list(job.agent) == [job]
    fire_elsewhere(deferred.callback, 42)
    assert wait_for_result(job) == 42
    agent = job.agent
    wait_until(
        lambda: list(agent.completed) == [job], "sweeping", begin=transaction.begin
    )
    assert list(agent) == []


def test_one_that_fired_before_the_job_ended_gives_it_too(queue, start_dispatcher):
    start_dispatcher(poll_interval=NEVER)
    jobs = [queue.put(Job(deferring.defer_fired, number)) for number in range(20)]
    transaction.commit()
    assert [wait_for_result(job) for job in jobs] == list(range(20))


def test_it_occupies_no_thread(queue, start_dispatcher, db):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    agents = wait_for_agents(queue, dispatcher)
    agents["main"].size = 1
    transaction.commit()
    first = queue.put(Job(deferring.defer, "d"))
    transaction.commit()
    deferred = wait_for_deferred()
    wait_until_deferred(first, dispatcher)
    second = queue.put(work.answer)
    transaction.commit()
    assert wait_for_result(second) == 42
    assert first.status == ACTIVE
    fire_elsewhere(deferred.callback, "done")
    assert wait_for_result(first) == "done"


def test_its_job_is_told_of_as_active_until_it_fires(
    start_dispatcher, queue, connection
):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    job = queue.put(Job(deferring.defer, "d"))
    transaction.commit()
    wait_until_deferred(job, dispatcher)
    id = getId(job)
    assert dispatcher.getActiveJobIds() == [id]
    assert dispatcher.getActiveJobIds(queue="other") == []
    assert dispatcher.getStatistics()["longest active"] == id
    assert monitordb.jobs(connection, "active") == [id]
    fire_elsewhere(wait_for_deferred().callback, "fired")
    assert wait_for_result(job) == "fired"
    wait_until(lambda: not dispatcher.getActiveJobIds(), "an idle pool")


def test_it_keeps_its_place_in_a_quota(queue, start_dispatcher):
    queue.quotas.create("one", 1)
    dispatcher = start_dispatcher(poll_interval=NEVER)
    first, second = Job(deferring.defer, "d"), Job(work.answer)
    for job in (first, second):
        job.quota_names = ("one",)
        queue.put(job)
    transaction.commit()
    deferred = wait_for_deferred()
    wait_until_deferred(first, dispatcher)
    free = queue.put(work.answer)
    transaction.commit()
    assert wait_for_result(free) == 42
    wait_until(lambda: second.status == PENDING, "waiting", begin=transaction.begin)
    fire_elsewhere(deferred.callback, None)
    assert wait_for_result(second) == 42
    assert first.active_end <= second.active_start


def test_an_errback_fails_the_job_with_the_exception(queue, start_dispatcher):
    start_dispatcher(poll_interval=NEVER)
    job = queue.put(Job(deferring.defer_failed, "no such page"))
    transaction.commit()
    result = wait_for_result(job)
    assert result.check(KeyError)
    assert "no such page" in result.getErrorMessage()
    assert "KeyError" in result.getTraceback()


def test_callbacks_run_after_it_fired(queue, root, start_dispatcher):
    start_dispatcher(poll_interval=NEVER)
    ledger = root["ledger"] = work.Ledger()
    job = queue.put(Job(deferring.defer, "d"))
    job.addCallback(Job(work.note_result, ledger))
    transaction.commit()
    fire_elsewhere(wait_for_deferred().callback, "value")
    wait_for_result(job)
    assert list(ledger.values()) == ["value"]


def test_a_deferred_that_gives_a_stored_object_gives_the_job_that_object(
    queue, root, start_dispatcher
):
    start_dispatcher(poll_interval=NEVER)
    root["counter"] = work.Counter()
    job = queue.put(Job(deferring.defer, "d"))
    transaction.commit()
    fire_elsewhere(wait_for_deferred().callback, root["counter"])
    assert wait_for_result(job) is root["counter"]


def test_a_deferred_that_gives_a_job_lets_its_job_wait_for_that(
    queue, start_dispatcher
):
    start_dispatcher(poll_interval=NEVER)
    outer = queue.put(Job(deferring.defer, "d"))
    inner = queue.put(Job(work.pass_gate, "inner"))
    transaction.commit()
    fire_elsewhere(wait_for_deferred().callback, inner)
    wait_until(lambda: outer.result == inner, "waiting", begin=transaction.begin)
    work.gate("inner").set()
    assert wait_for_result(outer) == "inner"


def test_a_value_that_cannot_be_stored_fails_the_job(queue, start_dispatcher):
    start_dispatcher(poll_interval=NEVER)
    job = queue.put(Job(deferring.defer, "d"))
    transaction.commit()
    fire_elsewhere(wait_for_deferred().callback, threading.Lock())
    assert isFailure(wait_for_result(job))


def test_drain_ends_jobs_whose_deferred_has_fired_and_leaves_the_others(queue, db):
    done = queue.put(Job(deferring.defer_fired, 42))
    open_one = queue.put(Job(deferring.defer, "d"))
    transaction.commit()
    drain(db)
    transaction.begin()
    assert done.result == 42
    assert list(done.agent.completed) == [done]
    assert open_one.status == ACTIVE
    deferring.deferreds["d"].callback("later")
    assert wait_for_result(open_one) == "later"
    # Its thread must not outlive the database.
    wait_until(
        lambda: len(open_one.agent.completed) == 2, "sweeping", begin=transaction.begin
    )


def test_an_agent_takes_no_more_of_them_than_a_limit(
    queue, start_dispatcher, monkeypatch
):
    monkeypatch.setattr(pool, "MOST", 2)
    dispatcher = start_dispatcher(poll_interval=NEVER)
    agents = wait_for_agents(queue, dispatcher)
    agents["main"].size = 1
    transaction.commit()
    wait_until(lambda: pool_of(dispatcher).size == 1, "one thread")
    jobs = [queue.put(Job(deferring.defer, f"d{n}")) for n in range(5)]
    transaction.commit()
    wait_until(lambda: len(pool_of(dispatcher).deferred) == 3, "three of five")
    assert pool_of(dispatcher).wanted() == 0
    for number, job in enumerate(jobs):
        fire_elsewhere(wait_for_deferred(f"d{number}").callback, number)
        assert wait_for_result(job) == number


# The end of a process


def test_stopping_waits_for_a_deferred_as_for_a_running_job(queue, start_dispatcher):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    job = queue.put(Job(deferring.defer, "d"))
    transaction.commit()
    deferred = wait_for_deferred()
    wait_until_deferred(job, dispatcher)
    stopping = threading.Thread(target=dispatcher.deactivate, args=(20,))
    stopping.start()
    assert dispatcher.stopping.wait(6)
    fire_elsewhere(deferred.callback, "in time")
    stopping.join(20)
    assert not stopping.is_alive()
    transaction.begin()
    assert job.result == "in time"
    assert list(job.agent.completed) == [job]


def test_one_that_outlasts_the_grace_is_interrupted_and_its_value_thrown_away(
    queue, start_dispatcher
):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    job = queue.put(Job(deferring.defer, "d"))
    transaction.commit()
    lost = wait_for_deferred()
    wait_until_deferred(job, dispatcher)
    (running,) = pool_of(dispatcher).deferred.values()
    assert running.ticket.attempt == job.attempt
    dispatcher.deactivate(0)
    transaction.begin()
    assert job.status == PENDING
    assert job.getRetryPolicy().data["interruptions"] == 1
    deferring.deferreds.clear()
    start_dispatcher(poll_interval=NEVER)
    again = wait_for_deferred()
    wait_for_start(job)
    fire_elsewhere(lost.callback, "too late")
    fire_elsewhere(again.callback, "second")
    assert wait_for_result(job) == "second"


def test_a_job_whose_policy_forbids_it_is_not_begun_again(queue, start_dispatcher):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    job = Job(deferring.defer, "d")
    job.retry_policy_factory = NeverRetry
    queue.put(job)
    transaction.commit()
    wait_for_deferred()
    wait_until_deferred(job, dispatcher)
    dispatcher.deactivate(0)
    start_dispatcher(poll_interval=NEVER)
    assert wait_for_result(job).check(AbortedError)


def test_one_that_was_taken_over_meanwhile_is_begun_again_and_ends_once(
    queue, root, start_dispatcher, elsewhere
):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    ledger = root["ledger"] = work.Ledger()
    job = queue.put(Job(deferring.defer, "d"))
    job.addCallback(Job(work.note_result, ledger))
    transaction.commit()
    lost = wait_for_deferred()
    wait_until_deferred(job, dispatcher)
    deferring.deferreds.clear()
    other = elsewhere()
    other.root()[KEY][""].dispatchers[dispatcher.UUID].deactivate()
    other.transaction_manager.commit()
    again = wait_for_deferred()
    wait_until_deferred(job, dispatcher)
    fire_elsewhere(lost.callback, "lost")
    fire_elsewhere(again.callback, "again")
    assert wait_for_result(job) == "again"
    assert list(ledger.values()) == ["again"]
    wait_until(lambda: not pool_of(dispatcher).deferred, "the report")


WITHOUT_TWISTED = """
import sys
sys.modules["twisted"] = None
import os, transaction, ZODB
from collective.clockwork.engine import configure, testing
from collective.clockwork.engine.interfaces import IQueue

db = ZODB.DB(None)
dispatcher = configure.start(db, poll_interval=3600)
connection = db.open()
job = IQueue(connection).put(os.getpid)
transaction.commit()
print(testing.wait_for_result(job) == os.getpid())
testing.tear_down_dispatcher(dispatcher)
"""


def test_where_there_is_no_twisted_the_engine_works_without(tmp_path):
    assert output_of(WITHOUT_TWISTED, tmp_path) == "True\n"
