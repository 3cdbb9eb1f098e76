"""Jobs that are stored with their content, in another database than the queue."""

from __future__ import annotations

from collective.clockwork.engine import dispatcher as registry
from collective.clockwork.engine.dispatcher import Dispatcher
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.subscribers import agent_installer
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import tear_down_dispatcher
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.dispatching import NEVER
from uuid import uuid4
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
