"""Two jobs of one oid, in two databases."""

from __future__ import annotations

from collective.clockwork.engine.agent import Agent
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.tests.engine import work
from uuid import uuid4
from ZODB.utils import u64

import transaction


def claim_twins(connection) -> tuple:
    """The agent that has claimed two jobs, the one beside it, and its twin.

    ``connection`` is one of a database whose queues are in another one.
    """
    queue = connection.root()[KEY][""]
    agents = queue.dispatchers.register(uuid4())
    agents.activate()
    agent = agents["main"] = Agent()
    here = queue.put(Job(work.mirror, "here"))
    transaction.commit()
    while u64(connection.new_oid()) + 1 < u64(here._p_oid):
        continue
    there = Job(work.mirror, "there")
    connection.add(there)
    assert there._p_oid == here._p_oid
    connection.root()["there"] = there
    queue.put(there)
    transaction.commit()
    assert [agent.claimJob(), agent.claimJob()] == [here, there]
    transaction.commit()
    return agent, here, there
