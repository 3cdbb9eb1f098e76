"""What a job's record holds, and that records of both forms are read."""

from __future__ import annotations

from collective.clockwork.engine import jobstate
from collective.clockwork.engine.agent import Agent
from collective.clockwork.engine.intake import Intake
from collective.clockwork.engine.intake import TRIMMED_AT_ONCE
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.tests.engine import work
from uuid import uuid4
from ZODB.POSException import POSKeyError

import pytest
import time
import transaction


@pytest.mark.parametrize("name", jobstate.NAMES)
def test_each_numbered_name_is_an_attribute_of_jobs(name):
    assert hasattr(Job, name)


def test_the_numbers_of_the_first_release_stay():
    assert jobstate.NAMES[:7] == (
        *("_callable", "_args", "_parent", "_queued"),
        *("_status", "_active_start", "_active_end"),
    )
    assert len(jobstate.NUMBERS) == len(jobstate.NAMES)


def test_a_state_that_was_shortened_is_read_as_it_was():
    job = Job(work.answer, 1, two=2)
    job.note = "of a subclass"
    state = job.__getstate__()
    assert all(type(key) is int or key == "note" for key in state)
    other = Job.__new__(Job)
    other.__setstate__(state)
    for name, value in job.__dict__.items():
        assert getattr(other, name) == value


def test_a_state_with_names_is_read_too():
    job = Job.__new__(Job)
    job.__setstate__({"_args": (3,), "_status": 3, "note": "kept"})
    assert (job._args, job._status, job.note) == ((3,), 3, "kept")


def test_a_job_refers_to_its_agent_without_naming_the_class(db, connection, root):
    root["agent"] = Agent(size=5)
    root["job"] = job = Job(work.answer)
    job.parent = root["agent"]
    transaction.commit()
    record, _serial = db.storage.load(job._p_oid)
    assert b"engine.agent" not in record
    connection.cacheMinimize()
    connection._resetCache()
    assert connection.root()["job"].parent.size == 5


@pytest.fixture
def far_job(databases):
    """A finished job in one database, whose agent was in the other."""
    connection = databases["main"].open()
    dispatchers = connection.root()[KEY][""].dispatchers
    agents = dispatchers.register(uuid4())
    agents["main"] = Agent(size=5)
    job = connection.root()["job"] = Job(work.mirror, "kept")
    transaction.commit()
    job.parent = agents["main"]
    job.settle("kept")
    transaction.commit()
    yield job
    transaction.abort()
    connection.close()


def test_a_job_finds_its_agent_in_another_database(far_job, databases):
    connection = databases["main"].open(transaction.TransactionManager())
    job = connection.root()["job"]
    assert job.agent.size == 5
    assert job.agent._p_jar.db() is databases["async"]
    assert job.queue is connection.root()[KEY][""]
    connection.close()


def test_a_job_is_read_although_its_agent_in_another_database_is_packed_away(
    far_job, databases
):
    connection = far_job._p_jar
    dispatchers = connection.root()[KEY][""].dispatchers
    dispatchers.unregister(next(iter(dispatchers)))
    transaction.commit()
    oid = far_job.agent._p_oid
    databases["async"].pack(time.time() + 1)
    with pytest.raises(POSKeyError):
        databases["async"].storage.load(oid)
    fresh = databases["main"].open(transaction.TransactionManager())
    job = fresh.root()["job"]
    assert (job.result, job.args, job.status) == ("kept", ["kept"], "completed-status")
    assert job.agent is None and job.queue is None
    assert "kept" in repr(job)
    job.annotations["note"] = "written again"
    fresh.transaction_manager.commit()
    fresh.close()


def test_a_put_after_a_flood_drops_a_bounded_number_of_entries(root):
    root["intake"] = intake = Intake()
    count = 3 * TRIMMED_AT_ONCE
    for number in range(count):
        intake.append(Job(work.answer, number))
    intake.read_to(count)
    intake.append(Job(work.answer))
    assert len(intake.items) == count - TRIMMED_AT_ONCE + 1
    assert len(intake) == 1
