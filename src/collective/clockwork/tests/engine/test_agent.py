"""Agents: what they claim, and what becomes of it when their dispatcher is gone."""

from __future__ import annotations

from collective.clockwork.engine import interfaces
from collective.clockwork.engine.agent import Agent
from collective.clockwork.engine.interfaces import DispatcherActivated
from collective.clockwork.engine.interfaces import DispatcherDeactivated
from collective.clockwork.engine.interfaces import DispatcherReactivated
from collective.clockwork.engine.interfaces import DispatcherRegistered
from collective.clockwork.engine.interfaces import DispatcherUnregistered
from collective.clockwork.engine.interfaces import IAgent
from collective.clockwork.engine.interfaces import ICompletedCollection
from collective.clockwork.engine.interfaces import IDispatcherAgents
from collective.clockwork.engine.interfaces import IDispatchers
from collective.clockwork.engine.interfaces import IFilterAgent
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.job import RetryCommonFourTimes
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import set_now
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.moments import NOW
from datetime import timedelta
from uuid import uuid4
from ZODB.utils import u64
from zope.event import subscribers
from zope.interface.verify import verifyObject

import logging
import pytest
import transaction


@pytest.fixture
def events():
    noted = []
    subscribers.append(noted.append)
    yield noted
    subscribers.remove(noted.append)


@pytest.fixture
def agents(queue):
    """The agents of a dispatcher that works."""
    found = queue.dispatchers.register(uuid4())
    found.activate()
    found["main"] = Agent()
    transaction.commit()
    return found


@pytest.fixture
def agent(agents):
    return agents["main"]


@pytest.fixture
def put(queue):
    def put_named(name):
        job = queue.put(Job(work.mirror, name))
        transaction.commit()
        return job

    return put_named


# Dispatchers in the queue


def test_a_registered_dispatcher(queue, events):
    uuid = uuid4()
    agents = queue.dispatchers.register(uuid)
    assert verifyObject(IDispatchers, queue.dispatchers)
    assert verifyObject(IDispatcherAgents, agents)
    assert [type(event) for event in events] == [DispatcherRegistered]
    assert events[0].object is agents
    assert agents.UUID == uuid
    assert agents.parent is queue
    assert agents.activated is None
    assert agents.last_ping is None
    assert agents.ping_interval == timedelta(seconds=15)
    assert agents.ping_death_interval == timedelta(seconds=45)
    assert agents.dead is False
    assert list(queue.dispatchers) == [uuid]
    assert queue.dispatchers[uuid] is agents
    assert list(queue.dispatchers.values()) == [agents]
    assert len(queue.dispatchers) == 1
    with pytest.raises(KeyError):
        queue.dispatchers[uuid4()]
    with pytest.raises(ValueError, match="registered already"):
        queue.dispatchers.register(uuid)


def test_an_unregistered_dispatcher_is_gone_mended_type_error(queue, events):
    """In zc.async it was removed, and then the event raised a TypeError."""
    uuid = uuid4()
    agents = queue.dispatchers.register(uuid)
    agents.activate()
    with pytest.raises(ValueError, match="deactivate it first"):
        queue.dispatchers.unregister(uuid)
    agents.deactivate()
    assert queue.dispatchers.unregister(uuid) is agents
    assert type(events[-1]) is DispatcherUnregistered
    assert agents.parent is None
    assert uuid not in queue.dispatchers
    with pytest.raises(KeyError):
        queue.dispatchers.unregister(uuid)


def test_a_ping_activates_a_dispatcher_and_says_so(queue, events, caplog):
    uuid = uuid4()
    agents = queue.dispatchers.register(uuid)
    queue.dispatchers.ping(uuid)
    assert agents.activated
    assert type(events[-1]) is DispatcherReactivated
    assert [r.levelno for r in caplog.records] == [logging.CRITICAL]


def test_activation_sets_the_time_and_tells(queue, events):
    set_now(NOW)
    agents = queue.dispatchers.register(uuid4())
    agents.activate()
    assert agents.activated == agents.last_ping == NOW
    assert type(events[-1]) is DispatcherActivated
    with pytest.raises(ValueError, match="activated already"):
        agents.activate()
    agents.deactivate()
    assert type(events[-1]) is DispatcherDeactivated
    with pytest.raises(ValueError, match="not activated"):
        agents.deactivate()


def test_agents_are_a_mapping(agents, agent):
    assert verifyObject(IAgent, agent)
    assert (agent.name, agent.parent) == ("main", agents)
    assert list(agents) == ["main"]
    assert len(agents) == 1
    with pytest.raises(ValueError, match="not an agent"):
        agents["strange"] = object()
    other = Agent(size=5)
    agents["main"] = other
    assert agent.parent is None
    assert agents["main"] is other
    del agents["main"]
    assert other.parent is None
    with pytest.raises(KeyError):
        agents["main"]


def test_an_agent_that_holds_jobs_cannot_be_removed(agents, agent, put):
    put("a")
    agent.claimJob()
    with pytest.raises(ValueError, match="holds jobs"):
        del agents["main"]


def test_pings_are_written_only_now_and_then(queue, agents):
    set_now(NOW)
    agents.ping.at = 0
    queue.dispatchers.ping(agents.UUID)
    assert agents.last_ping == NOW
    set_now(NOW + timedelta(seconds=14))
    queue.dispatchers.ping(agents.UUID)
    assert agents.last_ping == NOW
    set_now(NOW + timedelta(seconds=15))
    queue.dispatchers.ping(agents.UUID)
    assert agents.last_ping == NOW + timedelta(seconds=15)


def test_a_silent_sibling_is_deactivated_by_the_observer_s_clock(queue, agents, put):
    set_now(NOW)
    put("a")
    assert agents["main"].claimJob() is not None
    transaction.commit()
    other = queue.dispatchers.register(uuid4())
    other.activate()
    transaction.commit()
    assert not agents.dead
    set_now(NOW + timedelta(seconds=45))
    queue.dispatchers.ping(other.UUID)
    assert agents.activated
    set_now(NOW + timedelta(seconds=46))
    queue.dispatchers.ping(other.UUID)
    transaction.commit()
    assert agents.activated is None
    assert len(queue) == 1


def test_the_jobs_of_a_dead_dispatcher_go_where_they_belong(db, agents, agent, queue):
    """No wrapper jobs: each takes its own place again, in the order as held."""
    jobs = {}
    for name in ("assigned", "active", "callbacks", "completed"):
        job = jobs[name] = Job(work.mirror, name)
        job.addCallback(work.mirror)
        queue.put(job)
        transaction.commit()
    agent.size = 4
    for _name in jobs:
        agent.claimJob()
    agent.activity.running = ((("unnamed", u64(jobs["active"]._p_oid)), 1),)
    jobs["callbacks"]._status, jobs["callbacks"]._result = 2, "callbacks"
    jobs["completed"]._status = 3
    transaction.commit()
    attempts = {name: job.attempt for name, job in jobs.items()}
    agents.deactivate()
    transaction.commit()
    assert list(agent) == []
    assert list(agent.completed) == [jobs["completed"]]
    assert list(queue) == [jobs["assigned"], jobs["active"], jobs["callbacks"]]
    for name in ("assigned", "active", "callbacks"):
        assert jobs[name].attempt == attempts[name] + 1, name
    assert jobs["active"].getRetryPolicy().data["interruptions"] == 1
    assert jobs["assigned"]._retry_policy is None
    drain(db)
    transaction.begin()
    for name in ("assigned", "active", "callbacks"):
        assert jobs[name].status == interfaces.COMPLETED, name
        assert jobs[name].result == name
        assert jobs[name].callbacks[0].result == name


def test_a_job_begun_by_hand_goes_back_as_interrupted(db, agents, agent, queue, put):
    job = put("by hand")
    agent.claimJob()
    job._status = 1
    transaction.commit()
    agents.deactivate()
    transaction.commit()
    assert job.status == interfaces.PENDING
    drain(db)
    transaction.begin()
    assert job.result == "by hand"


def test_jobs_found_at_activation_are_taken_back_too(agents, agent, queue, put):
    job = put("a")
    agent.claimJob()
    transaction.commit()
    agents._activated = None
    agents.activate()
    transaction.commit()
    assert list(agent) == []
    assert list(queue) == [job]


@pytest.mark.parametrize("running", [True, False])
def test_an_interrupted_job_comes_first_or_when_its_policy_says(
    agents, agent, queue, put, running
):
    set_now(NOW)
    job = put("first")
    job.retry_policy_factory = work.InAnHour if running else RetryCommonFourTimes
    agent.claimJob()
    agent.activity.running = ((("unnamed", u64(job._p_oid)), 1),)
    transaction.commit()
    other = put("other")
    agents.deactivate()
    transaction.commit()
    if running:
        assert job.begin_after == NOW + timedelta(hours=1)
        assert list(queue) == [other, job]
        assert queue.claim() is other
        assert queue.claim() is None
    else:
        assert list(queue) == [job, other]
        assert queue.claim() is job


def test_a_job_that_may_not_be_tried_again_is_aborted(db, agents, agent, put):
    job = put("never")
    job.retry_policy_factory = work.Decides
    agent.claimJob()
    agent.activity.running = ((("unnamed", u64(job._p_oid)), 1),)
    transaction.commit()
    agents.deactivate()
    transaction.commit()
    drain(db)
    transaction.begin()
    assert job.result.check(interfaces.AbortedError)


# Agents


def test_an_agent_claims_in_order_and_no_more_than_its_size(agent, put, queue):
    jobs = [put(n) for n in range(5)]
    assert [agent.claimJob() for _ in range(4)] == [*jobs[:3], None]
    assert list(agent) == jobs[:3]
    assert len(agent) == 3 and agent
    assert [agent.index(job) for job in agent] == [0, 1, 2]
    assert jobs[1] in agent and jobs[3] not in agent
    assert all(job.parent is agent for job in agent)
    assert [job.status for job in jobs] == ["assigned-status"] * 3 + [
        "pending-status"
    ] * 2
    assert len(queue) == 2
    with pytest.raises(ValueError, match="not claimed"):
        agent.index(jobs[4])


def test_a_job_that_is_done_moves_to_the_completed_ones(agent, put):
    jobs = [put(n) for n in range(4)]
    assert [agent.claimJob() for _ in range(4)] == [*jobs[:3], None]
    transaction.commit()
    jobs[1]()
    transaction.begin()
    assert list(agent) == [jobs[0], jobs[2]]
    assert list(agent.completed) == [jobs[1]]
    assert jobs[1].agent is agent
    assert agent.claimJob() is jobs[3]


def test_an_agent_gives_up_a_job_by_hand(agent, put):
    jobs = [put(n) for n in range(3)]
    for _job in jobs:
        agent.claimJob()
    assert agent.pull() is jobs[0]
    del agent[1]
    assert list(agent) == [jobs[1]]
    agent.remove(jobs[1])
    assert not agent
    with pytest.raises(ValueError):
        agent.remove(jobs[1])
    with pytest.raises(IndexError):
        agent.pull()


def test_an_agent_claims_only_while_its_dispatcher_works(queue, agents, agent, put):
    set_now(NOW)
    job = put("a")
    agent.claimJob()
    transaction.commit()
    agents.deactivate()
    transaction.commit()
    assert list(agent) == []
    assert agent.claimJob() is None
    agents.activate()
    transaction.commit()
    assert not agents.dead
    set_now(NOW + timedelta(minutes=10))
    assert agents.dead
    assert agent.claimJob() is None
    agents.ping.at = 1
    transaction.commit()
    assert agent.claimJob() is job


def test_without_a_chooser_it_is_a_filter_agent(agent, queue, put):
    assert IFilterAgent.providedBy(agent)
    assert agent.accepts(Job(work.answer))
    agent.filter = work.mirrors
    assert verifyObject(IFilterAgent, agent)
    queue.put(work.answer)
    job = put("mirror")
    assert agent.claimJob() is job
    assert agent.claimJob() is None
    assert not agent.accepts(Job(work.answer))


def test_filter_and_chooser_exclude_each_other(agent):
    agent.filter = work.mirrors
    with pytest.raises(ValueError, match="not both"):
        agent.chooser = work.chosen_by_oid
    agent.filter = None
    agent.chooser = work.chosen_by_oid
    with pytest.raises(ValueError, match="not both"):
        agent.filter = work.mirrors
    with pytest.raises(ValueError, match="not both"):
        Agent(chooser=work.chosen_by_oid, filter=work.mirrors)


def test_a_chooser_alone_decides_what_is_claimed(agent, queue, put):
    agent.chooser = work.chosen_by_oid
    assert not IFilterAgent.providedBy(agent)
    queue.put(work.answer)
    transaction.commit()
    job = put("chosen")
    assert agent.claimJob() is job
    assert job.parent is agent
    assert agent.claimJob() is None
    agent.chooser = None
    assert IFilterAgent.providedBy(agent)


def test_a_filter_is_stored_by_name(db, agent):
    agent.filter = work.mirrors
    transaction.commit()
    fresh = db.open(transaction.TransactionManager())
    assert fresh.get(agent._p_oid).filter is work.mirrors
    fresh.close()


def test_the_completed_jobs_are_a_collection(agent):
    assert verifyObject(ICompletedCollection, agent.completed)
    assert agent.completed.parent is agent
