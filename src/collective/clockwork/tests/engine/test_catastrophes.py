"""Claims that others cross, storages that go away, and what is removed meanwhile."""

from __future__ import annotations

from collective.clockwork.engine import commit
from collective.clockwork.engine.agent import Agent
from collective.clockwork.engine.commit import ClientDisconnected
from collective.clockwork.engine.deferred import Promise
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.job import RetryCommonFourTimes
from collective.clockwork.engine.queue import Queue
from collective.clockwork.engine.station import Station
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import tear_down_dispatcher
from collective.clockwork.engine.testing import TearDownDispatcherError
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import deferring
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.dispatching import join
from collective.clockwork.tests.engine.dispatching import NEVER
from collective.clockwork.tests.engine.dispatching import pool_of
from collective.clockwork.tests.engine.dispatching import wait_for_agents
from collective.clockwork.tests.engine.dispatching import wait_until_begun
from ZODB.POSException import ConflictError

import logging
import pytest
import transaction


class HardToGet(RetryCommonFourTimes):
    """A policy that conflicts five times while it is made."""

    def __init__(self, job=None):
        super().__init__(job)
        work.flaky("policy", 5, ConflictError)


def test_conflicts_while_the_policy_is_made_are_overcome(db, queue):
    job = Job(work.flaky, "job", 1, ConflictError)
    job.retry_policy_factory = HardToGet
    queue.put(job)
    transaction.commit()
    drain(db)
    transaction.begin()
    assert job.result == 2
    assert work.calls["policy"] == 6
    assert job.getRetryPolicy().data["transaction_error"] == 1


@pytest.fixture
def in_claim(monkeypatch):
    """Does something once in a claim, between taking jobs and its commit."""

    def arrange(act):
        take = Station._take
        done = []

        def taking(self, *args):
            taken = take(self, *args)
            if taken[0] and not done:
                done.append(True)
                act()
            return taken

        monkeypatch.setattr(Station, "_take", taking)
        return done

    return arrange


def test_a_job_that_is_pulled_while_it_is_claimed_is_not_run(
    queue, start_dispatcher, elsewhere, in_claim
):
    pulled = []

    def pull():
        connection = elsewhere()
        pulled.append(connection.root()[KEY][""].pull())
        connection.transaction_manager.commit()

    done = in_claim(pull)
    start_dispatcher(poll_interval=NEVER)
    job = queue.put(work.answer)
    transaction.commit()
    wait_until(lambda: done, "a claim")
    other = queue.put(work.nothing)
    transaction.commit()
    wait_for_result(other)
    assert pulled[0]._p_oid == job._p_oid
    assert job.status == "new-status"
    queue.put(job)
    transaction.commit()
    assert wait_for_result(job) == 42


def test_a_claim_that_finds_the_storage_away_is_made_again(
    queue, start_dispatcher, in_claim, caplog
):
    caplog.set_level(logging.INFO, "collective.clockwork.engine.events")

    def go_away():
        raise ClientDisconnected("in the claim")

    in_claim(go_away)
    dispatcher = start_dispatcher(poll_interval=NEVER)
    job = queue.put(work.answer)
    transaction.commit()
    assert wait_for_result(job) == 42
    errors = [
        poll[""]["main"]["error"]
        for poll in dispatcher.polls
        if poll.get("", {}) and poll[""]["main"]["error"] is not None
    ]
    assert [error.getErrorMessage() for error in errors] == ["in the claim"]
    assert caplog.text.count("the storage is away") == 1
    wait_until(lambda: "the storage is back" in caplog.text, "the log entry")


def test_a_job_that_is_stopped_once_counts_one_interruption(queue, start_dispatcher):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    job = Job(work.pass_gate, "slow")
    callback = job.addCallback(work.triple)
    queue.put(job)
    transaction.commit()
    wait_until_begun("slow")
    threads = list(pool_of(dispatcher).threads)
    with pytest.raises(TearDownDispatcherError):
        tear_down_dispatcher(dispatcher, grace=0.05)
    transaction.begin()
    assert list(queue) == [job]
    work.gate("slow").set()
    join(threads)
    start_dispatcher(poll_interval=NEVER)
    assert wait_for_result(job) == "slow"
    assert job.getRetryPolicy().data["interruptions"] == 1
    assert callback.result == "slow" * 3


def test_a_deferred_that_fires_while_the_storage_is_away_ends_its_job_mended_reactor(
    queue, start_dispatcher, monkeypatch
):
    """zc.async waited in the process's reactor, whether or not that one ran."""
    dispatcher = start_dispatcher(poll_interval=NEVER)
    job = queue.put(Job(deferring.defer, "away"))
    transaction.commit()
    pool = pool_of(dispatcher)
    wait_until(lambda: pool.deferred, "a Deferred")
    waits = []
    monkeypatch.setattr(commit, "pause", waits.append)
    is_open = Promise.is_open

    def answer_late(self, job):
        if not waits:
            raise ClientDisconnected("while it is looked at")
        return is_open(self, job)

    monkeypatch.setattr(Promise, "is_open", answer_late)
    deferring.deferreds["away"].callback("fired")
    assert wait_for_result(job) == "fired"
    assert waits == [5]


def test_the_last_agent_may_be_removed_and_another_added_mended_name_error(
    queue, start_dispatcher
):
    """In zc.async the poll that noticed it raised a NameError."""
    dispatcher = start_dispatcher(poll_interval=NEVER)
    agents = wait_for_agents(queue, dispatcher)
    threads = list(pool_of(dispatcher).threads)
    transaction.begin()
    del agents["main"]
    transaction.commit()
    join(threads)
    assert dispatcher.getStatusInfo()["status"] == "RUNNING"
    agents["another"] = Agent(size=1)
    job = queue.put(work.answer)
    transaction.commit()
    assert wait_for_result(job) == 42
    assert job.agent is agents["another"]


def test_a_queue_may_be_removed_and_the_others_are_served_mended_wrong_name(
    root, queue, start_dispatcher
):
    """zc.async looked for the wrong name, and stopped the wrong threads."""
    dispatcher = start_dispatcher(poll_interval=NEVER)
    main = list(pool_of(dispatcher).threads)
    root[KEY]["later"] = Queue()
    transaction.commit()
    threads = list(pool_of(dispatcher, ("later", "main")).threads)
    transaction.begin()
    del root[KEY]["later"]
    transaction.commit()
    join(threads)
    assert all(thread.is_alive() for thread in main)
    job = queue.put(work.answer)
    transaction.commit()
    assert wait_for_result(job) == 42
