"""What the tests of ``asyncdb`` share."""

from __future__ import annotations

from collective.clockwork.engine import clock
from collective.clockwork.engine import monitordb
from collective.clockwork.engine.agent import Agent
from collective.clockwork.engine.dispatcher import getId
from collective.clockwork.engine.job import Job
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from uuid import UUID

import transaction


NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=timezone.utc)
FIRST, SECOND = UUID(int=1), UUID(int=2)


class Wire:
    """A connection of a monitor to a database."""

    def __init__(self, db=None):
        self.db = db
        self.text = ""

    def write(self, text):
        self.text += text


def answer_of(db, *words):
    """What a monitor answers to ``asyncdb`` with these words."""
    wire = Wire(db)
    monitordb.asyncdb(wire, *words)
    return wire.text


def put(queue, *calls):
    """Queues calls in one transaction each; returns the jobs."""
    jobs = []
    for call in calls:
        jobs.append(queue.put(call if isinstance(call, Job) else Job(call)))
        transaction.commit()
    return jobs


def ids(jobs):
    return [list(getId(job)) for job in jobs]


def activate(queue, uuid, name="main", **agent):
    entry = queue.dispatchers.register(uuid)
    entry.activate("boot")
    entry[name] = Agent(**agent)
    transaction.commit()
    return entry[name]


def hold(agent, job, status, start=None):
    """Put a pending job where it would be in that status."""
    job.queue._take_out(job)
    agent.hold([(job, job.attempt, 1)])
    job._status = status
    job._active_start = None if start is None else clock.to_us(start)
    if start is not None:
        job._parent = agent
    transaction.commit()


def ago(seconds):
    return NOW - timedelta(seconds=seconds)
