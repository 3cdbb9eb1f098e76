"""Jobs that are stored with their content, in another database than the queue."""

from __future__ import annotations

from collective.clockwork.engine import clock
from collective.clockwork.engine import dispatcher as registry
from collective.clockwork.engine.dispatcher import Dispatcher
from collective.clockwork.engine.interfaces import ACTIVE
from collective.clockwork.engine.interfaces import ASSIGNED
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.subscribers import agent_installer
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import tear_down_dispatcher
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.dispatching import NEVER
from collective.clockwork.tests.engine.moments import NOW
from collective.clockwork.tests.engine.twins import claim_twins
from uuid import uuid4
from ZODB.utils import u64
from zope.component import provideHandler

import pytest
import transaction


@pytest.fixture
def root(databases):
    """Of the database with the content."""
    connection = databases["main"].open()
    yield connection.root()
    transaction.abort()
    connection.close()


@pytest.fixture
def far(root):
    """Stores a job with the content, and puts it into the queue elsewhere."""

    def put(name, job):
        root[name] = job
        transaction.commit()
        root[KEY][""].put(job)
        transaction.commit()
        return job

    return put


def test_a_far_job_is_run_swept_and_knows_its_agent(root, far, databases):
    job = far("job", Job(work.answer))
    assert drain(databases["main"]) == 1
    transaction.begin()
    assert job._p_jar is root._p_jar
    assert job.result == 42
    agent = job.agent
    assert agent._p_jar.db() is databases["async"]
    assert list(agent.completed) == [job]
    assert len(agent) == 0


def test_a_worker_shows_in_which_database_the_job_is_that_it_runs(root, far, databases):
    provideHandler(agent_installer)
    dispatcher = Dispatcher(databases["main"], uuid=uuid4(), poll_interval=NEVER)
    dispatcher.activate()
    try:
        job = far("job", Job(work.pass_gate, "far job"))

        def shown():
            transaction.begin()
            agent = job.agent
            return None if agent is None else agent.activity.running

        ((name, _since),) = wait_until(shown, "showing it", 20)
        assert name == ("main", u64(job._p_oid))
        assert job.status == ACTIVE
        work.gate("far job").set()
        assert wait_for_result(job, 20) == "far job"
        wait_until(lambda: not shown(), "showing nothing", 20)
    finally:
        tear_down_dispatcher(dispatcher)
        registry.pop(dispatcher.UUID)


def test_of_jobs_with_one_oid_only_the_one_that_runs_is_active(databases):
    connection = databases["main"].open()
    agent, here, there = claim_twins(connection)
    number = u64(here._p_oid)
    agent.activity.running = ((("main", number), clock.to_us(NOW)),)
    transaction.commit()
    assert (here.status, there.status) == (ASSIGNED, ACTIVE)
    assert agent.running_since(there) == NOW
    # A worker of before did not say in which database.
    agent.activity.running = ((number, clock.to_us(NOW)),)
    transaction.commit()
    assert agent.running_since(here) == agent.running_since(there) == NOW
    connection.close()


def test_a_far_job_that_returned_a_job_of_the_queue_ends_with_it(root, far, databases):
    outer = far("outer", Job(work.put_and_return, work.mirror, "inner"))
    drain(databases["main"])
    transaction.begin()
    assert outer.result == "inner"
    assert len(root[KEY][""].waiting) == 0
    assert len(outer.agent.completed) == 2


def test_a_dispatcher_runs_far_jobs(far, databases):
    provideHandler(agent_installer)
    dispatcher = Dispatcher(databases["main"], poll_interval=NEVER, uuid=uuid4())
    dispatcher.activate()
    try:
        outer = far("outer", Job(work.put_and_return, work.mirror, "inner"))
        assert wait_for_result(outer) == "inner"
        assert outer.agent.parent.UUID == dispatcher.UUID
    finally:
        tear_down_dispatcher(dispatcher)
        registry.pop(dispatcher.UUID)
