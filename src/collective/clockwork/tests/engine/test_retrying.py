"""Jobs that failed for good, and are run once more because somebody asked."""

from __future__ import annotations

from collective.clockwork.engine.errors import DuplicateJobError
from collective.clockwork.engine.interfaces import BadStatusError
from collective.clockwork.engine.interfaces import COMPLETED
from collective.clockwork.engine.interfaces import PENDING
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import set_now
from collective.clockwork.engine.testing import wait_for_result
from datetime import datetime
from datetime import timedelta
from datetime import timezone

import pytest
import transaction


#: Whether ``unreliable`` works, and what was called, in this process.
state = {"works": False}
calls: list = []


@pytest.fixture(autouse=True)
def nothing_works():
    state["works"] = False
    calls.clear()


def unreliable(word="done", *, ctx):
    calls.append((word, ctx.attempt, ctx.idempotency_key))
    if not state["works"]:
        raise RuntimeError(f"{word} does not work")
    return word


def note_success(result):
    calls.append(("success", result))


def note_failure(failure):
    calls.append(("failure", failure.getErrorMessage()))


def note_after(result):
    calls.append(("after", result))


def loop(tree, *, ctx):
    for number in ctx.each(range(6), commit_every=2):
        if number == 4 and not state["works"]:
            raise RuntimeError("the fifth one")
        calls.append(number)


@pytest.fixture
def failed(db, put):
    """A job that failed, and whose cause was mended since."""

    def fail(function=unreliable, *args, **options):
        job = put(function, *args, **options)
        drain(db)
        transaction.begin()
        state["works"] = True
        return job

    return fail


def places_of(queue, job):
    """Where a job is found."""
    agents = [a for agents in queue.dispatchers.values() for a in agents.values()]
    return (
        [other for other in queue if other is job]
        + [other for a in agents for other in a if other is job]
        + [other for a in agents for other in a.completed if other is job]
    )


def test_a_failed_job_is_run_again_and_is_in_one_place_all_the_time(db, queue, failed):
    job = failed()
    assert places_of(queue, job) == [job]
    job.retry()
    transaction.commit()
    assert job.status == PENDING
    assert places_of(queue, job) == [job]
    assert drain(db) == 1
    transaction.begin()
    assert (job.status, job.result) == (COMPLETED, "done")
    assert places_of(queue, job) == [job]


def test_it_is_the_same_job_to_remote_systems_at_a_further_attempt(db, failed):
    job = failed()
    job.retry()
    transaction.commit()
    drain(db)
    (_word, first, key), (_word, second, same_key) = calls
    assert (first, second) == (1, 2)
    assert key == same_key


def test_how_it_ended_before_is_kept_up_to_a_number(db, failed):
    job = failed()
    state["works"] = False
    for _ in range(7):
        ended = job._active_end
        job.retry()
        transaction.commit()
        drain(db)
        transaction.begin()
    assert len(job.endings) == 5
    assert job.endings[-1] == (ended, "RuntimeError", "done does not work")


def test_it_goes_before_what_was_queued_meanwhile(db, failed, put):
    job = failed()
    put(unreliable, "later")
    job.retry()
    transaction.commit()
    drain(db)
    assert [word for word, *_others in calls] == ["done", "done", "later"]


def test_a_loop_goes_on_behind_what_it_has_committed(db, root, failed):
    job = failed(loop, None)
    assert calls == [0, 1, 2, 3]
    job.retry()
    transaction.commit()
    drain(db)
    assert calls == [0, 1, 2, 3, 4, 5]


def test_its_callbacks_are_called_again_by_what_comes_of_it(db, queue, put):
    job = Job(unreliable)
    job.addCallbacks(Job(note_success), Job(note_failure)).addCallback(note_after)
    queue.put(job)
    transaction.commit()
    drain(db)
    assert calls[1:] == [("failure", "done does not work"), ("after", None)]
    del calls[:]
    state["works"] = True
    transaction.begin()
    job.retry()
    transaction.commit()
    drain(db)
    transaction.begin()
    assert calls[1:] == [("success", "done"), ("after", None)]
    assert job.status == COMPLETED


def test_a_deadline_for_its_first_begin_is_no_deadline_for_the_next(db, failed):
    job = failed(begin_by=timedelta(minutes=1))
    set_now(datetime.now(timezone.utc) + timedelta(hours=1))
    job.retry()
    transaction.commit()
    drain(db)
    transaction.begin()
    assert job.result == "done"


def test_its_unique_key_is_its_own_again(db, queue, failed):
    job = failed(unique="work")
    job.retry()
    transaction.commit()
    with pytest.raises(DuplicateJobError) as refused:
        queue.put(Job(unreliable), unique="work")
    assert refused.value.job is job


@pytest.mark.parametrize("on_duplicate", ["refuse", "drop", "replace"])
def test_it_gives_way_to_another_job_that_has_its_key(
    db, queue, failed, put, on_duplicate
):
    job = failed(unique="work", on_duplicate=on_duplicate)
    other = put(unreliable, unique="work")
    with pytest.raises(DuplicateJobError) as refused:
        job.retry()
    assert refused.value.job is other
    assert other.status == PENDING
    assert job.status == COMPLETED
    assert not transaction.get()._resources


def test_what_has_not_failed_is_refused(db, put):
    job = put(unreliable)
    with pytest.raises(BadStatusError, match="has not ended"):
        job.retry()
    state["works"] = True
    drain(db)
    transaction.begin()
    with pytest.raises(BadStatusError, match="has not failed"):
        job.retry()


def test_what_was_cancelled_is_refused(put):
    job = put(unreliable)
    job.cancel()
    transaction.commit()
    with pytest.raises(BadStatusError, match="was cancelled"):
        job.retry()


def test_a_job_that_was_dropped_from_its_collection_can_be_retried(db, queue, failed):
    job = failed()
    for agents in queue.dispatchers.values():
        for agent in agents.values():
            agent.completed.clear()
    job.retry()
    transaction.commit()
    assert places_of(queue, job) == [job]


def test_two_who_retry_at_once_do_not_both_succeed(db, failed, elsewhere):
    job = failed()
    other = elsewhere()
    same_job = other.get(job._p_oid)
    job.retry()
    same_job.retry()
    transaction.commit()
    with pytest.raises(Exception, match="conflict"):
        other.transaction_manager.commit()


def test_a_running_worker_runs_it_again_as_soon_as_it_has_ended(
    queue, put, start_dispatcher
):
    job = put(unreliable)
    start_dispatcher()
    wait_for_result(job)
    state["works"] = True
    for attempt in transaction.manager.attempts(20):
        with attempt:
            job.retry()
    wait_for_result(job)
    assert job.result == "done"
    assert places_of(queue, job) == [job]
