"""Failures as they are stored, ``fail``, and jobs that end badly."""

from __future__ import annotations

from collective.clockwork.engine import interfaces
from collective.clockwork.engine.failure import Failure
from collective.clockwork.engine.failure import isFailure
from collective.clockwork.engine.failure import MESSAGE_LIMIT
from collective.clockwork.engine.failure import TRACEBACK_LIMIT
from collective.clockwork.engine.interfaces import AbortedError
from collective.clockwork.engine.interfaces import BadStatusError
from collective.clockwork.engine.interfaces import TimeoutError
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import drain
from collective.clockwork.tests.engine import work

import pickle
import pytest
import transaction


def stored(failure: Failure) -> Failure:
    return pickle.loads(pickle.dumps(failure, 3))


def raised(function, *args) -> Failure:
    try:
        function(*args)
    except Exception:
        # Whatever the function raises is what the test is about.
        return Failure()
    raise AssertionError("nothing was raised")


def test_a_stored_failure_is_text_without_the_values_of_variables():
    """With a newer Twisted, zc.async's failed jobs could not be loaded again."""
    failure = stored(raised(work.use_a_secret))
    assert all(isinstance(v, str | bytes | tuple) for v in vars(failure).values())
    assert "in use_a_secret" in failure.getTraceback()
    assert "9 characters" in failure.getTraceback()
    assert "swordfish" not in failure.getTraceback().replace('= "swordfish"', "")
    assert failure.value.__traceback__ is None


def test_a_failure_has_the_methods_of_twisted_s():
    failure = stored(raised(work.boom, "bang"))
    assert failure.type is ValueError
    assert failure.typeName == "ValueError"
    assert failure.value.args == ("bang",)
    assert failure.getErrorMessage() == "bang"
    assert failure.check(KeyError, ValueError) is ValueError
    assert failure.check("ValueError", Exception) == "ValueError"
    assert failure.check(Exception) is Exception
    assert failure.check(KeyError) is None
    assert failure.trap(ValueError) is ValueError
    with pytest.raises(ValueError, match="bang"):
        failure.trap(KeyError)
    with pytest.raises(ValueError, match="bang"):
        failure.raiseException()
    assert "ValueError: bang" in repr(failure)
    assert failure.getBriefTraceback().endswith("ValueError: bang")


def test_a_failure_needs_an_exception():
    with pytest.raises(ValueError, match="needs an exception"):
        Failure()


def test_an_exception_with_a_persistent_value_keeps_its_text_only(store, elsewhere):
    counter = work.Counter()
    job = store(Job(work.raise_key_error_of, counter))
    job()
    seen = elsewhere().get(job._p_oid)
    assert seen.result.check(KeyError)
    assert isinstance(seen.result.value, RuntimeError)
    assert "KeyError" in str(seen.result.value)


def test_an_exception_without_a_readable_message_is_named(store, elsewhere):
    job = store(Job(work.raise_unreadable))
    job()
    seen = elsewhere().get(job._p_oid).result
    assert seen.typeName.endswith("work.Unreadable")
    assert "no readable message" in seen.getErrorMessage()
    assert "Unreadable" in repr(seen)


def test_an_exception_that_cannot_be_pickled_keeps_its_text(store, elsewhere):
    job = store(Job(work.raise_unpicklable))
    job()
    seen = elsewhere().get(job._p_oid).result
    assert seen.type is work.Unpicklable
    assert seen.getErrorMessage() == "lost"
    with pytest.raises(RuntimeError, match="lost"):
        seen.raiseException()


def test_a_huge_exception_is_cut(store, elsewhere):
    job = store(Job(work.raise_huge))
    job()
    seen = elsewhere().get(job._p_oid).result
    assert len(seen.getErrorMessage()) == MESSAGE_LIMIT
    assert len(seen.getTraceback()) == TRACEBACK_LIMIT
    assert len(pickle.dumps(seen)) < 2 * (MESSAGE_LIMIT + TRACEBACK_LIMIT)


def test_a_failure_outlives_the_class_of_its_exception():
    failure = stored(Failure(work.Unpicklable("text")))
    failure.typeName = "gone.module.Gone"
    assert failure.type is None
    assert failure.getErrorMessage() == "text"


def test_a_message_that_is_no_valid_text_can_be_stored(store, elsewhere):
    job = store(Job(work.boom, "half \ud800 a character"))
    job()
    assert isFailure(elsewhere().get(job._p_oid).result)


# fail()


def test_fail_ends_a_new_job_with_a_timeout_error(store):
    job = store(Job(work.answer))
    job.fail()
    assert job.status == interfaces.COMPLETED
    assert job.result.check(TimeoutError)


def test_fail_stores_the_given_error_and_runs_failure_callbacks(store):
    job = Job(work.answer)
    proxy = job.addCallbacks(work.triple, work.swallow)
    store(job)
    job.fail(RuntimeError("by hand"))
    assert job.result.check(RuntimeError)
    assert proxy.result == 1
    assert job.status == interfaces.COMPLETED


def test_an_active_or_completed_job_cannot_be_failed(store):
    job = store(Job(work.fail_self))
    assert job().check(BadStatusError)
    with pytest.raises(BadStatusError):
        job.fail()


def test_fail_lets_a_job_finish_its_callbacks_and_keeps_its_result(among_callbacks):
    job = Job(work.answer)
    callback = job.addCallback(work.triple)
    among_callbacks(job)
    job.fail()
    assert callback.result == 126
    assert job.result == 42
    assert job.status == interfaces.COMPLETED


def test_a_job_that_was_failed_in_its_queue_is_not_run(db, counter, queue):
    job = queue.put(counter.add)
    last = queue.put(work.answer)
    transaction.commit()
    job.fail()
    drain(db)
    transaction.begin()
    assert counter.count == 0
    assert job.result.check(TimeoutError)
    assert last.result == 42
    assert len(queue) == 0


def test_a_job_that_is_failed_while_it_runs_keeps_that_end(db, counter, queue):
    job = queue.put(Job(work.add_and_fail_elsewhere, counter))
    transaction.commit()
    drain(db)
    transaction.begin()
    assert counter.count == 0
    assert job.result.check(TimeoutError)
    assert job.status == interfaces.COMPLETED
    assert completed(queue) == [job]


# Jobs that end badly in a worker


def completed(queue) -> list:
    return [
        job
        for agents in queue.dispatchers.values()
        for agent in agents.values()
        for job in agent.completed
    ]


def test_a_result_that_cannot_be_stored_fails_the_job(db, counter, queue):
    job = queue.put(Job(work.add_and_return_lock, counter))
    after = queue.put(work.answer)
    transaction.commit()
    drain(db)
    transaction.begin()
    assert job.result.check(TypeError)
    assert "pickle" in job.result.getErrorMessage()
    assert counter.count == 0
    assert after.result == 42
    assert completed(queue) == [after, job]


def test_a_callback_result_that_cannot_be_stored_ends_it_mended_lost_thread(db, queue):
    """zc.async tried to store it for ever, in a thread that was lost to it."""
    job = Job(work.answer)
    callback = job.addCallback(work.lock_of)
    queue.put(job)
    transaction.commit()
    drain(db)
    transaction.begin()
    assert callback.result.check(TypeError)
    assert job.status == interfaces.COMPLETED


def test_a_job_that_raises_system_exit_counts_as_interrupted_mended_lost_thread(
    db, queue, caplog
):
    """In zc.async the thread died, and the job stayed active."""
    job = queue.put(work.exit_thread)
    after = queue.put(work.answer)
    transaction.commit()
    drain(db)
    transaction.begin()
    assert job.result.check(AbortedError)
    assert caplog.text.count("broke off") == 10
    assert after.result == 42
    assert set(completed(queue)) == {job, after}


def test_a_callback_that_raises_system_exit_fails_and_the_job_ends(db, queue):
    job = Job(work.answer)
    callback = job.addCallback(work.exit_with)
    other = job.addCallback(work.triple)
    queue.put(job)
    transaction.commit()
    drain(db)
    transaction.begin()
    assert job.status == interfaces.COMPLETED
    assert job.result == 42
    assert callback.result.check(SystemExit)
    assert other.result == 126
    assert completed(queue) == [job]


def test_a_conflict_with_a_callback_added_meanwhile_repeats_and_counts_once(
    db, counter, queue
):
    job = queue.put(Job(work.add_and_get_callback_elsewhere, counter))
    transaction.commit()
    drain(db)
    transaction.begin()
    assert work.calls["added"] == 2
    assert counter.count == 1
    assert job.result == 1
    assert [callback.result for callback in job.callbacks] == [3]


def test_an_aborted_or_expired_job_is_in_the_completed_ones_mended_invisible(db, queue):
    """In zc.async they were in no collection."""
    aborted = queue.put(work.answer)
    aborted.abort_next()
    expired = queue.put(
        work.answer, begin_after=work.LONG_AGO, begin_by=work.ONE_SECOND
    )
    transaction.commit()
    drain(db)
    transaction.begin()
    assert aborted.result.check(AbortedError)
    assert expired.result.check(TimeoutError)
    assert set(completed(queue)) == {aborted, expired}
    assert aborted.agent is expired.agent is not None
