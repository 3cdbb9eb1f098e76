"""Quotas: never more than their size, and in order."""

from __future__ import annotations

from collective.clockwork.engine import interfaces
from collective.clockwork.engine.agent import Agent
from collective.clockwork.engine.interfaces import IQuota
from collective.clockwork.engine.interfaces import IQuotas
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import set_now
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.moments import NOW
from datetime import timedelta
from uuid import uuid4
from ZODB.POSException import ConflictError
from zope.interface.verify import verifyObject

import pytest
import transaction


@pytest.fixture
def quota(queue):
    return queue.quotas.create("one")


@pytest.fixture
def put(queue, quota):
    """Puts a job of these quotas that notes a name, in a transaction of its own."""

    def put_named(name, *quotas, **options):
        job = Job(work.mirror, name)
        job.quota_names = quotas or ("one",)
        queue.put(job, **options)
        transaction.commit()
        return job

    return put_named


@pytest.fixture
def new_agent(queue):
    def make(size=3):
        agents = queue.dispatchers.register(uuid4())
        agents.activate()
        agents["main"] = Agent(size=size)
        transaction.commit()
        return agents["main"]

    return make


def test_a_quota_has_name_parent_and_size_and_is_true(queue, quota):
    """In zc.async ``bool(quota)`` raised an AttributeError."""
    assert verifyObject(IQuota, quota)
    assert verifyObject(IQuotas, queue.quotas)
    assert (quota.name, quota.size) == ("one", 1)
    assert quota.parent is queue.quotas
    assert queue.quotas.parent is queue
    assert len(quota) == 0
    assert bool(quota) is True
    assert list(quota) == []
    assert queue.quotas.create("three", size=3).size == 3
    assert sorted(queue.quotas) == ["one", "three"]
    assert queue.quotas.get("strange") is None


@pytest.mark.parametrize("size", [-1, 1.5, None, "2", True])
def test_a_size_is_a_whole_number(queue, quota, size):
    with pytest.raises(ValueError, match="size of quota 'one'"):
        quota.size = size
    with pytest.raises(ValueError, match="size of quota"):
        queue.quotas.create("other", size)
    assert quota.size == 1


def test_a_quota_is_made_once_and_removed_once(queue, quota):
    with pytest.raises(KeyError):
        queue.quotas.create("one")
    queue.quotas.remove("one")
    assert quota.parent is None
    with pytest.raises(KeyError):
        queue.quotas.remove("one")


def test_a_second_job_waits_until_the_first_is_done(put, queue, quota):
    first, second = put("first"), put("second")
    assert queue.claim() is first
    assert list(quota) == [first]
    assert quota.filled
    assert queue.claim() is None
    first()
    quota.clean()
    assert not quota.filled
    assert queue.claim() is second


def test_a_job_among_its_callbacks_holds_no_place(put, queue, quota):
    first, second = put("first"), put("second")
    assert queue.claim() is first
    first._status = 2
    transaction.commit()
    assert queue.claim() is second


def test_order_is_kept_in_a_quota_of_one(db, root, queue, quota):
    ledger = root["ledger"] = work.Ledger()
    for number in range(40):
        job = Job(work.note, ledger, number)
        job.quota_names = ("one",)
        queue.put(job)
        if number % 3 == 0:
            transaction.commit()
    transaction.commit()
    drain(db)
    transaction.begin()
    assert list(ledger.values()) == list(range(40))


def test_jobs_without_a_quota_pass_those_that_wait_for_one(put, queue):
    put("blocks"), put("waits")
    free = queue.put(work.answer)
    transaction.commit()
    assert queue.claim().args == ["blocks"]
    assert queue.claim() is free
    assert queue.claim() is None


def test_a_job_of_two_quotas_needs_a_place_in_both(put, queue):
    queue.quotas.create("two", 2)
    a = put("a", "one", "two")
    b = put("b", "two")
    c = put("c", "two")
    d = put("d", "one")
    assert [queue.claim(), queue.claim()] == [a, b]
    assert queue.claim() is None
    a()
    assert queue.claim() is c
    assert queue.claim() is d


def test_a_removed_quota_holds_up_nobody(put, queue):
    first, second = put("first"), put("second")
    assert queue.claim() is first
    assert queue.claim() is None
    queue.quotas.remove("one")
    assert queue.claim() is second


def test_a_greater_size_lets_more_jobs_begin(put, queue, quota):
    jobs = [put(n) for n in range(4)]
    assert queue.claim() is jobs[0]
    assert queue.claim() is None
    quota.size = 3
    assert [queue.claim(), queue.claim()] == jobs[1:3]
    assert queue.claim() is None
    quota.size = 1
    jobs[0]()
    jobs[1]()
    assert queue.claim() is None
    jobs[2]()
    assert queue.claim() is jobs[3]


def test_of_two_claimers_on_two_connections_one_gets_a_conflict(put, queue, elsewhere):
    first = put("first")
    put("second")
    other = elsewhere()
    there = other.root()[KEY][""]
    mine = queue.claim()
    theirs = there.claim()
    assert mine._p_oid == theirs._p_oid == first._p_oid
    transaction.commit()
    with pytest.raises(ConflictError):
        other.transaction_manager.commit()
    other.transaction_manager.abort()
    assert there.claim() is None
    assert len(there.quotas["one"]) == 1


def test_two_claimers_of_different_jobs_do_not_exceed_the_size(put, queue, elsewhere):
    # Claimers that filter see different first jobs, of one quota.
    put("a"), put("b")
    other = elsewhere()
    there = other.root()[KEY][""]
    assert queue.claim(lambda job: job.args[0] == "a") is not None
    assert there.claim(lambda job: job.args[0] == "b") is not None
    transaction.commit()
    with pytest.raises(ConflictError):
        other.transaction_manager.commit()
    other.transaction_manager.abort()
    assert there.claim() is None


def test_a_job_that_is_given_back_is_in_its_old_place(db, put, queue, new_agent):
    jobs = [put(name) for name in "abc"]
    agent = new_agent()
    assert agent.claimJob() is jobs[0]
    transaction.commit()
    late = put("d")
    agent.parent.deactivate()
    transaction.commit()
    assert list(queue) == [*jobs, late]
    agent.parent.activate()
    transaction.commit()
    assert agent.claimJob() is jobs[0]


def test_jobs_without_a_quota_are_given_back_in_their_old_places(queue, new_agent):
    jobs = []
    for name in "abcde":
        jobs.append(queue.put(Job(work.mirror, name)))
        transaction.commit()
    agent = new_agent()
    assert [agent.claimJob() for _ in range(3)] == jobs[:3]
    transaction.commit()
    agent.parent.deactivate()
    transaction.commit()
    assert list(queue) == jobs
    assert len(queue) == 5
    assert [queue.claim() for _ in range(5)] == jobs


def test_an_interrupted_job_that_may_go_on_keeps_its_place(put, queue, new_agent):
    first, second = put("first"), put("second")
    agent = new_agent()
    assert agent.claimJob() is first
    first._status = 1
    transaction.commit()
    first.handleInterrupt()
    transaction.begin()
    assert first.status == interfaces.PENDING
    assert list(queue) == [first, second]
    assert agent.claimJob() is first
    assert agent.claimJob() is None
    transaction.commit()
    first()
    assert agent.claimJob() is second


def test_a_job_that_is_to_be_tried_later_makes_room(put, queue, new_agent):
    set_now(NOW)
    first = put("first")
    first.retry_policy_factory = work.InAnHour
    second = put("second")
    agent = new_agent()
    assert agent.claimJob() is first
    first._status = 1
    transaction.commit()
    first.handleInterrupt()
    transaction.begin()
    assert first.begin_after == NOW + timedelta(hours=1)
    assert agent.claimJob() is second


def test_a_held_job_of_a_quota_takes_no_place_before_its_time(put, queue):
    set_now(NOW)
    held = put("held", begin_after=NOW + timedelta(hours=1))
    now = put("now")
    assert queue.claim() is now
    set_now(NOW + timedelta(hours=1))
    assert queue.claim() is None
    now()
    assert queue.claim() is held


def test_a_held_job_keeps_its_place_before_a_slow_clock(put, queue, quota):
    set_now(NOW)
    put("held", begin_after=NOW + timedelta(seconds=2))
    put("behind")
    set_now(NOW + timedelta(seconds=2))
    held = queue.claim(lambda job: job.args == ["held"])
    assert list(quota) == [held]
    transaction.commit()
    # Another worker, by whose clock that one should not have begun.
    set_now(NOW)
    assert queue.claim() is None
    quota.clean()
    assert list(quota) == [held]


def test_quota_names_changed_while_waiting_count(db, put, queue):
    queue.quotas.create("none", 0)
    job = put("moved", "none")
    drain(db)
    transaction.begin()
    assert job.status == interfaces.PENDING
    job.quota_names = ("one",)
    transaction.commit()
    drain(db)
    transaction.begin()
    assert job.result == "moved"


def test_an_inner_job_uses_the_place_of_its_outer_job_mended_deadlock(db, queue, quota):
    """In zc.async both waited for each other for ever."""
    job = Job(work.put_in_quota_and_return, "one")
    job.quota_names = ("one",)
    queue.put(job)
    behind = Job(work.mirror, "behind")
    behind.quota_names = ("one",)
    queue.put(behind)
    transaction.commit()
    drain(db)
    transaction.begin()
    assert job.result == 42
    assert behind.result == "behind"
    assert len(queue.waiting) == 0
    quota.clean()
    assert list(quota) == []


def test_places_are_given_by_hand_only_to_jobs_of_the_quota(quota):
    job = Job(work.answer)
    with pytest.raises(ValueError, match="does not need the quota"):
        quota.add(job)
    job.quota_names = ("one",)
    quota.add(job)
    quota.add(job)
    assert list(quota) == [job]
    assert quota.index(job) == 0
    other = Job(work.answer)
    other.quota_names = ("one",)
    with pytest.raises(ValueError, match="is filled"):
        quota.add(other)
    with pytest.raises(ValueError, match="has no place"):
        quota.index(other)
    quota.discard([job])
    assert not quota.filled


@pytest.mark.parametrize("name", ["\0one", "\x015"])
def test_a_name_that_the_engine_uses_itself_is_refused(queue, name):
    with pytest.raises(ValueError, match="control character"):
        queue.quotas.create(name)
    assert name not in queue.quotas
