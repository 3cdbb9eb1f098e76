"""Retry policies, and runs that go wrong."""

from __future__ import annotations

from collective.clockwork.engine import interfaces
from collective.clockwork.engine.agent import Agent
from collective.clockwork.engine.attempt import Run
from collective.clockwork.engine.commit import ClientDisconnected
from collective.clockwork.engine.failure import Failure
from collective.clockwork.engine.failure import isFailure
from collective.clockwork.engine.interfaces import AbortedError
from collective.clockwork.engine.interfaces import IJob
from collective.clockwork.engine.interfaces import IRetryPolicy
from collective.clockwork.engine.job import callback_retry_policy_factory
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.job import NeverRetry
from collective.clockwork.engine.job import RetryCommonForever
from collective.clockwork.engine.job import RetryCommonFourTimes
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import set_now
from collective.clockwork.engine.threadlocal import local
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.trouble import Trouble
from collective.clockwork.tests.engine.trouble import TroubleAt
from collective.clockwork.tests.engine.trouble import Waits
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from uuid import uuid4
from ZODB.POSException import ConflictError
from zope.component import getGlobalSiteManager
from zope.component import provideAdapter
from zope.interface.verify import verifyObject

import logging
import pytest
import transaction


EVENTS = "collective.clockwork.engine.events"
FIRST_WAITS = [5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55]


def waits_of(count: int) -> list:
    return (FIRST_WAITS + [60] * count)[:count]


def conflict() -> Failure:
    return Failure(ConflictError("conflict"))


def disconnect() -> Failure:
    return Failure(ClientDisconnected("away"))


@pytest.fixture
def waits(db, monkeypatch):
    """The waits of a second and more that would have been made."""
    noted = Waits()
    monkeypatch.setattr(local, "stopping", noted)
    return noted


@pytest.fixture
def trouble():
    """Lets the coming commits of this thread fail with these errors."""
    made = []

    def start(*errors):
        synch = Trouble(*errors)
        transaction.manager.registerSynch(synch)
        made.append(synch)
        return synch

    yield start
    for synch in made:
        transaction.manager.unregisterSynch(synch)


@pytest.fixture
def assigned(root, queue):
    """A job of that function, claimed by an agent that is never served."""

    def make(function, *args, policy=None):
        job = Job(function, *args)
        job.retry_policy_factory = policy
        queue.put(job)
        agents = queue.dispatchers.register(uuid4())
        agents.activate()
        agents["main"] = Agent()
        transaction.commit()
        assert agents["main"].claimJob() is job
        transaction.commit()
        return job

    return make


# What the policies say


def test_four_times_stops_at_the_fifth_conflict():
    policy = RetryCommonFourTimes()
    assert verifyObject(IRetryPolicy, policy)
    data = {}
    answers = [policy.jobError(conflict(), data) for _ in range(5)]
    assert answers == [True] * 4 + [False]
    assert policy.commitError(conflict(), data) is False
    fresh = {}
    answers = [policy.commitError(conflict(), fresh) for _ in range(5)]
    assert answers == [True] * 4 + [False]


@pytest.mark.parametrize("factory", [RetryCommonFourTimes, RetryCommonForever])
def test_disconnects_are_waited_for_with_patience(waits, factory):
    policy = factory()
    data = {}
    assert all(policy.jobError(disconnect(), data) for _ in range(50))
    assert waits == waits_of(50)
    assert policy.commitError(disconnect(), data)
    assert waits[-1] == 60
    assert policy.commitError(disconnect(), {})
    assert waits[-1] == 5


def test_four_times_does_not_repeat_errors_of_the_job():
    policy = RetryCommonFourTimes()
    for error in (RuntimeError(), ValueError()):
        assert not policy.jobError(Failure(error), {})
        assert not policy.commitError(Failure(error), {})


def test_four_times_allows_nine_interruptions():
    policy = RetryCommonFourTimes()
    assert [policy.interrupted() for _ in range(10)] == [True] * 9 + [False]


def test_update_data_at_any_time_does_no_harm(store):
    job = Job(work.answer)
    job.getRetryPolicy().updateData({"first_active": datetime.now(timezone.utc)})
    store(job)
    job.getRetryPolicy().updateData({})
    assert job() == 42


def test_forever_never_gives_up_on_what_may_pass(waits):
    policy = RetryCommonForever()
    data = {}
    assert all(policy.jobError(conflict(), data) for _ in range(50))
    assert all(policy.commitError(conflict(), data) for _ in range(50))
    assert not policy.jobError(Failure(ValueError()), data)
    assert all(policy.commitError(Failure(ValueError()), data) for _ in range(50))
    assert all(policy.interrupted() for _ in range(50))


def test_forever_repeats_conflicts_at_commit_mended_row_of_the_parent():
    """zc.async's Forever had the parent's limit for conflicts at commit."""
    policy = RetryCommonForever()
    data = {}
    assert all(policy.commitError(conflict(), data) for _ in range(1000))


def test_never_retry_says_no_to_everything():
    policy = NeverRetry()
    assert verifyObject(IRetryPolicy, policy)
    assert not policy.jobError(conflict(), {})
    assert not policy.commitError(conflict(), {})
    assert not policy.interrupted()


# Which policy a job gets


def test_the_factory_of_a_job_is_used():
    job = Job(work.answer)
    job.retry_policy_factory = NeverRetry
    assert isinstance(job.getRetryPolicy(), NeverRetry)


def test_without_a_factory_the_adapter_is_used_and_then_four_times(components):
    assert type(Job(work.answer).getRetryPolicy()) is RetryCommonFourTimes
    provideAdapter(NeverRetry, (IJob,), IRetryPolicy)
    assert type(Job(work.answer).getRetryPolicy()) is NeverRetry
    getGlobalSiteManager().unregisterAdapter(NeverRetry, (IJob,), IRetryPolicy)
    assert type(Job(work.answer).getRetryPolicy()) is RetryCommonFourTimes


def test_a_name_as_factory_means_a_named_adapter(components):
    job = Job(work.answer)
    job.retry_policy_factory = "never"
    provideAdapter(NeverRetry, (IJob,), IRetryPolicy, name="never")
    assert type(job.getRetryPolicy()) is NeverRetry


def test_callbacks_are_retried_for_ever_unless_told_otherwise(components):
    job = Job(work.answer)
    plain = job.addCallback(work.mirror)
    assert plain.retry_policy_factory is callback_retry_policy_factory
    assert type(plain.getRetryPolicy()) is RetryCommonForever
    own = Job(work.mirror)
    own.retry_policy_factory = NeverRetry
    job.addCallback(own)
    assert type(own.getRetryPolicy()) is NeverRetry
    provideAdapter(NeverRetry, (IJob,), IRetryPolicy, name="callback")
    assert type(job.addCallback(work.mirror).getRetryPolicy()) is NeverRetry


def test_a_policy_stays_when_the_factory_changes():
    job = Job(work.answer)
    policy = job.getRetryPolicy()
    job.retry_policy_factory = NeverRetry
    assert job.getRetryPolicy() is policy


# Errors of the callable


@pytest.mark.parametrize("error", [ValueError, TypeError, RuntimeError])
def test_ordinary_errors_are_not_repeated(store, error):
    job = store(Job(work.flaky, "once", 1, error))
    assert job().check(error)
    assert work.calls["once"] == 1


def test_a_job_that_always_conflicts_is_tried_five_times(store):
    job = store(Job(work.flaky, "conflict", 99, ConflictError))
    assert job().check(ConflictError)
    assert work.calls["conflict"] == 5


def test_a_job_that_conflicts_twice_succeeds_the_third_time(store):
    assert store(Job(work.flaky, "conflict", 2, ConflictError))() == 3


def test_a_storage_that_is_away_49_times_is_waited_for(store, waits):
    job = store(Job(work.flaky, "away", 49, ClientDisconnected))
    assert job() == 50
    assert waits == waits_of(49)


@pytest.mark.parametrize("function", ["flaky", "fail_at_commit"])
def test_a_policy_may_put_a_job_off_for_an_hour(db, queue, assigned, function):
    set_now(datetime(2030, 1, 1))
    job = assigned(getattr(work, function), "off", 1, ValueError, policy=work.InAnHour)
    agent = job.agent
    assert job() is job
    assert job.status == interfaces.PENDING
    assert list(agent) == []
    assert list(queue) == [job]
    assert job.begin_after == datetime(2030, 1, 1, 1, tzinfo=timezone.utc)
    assert drain(db) == 0
    set_now(datetime(2030, 1, 1, 1))
    assert drain(db) == 1
    transaction.begin()
    assert job.result == 2


@pytest.mark.parametrize("function", ["flaky", "fail_at_commit"])
def test_a_policy_may_put_a_job_off_until_a_naive_utc_time(queue, assigned, function):
    job = assigned(
        getattr(work, function), "off", 1, ValueError, policy=work.InYear3000
    )
    assert job() is job
    assert job.status == interfaces.PENDING
    assert job.begin_after == datetime(3000, 1, 1, tzinfo=timezone.utc)


@pytest.mark.parametrize("function", ["flaky", "fail_at_commit"])
@pytest.mark.parametrize("decision", [timedelta(), -timedelta(1), datetime(2001, 1, 1)])
def test_a_policy_that_puts_a_job_off_until_now_lets_it_be_first(
    db, queue, assigned, monkeypatch, function, decision
):
    monkeypatch.setattr(work.InAnHour, "decision", decision)
    job = assigned(getattr(work, function), "now", 1, ValueError, policy=work.InAnHour)
    agent = job.agent
    other = queue.put(work.answer)
    transaction.commit()
    assert job() is job
    assert list(agent) == []
    assert list(queue) == [job, other]
    assert agent.claimJob() is job
    transaction.commit()
    assert job() == 2
    assert agent.claimJob() is other


@pytest.mark.parametrize("function", ["flaky", "fail_at_commit"])
def test_a_worker_puts_a_job_that_may_go_on_now_before_the_others(
    db, root, queue, monkeypatch, function
):
    monkeypatch.setattr(work.InAnHour, "decision", timedelta())
    jobs = [Job(getattr(work, function), "worker", 1, ValueError), Job(work.answer)]
    for job in jobs:
        job.retry_policy_factory = work.InAnHour
        queue.put(job)
        transaction.commit()
    drain(db)
    transaction.begin()
    assert [job.result for job in jobs] == [2, 42]
    assert list(jobs[0].agent.completed) == jobs[::-1]


@pytest.mark.parametrize("decision", ["again_now", "later"])
def test_a_worker_obeys_a_policy_too(db, queue, decision):
    set_now(datetime(2030, 1, 1))
    job = Job(work.flaky, "worker", 1, ValueError)
    job.retry_policy_factory = work.AtOnce if decision == "again_now" else work.InAnHour
    queue.put(job)
    other = queue.put(work.answer)
    transaction.commit()
    drain(db)
    transaction.begin()
    assert other.status == interfaces.COMPLETED
    if decision == "later":
        assert job.status == interfaces.PENDING
        assert job.begin_after == datetime(2030, 1, 1, 1, tzinfo=timezone.utc)
        set_now(datetime(2030, 1, 1, 1))
        drain(db)
        transaction.begin()
    assert job.result == 2


# Errors of the commit


def test_an_error_at_commit_becomes_the_result_and_the_success_is_logged(store, caplog):
    caplog.set_level(logging.INFO, EVENTS)
    job = store(Job(work.fail_at_commit, "veto", 1, ValueError("veto")))
    assert job().check(ValueError)
    assert work.calls["veto"] == 1
    lost = [r for r in caplog.records if "Commit failed" in r.message]
    assert [r.levelno for r in lost] == [logging.INFO]
    assert "succeeded with result: 1" in lost[0].message


def test_the_loss_of_a_failure_at_commit_is_logged_with_its_traceback(store, caplog):
    job = store(Job(work.return_failure_and_veto, work.Veto()))
    result = job()
    assert result.check(RuntimeError)
    lost = [r for r in caplog.records if "Commit failed" in r.message]
    assert [r.levelno for r in lost] == [logging.ERROR]
    assert "ValueError: the first" in lost[0].message


def test_a_conflict_at_each_commit_is_tried_five_times(store):
    job = store(Job(work.fail_at_commit, "commit", 99, ConflictError("always")))
    assert job().check(ConflictError)
    assert work.calls["commit"] == 5


def test_a_conflict_at_two_commits_is_overcome(store):
    assert store(Job(work.fail_at_commit, "commit", 2, ConflictError("twice")))() == 3


def test_conflicts_while_storing_the_final_failure_are_overcome(store, trouble):
    job = store(Job(work.boom))
    synch = trouble()
    original = Run._settle_failure

    def settle(self, failure):
        if not synch.raised and not synch.errors:
            synch.errors.extend(ConflictError("again") for _ in range(60))
        original(self, failure)

    Run._settle_failure = settle
    try:
        assert job().check(ValueError)
    finally:
        Run._settle_failure = original
    assert synch.raised == 60


@pytest.mark.parametrize("position", range(4))
def test_a_storage_that_is_away_at_any_commit_is_waited_for(store, waits, position):
    # Four commits: the beginning, the result, the callback's, the completion.
    job = Job(work.answer)
    callback = job.addCallback(work.triple)
    store(job)
    synch = TroubleAt(position, ClientDisconnected("away"))
    transaction.manager.registerSynch(synch)
    transaction.begin()
    try:
        assert job() == 42
    finally:
        transaction.manager.unregisterSynch(synch)
    assert job.status == interfaces.COMPLETED
    assert callback.result == 126
    assert synch.raised == 1
    assert waits == [5]


def test_counts_of_a_run_outlive_its_aborted_transactions(store):
    job = store(Job(work.flaky, "count", 2, ConflictError))
    job()
    assert job.getRetryPolicy().data["transaction_error"] == 2


# Interruptions


def interrupted(job):
    job._status = 1
    transaction.commit()
    job.handleInterrupt()
    transaction.begin()


def test_an_interrupted_job_goes_back_nine_times_and_then_aborts(queue, assigned):
    job = assigned(work.answer)
    agent = job.agent
    other = queue.put(work.nothing)
    transaction.commit()
    for count in range(9):
        interrupted(job)
        assert job.status == interfaces.PENDING
        assert list(queue) == [job, other], count
        assert agent.claimJob() is job
        transaction.commit()
    interrupted(job)
    assert job.status == interfaces.COMPLETED
    assert job.result.check(AbortedError)


def test_an_interrupted_job_waits_as_long_as_its_policy_says(queue, assigned):
    set_now(datetime(2030, 1, 1))
    job = assigned(work.answer, policy=work.InAnHour)
    interrupted(job)
    assert job.status == interfaces.PENDING
    assert job.begin_after == datetime(2030, 1, 1, 1, tzinfo=timezone.utc)
    late = assigned(work.answer, policy=work.InYear3000)
    interrupted(late)
    assert late.begin_after == datetime(3000, 1, 1, tzinfo=timezone.utc)
    assert list(queue) == [job, late]


def test_a_job_that_is_not_active_cannot_be_interrupted(queue):
    job = queue.put(work.answer)
    with pytest.raises(interfaces.BadStatusError):
        job.handleInterrupt()


def test_interrupting_a_job_among_its_callbacks_resumes_them(among_callbacks):
    job = Job(work.answer)
    callback = job.addCallback(work.triple)
    among_callbacks(job)
    job.handleInterrupt()
    assert callback.result == 126
    assert job.status == interfaces.COMPLETED


def test_a_retry_is_granted_while_the_deadline_is_ahead_mended_deadline(db, queue):
    """zc.async refused a retry although ``begin_by`` had not passed."""
    set_now(datetime(2030, 1, 1))
    job = Job(work.flaky, "deadline", 1, ValueError)
    job.retry_policy_factory = work.InAnHour
    queue.put(job, begin_by=timedelta(hours=2))
    transaction.commit()
    drain(db)
    set_now(datetime(2030, 1, 1, 1))
    drain(db)
    transaction.begin()
    assert job.result == 2


def test_an_interrupted_callback_that_may_not_retry_ends_mended_stuck_parent(
    among_callbacks,
):
    """zc.async raised BadStatusError, and the parent never ended."""
    job = Job(work.answer)
    callback = Job(work.triple)
    callback.retry_policy_factory = NeverRetry
    job.addCallback(callback)
    among_callbacks(job)
    callback._status = 1
    transaction.commit()
    job.handleInterrupt()
    assert job.status == interfaces.COMPLETED
    assert callback.status == interfaces.COMPLETED


def test_the_result_of_a_failed_commit_is_stored_however_bad_mended_last_step(store):
    """zc.async had no fallback when the error could not be pickled."""
    job = store(Job(work.fail_at_commit, "bad", 1, work.Unpicklable))
    result = job()
    assert isFailure(result)
    assert result.typeName.endswith("Unpicklable")
    assert job.status == interfaces.COMPLETED
