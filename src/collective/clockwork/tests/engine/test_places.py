"""Jobs that end while they are somewhere else than expected, and where they wait."""

from __future__ import annotations

from collective.clockwork.engine import clock
from collective.clockwork.engine import run
from collective.clockwork.engine.agent import Agent
from collective.clockwork.engine.agent import chooseFirst
from collective.clockwork.engine.base import same
from collective.clockwork.engine.interfaces import COMPLETED
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.places import wait
from collective.clockwork.engine.places import waiting_key
from collective.clockwork.engine.queue import Queue
from collective.clockwork.engine.queue import Queues
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import set_now
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.tests.engine import sickwork
from collective.clockwork.tests.engine import work
from datetime import timedelta
from uuid import uuid4
from ZODB.utils import u64

import pytest
import transaction
import ZODB


@pytest.fixture
def agent(queue):
    agents = queue.dispatchers.register(uuid4())
    agents["main"] = Agent()
    agents.activate("by hand")
    return agents["main"]


@pytest.fixture
def ended(queue):
    """A job that ended while it was waiting in a lane."""
    job = queue.put(work.answer)
    transaction.commit()
    queue.putBack(queue.claim())
    transaction.commit()
    job.fail()
    transaction.begin()
    assert len(queue) == 1
    return job


def test_a_finished_job_that_a_claim_by_hand_finds_is_kept(queue, agent, ended):
    assert queue.claim() is None
    assert len(queue) == 0
    assert list(agent.completed) == [ended]


@pytest.mark.parametrize("chooser", [None, chooseFirst])
def test_a_finished_job_that_an_agent_finds_is_kept(queue, agent, ended, chooser):
    agent.chooser = chooser
    assert agent.claimJob() is None
    assert list(agent.completed) == [ended]


def test_a_job_that_another_has_completed_stays_as_it_is(queue):
    set_now(clock.now())
    job = queue.put(work.answer)
    job.addCallback(work.mirror)
    transaction.commit()
    job._status, job._result = 2, 42
    transaction.commit()
    run.run_callbacks(job)
    ended_at = job._callbacks_end
    set_now(clock.now() + timedelta(hours=1))
    # A second thread that was told that it is not finished.
    run.run_callbacks(job)
    assert (job.status, job._callbacks_end) == (COMPLETED, ended_at)


def test_an_outer_job_ends_although_who_ended_it_did_not_come_to_its_callbacks(
    db, queue
):
    quota = queue.quotas.create("none", 0)
    outer = queue.put(Job(work.put_in_quota_and_return, "none"))
    later = outer.addCallback(work.mirror)
    transaction.commit()
    drain(db)
    transaction.begin()
    inner = outer.result
    # What a thread has committed when its process is killed, or taken for dead.
    inner.settle(42)
    outer.settle(42)
    inner.callbacks[0].settle(None)
    quota.size = 1
    transaction.commit()
    assert (inner._status, outer._status, later._status) == (2, 2, 0)
    drain(db)
    transaction.begin()
    assert (inner.status, outer.status, later.result) == (COMPLETED, COMPLETED, 42)
    assert len(queue.waiting) == 0


def test_a_job_that_cannot_be_read_does_not_stop_a_dispatcher(
    db, queue, start_dispatcher, monkeypatch
):
    queue.put(Job(work.mirror, sickwork.Touchy()))
    transaction.commit()
    monkeypatch.setattr(sickwork.Touchy, "spoilt", True)
    db.cacheMinimize()
    start_dispatcher(poll_interval=0.1)
    well = queue.put(work.answer)
    transaction.commit()
    assert wait_for_result(well) == 42
    well = queue.put(work.answer)
    transaction.commit()
    assert wait_for_result(well) == 42
    assert queue.schedule.length == 1


# Jobs of two databases


@pytest.fixture
def pair(components):
    """A queue, and two jobs of the same oid, the second in another database."""
    databases: dict = {}
    main = ZODB.DB(None, database_name="main", databases=databases)
    ZODB.DB(None, database_name="content", databases=databases)
    connection = main.open()
    content = connection.get_connection("content")
    queues = connection.root()[KEY] = Queues()
    queue = queues[""] = Queue()
    ours = Job(work.answer)
    connection.add(ours)
    while True:
        theirs = Job(work.answer)
        content.add(theirs)
        if theirs._p_oid == ours._p_oid:
            break
    connection.root()["ours"], content.root()["theirs"] = ours, theirs
    transaction.commit()
    for job in (ours, theirs):
        job.parent = queue
        inner = queue.put(work.answer)
        # Else it would be a new one that both databases refer to.
        transaction.commit()
        job.wait_for(inner)
        transaction.commit()
    yield queue, ours, theirs
    transaction.abort()
    connection.close()
    for db in databases.values():
        db.close()


@pytest.mark.parametrize("first", [0, 1])
def test_two_jobs_of_one_oid_wait_side_by_side(pair, first):
    queue, *jobs = pair
    for job in (jobs[first], jobs[1 - first], jobs[first]):
        wait(queue, job)
    transaction.commit()
    assert len(queue.waiting) == 2
    for job in jobs:
        assert same(queue.waiting[waiting_key(queue, job)], job)


def test_a_job_that_was_kept_under_its_oid_alone_is_found_and_stays(pair):
    queue, ours, theirs = pair
    queue.waiting[u64(theirs._p_oid)] = theirs
    assert waiting_key(queue, theirs) == u64(theirs._p_oid)
    assert waiting_key(queue, ours) is None
    wait(queue, ours)
    wait(queue, theirs)
    transaction.commit()
    assert len(queue.waiting) == 2
    assert waiting_key(queue, ours) == u64(ours._p_oid)
    assert waiting_key(queue, theirs) < 0


def test_both_end_with_their_inner_jobs(pair):
    queue, *jobs = pair
    for job in jobs:
        wait(queue, job)
    transaction.commit()
    drain(queue._p_jar.db())
    transaction.begin()
    assert [(job.status, job.result) for job in jobs] == [(COMPLETED, 42)] * 2
    assert len(queue.waiting) == 0
