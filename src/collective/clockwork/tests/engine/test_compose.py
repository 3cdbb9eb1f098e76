"""Jobs one after the other, side by side, and jobs that return jobs."""

from __future__ import annotations

from collective.clockwork.engine import interfaces
from collective.clockwork.engine.compose import parallel
from collective.clockwork.engine.compose import serial
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.tests.engine import work

import pytest
import transaction


BATCHES = [serial, parallel]


@pytest.fixture
def run(db, queue):
    """Puts a job, runs all, and returns its result."""

    def put_and_drain(job):
        queue.put(job)
        transaction.commit()
        drain(db)
        transaction.begin()
        return job.result

    return put_and_drain


def test_a_job_that_returns_a_queued_job_takes_over_its_result(db, queue):
    outer = queue.put(Job(work.put_and_return, work.mirror, "inner"))
    transaction.commit()
    drain(db)
    transaction.begin()
    assert outer.result == "inner"
    assert outer.status == interfaces.COMPLETED
    agent = next(iter(queue.dispatchers.values()))["main"]
    assert list(agent) == []
    assert len(queue.waiting) == 0
    assert outer in list(agent.completed)
    assert len(list(agent.completed)) == 2


def test_an_outer_job_waits_in_no_thread_and_is_active_meanwhile(db, queue):
    queue.quotas.create("none", 0)
    outer = queue.put(Job(work.put_in_quota_and_return, "none"))
    transaction.commit()
    drain(db)
    transaction.begin()
    assert outer.status == interfaces.ACTIVE
    assert outer.result.status == interfaces.PENDING
    assert list(queue.waiting.values()) == [outer]
    queue.quotas["none"].size = 1
    transaction.commit()
    drain(db)
    transaction.begin()
    assert outer.result == 42
    assert len(queue.waiting) == 0


def test_jobs_that_return_jobs_that_return_jobs(run):
    job = Job(work.put_and_return, work.put_and_return, work.mirror, "deep")
    assert run(job) == "deep"


def test_an_outer_job_s_callbacks_run_when_the_inner_is_done(db, queue):
    outer = Job(work.put_and_return, work.mirror, 2)
    callback = outer.addCallback(work.triple)
    queue.put(outer)
    transaction.commit()
    drain(db)
    transaction.begin()
    assert callback.result == 6
    assert outer.status == interfaces.COMPLETED


def test_the_waiting_jobs_of_a_dead_dispatcher_go_on_waiting(db, queue):
    queue.quotas.create("none", 0)
    outer = queue.put(Job(work.put_in_quota_and_return, "none"))
    transaction.commit()
    drain(db)
    transaction.begin()
    next(iter(queue.dispatchers.values())).deactivate()
    queue.quotas["none"].size = 1
    transaction.commit()
    drain(db)
    transaction.begin()
    assert outer.result == 42


def test_serial_runs_in_order_and_gives_the_results(root, run):
    ledger = root["ledger"] = work.Ledger()
    members = [Job(work.note, ledger, name) for name in "abcde"]
    assert run(serial(*members, postprocess=work.results)) == tuple("abcde")
    assert list(ledger.values()) == list("abcde")


def test_parallel_runs_all_and_gives_the_results_in_the_given_order(run):
    members = [Job(work.mirror, name) for name in "abcde"]
    assert run(parallel(*members, postprocess=work.results)) == tuple("abcde")


@pytest.mark.parametrize("batch", BATCHES)
def test_without_a_postprocess_the_result_is_the_jobs(run, batch):
    members = (Job(work.answer), Job(work.nothing))
    assert run(batch(*members)) == members


@pytest.mark.parametrize("batch", BATCHES)
def test_functions_are_made_jobs(run, batch):
    result = run(batch(work.answer, work.nothing, postprocess=work.results))
    assert result == (42, None)


@pytest.mark.parametrize("batch", BATCHES)
def test_a_postprocess_may_have_arguments_of_its_own(run, batch):
    last = Job(work.label, "sum")
    assert run(batch(work.answer, work.answer, postprocess=last)) == ("sum", 84)


@pytest.mark.parametrize("batch", BATCHES)
def test_a_batch_grows_by_its_members_and_their_callbacks(run, batch):
    growing = Job(work.append_to_batch, work.mirror, "by a job")
    calling = Job(work.mirror, "calling")
    calling.addCallback(work.grow_by_callback)
    result = run(batch(growing, calling, postprocess=work.results))
    assert result == (None, "calling", "by a job", "grown")


@pytest.mark.parametrize("batch", BATCHES)
def test_a_member_that_fails_does_not_stop_the_others(run, batch):
    result = run(batch(work.boom, work.answer, postprocess=work.results))
    assert result[0].check(ValueError)
    assert result[1] == 42


@pytest.mark.parametrize("batch", BATCHES)
def test_an_empty_batch_ends_mended_failure(run, batch):
    """In zc.async a serial without jobs failed."""
    assert run(batch(postprocess=work.results)) == ()
    assert run(batch()) == ()


@pytest.mark.parametrize("batch", BATCHES)
def test_batches_can_be_nested(run, batch):
    inner = parallel(work.answer, work.answer, postprocess=work.total)
    other = serial(work.answer, postprocess=work.total)
    assert run(batch(inner, other, postprocess=work.results)) == (84, 42)


@pytest.mark.parametrize("batch", BATCHES)
def test_a_member_may_return_a_job(run, batch):
    member = Job(work.put_and_return, work.mirror, "inner")
    assert run(batch(member, postprocess=work.results)) == ("inner",)


@pytest.mark.parametrize("batch", BATCHES)
def test_a_batch_and_its_members_may_share_a_quota_of_one(queue, run, batch):
    queue.quotas.create("one")
    members = [Job(work.mirror, name) for name in "abc"]
    whole = batch(*members, postprocess=work.results)
    for job in (whole, *members):
        job.quota_names = ("one",)
    assert run(whole) == ("a", "b", "c")


@pytest.mark.parametrize("batch", BATCHES)
def test_what_is_no_job_is_refused_when_the_batch_is_made(batch):
    with pytest.raises(TypeError, match="Could not adapt"):
        batch(work.answer, 42)


def test_a_serial_that_is_begun_again_keeps_its_order_mended_rerun(db, root, queue):
    """In zc.async a serial job that was interrupted lost its order."""
    ledger = root["ledger"] = work.Ledger()
    queue.quotas.create("none", 0)
    members = [Job(work.note, ledger, name) for name in "abc"]
    members[1].quota_names = ("none",)
    batch = queue.put(serial(*members, postprocess=work.results))
    transaction.commit()
    drain(db)
    transaction.begin()
    assert list(ledger.values()) == ["a"]
    # What a take-over from a worker that was killed at this moment does.
    queue.waiting.clear()
    batch.put_off(None)
    queue.take_back(batch)
    transaction.commit()
    drain(db)
    transaction.begin()
    assert list(ledger.values()) == ["a"]
    queue.quotas["none"].size = 1
    transaction.commit()
    drain(db)
    transaction.begin()
    assert list(ledger.values()) == ["a", "b", "c"]
    assert batch.result == ("a", "b", "c")


def test_a_hand_made_fan_out_sums_up(db, root, queue):
    ledger = root["ledger"] = work.Ledger()
    for number in range(5):
        job = Job(work.mirror, number)
        job.addCallbacks(Job(work.note_first_result, ledger))
        queue.put(job)
    transaction.commit()
    drain(db)
    transaction.begin()
    assert sum(ledger.values()) == 10


def test_two_jobs_that_wait_for_each_other_run_side_by_side(queue, start_dispatcher):
    start_dispatcher()
    one = queue.put(Job(work.meet, "one", "two"))
    two = queue.put(Job(work.meet, "two", "one"))
    transaction.commit()
    assert wait_for_result(one, 20) == "one"
    assert wait_for_result(two, 20) == "two"


def test_a_batch_in_threads_sums_the_results(queue, start_dispatcher):
    start_dispatcher()
    batch = queue.put(
        parallel(*[Job(work.mirror, n) for n in range(20)], postprocess=work.total)
    )
    transaction.commit()
    assert wait_for_result(batch, 20) == 190
