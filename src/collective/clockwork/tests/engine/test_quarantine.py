"""Jobs that are set aside, because processes died under them too often."""

from __future__ import annotations

from collective.clockwork.engine.errors import QuarantinedError
from collective.clockwork.engine.interfaces import BadStatusError
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import drain
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.sickwork import Threefold
from datetime import datetime
from datetime import timezone

import pytest
import transaction


@pytest.fixture
def aside(queue, claimed):
    """A job that is set aside."""

    def set_aside(function=work.answer):
        job = claimed(function)
        end_of_process(job, 4)
        return job

    return set_aside


def begin(job):
    job._begun_attempt = job.attempt
    job._begun_thread = "thread 1"


def end_of_process(job, times=1):
    """Let its worker die so often with it alone in hand."""
    agents = job.agent.parent
    for number in range(times):
        if number:
            assert agents["main"].claimJob() is job
            transaction.commit()
        begin(job)
        agents.deactivate()
        agents.activate("next boot")
        transaction.commit()


def completed(queue):
    return [
        job
        for agents in queue.dispatchers.values()
        for agent in agents.values()
        for job in agent.completed
    ]


# The jobs that are set aside


def test_a_queue_without_any_stores_no_quarantine(queue):
    serial = queue._p_serial
    assert list(queue.quarantine) == []
    assert len(queue.quarantine) == 0 and not queue.quarantine
    job = queue.put(work.answer)
    transaction.commit()
    assert job not in queue.quarantine
    assert job.status == "pending-status"
    assert queue.quarantine.get(job._p_oid, "unnamed") is None
    with pytest.raises(LookupError, match="is not in quarantine"):
        queue.quarantine.release(job)
    with pytest.raises(LookupError, match="is not in quarantine"):
        queue.quarantine.since(job)
    transaction.commit()
    assert queue._p_serial == serial


def test_a_job_is_in_quarantine_and_nowhere_else(db, queue, agent, aside, caplog):
    job = aside()
    assert "is set aside: 4 processes died while they ran it alone" in caplog.text
    assert job.status == "quarantined-status"
    assert job.parent is queue
    assert list(queue.quarantine) == [job]
    assert list(queue) == [] and list(agent) == [] and list(agent.completed) == []
    assert queue.quarantine.get(job._p_oid, "unnamed") is job
    assert not job._aborting
    assert len(job.deaths) == 4
    # No worker begins it.
    drain(db)
    transaction.begin()
    assert job.status == "quarantined-status"


def test_its_place_in_a_quota_is_free(queue, agent, claimed):
    queue.quotas.create("one")
    job = Job(work.answer)
    job.quota_names = ("one",)
    job.retry_policy_factory = Threefold
    queue.put(job)
    transaction.commit()
    for _ in range(4):
        assert agent.claimJob() is job
        transaction.commit()
        end_of_process(job)
    assert job in queue.quarantine
    assert not queue.quotas["one"].filled


def test_the_newest_come_first(queue, aside):
    first, second = aside(), aside()
    queue.quarantine._entries[("unnamed", first._p_oid)] = (5, first)
    assert list(queue.quarantine) == [second, first]
    assert queue.quarantine.since(first) == datetime(
        1970, 1, 1, 0, 0, 0, 5, tzinfo=timezone.utc
    )


def test_a_released_job_waits_in_front_with_fresh_counts_and_its_evidence(
    db, queue, aside
):
    job = aside()
    other = queue.put(work.nothing)
    transaction.commit()
    attempt = job.attempt
    queue.quarantine.release(job)
    transaction.commit()
    assert job.status == "pending-status"
    assert list(queue) == [job, other]
    assert list(queue.quarantine) == []
    assert job.attempt == attempt + 1
    assert job._suspect == 1
    assert job._retry_policy is None
    assert len(job.deaths) == 4 and job._deaths.count == 0
    drain(db)
    transaction.begin()
    assert job.result == 42


def test_a_released_job_has_all_its_attempts_again(queue, agents, aside):
    job = aside()
    queue.quarantine.release(job)
    transaction.commit()
    for _ in range(3):
        assert agents["main"].claimJob() is job
        transaction.commit()
        end_of_process(job)
        assert job.status == "pending-status"
    assert agents["main"].claimJob() is job
    transaction.commit()
    end_of_process(job)
    assert job.status == "quarantined-status"
    assert len(job.deaths) == 8 and job._deaths.count == 4


def test_a_discarded_job_fails_and_is_swept(db, queue, aside):
    job = aside()
    queue.quarantine.discard(job)
    transaction.commit()
    assert job.status == "completed-status"
    assert job.result.check(QuarantinedError)
    assert "its process died 4 times" in job.result.getErrorMessage()
    drain(db)
    transaction.begin()
    assert len(queue) == 0
    assert completed(queue) == [job]


def test_callbacks_of_a_discarded_job_are_called(db, queue, aside):
    job = aside()
    callback = job.addCallback(work.mirror)
    queue.quarantine.discard(job)
    transaction.commit()
    assert job.status == "callback-status"
    drain(db)
    transaction.begin()
    assert job.status == "completed-status"
    assert callback.result.check(QuarantinedError)


def test_two_who_decide_at_once_cannot_both_succeed(queue, aside, elsewhere):
    job = aside()
    there = elsewhere()
    there_queue = there.root()[KEY][""]
    there_queue.quarantine.discard(there.get(job._p_oid))
    queue.quarantine.release(job)
    transaction.commit()
    with pytest.raises(transaction.interfaces.TransientError):
        there.transaction_manager.commit()


def test_one_that_was_ended_there_is_neither_released_nor_kept(db, queue, aside):
    job, other = aside(), aside()
    job.fail()
    with pytest.raises(BadStatusError, match="was ended there"):
        queue.quarantine.release(job)
    with pytest.raises(BadStatusError, match="was ended there"):
        queue.quarantine.discard(job)
    assert queue.quarantine.let_go_of_ended() == 1
    assert list(queue.quarantine) == [other]
    transaction.commit()
    drain(db)
    transaction.begin()
    assert job in completed(queue)
    assert queue.quarantine.let_go_of_ended() == 0


def test_one_can_be_removed_from_the_queue(queue, aside):
    job = aside()
    queue.remove(job)
    transaction.commit()
    assert list(queue.quarantine) == []
    assert job.status == "new-status"


def test_a_job_outside_of_a_database_is_not_in_quarantine(queue, aside):
    aside()
    assert Job(work.answer) not in queue.quarantine
