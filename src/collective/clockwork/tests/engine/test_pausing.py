"""Queues and agents that are paused, and go on."""

from __future__ import annotations

from collective.clockwork.engine import clock
from collective.clockwork.engine.explain import explain
from collective.clockwork.engine.interfaces import TimeoutError
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.tests.engine import stopping
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.dispatching import keep_from_threads
from collective.clockwork.tests.engine.dispatching import NEVER
from collective.clockwork.tests.engine.dispatching import pool_of
from collective.clockwork.tests.engine.dispatching import wait_for_agents
from collective.clockwork.tests.engine.dispatching import wait_until_begun
from collective.clockwork.tests.engine.stopping import PATIENCE
from datetime import timedelta
from ZODB.POSException import ConflictError

import pytest
import transaction


@pytest.fixture(params=["queue", "agent"])
def paused(request, queue, start_dispatcher):
    """A dispatcher, and its queue or its agent, which is to be paused."""
    dispatcher = start_dispatcher(poll_interval=NEVER)
    agents = wait_for_agents(queue, dispatcher)
    pool_of(dispatcher)
    transaction.begin()
    return dispatcher, queue if request.param == "queue" else agents["main"]


def pause(one, by="jane", reason="we move"):
    transaction.begin()
    one.pause(by, reason)
    transaction.commit()


def resume(one):
    transaction.begin()
    one.resume()
    transaction.commit()


def has_seen(dispatcher) -> bool:
    return not dispatcher.stations["", "main"]._may_claim


def test_nothing_is_begun_until_it_goes_on(paused, queue, counter):
    dispatcher, one = paused
    pause(one)
    wait_until(lambda: has_seen(dispatcher), "the pause", PATIENCE)
    jobs = [queue.put(counter.add) for _ in range(3)]
    transaction.commit()
    polled = dispatcher.last_poll
    wait_until(lambda: dispatcher.last_poll != polled, "a poll", PATIENCE)
    transaction.begin()
    assert list(queue) == jobs
    reason = explain(jobs[0])
    assert reason.code == ("paused" if one is queue else "agent-paused")
    assert (reason.values["by"], reason.values["reason"]) == ("jane", "we move")
    resume(one)
    assert sorted(wait_for_result(job, PATIENCE) for job in jobs) == [1, 2, 3]


def test_what_runs_goes_on(paused, queue, counter):
    dispatcher, one = paused
    job = queue.put(Job(stopping.ignore, counter, "job"))
    transaction.commit()
    wait_until_begun("job")
    pause(one)
    wait_until(lambda: has_seen(dispatcher), "the pause", PATIENCE)
    work.gate("job").set()
    assert wait_for_result(job, PATIENCE) == "job"
    assert one.paused


def test_what_was_claimed_goes_back_in_its_order(paused, queue, ledger, monkeypatch):
    monkeypatch.setattr("collective.clockwork.engine.pool.GIVE_BACK_AFTER", NEVER)
    dispatcher, one = paused
    pool = pool_of(dispatcher)
    taken = keep_from_threads(pool)
    queue.quotas.create("one", 1)
    jobs = [Job(work.note, ledger, number) for number in range(5)]
    for job in jobs:
        job.quota_names = ("one",)
        queue.put(job)
    transaction.commit()
    wait_until(lambda: pool.queued, "a claim", PATIENCE)
    pause(one)

    def is_back():
        transaction.begin()
        return list(queue) == jobs and not queue.quotas["one"].running

    wait_until(is_back, "giving back", PATIENCE)
    assert taken
    del pool.submit
    resume(one)
    assert [wait_for_result(job, PATIENCE) for job in jobs] == list(range(5))
    assert list(ledger.values()) == list(range(5))
    assert all(job._tries == 0 for job in jobs)


def test_who_paused_first_stays_noted(queue):
    assert queue.paused is None
    pause(queue, "jane", "we move")
    since = queue.paused.since
    pause(queue, "bert", "no reason")
    assert (queue.paused.by, queue.paused.reason) == ("jane", "we move")
    assert queue.paused.since == since
    resume(queue)
    resume(queue)
    assert queue.paused is None


def test_of_two_who_pause_at_once_one_conflicts(queue, elsewhere):
    other = elsewhere()
    other.get(queue._p_oid).pause("bert")
    pause(queue)
    with pytest.raises(ConflictError):
        other.transaction_manager.commit()


def test_it_is_paused_while_nobody_lives(queue, start_dispatcher):
    job = queue.put(work.answer)
    transaction.commit()
    pause(queue)
    assert explain(job).code == "paused"
    dispatcher = start_dispatcher(poll_interval=NEVER)
    pool_of(dispatcher)
    wait_until(lambda: has_seen(dispatcher), "the pause", PATIENCE)
    transaction.begin()
    assert list(queue) == [job]
    resume(queue)
    assert wait_for_result(job, PATIENCE) == 42


def test_a_job_that_is_late_meanwhile_ends_when_it_goes_on(paused, queue):
    dispatcher, one = paused
    pause(one)
    wait_until(lambda: has_seen(dispatcher), "the pause", PATIENCE)
    transaction.begin()
    job = queue.put(work.answer, begin_by=timedelta(milliseconds=1))
    transaction.commit()
    wait_until(lambda: job.is_expired(now()), "its moment", PATIENCE)
    transaction.begin()
    assert explain(job).code == ("paused" if one is queue else "agent-paused")
    resume(one)
    assert wait_for_result(job, PATIENCE).check(TimeoutError)


def now():
    return clock.now_us()


def test_looking_while_paused_writes_nothing_and_is_rare(paused, queue, db):
    """Even if there is much that could be claimed."""
    dispatcher, one = paused
    due = clock.now() + timedelta(seconds=0.3)
    held = queue.put(Job(work.answer), begin_after=due)
    transaction.commit()
    key = "", "main"
    wait_until(lambda: dispatcher.stations[key]._due is not None, "arrival", PATIENCE)
    pause(one)
    wait_until(lambda: has_seen(dispatcher), "the pause", PATIENCE)
    transaction.begin()
    queue.put(work.answer)
    transaction.commit()
    wait_until(lambda: clock.now() > due, "its time", PATIENCE)
    served = dispatcher.stations[key]
    waits = []
    wait = served._wait

    def note_wait():
        waits.append(wait())
        return waits[-1]

    served._wait = note_wait
    last = db.lastTransaction()
    for _look in range(20):
        count = len(waits)
        dispatcher.waker.set()
        wait_until(lambda count=count: len(waits) > count, "a look", PATIENCE)
    assert db.lastTransaction() == last
    assert set(waits) == {NEVER}
    resume(one)
    assert wait_for_result(held, PATIENCE) == 42


def test_another_agent_takes_what_a_paused_one_would(queue, start_dispatcher):
    first = start_dispatcher(poll_interval=NEVER)
    agents = wait_for_agents(queue, first)
    pause(agents["main"])
    second = start_dispatcher(poll_interval=NEVER)
    wait_for_agents(queue, second)
    job = queue.put(work.whoami)
    transaction.commit()
    assert wait_for_result(job, PATIENCE)[0] == str(second.UUID)


def test_a_hand_that_claims_for_a_paused_agent_gets_nothing(paused, queue):
    dispatcher, one = paused
    pause(one)
    wait_until(lambda: has_seen(dispatcher), "the pause", PATIENCE)
    transaction.begin()
    queue.put(work.answer)
    transaction.commit()
    agent = queue.dispatchers[dispatcher.UUID]["main"]
    assert agent.claimJob() is None
