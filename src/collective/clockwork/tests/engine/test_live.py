"""Live annotations, and what a running job knows about itself."""

from __future__ import annotations

from collective.clockwork.engine import interfaces
from collective.clockwork.engine import local
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.live import keep
from collective.clockwork.engine.live import notes_of
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import wait_for_annotation
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.testing import wait_for_start
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.twins import claim_twins

import pytest
import transaction


def test_a_note_is_seen_while_the_job_runs_and_kept_when_it_is_done(db, queue):
    job = queue.put(Job(work.annotate_and_look, "progress", 0.5))
    transaction.commit()
    drain(db)
    transaction.begin()
    seen_inside, seen_outside = job.result
    assert seen_inside == 0.5
    assert seen_outside == {"progress": 0.5}
    assert dict(job.annotations) == {"progress": 0.5}
    assert notes_of(job) == {}
    agent = next(iter(queue.dispatchers.values()))["main"]
    assert len(agent.live) == 0


def test_the_job_s_own_snapshot_does_not_show_the_note(db, queue):
    job = queue.put(Job(work.annotate_and_look_here, "progress", 1))
    transaction.commit()
    drain(db)
    transaction.begin()
    assert job.result == {}
    assert dict(job.annotations) == {"progress": 1}


def test_a_note_does_not_make_the_job_run_twice(db, root, queue):
    counter = root["counter"] = work.Counter()
    job = queue.put(Job(work.annotate_often, counter, 10))
    transaction.commit()
    drain(db)
    transaction.begin()
    assert job.result == 1
    assert counter.count == 1
    assert job.annotations["step"] == 9
    assert job.attempt == 0


def test_a_note_stays_when_the_job_fails(db, queue):
    job = queue.put(Job(work.annotate_and_fail, "last", "step 3"))
    transaction.commit()
    drain(db)
    transaction.begin()
    assert job.result.check(ValueError)
    assert dict(job.annotations) == {"last": "step 3"}


def test_notes_go_both_ways_in_threads(queue, start_dispatcher):
    start_dispatcher()
    job = queue.put(work.ask_and_wait)
    transaction.commit()
    assert wait_for_annotation(job, "question", 20) == "ready?"
    local.setLiveAnnotation("answer", "go", job)
    assert wait_for_result(job, 20) == "go"
    transaction.begin()


def test_a_running_job_is_seen_to_be_active_by_other_connections(
    queue, start_dispatcher
):
    start_dispatcher()
    job = queue.put(Job(work.pass_gate, "seen"))
    transaction.commit()
    wait_for_start(job, 20)
    assert job.status == interfaces.ACTIVE
    assert job.agent.running_since(job) is not None
    work.gate("seen").set()
    assert wait_for_result(job, 20) == "seen"


def test_a_note_that_nobody_made_is_the_default(db, queue):
    job = queue.put(Job(work.answer))
    transaction.commit()
    assert local.getLiveAnnotation("strange", "default", job=job) == "default"
    assert local.getLiveAnnotation("strange", timeout=0.01, poll=1, job=job) is None


def test_a_note_on_a_waiting_job_is_an_ordinary_one(db, queue):
    job = queue.put(Job(work.answer))
    transaction.commit()
    local.setLiveAnnotation("note", 1, job)
    transaction.begin()
    assert dict(job.annotations) == {"note": 1}
    drain(db)
    transaction.begin()
    assert job.result == 42


def test_outside_of_a_job_there_is_nothing_to_annotate():
    assert local.getJob() is None
    assert local.getDispatcher() is None
    assert local.getAgentName() is None
    with pytest.raises(AttributeError):
        local.getQueue()
    with pytest.raises(ValueError, match="no job in this thread"):
        local.setLiveAnnotation("note", 1)
    with pytest.raises(ValueError, match="no job in this thread"):
        local.getLiveAnnotation("note")


def test_a_worker_thread_knows_its_job_queue_dispatcher_and_agent(
    queue, start_dispatcher
):
    dispatcher = start_dispatcher()
    job = queue.put(work.whoami)
    transaction.commit()
    assert wait_for_result(job, 20) == (str(dispatcher.UUID), "main", "", True)


def test_jobs_of_one_oid_in_two_databases_have_notes_of_their_own(databases):
    connection = databases["main"].open()
    agent, here, there = claim_twins(connection)
    local.setLiveAnnotation("who", "here", here)
    local.setLiveAnnotation("who", "there", there)
    local.setLiveAnnotation("again", 1, there)
    transaction.begin()
    assert notes_of(here) == {"who": "here"}
    assert notes_of(there) == {"who": "there", "again": 1}
    keep(agent, there)
    assert dict(there.annotations) == {"who": "there", "again": 1}
    assert dict(here.annotations) == {}
    assert notes_of(here) == {"who": "here"}
    keep(agent, here)
    assert dict(here.annotations) == {"who": "here"}
    assert len(agent.live) == 0
    transaction.abort()
    connection.close()
