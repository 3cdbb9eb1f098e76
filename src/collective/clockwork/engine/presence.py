"""Which dispatchers live, and taking over from the dead.

Whether another dispatcher is dead is judged by one's own clock alone: it is,
when nothing of what it writes has changed for so long. The wall clocks of two
machines are never compared.
"""

from __future__ import annotations

from . import clock
from .agent import Agent
from .base import TreeMapping
from .commit import log
from .deaths import Death
from .deaths import death_of
from .deaths import unfinished
from .interfaces import DispatcherActivated
from .interfaces import DispatcherDeactivated
from .interfaces import DispatcherReactivated
from .interfaces import DispatcherRegistered
from .interfaces import DispatcherUnregistered
from .interfaces import IAgent
from .interfaces import IDispatcherAgents
from .interfaces import IDispatchers
from .sweeping import take_back
from collections.abc import Iterable
from collections.abc import MutableMapping
from datetime import datetime
from datetime import timedelta
from persistent import Persistent
from uuid import UUID
from zope.event import notify
from zope.interface import implementer

import os
import socket


#: An idle dispatcher pings this many times less often than one that holds jobs:
#: by default every two minutes.
IDLE_PING_FACTOR = 8


class Ping(Persistent):
    """A dispatcher's sign of life; written by it alone, a tiny record."""

    #: Microseconds since 1970; 0 before the first.
    at = 0


class Observer:
    """How long this process has seen no sign of life from others."""

    def __init__(self):
        self._seen: dict = {}

    def silence(self, agents: DispatcherAgents) -> float:
        """Seconds since the last change of anything this dispatcher writes."""
        mark = agents.mark()
        now = clock.monotonic()
        known = self._seen.get(agents.UUID)
        if known is None or known[0] != mark:
            self._seen[agents.UUID] = (mark, now)
            return 0.0
        return now - known[1]

    def forget(self) -> None:
        """Begin anew, after a time in which nothing could be observed."""
        self._seen.clear()


#: Backs ``DispatcherAgents.dead``; dispatchers have observers of their own.
_observers: dict = {}


@implementer(IDispatcherAgents)
class DispatcherAgents(TreeMapping, MutableMapping):
    """See IDispatcherAgents. Name to Agent; changed by hand and at activation."""

    #: Microseconds since 1970; None while it does not work.
    _activated: int | None = None
    #: Names the process that works under this UUID now.
    boot: str | None = None
    #: Name of its machine, and process id there.
    process: tuple[str | None, int | None] = (None, None)
    #: What a process that died had: its boot, and how many unfinished jobs.
    left: tuple[str | None, int] = (None, 0)
    #: Longest time without a sign of life while it holds jobs.
    ping_interval = timedelta(seconds=15)
    #: After this long without one, others take its jobs over. Three signs are
    #: missing then. It is longer than ``commitlock.TIMEOUT``, so that nobody dies
    #: of a frozen process that keeps all others from committing theirs.
    ping_death_interval = timedelta(seconds=45)

    def __init__(self, uuid: UUID):
        super().__init__()
        self.UUID = uuid
        #: Sign of life; see Ping.
        self.ping = Ping()

    @property
    def activated(self) -> datetime | None:
        """Since when it works; None when it does not."""
        return clock.from_us(self._activated)

    @property
    def last_ping(self) -> datetime | None:
        """When it last said that it lives; None if it never did."""
        return clock.from_us(self.ping.at or None)

    @property
    def dead(self) -> bool:
        """Whether it was silent for too long, as far as this process saw."""
        if self.ping.at == 0 and self._activated is None:
            return False
        jar = self._p_jar
        observer = _observers.setdefault(
            None if jar is None else (jar.db().database_name, self._p_oid), Observer()
        )
        return self.is_silent(observer.silence(self))

    def is_silent(self, seconds: float) -> bool:
        """Whether a silence of that length means that it is dead."""
        limit = self.ping_death_interval
        if not self.holds_jobs():
            limit += IDLE_PING_FACTOR * self.ping_interval
        return seconds > limit.total_seconds()

    @property
    def alive(self) -> bool:
        """Whether it seems to work, going by the wall clock: for display only."""
        last = self.last_ping
        if self._activated is None or last is None:
            return False
        limit = IDLE_PING_FACTOR * self.ping_interval + self.ping_death_interval
        return clock.now() - last <= limit

    def mark(self) -> tuple:
        """Changes with everything that the dispatcher writes."""
        for agent in self.values():
            agent.claims._p_activate()
        self.ping._p_activate()
        return (
            self._activated,
            self.boot,
            self.ping.at,
            *(agent.claims._p_serial for agent in self.values()),
        )

    def activate(self, boot: str | None = None) -> None:
        """Begin to work; ValueError if it works already."""
        if self._activated is not None:
            raise ValueError(f"dispatcher {self.UUID} is activated already")
        self._clean(death_of(self))
        self._activated = clock.now_us()
        self.boot = boot
        self.process = (socket.gethostname(), os.getpid())
        self.ping.at = self._activated
        notify(DispatcherActivated(self))

    def deactivate(self, in_order: bool = False, notes: Iterable = ()) -> None:
        """Stop working; what is claimed goes back. ValueError if it does not work.

        Unless that is ``in_order`` its process is taken for dead; ``notes`` are what
        supervisors saw of that, see ``supervisor.read_notes``.
        """
        if self._activated is None:
            raise ValueError(f"dispatcher {self.UUID} is not activated")
        self._activated = None
        self._clean(None if in_order else death_of(self, notes))
        notify(DispatcherDeactivated(self))

    def reactivate(self) -> None:
        """Work again after having been taken for dead."""
        self._activated = clock.now_us()
        notify(DispatcherReactivated(self))

    def _clean(self, death: Death | None) -> None:
        count = unfinished(self)
        if death is not None and count:
            self.left = (self.boot, count)
        for agent in self.values():
            count = take_back(self.parent, agent, clock.now_us(), death)
            if count:
                log.info("took back %d jobs of dispatcher %s", count, self.UUID)

    def holds_jobs(self) -> bool:
        """Whether any of its agents has claimed something."""
        return any(agent.claims.entries for agent in self.values())

    def __setitem__(self, name: str, agent: Agent):
        if not IAgent.providedBy(agent):
            raise ValueError(f"{agent!r} is not an agent")
        if len(agent):
            raise ValueError(f"agent {agent!r} holds jobs")
        if name in self._data:
            del self[name]
        agent.name = name
        agent.parent = self
        self._data[name] = agent

    def __delitem__(self, name: str):
        agent = self._data[name]
        if len(agent):
            raise ValueError(f"agent {name!r} holds jobs: deactivate it first")
        del self._data[name]
        agent.parent = None


@implementer(IDispatchers)
class Dispatchers(TreeMapping):
    """See IDispatchers. By UUID as text; changed at registration."""

    def register(self, uuid: UUID) -> DispatcherAgents:
        """Make the entry of a dispatcher; ValueError if there is one."""
        if str(uuid) in self._data:
            raise ValueError(f"dispatcher {uuid} is registered already")
        agents = DispatcherAgents(uuid)
        agents.parent = self.parent
        self._data[str(uuid)] = agents
        notify(DispatcherRegistered(agents))
        return agents

    def unregister(self, uuid: UUID) -> DispatcherAgents:
        """Remove the entry of a dispatcher.

        KeyError if there is none, ValueError while it is activated.
        """
        agents = self[uuid]
        if agents.activated:
            raise ValueError(f"dispatcher {uuid} is activated: deactivate it first")
        del self._data[str(uuid)]
        agents.parent = None
        notify(DispatcherUnregistered(agents))
        return agents

    def ping(self, uuid: UUID) -> None:
        """Note that this dispatcher lives, and deactivate those that do not.

        As in zc.async, one that was taken for dead is reactivated.
        """
        agents = self[uuid]
        if not agents.activated:
            log.critical("dispatcher %s was taken for dead, and is back", uuid)
            agents.reactivate()
        now = clock.now_us()
        interval = agents.ping_interval // clock.MICROSECOND
        if not agents.ping.at or agents.ping.at + interval <= now:
            agents.ping.at = now
        for other in self.values():
            if other is not agents and other.activated and other.dead:
                other.deactivate()

    def __getitem__(self, uuid: UUID) -> DispatcherAgents:
        return self._data[str(uuid)]

    def __iter__(self):
        return (agents.UUID for agents in self._data.values())
