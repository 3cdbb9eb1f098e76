"""Jobs that are past their ``begin_by`` fail in time, wherever in a lane they stand."""

from __future__ import annotations

from collective.clockwork.engine import clock
from collective.clockwork.engine import interfaces
from collective.clockwork.engine.claims import Claim
from collective.clockwork.engine.interfaces import TimeoutError
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import set_now
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.tests.engine import sickwork
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.dispatching import NEVER
from collective.clockwork.tests.engine.dispatching import wait_for_agents
from collective.clockwork.tests.engine.moments import NOW
from datetime import timedelta

import pytest
import transaction


HOUR = timedelta(hours=1)


@pytest.fixture
def put(queue):
    """Puts jobs of a quota without any place, into its lane."""
    queue.quotas.create("none", 0)

    def put_some(count=1, function=work.answer, begin_by=HOUR, **options):
        jobs = [Job(function) for _ in range(count)]
        for job in jobs:
            job.quota_names = ("none",)
            queue.put(job, begin_by=begin_by, **options)
        transaction.commit()
        look(queue)
        return jobs

    return put_some


def look(queue, limit=3):
    """A claim; returns the claimed jobs, and whether there may be more."""
    claim = Claim(queue, lambda job: True, limit, clock.now_us())
    jobs = [entry[0] for run in claim.take() for entry in run]
    transaction.commit()
    return jobs, claim.more


def end(db, jobs):
    drain(db)
    transaction.begin()
    assert all(job.result.check(TimeoutError) for job in jobs)


def test_a_job_behind_a_filled_quota_fails(frozen, db, put, queue):
    jobs = put()
    set_now(NOW + HOUR)
    assert look(queue) == ([], False), "this is the last moment"
    set_now(NOW + HOUR + clock.MICROSECOND)
    end(db, jobs)
    assert len(queue) == 0
    assert not queue.deadlines


def test_jobs_behind_others_fail_and_the_others_stay(frozen, db, put, queue):
    ahead = put(begin_by=None)
    late = put(2)
    behind = put(begin_by=3 * HOUR)
    set_now(NOW + 2 * HOUR)
    end(db, late)
    assert list(queue) == [*ahead, *behind]
    assert len(queue.deadlines) == 1


def test_a_held_job_counts_from_its_time(frozen, db, put, queue):
    jobs = put(begin_after=NOW + HOUR)
    assert not queue.deadlines
    set_now(NOW + 1.5 * HOUR)
    assert look(queue) == ([], False)
    assert len(queue.deadlines) == 1
    set_now(NOW + 3 * HOUR)
    end(db, jobs)


def test_a_claim_takes_no_more_of_them_than_it_may(frozen, put, queue):
    jobs = put(5)
    set_now(NOW + 2 * HOUR)
    assert look(queue) == (jobs[:3], True)
    assert look(queue) == (jobs[3:], False)
    assert not queue.deadlines


def test_a_claim_looks_at_none_whose_moment_has_not_come(frozen, db, put, queue):
    jobs = put(60)
    queue._p_jar.cacheMinimize()
    assert look(queue) == ([], False)
    loaded = [job for job in jobs if job._p_changed is not None]
    # The first of the lane is looked at by what merges the lanes.
    assert len(loaded) <= 1


def test_what_was_claimed_or_removed_leaves_no_entry(frozen, db, put, queue):
    first, second, third = put(3)
    assert len(queue.deadlines) == 3
    queue.remove(second)
    assert len(queue.deadlines) == 2
    queue.quotas.create("two", 0)
    third.quota_names = ("two",)
    assert len(queue.deadlines) == 2
    queue.quotas["none"].size = queue.quotas["two"].size = 1
    transaction.commit()
    drain(db)
    transaction.begin()
    assert first.result == third.result == 42
    assert not queue.deadlines


def test_a_job_that_was_begun_once_has_no_entry(frozen, put, queue):
    (job,) = put(begin_by=None)
    queue.remove(job)
    job._tries = 1
    queue.put(job, begin_by=HOUR)
    transaction.commit()
    look(queue)
    assert len(queue) == 1
    assert not queue.deadlines


def test_a_begin_by_that_is_changed_while_waiting_counts(frozen, db, put, queue):
    sooner, later, never, new = put(4)
    new.begin_by = None
    transaction.commit()
    sooner.begin_by = HOUR / 2
    later.begin_by = 3 * HOUR
    never.begin_by = None
    new.begin_by = HOUR / 2
    transaction.commit()
    set_now(NOW + 0.75 * HOUR)
    assert look(queue) == ([sooner, new], False)
    set_now(NOW + 2 * HOUR)
    assert look(queue) == ([], False)
    assert len(queue.deadlines) == 1, "what was left over is gone"
    set_now(NOW + 4 * HOUR)
    assert look(queue) == ([later], False)
    assert list(queue) == [never]


def test_a_queue_from_before_gets_the_index_with_the_first_entry(
    frozen, db, put, queue
):
    del queue.deadlines
    transaction.commit()
    assert "deadlines" not in vars(queue)
    put(begin_by=None)
    assert "deadlines" not in vars(queue)
    jobs = put()
    set_now(NOW + 2 * HOUR)
    end(db, jobs)


def test_a_job_that_cannot_be_read_is_put_aside(frozen, db, put, queue, monkeypatch):
    (job,) = put()
    job._args = (sickwork.Touchy(),)
    transaction.commit()
    monkeypatch.setattr(sickwork.Touchy, "spoilt", True)
    db.cacheMinimize()
    set_now(NOW + 2 * HOUR)
    assert look(queue) == ([], False)
    assert not queue.deadlines
    assert queue.schedule.length == 1


def test_the_dispatcher_wakes_up_at_that_moment(queue, start_dispatcher):
    dispatcher = start_dispatcher(poll_interval=NEVER)
    wait_for_agents(queue, dispatcher)
    queue.quotas.create("none", 0)
    job = Job(work.answer)
    job.quota_names = ("none",)
    queue.put(job, begin_by=timedelta(milliseconds=300))
    transaction.commit()
    assert wait_for_result(job).check(TimeoutError)
    assert job.status == interfaces.COMPLETED
