"""Jobs that are called by hand, and what a job knows about itself."""

from __future__ import annotations

from collective.clockwork.engine import interfaces
from collective.clockwork.engine.agent import Agent
from collective.clockwork.engine.failure import isFailure
from collective.clockwork.engine.interfaces import BadStatusError
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import drain
from collective.clockwork.tests.engine import work
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from uuid import uuid4

import pytest
import time
import transaction


def test_calling_a_stored_job_runs_the_function_and_returns_its_result(store):
    job = store(Job(work.answer))
    assert job() == 42
    assert job.status == interfaces.COMPLETED
    assert job.result == 42


def test_a_new_job_is_new_and_its_status_and_result_cannot_be_set():
    job = Job(work.answer)
    assert job.status == interfaces.NEW
    with pytest.raises(AttributeError):
        job.status = interfaces.COMPLETED
    with pytest.raises(AttributeError):
        job.result = 1


def test_the_repr_names_oid_and_database_once_they_exist(root):
    counter = work.Counter()
    job = Job(counter.add)
    assert repr(job).count("oid ?, db ?") == 2
    root["counter"], root["job"] = counter, job
    transaction.commit()
    assert "?" not in repr(job)
    assert repr(job).count("db 'unnamed'") == 2
    assert ":add" in repr(job)


def test_a_method_of_a_persistent_object_changes_that_object(store, elsewhere):
    counter = work.Counter()
    job = store(Job(counter.add, 3))
    assert job() == 3
    seen = elsewhere().get(counter._p_oid)
    assert seen.count == 3


def test_a_builtin_is_called_like_any_function(store):
    job = store(Job(time.time))
    assert abs(job() - time.time()) < 60
    assert job.callable_name == "time.time"


def test_an_exception_becomes_the_result_and_does_not_escape(store):
    job = store(Job(work.boom, "bang"))
    result = job()
    assert isFailure(result)
    assert result.check(ValueError)
    assert "in boom" in result.getTraceback()
    assert result.getErrorMessage() == "bang"


def test_changes_of_a_function_that_raises_are_rolled_back(store):
    counter = work.Counter()
    job = store(Job(counter.add_and_fail))
    assert isFailure(job())
    assert counter.count == 0


def test_changes_of_a_function_that_returns_a_failure_stay(store):
    counter = work.Counter()
    job = store(Job(counter.add_and_return_failure))
    result = job()
    assert isFailure(result)
    assert result.getErrorMessage() == "returned"
    assert counter.count == 1


def test_a_job_that_returns_a_job_is_active_until_that_one_is_done(store):
    inner = store(Job(work.answer))
    outer = store(Job(work.mirror, inner))
    assert outer() is inner
    assert outer.status == interfaces.ACTIVE
    assert outer.result is inner
    inner()
    transaction.begin()
    assert outer.status == interfaces.COMPLETED
    assert outer.result == 42


def test_a_job_that_returns_a_completed_job_takes_over_its_result(store):
    inner = store(Job(work.answer))
    inner()
    outer = store(Job(work.mirror, inner))
    outer()
    transaction.begin()
    assert outer.status == interfaces.COMPLETED
    assert outer.result == 42


def test_a_job_that_returns_itself_fails_instead_of_waiting_for_itself(store):
    job = store(Job(work.return_self))
    assert isFailure(job())
    assert job.status == interfaces.COMPLETED


def test_the_failure_of_an_inner_job_becomes_the_outer_result(store):
    inner = store(Job(work.boom))
    outer = store(Job(work.mirror, inner))
    outer()
    inner()
    transaction.begin()
    assert outer.result.check(ValueError)


def test_arguments_are_passed_and_shown(store):
    counter = work.Counter()
    job = store(Job(work.echo, 1, counter, key="value"))
    args, kwargs = job()
    assert args == (1, counter)
    assert kwargs == {"key": "value"}
    assert "work.Counter (oid" in repr(job)
    assert "key='value'" in repr(job)


def test_arguments_of_the_call_are_added_to_the_stored_ones(store):
    job = store(Job(work.echo, 1, 2, a=1, b=2))
    assert job(3, b=4, c=5) == ((1, 2, 3), {"a": 1, "b": 4, "c": 5})


def test_arguments_may_be_changed_until_the_call(store):
    job = store(Job(work.echo, 1, 2, a=1))
    job.args.append(3)
    job.args[0] = 0
    del job.args[1]
    job.kwargs["b"] = 2
    del job.kwargs["a"]
    transaction.commit()
    assert job.args == [0, 3]
    assert dict(job.kwargs) == {"b": 2}
    assert job() == ((0, 3), {"b": 2})


def test_a_bound_job_gets_itself_as_first_argument(store):
    assert store(Job.bind(work.first_type))() == "Job"
    by_hand = Job(work.first_type)
    by_hand.args.append(by_hand)
    assert store(by_hand)() == "Job"


def test_the_callable_of_a_job_that_was_not_begun_can_be_replaced(store):
    job = store(Job(work.answer))
    job.callable = work.nothing
    assert job.callable is work.nothing
    assert job() is None
    with pytest.raises(BadStatusError):
        job.callable = work.answer


def test_a_subclass_may_call_its_own_method(store):
    job = work.OwnWork(1)
    assert job.status == interfaces.NEW
    store(job)
    assert job() == ("OwnWork", (1,))


def test_the_callable_of_a_job_in_a_queue_cannot_be_replaced(queue):
    job = queue.put(work.answer)
    with pytest.raises(BadStatusError):
        job.callable = work.nothing


def test_a_persistent_object_with_call_is_called(store):
    assert store(Job(work.Calls(), 7))() == ("called", 7)


def test_a_class_is_called(store):
    job = store(Job(work.Counter))
    assert job().count == 0


def test_pending_and_assigned_are_read_off_the_place(queue):
    job = queue.put(work.answer)
    assert job.status == interfaces.PENDING
    assert job.queue is queue
    assert job.agent is None
    transaction.commit()
    agents = queue.dispatchers.register(uuid4())
    agents.activate()
    agent = agents["main"] = Agent()
    assert agent.claimJob() is job
    assert job.status == interfaces.ASSIGNED
    assert job.agent is agent
    assert job.parent is agent
    assert job.queue is queue


@pytest.mark.parametrize("queued", [False, True])
def test_a_job_and_its_callback_observe_the_statuses(db, root, store, queued):
    ledger = root["ledger"] = work.Ledger()
    job = Job(work.note_own_status, ledger)
    job.addCallback(Job(work.note_parent_status, ledger))
    if queued:
        root[KEY][""].put(job)
        transaction.commit()
        drain(db)
    else:
        store(job)()
    transaction.begin()
    assert list(ledger.values()) == ["active-status", "callback-status"]
    assert job.status == interfaces.COMPLETED


def test_a_completed_job_cannot_be_called_again(store):
    job = store(Job(work.answer))
    job()
    with pytest.raises(BadStatusError):
        job()


def test_a_pending_job_cannot_be_called(queue):
    job = queue.put(work.answer)
    transaction.commit()
    with pytest.raises(BadStatusError):
        job()


def test_a_job_that_calls_itself_fails_with_a_bad_status_error(store):
    job = store(Job(work.call_self))
    assert job().check(BadStatusError)


def test_a_callback_that_calls_its_parent_fails_and_the_parent_ends(store):
    job = store(Job(work.answer))
    callback = job.addCallback(work.call_parent)
    transaction.commit()
    assert job() == 42
    assert callback.result.check(BadStatusError)
    assert job.status == interfaces.COMPLETED


def test_begin_after_wants_a_time_zone_and_is_given_in_utc(queue):
    job = Job(work.answer)
    with pytest.raises(ValueError, match="time zone"):
        job.begin_after = datetime(2030, 1, 1)
    eastern = timezone(timedelta(hours=-5))
    job.begin_after = datetime(2030, 1, 1, tzinfo=eastern)
    assert job.begin_after == datetime(2030, 1, 1, 5, tzinfo=timezone.utc)
    assert job.begin_after.tzinfo is timezone.utc
    queue.put(job)
    with pytest.raises(BadStatusError):
        job.begin_after = None


def test_begin_by_must_not_be_negative(queue):
    job = queue.put(work.answer, begin_by=timedelta(hours=1))
    assert job.begin_by == timedelta(hours=1)
    with pytest.raises(ValueError, match="negative"):
        job.begin_by = -timedelta(1)
    job.begin_by = None
    assert job.begin_by is None


def test_annotations_are_committed_with_the_work(store, elsewhere):
    job = store(Job(work.answer))
    assert len(job.annotations) == 0
    with pytest.raises(KeyError):
        job.annotations["note"]
    job.annotations["note"] = "kept"
    transaction.commit()
    seen = elsewhere().get(job._p_oid)
    assert dict(seen.annotations) == {"note": "kept"}
    del job.annotations["note"]
    assert "note" not in job.annotations


def test_the_zope_name_of_the_parent_can_be_set_mended_parent_setter(queue):
    """zc.async's ``__parent__`` could not be set."""
    job = Job(work.answer)
    job.__parent__ = queue
    assert job.parent is queue
    assert job.__parent__ is queue


def test_a_plain_job_is_one_small_record(db, queue):
    transaction.commit()
    before = db.storage.getSize()
    jobs = [queue.put(Job(work.echo, n)) for n in range(100)]
    transaction.commit()
    assert len(jobs) == 100
    assert (db.storage.getSize() - before) / 100 < 500


def test_the_times_of_a_run_are_kept_in_order(db, queue):
    job = queue.put(work.answer)
    transaction.commit()
    assert job.active_start is None
    drain(db)
    transaction.begin()
    assert job.queued_at <= job.active_start <= job.active_end
    assert job.initial_callbacks_end >= job.active_end
