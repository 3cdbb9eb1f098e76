"""What a dispatcher remembers of its polls and jobs, and what it tells of them.

Written by the dispatcher's thread and its worker threads, read by any thread.
"""

from __future__ import annotations

from . import clock
from . import statistics
from .base import database_name
from .commit import trace
from .failure import Failure
from .jobrecords import JobRecord
from .jobrecords import JobRecords
from .polls import key_of
from .polls import PollInfo
from .polls import Polls
from collections.abc import Iterator
from datetime import datetime
from ZODB.utils import u64

import logging


def getId(obj) -> tuple[int, str | None]:
    """Oid, as an int, and name of the database of a stored object."""
    return u64(obj._p_oid), database_name(obj)


class History:
    """The newest polls and jobs of one dispatcher."""

    def __init__(self, jobs_size: int = 200, polls_size: int = 400):
        self.polls = Polls(polls_size)
        self.jobs = JobRecords(jobs_size)
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        self.polls.clear()
        self.jobs.clear()
        #: Of the poll that is going on: (queue, agent) to what is told of it.
        self._agents: dict[tuple[str, str], dict] = {}
        self._key: int | None = None
        self._last_key: int | None = None
        self._last_poll: PollInfo | None = None
        self._recorded_at: float | None = None

    # In the dispatcher's thread

    def claimed(self, pool, held: tuple, tickets: list) -> None:
        """Note what the present poll claimed for an agent that ``held`` others.

        To be called before a thread can get at these jobs.
        """
        info = self._info_of(pool, held)
        key = self._poll_key()
        for ticket in tickets:
            id = (u64(ticket.oid), ticket.database)
            info["new jobs"].append(id)
            self.jobs.add(JobRecord(id, ticket.attempt, pool.queue, pool.name, key))

    def failed(self, pool, error: BaseException) -> None:
        """Note that the present poll could not serve this agent."""
        self._info_of(pool, ())["error"] = Failure(error)

    def _info_of(self, pool, held: tuple) -> dict:
        place = (pool.queue, pool.name)
        info = self._agents.get(place)
        if info is None:
            info = self._agents[place] = _agent_info(pool.size, held)
        return info

    def _poll_key(self) -> int:
        if self._key is None:
            self._key = key_of(clock.now())
            if self._last_key is not None:
                self._key = min(self._key, self._last_key - 16)
            self._last_key = self._key
        return self._key

    def is_due(self, interval: float) -> bool:
        """Whether the present poll has to be recorded."""
        last = self._recorded_at
        return (
            bool(self._agents) or last is None or clock.monotonic() - last >= interval
        )

    def record(self, queues, uuid, boot: str) -> None:
        """Record the present poll of these queues, which may be None."""
        agents = self._agents
        poll = PollInfo(self._poll_key())
        for name, queue in ({} if queues is None else queues).items():
            entry = queue.dispatchers.get(uuid)
            if entry is None or entry.boot != boot or not entry.activated:
                poll[name] = None
                continue
            poll[name] = {
                agent_name: agents.get((name, agent_name))
                or _agent_info(agent.size, agent.claims.entries)
                for agent_name, agent in entry.items()
            }
        self._finish(poll)

    def record_failed(self, stations, error: BaseException) -> None:
        """Record a poll that failed as a whole, for all agents known so far."""
        for station in stations:
            self.failed(station.pool, error)
        poll = PollInfo(self._poll_key())
        for (queue_name, agent_name), info in self._agents.items():
            poll.setdefault(queue_name, {})[agent_name] = info
        self._finish(poll)

    def _finish(self, poll: PollInfo) -> None:
        if poll != self._last_poll:
            trace(logging.DEBUG, "poll %s: %s", poll.key, poll)
        self._last_poll = poll
        self.polls.add(poll)
        self._agents = {}
        self._key = None
        self._recorded_at = clock.monotonic()


def _agent_info(size: int, held: tuple) -> dict:
    return {
        "size": size,
        "len": len(held),
        "error": None,
        "new jobs": [],
        "active jobs": [getId(entry[0]) for entry in held],
    }


class Introspection:
    """The part of a dispatcher that tells what it did; from any thread.

    Moments are datetimes (a naive one is read as UTC) or keys of polls.
    """

    history: History
    stations: dict

    @property
    def polls(self) -> Polls:
        """The newest polls; its ``size`` can be set."""
        return self.history.polls

    @property
    def jobs(self) -> JobRecords:
        """The newest jobs; its ``size`` can be set."""
        return self.history.jobs

    def getJobInfo(self, oid: int, database_name: str | None = None) -> dict:
        """What is remembered of a job, as in zc.async, but times are aware.

        ``reassigned`` says that it is not this process's any more. Without a
        database name ValueError if the job is unknown, or in two databases;
        with one KeyError if it is unknown.
        """
        if database_name is None:
            found = [id for id in self.jobs if id[0] == oid]
            if len(found) != 1:
                raise ValueError(
                    f"{len(found)} jobs with the oid {oid} are remembered: "
                    + (
                        "name the database"
                        if found
                        else "the oid is wrong, or it "
                        "was long ago, or in another process"
                    )
                )
            record = self.jobs.record(found[0])
        else:
            record = self.jobs.record((oid, database_name))
        if record is None:
            raise KeyError((oid, database_name))
        info = record.info()
        if record.ended is None and not record.waiting:
            info["reassigned"] = record.reassigned or not self._has(record)
        return info

    def _has(self, record: JobRecord) -> bool:
        return any(
            u64(oid) == record.id[0] and database == record.id[1]
            for station in list(self.stations.values())
            for oid, database, _attempt in station.pool.known()
        )

    def getActiveJobIds(
        self, queue: str | None = None, agent: str | None = None
    ) -> list[tuple[int, str]]:
        """Ids of the jobs that this process is at: in a thread, or for a Deferred.

        A job that waits for another job is not among them: it is in no process.
        """
        return [
            (u64(ticket.oid), ticket.database)
            for (queue_name, agent_name), station in list(self.stations.items())
            if queue in (None, queue_name) and agent in (None, agent_name)
            for group in (station.pool.running, station.pool.deferred)
            for running in list(group.values())
            for ticket in running.tickets
        ]

    def getPollInfo(
        self, at: datetime | int | None = None, before: datetime | int | None = None
    ) -> PollInfo:
        """The newest recorded poll, ``at`` a moment or older, or ``before`` it.

        ValueError if there is none, or both are given.
        """
        for poll in self.iterPolls(at, before, count=1):
            return poll
        raise ValueError("no poll is recorded that is as old as that")

    def iterPolls(
        self,
        at: datetime | int | None = None,
        before: datetime | int | None = None,
        since: datetime | int | None = None,
        count: int | None = None,
    ) -> Iterator[PollInfo]:
        """Recorded polls from the newest to the oldest, the moments included.

        ValueError if both ``at`` and ``before`` are given.
        """
        if at is not None and before is not None:
            raise ValueError("give at or before, not both")
        return self._iter_polls(_key(at), _key(before), _key(since), count)

    def _iter_polls(self, at, before, since, count) -> Iterator[PollInfo]:
        given = 0
        for poll in self.polls:
            if at is not None and poll.key < at:
                continue
            if before is not None and poll.key <= before:
                continue
            # A later moment has a smaller key.
            if since is not None and poll.key > since or given == count:
                return
            given += 1
            yield poll

    def getStatistics(
        self,
        at: datetime | int | None = None,
        before: datetime | int | None = None,
        since: datetime | int | None = None,
        queue: str | None = None,
        agent: str | None = None,
    ) -> dict:
        """Numbers on the jobs that recorded polls of this span claimed.

        See ``statistics.gather``. ValueError for both ``at`` and ``before``.
        """
        polls = list(self.iterPolls(at, before, since))
        return statistics.gather(polls, self.jobs, queue, agent)


def _key(moment: datetime | int | None) -> int | None:
    return key_of(moment) if isinstance(moment, datetime) else moment
