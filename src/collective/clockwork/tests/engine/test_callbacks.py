"""Callbacks: which run, with what, and in which order."""

from __future__ import annotations

from collective.clockwork.engine import interfaces
from collective.clockwork.engine.failure import isFailure
from collective.clockwork.engine.interfaces import TimeoutError
from collective.clockwork.engine.job import ConditionalCallbackProxy
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import drain
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.trouble import BeforeCompletion
from datetime import timedelta
from ZODB.POSException import ConflictError

import logging
import pytest
import transaction


EVENTS = "collective.clockwork.engine.events"
TRACE = "collective.clockwork.engine.trace"


def test_a_success_callback_gets_the_result(store):
    job = store(Job(work.echo, 1))
    proxy = job.addCallbacks(work.mirror)
    assert job(2) == ((1, 2), {})
    assert proxy.result == ((1, 2), {})


@pytest.mark.parametrize("function, ran", [("answer", "good"), ("boom", "bad")])
def test_exactly_the_matching_handler_runs(root, store, function, ran):
    ledger = root["ledger"] = work.Ledger()
    job = Job(getattr(work, function))
    good = Job(work.note, ledger, "good")
    bad = Job(work.note, ledger, "bad")
    good.callable, bad.callable = work.echo, work.echo
    job.addCallbacks(good, bad)
    store(job)()
    assert (good.status == interfaces.COMPLETED) == (ran == "good")
    assert (bad.status == interfaces.COMPLETED) == (ran == "bad")


@pytest.mark.parametrize("function", ["answer", "boom"])
def test_all_callbacks_run_in_order_with_the_same_input(root, store, function):
    ledger = root["ledger"] = work.Ledger()
    job = Job(getattr(work, function))
    seen = [job.addCallback(Job(work.first_and_note, ledger, n)) for n in range(3)]
    result = store(job)()
    assert list(ledger.values()) == [0, 1, 2]
    assert len({str(callback.result) for callback in seen}) == 1
    assert str(seen[0].result) == str(result)


def test_a_chained_callback_gets_the_result_of_the_first(store):
    job = Job(work.mirror, 2)
    last = job.addCallbacks(work.triple).addCallbacks(work.triple)
    store(job)()
    assert job.result == 2
    assert last.result == 18


def test_a_failure_handler_heals_the_chain_but_not_the_job(store):
    job = Job(work.boom)
    last = job.addCallbacks(failure=work.swallow).addCallbacks(work.triple)
    store(job)()
    assert isFailure(job.result)
    assert last.result == 3


def test_a_callback_added_to_a_completed_job_runs_at_once(store):
    job = store(Job(work.answer))
    job()
    callback = job.addCallback(work.triple)
    assert callback.result == 126
    assert job.status == interfaces.COMPLETED


def test_a_job_as_handler_may_have_callbacks_of_its_own(store):
    job = Job(work.mirror, 1)
    handler = Job(work.triple)
    nested = handler.addCallbacks(work.triple)
    job.addCallbacks(handler)
    store(job)()
    assert handler.result == 3
    assert nested.result == 9


def test_callbacks_are_a_sequence_that_stays_the_same(store):
    job = Job(work.answer)
    handler = Job(work.triple)
    proxy = job.addCallbacks(handler)
    plain = Job(work.mirror)
    assert job.addCallback(plain) is plain
    assert len(job.callbacks) == 2
    assert job.callbacks[0] is proxy
    assert proxy.success is handler
    assert proxy.failure is None
    store(job)()
    assert job.callbacks[0] is proxy
    assert job.callbacks[1] is plain


def test_the_parents_of_a_handler_lead_to_the_job():
    job = Job(work.answer)
    handler = Job(work.triple)
    proxy = job.addCallbacks(handler)
    assert handler.parent is proxy
    assert proxy.parent is job


def test_the_start_and_the_end_of_a_callback_are_logged(store, caplog):
    caplog.set_level(logging.DEBUG, TRACE)
    job = Job(work.boom)
    callback = job.addCallback(work.swallow)
    store(job)()
    starts = [
        record
        for record in caplog.records
        if record.levelno == logging.DEBUG and "starting callback" in record.message
    ]
    assert len(starts) == 1
    assert repr(callback) in starts[0].message
    assert repr(job) in starts[0].message
    ends = [
        record
        for record in caplog.records
        if record.levelno == logging.INFO and repr(callback) in record.message
    ]
    assert "succeeded with result: 1" in ends[-1].message


def test_a_callback_that_raises_is_critical_and_changes_nothing_else(store, caplog):
    job = Job(work.answer)
    callback = job.addCallback(work.fail_with)
    store(job)()
    assert job.result == 42
    assert callback.result.check(ValueError)
    records = [r for r in caplog.records if r.name == EVENTS]
    assert records[-1].levelno == logging.CRITICAL
    assert "Traceback" in records[-1].message


def test_a_missing_handler_hands_the_value_on_mended_transparent(store):
    """zc.async handed on a tuple, and chained failure handlers were lost."""
    job = Job(work.boom)
    skipped = job.addCallbacks(success=work.triple)
    healed = skipped.addCallbacks(failure=work.swallow)
    other = Job(work.answer)
    passed = other.addCallbacks(failure=work.swallow)
    store(job)()
    store(other)()
    assert isFailure(skipped.result)
    assert healed.result == 1
    assert passed.result == 42


def test_a_callback_with_begin_by_alone_runs_mended_endless_loop(store):
    """zc.async looped for ever over a callback without begin_after."""
    job = Job(work.answer)
    callback = Job(work.triple)
    callback.begin_by = timedelta(hours=1)
    job.addCallback(callback)
    store(job)()
    assert callback.result == 126


def test_a_callback_that_is_too_late_fails_with_a_timeout(store):
    job = Job(work.answer)
    callback = Job(work.triple)
    callback.begin_after = work.LONG_AGO
    callback.begin_by = timedelta(hours=1)
    job.addCallback(callback)
    store(job)()
    assert job.status == interfaces.COMPLETED
    assert callback.result.check(TimeoutError)


def test_a_callback_may_return_a_job_and_its_own_callbacks_wait(db, root, queue):
    job = Job(work.answer)
    callback = job.addCallback(Job(work.put_and_return_late, work.mirror, 5))
    last = callback.addCallback(work.triple)
    queue.put(job)
    transaction.commit()
    drain(db)
    transaction.begin()
    assert job.status == interfaces.COMPLETED
    assert callback.result == 5
    assert last.result == 15


def test_conditions_choose_the_first_that_is_true(store):
    for value, expected in ((1, 3), (-1, "negative"), (0, "default")):
        job = Job(work.mirror, value)
        proxy = ConditionalCallbackProxy(
            (work.is_positive, work.triple),
            (work.is_negative, Job(work.say, "negative")),
            Job(work.say, "default"),
        )
        job.addCallback(proxy)
        store(job)()
        assert proxy.result == expected


def test_only_the_last_choice_may_come_without_a_condition():
    with pytest.raises(TypeError, match="only the last one"):
        ConditionalCallbackProxy(work.triple, work.triple)


def test_resuming_runs_what_is_not_finished_and_leaves_the_rest(root, store, caplog):
    caplog.set_level(logging.DEBUG, TRACE)
    ledger = root["ledger"] = work.Ledger()
    job = Job(work.answer)
    names = ("completed", "in callbacks", "active", "new")
    callbacks = {n: job.addCallback(Job(work.note_first, ledger, n)) for n in names}
    sub = callbacks["in callbacks"].addCallback(Job(work.note_first, ledger, "sub"))
    store(job)
    # The state that a process leaves when it is killed among its callbacks.
    job._status, job._result = 2, 42
    callbacks["completed"]._status = 3
    callbacks["in callbacks"]._status = 2
    callbacks["active"]._status = 1
    transaction.commit()
    job.resumeCallbacks()
    assert list(ledger.values()) == ["sub", "active", "new"]
    assert sub.status == interfaces.COMPLETED
    assert all(c.status == interfaces.COMPLETED for c in callbacks.values())
    assert job.status == interfaces.COMPLETED
    assert repr(callbacks["active"]) in caplog.text


def test_callbacks_cannot_be_resumed_in_another_status(store):
    job = store(Job(work.answer))
    with pytest.raises(interfaces.BadStatusError):
        job.resumeCallbacks()


def test_a_callback_that_another_connection_adds_meanwhile_is_run(db, queue, elsewhere):
    job = queue.put(work.answer)
    job.addCallback(work.add_callback_elsewhere)
    transaction.commit()
    drain(db)
    transaction.begin()
    assert job.status == interfaces.COMPLETED
    assert len(job.callbacks) == 2
    assert job.callbacks[1].result == 126


def test_a_callback_added_just_before_completion_is_still_run(root, store, elsewhere):
    job = Job(work.answer)
    job.addCallback(work.mirror)
    store(job)
    other = elsewhere()
    late = BeforeCompletion(job, lambda: add_callback(other, job, work.triple))
    transaction.manager.registerSynch(late)
    try:
        job()
    finally:
        transaction.manager.unregisterSynch(late)
    assert late.done
    transaction.begin()
    assert job.status == interfaces.COMPLETED
    assert [callback.result for callback in job.callbacks] == [42, 126]


def test_a_callback_that_comes_too_late_conflicts_and_runs_at_once_when_added_again(
    store, elsewhere
):
    job = store(Job(work.answer))
    other = elsewhere()
    seen = other.get(job._p_oid)
    seen.addCallback(work.triple)
    job()
    with pytest.raises(ConflictError):
        other.transaction_manager.commit()
    other.transaction_manager.abort()
    again = seen.addCallback(work.triple)
    assert again.status == interfaces.COMPLETED
    assert again.result == 126


def add_callback(connection, job, function):
    connection.transaction_manager.begin()
    connection.get(job._p_oid).addCallback(function)
    connection.transaction_manager.commit()
