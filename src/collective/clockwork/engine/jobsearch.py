"""Finding jobs by status and filters, over all queues and agents of a database.

Jobs are read one by one, and the connection's cache is kept small meanwhile,
so that memory does not depend on how many there are. What a counter can tell
is not counted by reading.
"""

from __future__ import annotations

from . import clock
from .agent import Agent
from .errors import CancelledError
from .failure import isFailure
from .interfaces import KEY
from .monitor import parse_uuid
from .monitortext import parse_interval
from .presence import DispatcherAgents
from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from ZODB.interfaces import IConnection

import heapq


PENDING, ASSIGNED, ACTIVE, CALLBACKS = "pending", "assigned", "active", "callbacks"
COMPLETED, SUCCEEDED, FAILED = "completed", "succeeded", "failed"
CANCELLED = "cancelled"
ENDED = (COMPLETED, SUCCEEDED, FAILED, CANCELLED)
STATES = (PENDING, ASSIGNED, ACTIVE, CALLBACKS, *ENDED)

#: A time of a job to the states that cannot have it yet.
_WITHOUT = {
    "requested_start": (),
    "start": (PENDING, ASSIGNED),
    "end": (PENDING, ASSIGNED, ACTIVE),
    "callbacks_completed": (PENDING, ASSIGNED, ACTIVE, CALLBACKS),
}
#: Jobs that are read between two looks at the size of the cache.
_READ_AT_ONCE = 1_000


def connection_of(context):
    """The connection that ``context`` is, or came from; TypeError if there is none.

    ``context`` is a connection, a stored object, or adaptable to IConnection.
    """
    jar = getattr(context, "_p_jar", None)
    return IConnection(context if jar is None else jar)


@dataclass(frozen=True)
class Span:
    """A filter by time: from ``since`` on, and earlier than ``before``."""

    since: datetime | None = None
    before: datetime | None = None

    def has(self, moment: datetime | None) -> bool:
        """Whether this moment is in it."""
        return (
            moment is not None
            and (self.since is None or moment >= self.since)
            and (self.before is None or moment < self.before)
        )


def parse_span(name: str, text: str) -> Span:
    """The span of ``sinceX``, ``beforeX`` or both with a comma, X an interval ago.

    ValueError for anything else, and for one of them given twice.
    """
    given: dict[str, datetime] = {}
    for part in text.split(","):
        for word in ("since", "before"):
            if part.lower().startswith(word):
                break
        else:
            raise ValueError(
                f"{name} is {text!r}: use sinceX, beforeX, or both with a comma, "
                "where X is an interval as 1H30M"
            )
        if word in given:
            raise ValueError(f"{name} is {text!r}: {word} is given twice")
        given[word] = clock.now() - parse_interval(part[len(word) :])
    return Span(**given)


class Search:
    """Jobs of ``states`` that pass all filters.

    ``callable`` (without a dot, of the bare name), ``queue``, ``agent`` and
    ``uuid`` are globs, THIS is a uuid too; the others are spans of time.
    Iterating gives the pending ones as they will be claimed, then those that
    an agent has, by their start, then the completed ones, newest first.
    ValueError for unknown states, or more than one of ENDED.
    """

    def __init__(
        self,
        connection,
        states: Iterable[str],
        callable: str | None = None,
        queue: str | None = None,
        agent: str | None = None,
        uuid: str | None = None,
        **times: str | None,
    ):
        self.connection = connection
        self.states = check_states(states)
        self.callable = callable
        self.queue = queue
        self.agent = agent
        self.uuid = None if uuid is None else _uuid_glob(uuid)
        self.spans: dict[str, Span] = {}
        for name, text in times.items():
            if name not in _WITHOUT:
                raise ValueError(f"unknown filter {name!r}")
            if text is not None:
                self.spans[name] = parse_span(name, text)
                self.states -= set(_WITHOUT[name])

    def __iter__(self) -> Iterator:
        """The jobs."""
        for _state, job in self.with_states(self.states):
            yield job

    def with_states(self, states: set[str]) -> Iterator[tuple[str, object]]:
        """Pairs of state and job; the state of a completed one is its outcome."""
        for count, (state, job) in enumerate(self._candidates(states), 1):
            if count % _READ_AT_ONCE == 0:
                for connection in list(self.connection.connections.values()):
                    connection.cacheGC()
            if not self._passes(job):
                continue
            if state == COMPLETED:
                state = outcome(job)
                if not states & {COMPLETED, state}:
                    continue
            yield state, job

    def _candidates(self, states: set[str]) -> Iterator[tuple[str, object]]:
        if PENDING in states:
            for job in self._pending():
                yield PENDING, job
        held = list(self._held())
        for state, job in held:
            if state != COMPLETED and state in states:
                yield state, job
        if states.intersection(ENDED):
            for state, job in reversed(held):
                if state == COMPLETED:
                    yield state, job
            for job in self._completed():
                yield COMPLETED, job

    # Counting

    @property
    def takes_all(self) -> bool:
        """Whether no filter needs a look at each job."""
        return self.callable is None and not self.spans

    def count_pending(self) -> int | None:
        """How many are pending, from counters; None if that needs reading."""
        if not self.takes_all or not (self.agent is None and self.uuid is None):
            return None
        return sum(len(queue) for queue in self.queues())

    def count(self) -> int:
        """How many jobs it finds; reads only those that counters do not tell."""
        total, rest = 0, set(self.states)
        pending = self.count_pending() if PENDING in rest else None
        if pending is not None:
            total += pending
            rest.discard(PENDING)
        if COMPLETED in rest and self.takes_all:
            total += sum(len(agent.completed) for agent in self.agents())
            total += sum(1 for state, _job in self._held() if state == COMPLETED)
            rest.discard(COMPLETED)
        return total + sum(1 for _found in self.with_states(rest))

    # Places

    def queues(self) -> Iterator:
        """The queues of that name."""
        for name, queue in self.connection.root().get(KEY, {}).items():
            if self.queue is None or fnmatchcase(name, self.queue):
                yield queue

    def entries(self, queue) -> Iterator[DispatcherAgents]:
        """The dispatchers of a queue with that UUID."""
        for entry in queue.dispatchers.values():
            if self.uuid is None or fnmatchcase(str(entry.UUID), self.uuid):
                yield entry

    def agents_in(self, queue) -> Iterator[Agent]:
        """The agents of that name and UUID in one queue."""
        for entry in self.entries(queue):
            for name, agent in entry.items():
                if self.agent is None or fnmatchcase(name, self.agent):
                    yield agent

    def agents(self) -> Iterator[Agent]:
        """The agents of that name, UUID and queue."""
        for queue in self.queues():
            yield from self.agents_in(queue)

    def _pending(self) -> Iterator:
        found = [self._pending_in(queue) for queue in self.queues()]
        if len(found) == 1:
            yield from found[0]
        else:
            yield from heapq.merge(*found, key=lambda job: job.begin_after)

    def _pending_in(self, queue) -> Iterator:
        if self.agent is None and self.uuid is None:
            yield from queue
            return
        takers = [agent for agent in self.agents_in(queue) if agent.parent.activated]
        for taker in takers:
            if taker.chooser is not None:
                raise ValueError(
                    f"agent {taker.name!r} has a chooser, so nobody can tell which "
                    "pending jobs it would take"
                )
        for job in queue:
            if any(taker.accepts(job) for taker in takers):
                yield job

    def _held(self) -> Iterator[tuple[str, object]]:
        """Pairs of state and job of what agents have, by start; those without last."""
        found = []
        for queue in self.queues():
            agents = list(self.agents_in(queue))
            for agent in agents:
                for job in agent:
                    found.append((_state_in(agent, job), started(job, agent), job))
            for job in queue.waiting.values():
                if any(job.agent is agent for agent in agents):
                    found.append((_state_in(job.agent, job), started(job), job))
        found.sort(key=lambda each: (each[1] is None, each[1] or clock.EPOCH))
        return ((state, job) for state, _start, job in found)

    def _completed(self) -> Iterator:
        # A job is swept after its last time, so what was swept before this
        # moment cannot pass.
        bounds = [
            clock.to_us(span.since)
            for name, span in self.spans.items()
            if span.since is not None and name != "requested_start"
        ]
        oldest = max(bounds, default=None)
        found = [agent.completed.entries() for agent in self.agents()]
        for key, job in heapq.merge(*found, key=lambda entry: entry[0], reverse=True):
            if oldest is not None and key < oldest:
                return
            yield job

    def _passes(self, job) -> bool:
        if self.callable is not None:
            name = job.callable_name
            if "." not in self.callable:
                name = name.rpartition(".")[2]
            if not fnmatchcase(name, self.callable):
                return False
        return all(span.has(_time(job, name)) for name, span in self.spans.items())


def check_states(states: Iterable[str]) -> set[str]:
    """The states as a set; ValueError for what is none, and for none at all."""
    found = set(states)
    unknown = found - set(STATES)
    if unknown or not found:
        raise ValueError(
            (f"unknown state {', '.join(sorted(unknown))}" if unknown else "no state")
            + f": give some of {', '.join(STATES)}"
        )
    ended = [state for state in ENDED if state in found]
    if len(ended) > 1:
        raise ValueError(f"give only one of {', '.join(ENDED)}, not {ended}")
    return found


def outcome(job) -> str:
    """``succeeded``, ``failed`` or ``cancelled``, by the result that a job has."""
    result = job._result
    if not isFailure(result):
        return SUCCEEDED
    return CANCELLED if result.check(CancelledError) else FAILED


def started(job, agent: Agent | None = None) -> datetime | None:
    """When it began to run, or was seen to; None before."""
    if job.active_start is not None:
        return job.active_start
    return None if agent is None else agent.running_since(job)


def _time(job, name: str) -> datetime | None:
    if name == "requested_start":
        return job.begin_after
    if name == "start":
        return job.active_start or started(job, job.agent)
    return job.active_end if name == "end" else job.initial_callbacks_end


def _state_in(agent: Agent, job) -> str:
    if job._status == 0:
        return ACTIVE if agent.is_running(job) else ASSIGNED
    return {1: ACTIVE, 2: CALLBACKS}.get(job._status, COMPLETED)


def _uuid_glob(text: str) -> str:
    if any(character in str(text) for character in "*?["):
        return text.lower()
    return str(parse_uuid(text))
