"""``async def`` jobs in a real worker."""

from __future__ import annotations

from collective.clockwork.engine.errors import CancelledError
from collective.clockwork.engine.errors import JobTimeoutError
from collective.clockwork.engine.interfaces import COMPLETED
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import awaiting
from collective.clockwork.tests.engine import grouping
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.dispatching import wait_until_begun
from datetime import timedelta

import pytest
import transaction


@pytest.fixture
def run(queue, start_dispatcher):
    """Queues these calls, runs them in a worker, and gives their results."""

    def run(*jobs, **options):
        start_dispatcher()
        queued = [queue.put(job, **options) for job in jobs]
        return grouping.finish(*queued)

    return run


def test_result_and_changes_are_one_commit(run, counter):
    job = Job(awaiting.add, counter)
    assert run(job) == [1]
    assert counter.count == 1
    assert len(grouping.commits_of([job, counter])) == 1


def test_what_it_changed_before_an_error_is_thrown_away(run, counter):
    (failure,) = run(Job(awaiting.add_and_fail, counter))
    assert failure.check(ValueError)
    assert counter.count == 0


def test_it_is_run_again_after_a_conflict(run, counter):
    assert run(Job(awaiting.add_against_others, counter)) == [11]
    assert counter.count == 11
    assert work.calls["others"] == 2


def test_it_is_tried_again_by_its_policy(run, counter):
    assert run(Job(awaiting.fail_once, counter)) == [1]
    assert counter.count == 1


def test_tasks_that_it_awaits_are_in_its_transaction(run, counter):
    job = Job(awaiting.add_in_tasks, counter, 2)
    assert run(job) == [[1, 2]]
    assert counter.count == 2
    assert len(grouping.commits_of([job, counter])) == 1


def test_an_error_in_one_of_its_tasks_undoes_the_other_one(run, counter):
    (failure,) = run(Job(awaiting.add_in_tasks_and_fail, counter))
    assert failure.check(LookupError)
    assert counter.count == 0


def test_one_after_the_other_in_one_thread_have_their_own_jobs(run):
    jobs = [Job(awaiting.own_argument, number) for number in range(5)]
    assert run(*jobs) == [0, 1, 2, 3, 4]


def test_a_cancel_reaches_it_where_it_awaits(queue, start_dispatcher, counter):
    start_dispatcher()
    job = queue.put(Job(awaiting.add_and_wait, counter))
    transaction.commit()
    wait_until_begun("waiting")
    transaction.begin()
    assert queue.cancel(job, "anna", "enough") == "asked"
    transaction.commit()
    result = wait_for_result(job, 20)
    assert result.check(CancelledError)
    assert "anna" in result.getErrorMessage()
    transaction.begin()
    assert counter.count == 0
    wait_until(lambda: work.calls.get("cancelled"), "the coroutine's own cleaning up")


def test_a_timeout_reaches_it_where_it_awaits(run, counter):
    job = Job(awaiting.add_and_wait, counter)
    (failure,) = run(job, timeout=timedelta(seconds=0.2))
    assert failure.check(JobTimeoutError)
    assert counter.count == 0
    assert job.status == COMPLETED


def test_callbacks_get_what_it_returned(run, queue, counter):
    job = Job(awaiting.double, 4)
    callback = job.addCallback(Job(awaiting.double))
    assert run(job) == [8]
    wait_until(lambda: transaction.begin() and callback.result == 16, "the callback")


def test_groupable_ones_share_a_transaction_too(run, counter):
    jobs = [Job(awaiting.add, counter) for _ in range(6)]
    assert sorted(run(*jobs, groupable=True)) == [1, 2, 3, 4, 5, 6]
    assert counter.count == 6


def test_one_may_queue_another_in_its_transaction(run, queue):
    (inner,) = run(Job(awaiting.put_another))
    # It returned that job, and so has its result.
    assert inner == 42
