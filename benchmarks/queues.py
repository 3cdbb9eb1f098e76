"""The queue of a measurement: filling it, waiting for it, reading it out."""

from __future__ import annotations

from collections.abc import Callable
from collective.clockwork.engine import clock
from collective.clockwork.engine.interfaces import DatabaseOpened
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.station import IDLE_PING_FACTOR
from collective.clockwork.engine.subscribers import queue_installer
from contextlib import contextmanager

import time
import transaction
import work


#: Seconds in which the workers must have finished everything.
PATIENCE = 120
#: Jobs that are put in one transaction beforehand.
BATCH = 250
#: Connections that put them in turn.
PRODUCERS = 4


class WrongError(Exception):
    """The jobs were run, but not as they should have been."""


def install(db) -> None:
    """Make the queue, with a quota "one" of size 1."""
    queue_installer(DatabaseOpened(db))
    with _queue(db) as (queue, tm):
        queue.quotas.create("one", size=1)
        tm.commit()


@contextmanager
def _queue(db):
    tm = transaction.TransactionManager()
    connection = db.open(tm)
    try:
        yield connection.root()[KEY][""], tm
    finally:
        tm.abort()
        connection.close()


def put_many(
    db,
    count: int,
    write: bool,
    quota: str | None = None,
    begin_after=None,
    **options,
) -> None:
    """Put jobs in batches, by several connections in turn, in order."""
    managers = [transaction.TransactionManager() for _ in range(PRODUCERS)]
    connections = [db.open(tm) for tm in managers]
    for batch, first in enumerate(range(0, count, BATCH)):
        tm = managers[batch % PRODUCERS]
        root = connections[batch % PRODUCERS].root()
        tm.begin()
        for number in range(first, min(first + BATCH, count)):
            if write:
                job = Job(root["targets"][number].touch)
            else:
                job = Job(work.nothing, number)
            if quota is not None:
                job.quota_names = (quota,)
            root[KEY][""].put(job, begin_after=begin_after, **options)
        tm.commit()
    for connection in connections:
        connection.close()


def wait_until_empty(db, count: int) -> None:
    """Return when ``count`` jobs are finished and swept."""
    deadline = time.monotonic() + PATIENCE
    with _queue(db) as (queue, tm):
        while True:
            tm.begin()
            agents = _agents(queue)
            if not len(queue) and not any(map(len, agents)):
                done = sum(len(agent.completed) for agent in agents)
                if done == count:
                    return
            if time.monotonic() > deadline:
                raise WrongError(f"{len(queue)} jobs still wait after {PATIENCE} s")
            time.sleep(0.1)


def _agents(queue) -> list:
    return [agent for agents in queue.dispatchers.values() for agent in agents.values()]


def _finished(queue) -> list:
    return [job for agent in _agents(queue) for job in agent.completed]


def check_and_time(db, count: int, write: bool) -> float:
    """Seconds from first start to last end; WrongError unless all was done once."""
    with _queue(db) as (queue, _tm):
        jobs = _finished(queue)
        if len(jobs) != count or any(job.result is not None for job in jobs):
            raise WrongError(f"{len(jobs)} of {count} jobs ended, or some failed")
        if write:
            targets = queue._p_jar.root()["targets"]
            wrong = [n for n in range(count) if targets[n].count != 1]
            if wrong:
                raise WrongError(f"targets {wrong[:10]} were not written once")
        first = min(job.active_start for job in jobs)
        return (max(job.active_end for job in jobs) - first).total_seconds()


def last_end(db) -> float:
    """When the last job ended, in seconds since 1970."""
    with _queue(db) as (queue, _tm):
        return max(job.active_end for job in _finished(queue)).timestamp()


def check_order(db) -> None:
    """WrongError unless numbered jobs ran one after another, in their order."""
    with _queue(db) as (queue, _tm):
        jobs = sorted(_finished(queue), key=lambda job: job.args[0])
        for one, following in zip(jobs, jobs[1:], strict=False):
            if following.active_start < one.active_end:
                raise WrongError(f"{following!r} began before {one!r} had ended")


def pings(db) -> tuple[float, Callable]:
    """Seconds between an idle worker's signs of life, and how to give one."""
    with _queue(db) as (queue, _tm):
        (agents,) = queue.dispatchers.values()
        interval = agents.ping_interval.total_seconds() * IDLE_PING_FACTOR

    def ping() -> None:
        with _queue(db) as (queue, tm):
            (agents,) = queue.dispatchers.values()
            agents.ping.at = clock.now_us()
            tm.commit()

    return interval, ping
