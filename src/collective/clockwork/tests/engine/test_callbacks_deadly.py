"""Callbacks under which processes die: whom it is put down to, and their end."""

from __future__ import annotations

from collective.clockwork.engine import deaths
from collective.clockwork.engine.callbacks import ConditionalCallbackProxy
from collective.clockwork.engine.deaths import Death
from collective.clockwork.engine.deaths import interrupt
from collective.clockwork.engine.explain import explain
from collective.clockwork.engine.interfaces import AbortedError
from collective.clockwork.engine.interfaces import COMPLETED
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.retry import NeverRetry
from collective.clockwork.engine.retry import RetryCommonFourTimes
from collective.clockwork.engine.testing import drain
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.sickwork import Threefold

import pytest
import transaction


DEATH = Death(1, "a worker", alone=True)
AMONG_OTHERS = Death(1, "a worker", alone=False)


class Twentyfold(RetryCommonFourTimes):
    max_interruptions = 20


class Fragile(Job):
    """A job whose code may be missing."""

    missing = False

    def __setstate__(self, state):
        if Fragile.missing:
            raise AttributeError("its class has changed")
        super().__setstate__(state)


@pytest.fixture
def put(queue, agent):
    """Puts a job with callbacks, and claims it as one whose own work is done."""

    def put(*callbacks, policy=None):
        job = Job(work.nothing)
        for callback in callbacks:
            job.addCallback(callback, retry_policy_factory=policy)
        queue.put(job)
        transaction.commit()
        assert agent.claimJob() is job
        job._status, job._result = 2, 42
        transaction.commit()
        return job

    return put


def begin(job):
    """It is on record that a thread is at its callbacks."""
    job._begun_attempt = job.attempt
    job._begun_thread = "thread 1"


def die(agent, job, times, death=DEATH) -> None:
    for _time in range(times):
        begin(job)
        attempt = job.attempt
        assert interrupt(agent, job, death) is False
        assert job.attempt == attempt + 1


def counts(job) -> list[int]:
    """How many deaths each of its callbacks has seen."""
    return [len(callback.deaths) for callback in job.callbacks]


# Whom it is put down to


def test_a_death_counts_against_the_callback_that_the_process_was_at(agent, put):
    job = put(Job(work.mirror), Job(work.mirror), Job(work.mirror))
    done, deadly, _behind = job.callbacks
    done._status = 3
    die(agent, job, 1)
    assert counts(job) == [0, 1, 0]
    assert deadly._deaths.count == 1
    assert deadly.deaths[0].alone and deadly.deaths[0].thread == "thread 1"
    assert deadly.getRetryPolicy().data == {"interruptions": 1}
    assert job.deaths == () and job._suspect == 1


def test_the_process_that_did_the_own_work_was_at_the_callbacks(agent, put):
    job = put(Job(work.mirror))
    job.parent = agent
    assert interrupt(agent, job, DEATH) is False
    assert counts(job) == [1]


def test_one_that_may_not_have_begun_is_only_suspected_and_only_once(agent, put):
    job = put(Job(work.mirror))
    for _time in range(3):
        assert interrupt(agent, job, DEATH) is False
        assert job._suspect == 1
    assert counts(job) == [0]


def test_a_death_among_others_counts_for_nothing_and_is_noted(agent, put):
    job = put(Job(work.mirror), policy=NeverRetry)
    die(agent, job, deaths.UNEXPLAINED, AMONG_OTHERS)
    assert counts(job) == [deaths.UNEXPLAINED]
    assert job.callbacks[0]._deaths.count == job.callbacks[0]._status == 0
    assert job._suspect == deaths.UNEXPLAINED
    # Who is never alone is blamed in the end.
    die(agent, job, 1, AMONG_OTHERS)
    assert job.callbacks[0].result.check(AbortedError)
    assert job._suspect == deaths.UNEXPLAINED


def test_a_stop_in_order_is_nobodys_fault(agent, put):
    job = put(Job(work.mirror), policy=NeverRetry)
    die(agent, job, 3, None)
    assert counts(job) == [0]
    assert job._suspect == job.callbacks[0]._status == 0


def test_those_below_callbacks_and_proxies_are_found(agent, put):
    above, chosen, below = Job(work.mirror), Job(work.mirror), Job(work.mirror)
    above.addCallback(ConditionalCallbackProxy(chosen))
    chosen.addCallback(below)
    job = put(above, Job(work.mirror))
    proxy = above.callbacks[0]
    above._status = 2
    die(agent, job, 1)
    assert len(chosen.deaths) == 0, "it was not chosen yet"
    proxy.job = chosen
    die(agent, job, 1)
    assert len(chosen.deaths) == 1
    chosen._status = 2
    die(agent, job, 1)
    assert [len(each.deaths) for each in (above, chosen, below)] == [0, 1, 1]
    assert counts(job) == [0, 0]


def test_one_that_waits_is_not_what_the_process_was_at(queue, agent, put):
    job = put(Job(work.mirror), Job(work.mirror), Job(work.mirror))
    waiting, deferred, called = job.callbacks
    waiting.wait_for(queue.put(Job(work.answer)))
    deferred.wait_for_deferred()
    die(agent, job, 1)
    assert counts(job) == [0, 0, 1]
    # Unless there is no other: it may have been called once more.
    called._status = 3
    die(agent, job, 1)
    assert counts(job) == [0, 1, 1]


def test_one_that_had_committed_in_the_middle_is_found(agent, put):
    job = put(Job(work.mirror), Job(work.mirror))
    job.callbacks[0]._status = 1
    die(agent, job, 1)
    assert counts(job) == [1, 0]


def test_where_all_were_called_nobody_is_to_blame(agent, put):
    job = put(Job(work.mirror))
    job.callbacks[0]._status = 3
    die(agent, job, 20)
    assert counts(job) == [0]


def test_one_that_cannot_be_read_here_does_not_hold_up_the_others(
    agent, put, elsewhere, monkeypatch, caplog
):
    job = put(Fragile(work.mirror), policy=Threefold)
    there = elsewhere()
    monkeypatch.setattr(Fragile, "missing", True)
    there_job = there.get(job._p_oid)
    die(there.get(agent._p_oid), there_job, 1)
    assert there_job._suspect == 1
    assert "cannot be read" in caplog.text


# The end


def test_beyond_its_limit_it_fails_and_the_job_is_completed(db, agents, put, caplog):
    job = put(Job(work.nothing), Job(work.mirror), policy=Threefold)
    deadly, behind = job.callbacks
    deadly.addCallback(Job(work.mirror))
    transaction.commit()
    die(agents["main"], job, 3)
    assert deadly._status == 0
    die(agents["main"], job, 1)
    assert deadly.result.check(AbortedError)
    text = "4 processes died while they called it, with no other job in hand"
    assert text in deadly.result.getErrorMessage()
    assert text in caplog.text
    assert len(deadly.deaths) == deadly._deaths.count == 4
    agents.deactivate(in_order=True)
    transaction.commit()
    drain(db)
    transaction.begin()
    assert job.status == deadly.status == COMPLETED
    assert (job.result, behind.result) == (42, 42)
    assert deadly.callbacks[0].result.check(AbortedError)
    assert explain(deadly).code == "aborted"


def test_a_policy_without_limit_allows_nine_deaths(agent, put):
    job = put(Job(work.mirror))
    (callback,) = job.callbacks
    assert callback.getRetryPolicy().max_interruptions is None
    die(agent, job, 9)
    assert callback._status == 0
    die(agent, job, 1)
    assert callback.result.check(AbortedError)


def test_a_policy_may_allow_more(agent, put):
    job = put(Job(work.mirror), policy=Twentyfold)
    die(agent, job, 20)
    assert job.callbacks[0]._status == 0
    die(agent, job, 1)
    assert job.callbacks[0].result.check(AbortedError)


def test_never_retry_allows_none(agent, put):
    job = put(Job(work.mirror), policy=NeverRetry)
    die(agent, job, 1)
    assert job.callbacks[0].result.check(AbortedError)


def test_what_a_frozen_process_commits_later_is_thrown_away(
    queue, agent, put, elsewhere
):
    job = put(Job(work.mirror), policy=NeverRetry)
    there = elsewhere()
    there_callback = there.root()[KEY][""]._p_jar.get(job.callbacks[0]._p_oid)
    there_callback.settle("late")
    die(agent, job, 1)
    transaction.commit()
    with pytest.raises(transaction.interfaces.TransientError):
        there.transaction_manager.commit()


def test_that_a_suspect_is_at_its_callbacks_is_on_record(db, agents, put, ledger):
    job = put(Job(work.note_parent_status, ledger))
    assert interrupt(agents["main"], job, DEATH) is False
    agents.deactivate(in_order=True)
    transaction.commit()
    attempt = job.attempt
    assert job._begun_attempt is None
    drain(db)
    transaction.begin()
    assert list(ledger.values()) == ["callback-status"]
    assert job._begun_attempt == attempt
    assert job.status == COMPLETED
