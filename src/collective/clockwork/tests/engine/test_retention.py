"""Finished jobs are kept for as long as they, or their queue, say."""

from __future__ import annotations

from collective.clockwork.engine import attempt
from collective.clockwork.engine import clock
from collective.clockwork.engine.agent import Agent
from collective.clockwork.engine.completed import CHUNK
from collective.clockwork.engine.completed import Completed
from collective.clockwork.engine.completed import DROPPED_AT_ONCE
from collective.clockwork.engine.errors import OptionError
from collective.clockwork.engine.failure import Failure
from collective.clockwork.engine.options import LONGEST
from collective.clockwork.engine.queue import Queue
from collective.clockwork.engine.retention import DONE
from collective.clockwork.engine.retention import Done
from collective.clockwork.engine.retention import file
from collective.clockwork.engine.retention import report
from collective.clockwork.engine.retention import rounded
from collective.clockwork.engine.retention import UNIT
from collective.clockwork.engine.testing import set_now
from collective.clockwork.tests.engine.moments import NOW
from collective.clockwork.tests.engine.optional import job_with
from datetime import timedelta
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies

import pytest
import transaction


HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
WEEK = timedelta(days=7)
ROUNDED_HOUR = timedelta(minutes=64)
ROUNDED_DAY = timedelta(minutes=1536)


@pytest.fixture
def queue(root):
    set_now(NOW)
    queue = root["keeping"] = Queue()
    transaction.commit()
    return queue


@pytest.fixture
def agent(root, queue):
    agent = root["agent"] = Agent()
    agent.completed = Completed()
    agent.completed.parent = agent
    transaction.commit()
    return agent


def ended(failed: bool = False, **options):
    """A job that has ended."""
    job = job_with(**options)
    job.settle(Failure(ValueError("boom")) if failed else 42)
    return job


def pass_time(agent, time: timedelta) -> None:
    """What the tidier does so much later, as often as it has to."""
    set_now(NOW + time)
    for _round in range(3):
        agent.completed.forget_old(clock.now_us())
    transaction.commit()


# What a run reports


def test_a_plain_success_is_reported_as_ever():
    assert DONE == attempt.DONE
    assert report(ended(), DONE) is DONE


@pytest.mark.parametrize("outcome", [attempt.LOST, attempt.PUT_OFF, attempt.WAITING])
def test_what_is_not_done_is_reported_as_ever(outcome):
    assert report(ended(True, keep_failure=HOUR), outcome) is outcome


def test_a_job_that_cannot_be_read_at_that_moment_is_reported_as_ever(root, elsewhere):
    root["job"] = ended(True, keep_failure=HOUR)
    transaction.commit()
    connection = elsewhere()
    ghost = connection.root()["job"]
    connection.close()
    assert report(ghost, DONE) is DONE


@pytest.mark.parametrize(
    "failed, options, keep",
    [
        (False, {"keep_result": HOUR}, HOUR),
        (False, {"keep_result": timedelta()}, timedelta()),
        (True, {"keep_failure": HOUR, "keep_result": DAY}, HOUR),
        (True, {"keep_result": DAY}, None),
        (True, {}, None),
    ],
)
def test_a_report_tells_how_to_keep_the_job(failed, options, keep):
    outcome = report(ended(failed, **options), DONE)
    assert isinstance(outcome, Done)
    assert outcome == DONE
    assert outcome.failed is failed
    assert outcome.keep == (None if keep is None else keep // clock.MICROSECOND)


# Which shelf


@settings(deadline=None, database=None)
@given(strategies.integers(1, LONGEST // clock.MICROSECOND))
def test_a_time_is_rounded_up_by_a_quarter_at_most(microseconds):
    period = rounded(microseconds)
    assert microseconds <= period <= max(UNIT, microseconds * 5 / 4 + UNIT)
    assert rounded(period) == period


def test_there_are_few_shelves():
    periods = {rounded(minutes * UNIT) for minutes in range(1, 100_000)}
    assert len(periods) < 64
    everything = {rounded(2**power * UNIT + 1) for power in range(27)}
    assert len(everything) <= 27


# Filing


def test_jobs_without_options_stay_where_they_were(agent, queue):
    jobs = [ended(), ended(True)]
    file(queue, agent, [(jobs[0], DONE), (jobs[1], report(jobs[1], DONE))])
    assert agent.completed.shelves is None
    assert list(agent.completed) == jobs[::-1]
    pass_time(agent, WEEK - HOUR)
    assert len(agent.completed) == 2
    pass_time(agent, WEEK + HOUR)
    assert not agent.completed


@pytest.mark.parametrize("reported", [True, False])
def test_a_job_is_kept_for_the_time_that_it_says(agent, queue, reported):
    jobs = [
        ended(keep_result=HOUR, keep_failure=timedelta()),
        ended(True, keep_failure=DAY, keep_result=timedelta()),
        ended(keep_result=4 * WEEK),
        ended(),
    ]
    file(queue, agent, [(j, report(j, DONE) if reported else None) for j in jobs])
    transaction.commit()
    assert set(agent.completed) == set(jobs)
    pass_time(agent, HOUR)
    assert len(agent.completed) == 4
    pass_time(agent, ROUNDED_HOUR + HOUR / 60)
    assert set(agent.completed) == set(jobs[1:])
    pass_time(agent, ROUNDED_DAY + HOUR)
    assert set(agent.completed) == {jobs[2], jobs[3]}
    pass_time(agent, WEEK + HOUR)
    assert list(agent.completed) == [jobs[2]]
    pass_time(agent, 5 * WEEK + HOUR)
    assert len(agent.completed) == 0


@pytest.mark.parametrize(
    "failed, options",
    [(False, {"keep_result": timedelta()}), (True, {"keep_failure": timedelta()})],
)
def test_nothing_means_dropped_at_once(agent, queue, failed, options):
    job = ended(failed, **options)
    file(queue, agent, [(job, report(job, DONE)), (job, None)])
    assert not agent.completed
    assert len(agent.completed) == 0
    assert agent.completed.shelves is None


def test_a_queue_says_it_for_jobs_that_do_not(agent, queue):
    queue.keep_result = timedelta()
    queue.keep_failure = HOUR
    failure, own = ended(True), ended(keep_result=DAY)
    jobs = [ended(), failure, own]
    file(queue, agent, [(job, report(job, DONE)) for job in jobs])
    file(queue, agent, [(ended(), None)])
    assert set(agent.completed) == {failure, own}
    pass_time(agent, ROUNDED_HOUR + HOUR / 60)
    assert list(agent.completed) == [own]


def test_a_queue_has_results_and_failures_apart(queue):
    assert (queue.keep_result, queue.keep_failure) == (None, None)
    queue.keep_result = HOUR
    assert (queue.keep_result, queue.keep_failure) == (HOUR, None)
    queue.keep_failure = timedelta()
    queue.keep_result = None
    assert (queue.keep_result, queue.keep_failure) == (None, timedelta())


@pytest.mark.parametrize("name", ["keep_result", "keep_failure"])
@pytest.mark.parametrize("value", [-HOUR, 5, "week", timedelta.max])
def test_a_queue_refuses_what_is_no_time(queue, name, value):
    with pytest.raises(OptionError, match=f"^{name} is "):
        setattr(queue, name, value)
    assert getattr(queue, name) is None


def test_a_sweep_reads_no_job_that_was_reported(agent, queue, root, elsewhere):
    jobs = root["jobs"] = (ended(), ended(True, keep_failure=HOUR))
    reports = [report(job, DONE) for job in jobs]
    transaction.commit()
    connection = elsewhere()
    there = connection.root()
    ghosts = there["jobs"]
    file(there["keeping"], there["agent"], list(zip(ghosts, reports, strict=True)))
    assert [job._p_changed for job in ghosts] == [None, None]
    assert len(there["agent"].completed) == 2


# Seen together


def fill(agent, queue) -> list:
    """One job a minute, in turn on three places; returns them, newest first."""
    jobs = []
    for number in range(3 * CHUNK):
        set_now(NOW + number * HOUR / 60)
        options = ({}, {"keep_result": DAY}, {"keep_result": 2 * WEEK})[number % 3]
        jobs.append(ended(**options))
        file(queue, agent, [(jobs[-1], None)])
    transaction.commit()
    return jobs[::-1]


def test_all_are_seen_newest_first(agent, queue):
    jobs = fill(agent, queue)
    completed = agent.completed
    assert list(completed) == jobs
    assert len(completed) == len(jobs)
    assert completed.first() is jobs[0]
    assert completed.last() is jobs[-1]
    middle = NOW + CHUNK * HOUR / 60
    assert list(completed.iter(middle)) == jobs[-CHUNK - 1 :]
    assert list(completed.iter(None, middle)) == jobs[: -CHUNK - 1]
    assert [key for key, _job in completed.entries()] == [
        clock.to_us(NOW + number * HOUR / 60) for number in reversed(range(3 * CHUNK))
    ]


def test_one_can_be_removed_wherever_it_is(agent, queue):
    jobs = fill(agent, queue)
    for job in jobs[:3]:
        assert agent.completed.remove(job)
        assert not agent.completed.remove(job)
    assert list(agent.completed) == jobs[3:]


def test_all_can_be_forgotten(agent, queue):
    fill(agent, queue)
    agent.completed.clear()
    assert not agent.completed
    assert len(agent.completed) == 0
    assert list(agent.completed) == []


def test_jobs_on_shelves_alone_are_jobs_too(agent, queue):
    file(queue, agent, [(ended(keep_result=HOUR), None)])
    assert agent.completed
    assert len(agent.completed) == 1


def test_they_are_there_after_a_commit(agent, queue, elsewhere):
    jobs = fill(agent, queue)
    fresh = elsewhere().root()["agent"].completed
    assert [job._p_oid for job in fresh] == [job._p_oid for job in jobs]
    assert fresh.shelf(rounded(DAY // clock.MICROSECOND)).period == ROUNDED_DAY


def test_what_is_old_goes_without_the_tidier_too(agent, queue):
    for number in range(2 * CHUNK):
        set_now(NOW + number * HOUR)
        file(queue, agent, [(ended(keep_result=HOUR), None)])
    (shelf,) = agent.completed.shelves.values()
    assert len(shelf) <= CHUNK


def test_the_tidier_drops_a_bounded_number_from_each(agent, queue):
    for number in range((DROPPED_AT_ONCE + 2) * CHUNK):
        set_now(NOW + timedelta(seconds=number))
        file(queue, agent, [(ended(keep_result=DAY), None)])
    set_now(NOW + WEEK)
    agent.completed.forget_old(clock.now_us())
    assert len(agent.completed) == 2 * CHUNK
    agent.completed.forget_old(clock.now_us())
    assert len(agent.completed) == 0


def test_filing_a_job_writes_one_chunk(agent, queue):
    for _time in range(2):
        file(queue, agent, [(ended(keep_result=HOUR), None)])
        transaction.commit()
    file(queue, agent, [(ended(keep_result=HOUR), None)])
    written = [type(obj).__name__ for obj in agent._p_jar._registered_objects]
    assert written == ["Chunk"]
