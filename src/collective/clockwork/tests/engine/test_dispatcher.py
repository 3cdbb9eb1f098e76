"""The dispatcher with its threads, in one process, on a FileStorage."""

from __future__ import annotations

from collective.clockwork.engine import claims
from collective.clockwork.engine import dispatcher as registry
from collective.clockwork.engine import local
from collective.clockwork.engine.agent import Agent
from collective.clockwork.engine.dispatcher import Dispatcher
from collective.clockwork.engine.failure import isFailure
from collective.clockwork.engine.interfaces import AbortedError
from collective.clockwork.engine.interfaces import IDispatcherActivated
from collective.clockwork.engine.interfaces import IDispatcherReactivated
from collective.clockwork.engine.interfaces import IDispatcherRegistered
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.pool import AgentThreadPool
from collective.clockwork.engine.pool import Ticket
from collective.clockwork.engine.queue import Queue
from collective.clockwork.engine.testing import tear_down_dispatcher
from collective.clockwork.engine.testing import wait_for_annotation
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.dispatching import agents_of
from collective.clockwork.tests.engine.dispatching import join
from collective.clockwork.tests.engine.dispatching import NEVER
from collective.clockwork.tests.engine.dispatching import pool_of
from collective.clockwork.tests.engine.dispatching import wait_for_agents
from collective.clockwork.tests.engine.dispatching import wait_until_begun
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from uuid import uuid4
from zope.component import adapter
from zope.component import provideHandler

import logging
import pytest
import transaction


def answer_a_question():
    local.setLiveAnnotation("question", "how many?")
    return local.getLiveAnnotation("answer", timeout=20, poll=0.01)


def own_snapshot_of(name):
    local.setLiveAnnotation(name, "noted")
    return name in local.getJob().annotations


@pytest.fixture
def recorded():
    """Events of dispatchers, as pairs of interface and queue name."""
    seen = []

    def listen(interface):
        @adapter(interface)
        def note(event):
            seen.append((interface, event.object.parent.name))

        provideHandler(note)

    for interface in (
        IDispatcherRegistered,
        IDispatcherActivated,
        IDispatcherReactivated,
    ):
        listen(interface)
    return seen


# Starting and stopping


def test_the_database_gets_connections_for_the_threads_and_loses_them_again(
    db, queue, start_dispatcher
):
    before = db.getPoolSize()
    dispatcher = start_dispatcher()
    pool_of(dispatcher)
    assert db.getPoolSize() == before + 3
    assert dispatcher.getStatusInfo()["status"] in ("STARTING", "RUNNING")
    tear_down_dispatcher(dispatcher)
    assert db.getPoolSize() == before
    assert dispatcher.getStatusInfo()["status"] == "STOPPED"


def test_a_running_dispatcher_says_so(db, queue, start_dispatcher):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    wait_until(lambda: dispatcher.last_poll, "a poll")
    status = dispatcher.getStatusInfo()
    assert status["status"] == "RUNNING"
    assert status["uuid"] == dispatcher.UUID
    assert status["poll interval"] == NEVER
    assert status["uptime"] >= status["time since last poll"] >= 0


def test_a_dispatcher_is_found_by_its_uuid_until_it_is_forgotten(db):
    dispatcher = Dispatcher(db, uuid=uuid4())
    assert registry.get(dispatcher.UUID) is dispatcher
    assert dispatcher in registry.all_dispatchers()
    assert registry.pop(dispatcher.UUID) is dispatcher
    assert registry.get(dispatcher.UUID) is None


def test_one_process_cannot_have_two_dispatchers_of_one_uuid(db, start_dispatcher):
    dispatcher = start_dispatcher()
    with pytest.raises(ValueError, match="in this process already"):
        Dispatcher(db, uuid=dispatcher.UUID)


def test_activating_or_deactivating_twice_is_refused(db, start_dispatcher):
    dispatcher = start_dispatcher()
    with pytest.raises(ValueError, match="activated already"):
        dispatcher.activate()
    tear_down_dispatcher(dispatcher)
    with pytest.raises(ValueError, match="not activated"):
        dispatcher.deactivate()


def test_a_stopped_dispatcher_is_deactivated_in_the_database(
    db, queue, start_dispatcher
):
    dispatcher = start_dispatcher()
    agents = wait_for_agents(queue, dispatcher)
    assert agents.activated
    tear_down_dispatcher(dispatcher)
    transaction.begin()
    assert agents.activated is None


def test_a_dispatcher_can_be_stopped_and_started_again(
    db, root, queue, start_dispatcher
):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    wait_for_agents(queue, dispatcher)
    tear_down_dispatcher(dispatcher)
    job = queue.put(work.answer)
    transaction.commit()
    dispatcher.activate()
    assert wait_for_result(job) == 42


# Queues and agents that come later


def test_a_queue_that_is_added_later_is_served(
    db, root, queue, start_dispatcher, recorded
):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    wait_for_agents(queue, dispatcher)
    root[KEY]["later"] = Queue()
    transaction.commit()
    job = root[KEY]["later"].put(work.answer)
    transaction.commit()
    assert wait_for_result(job) == 42
    assert (IDispatcherRegistered, "later") in recorded
    assert (IDispatcherActivated, "later") in recorded


def test_an_agent_that_is_added_later_gets_threads(db, queue, start_dispatcher):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    pool_of(dispatcher)
    before = db.getPoolSize()
    agents = wait_for_agents(queue, dispatcher)
    agents["second"] = Agent(size=2)
    transaction.commit()
    pool = pool_of(dispatcher, ("", "second"))
    assert len(pool.threads) == 2
    wait_until(lambda: db.getPoolSize() == before + 2, "a larger connection pool")


def test_an_agent_that_is_removed_loses_its_threads_alone(db, queue, start_dispatcher):
    """In zc.async the threads of all agents of the queue stopped for one poll."""
    dispatcher = start_dispatcher(poll_interval=NEVER)
    agents = wait_for_agents(queue, dispatcher)
    agents["second"] = Agent(size=2)
    transaction.commit()
    threads = list(pool_of(dispatcher, ("", "second")).threads)
    transaction.begin()
    del agents["second"]
    transaction.commit()
    join(threads)
    job = queue.put(work.answer)
    transaction.commit()
    assert wait_for_result(job) == 42


def test_a_larger_agent_runs_more_jobs_at_a_time(db, queue, start_dispatcher):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    agents = wait_for_agents(queue, dispatcher)
    agents["main"].size = 5
    for number in range(5):
        queue.put(Job(work.pass_gate, f"job {number}"))
    transaction.commit()
    for number in range(5):
        wait_until_begun(f"job {number}")


def test_a_smaller_agent_runs_fewer_jobs_at_a_time(db, queue, start_dispatcher):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    agents = wait_for_agents(queue, dispatcher)
    pool = pool_of(dispatcher)
    agents["main"].size = 1
    transaction.commit()
    wait_until(lambda: len(pool.threads) == 1, "two threads less")
    jobs = [queue.put(Job(work.pass_gate, f"job {number}")) for number in range(2)]
    transaction.commit()
    wait_until_begun("job 0")
    assert not work.gate("job 1 begun").is_set()
    work.gate("job 0").set()
    work.gate("job 1").set()
    assert [wait_for_result(job) for job in jobs] == ["job 0", "job 1"]


# Jobs


def test_a_job_that_changes_an_object(db, root, queue, start_dispatcher):
    start_dispatcher(poll_interval=NEVER)
    root["counter"] = work.Counter()
    job = queue.put(root["counter"].add)
    transaction.commit()
    assert wait_for_result(job) == 1
    assert root["counter"].count == 1


def test_a_job_says_in_the_log_when_it_starts_and_how_it_ends(
    db, queue, start_dispatcher, caplog
):
    caplog.set_level(logging.INFO, "collective.clockwork.engine.trace")
    start_dispatcher(poll_interval=NEVER)
    job = queue.put(work.answer)
    transaction.commit()
    wait_for_result(job)
    said = wait_until(
        lambda: (
            [r.getMessage() for r in caplog.records if "trace" in r.name]
            if "succeeded" in caplog.text
            else None
        ),
        "the log entry",
    )
    mine = [text for text in said if "work.answer" in text or "work:answer" in text]
    assert "starting in" in mine[0]
    assert mine[1].endswith("succeeded with result: 42")


def test_a_job_that_fails_is_logged_with_its_traceback(
    db, queue, start_dispatcher, caplog
):
    start_dispatcher(poll_interval=NEVER)
    job = queue.put(Job(work.boom, "unusual"))
    transaction.commit()
    assert isFailure(wait_for_result(job))
    record = wait_until(
        lambda: next((r for r in caplog.records if "unusual" in r.getMessage()), None),
        "the log entry",
    )
    assert record.levelno == logging.ERROR
    assert "Traceback" in record.getMessage()


def test_a_job_that_failed_while_it_waited_does_not_hold_up_others(
    db, queue, start_dispatcher
):
    spoilt = queue.put(work.answer)
    later = queue.put(work.answer)
    transaction.commit()
    spoilt.fail(ValueError("by hand"))
    transaction.commit()
    dispatcher = start_dispatcher(poll_interval=NEVER)
    assert wait_for_result(later) == 42
    assert spoilt.result.check(ValueError)
    wait_until(
        lambda: not len(queue) and not len(agents_of(queue, dispatcher)["main"]),
        "an empty queue",
    )


def test_a_job_may_put_a_job_and_return_it(db, queue, start_dispatcher):
    start_dispatcher(poll_interval=NEVER)
    job = queue.put(Job(work.put_and_return, work.answer))
    transaction.commit()
    assert wait_for_result(job) == 42


def test_a_held_job_runs_when_its_time_has_come_without_a_poll(
    db, queue, start_dispatcher
):
    due = datetime.now(timezone.utc) + timedelta(seconds=0.3)
    start_dispatcher(poll_interval=NEVER)
    job = queue.put(work.answer, begin_after=due)
    transaction.commit()
    assert wait_for_result(job) == 42
    assert job.active_start >= due


def test_a_job_that_raises_system_exit_ends_and_its_thread_goes_on(
    db, queue, start_dispatcher
):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    threads = list(pool_of(dispatcher).threads)
    job = queue.put(work.exit_thread)
    transaction.commit()
    assert wait_for_result(job, 20).check(AbortedError)
    assert all(thread.is_alive() for thread in threads)
    other = queue.put(work.answer)
    transaction.commit()
    assert wait_for_result(other) == 42


def test_jobs_behind_long_ones_go_to_another_dispatcher(db, queue, start_dispatcher):
    busy = start_dispatcher(poll_interval=NEVER)
    quick = [queue.put(work.nothing) for _ in range(30)]
    transaction.commit()
    for job in quick:
        wait_for_result(job)
    # Jobs were quick so far, so many are claimed ahead.
    for number in range(3):
        queue.put(Job(work.pass_gate, f"long {number}"))
    behind = [queue.put(work.answer) for _ in range(20)]
    transaction.commit()
    for number in range(3):
        wait_until_begun(f"long {number}")
    start_dispatcher(poll_interval=NEVER)
    for job in behind:
        assert wait_for_result(job) == 42
    agents = agents_of(queue, busy)
    assert sum(1 for job in behind if job.agent is agents["main"]) == 0


def test_jobs_of_one_transaction_keep_their_order_over_several_claims(
    db, root, queue, start_dispatcher, monkeypatch
):
    monkeypatch.setattr(claims, "MOVED_AT_ONCE", 5)
    queue.quotas.create("one", size=1)
    ledger = root["ledger"] = work.Ledger()
    jobs = []
    for number in range(40):
        job = Job(work.note, ledger, number)
        job.quota_names = ("one",)
        jobs.append(queue.put(job))
    transaction.commit()
    start_dispatcher(poll_interval=NEVER)
    assert [wait_for_result(job) for job in jobs] == list(range(40))
    assert [ledger[position] for position in range(40)] == list(range(40))


def test_a_pool_that_was_idle_does_not_give_new_jobs_back_at_once(
    db, queue, start_dispatcher
):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    ticket = Ticket(b"\0" * 8, db.database_name, 0, b"\0" * 8)
    idle = AgentThreadPool(dispatcher, "", "idle", 0)
    idle.last_begin -= 60
    idle.submit([[ticket]])
    assert not idle.is_stuck()
    assert idle.queued == 1


# Live annotations


def test_live_annotations_go_both_ways_while_the_job_runs(db, queue, start_dispatcher):
    start_dispatcher(poll_interval=NEVER)
    job = queue.put(answer_a_question)
    transaction.commit()
    assert wait_for_annotation(job, "question") == "how many?"
    local.setLiveAnnotation("answer", 7, job)
    assert wait_for_result(job) == 7


def test_a_live_annotation_is_not_in_the_jobs_own_snapshot(db, queue, start_dispatcher):
    start_dispatcher(poll_interval=NEVER)
    job = queue.put(Job(own_snapshot_of, "here"))
    transaction.commit()
    assert wait_for_result(job) is False
    wait_until(
        lambda: transaction.begin() and "here" in job.annotations,
        "an ordinary annotation",
    )
