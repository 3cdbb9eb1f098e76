"""The dispatcher: claims jobs for the threads of one process.

One thread of its own looks into the database whenever something happened,
claims for each agent what its pool has room for, and sweeps what the pools
have finished, both in one commit. It never runs a job itself.
"""

from __future__ import annotations

from . import clock
from .base import identity
from .claimlock import ClaimLock
from .commit import ClientDisconnected
from .commit import log
from .commit import try_five_times
from .deaths import may_begin
from .failure import isFailure
from .history import getId
from .history import History
from .history import Introspection
from .instanceuuid import getUUID
from .interfaces import KEY
from .objectids import give_up_when_connected
from .objectids import start_over
from .polls import PollInfo
from .pool import AgentThreadPool
from .presence import Observer
from .progress import Flusher
from .reactors import tie
from .station import Station
from .supervisor import read_notes
from .tidy import Tidier
from .wake import Waker
from .winding import wind_down
from math import inf
from transaction.interfaces import TransactionError
from uuid import UUID
from uuid import uuid4

import random
import threading
import transaction


STOPPED = "STOPPED"
RUNNING = "RUNNING"
STUCK = "STUCK"
STARTING = "STARTING"

#: Seconds between two looks at whether others are alive.
OBSERVE_INTERVAL = 2
#: Seconds that running jobs get when the dispatcher stops.
GRACE = 5
#: Longest wait in seconds between two tries to reach a storage that is away.
AWAY_MAX = 5

_registry: dict[UUID, Dispatcher] = {}


def get(uuid: UUID | None = None, default=None):
    """The dispatcher of this process with that UUID, by default the process's."""
    return _registry.get(getUUID() if uuid is None else uuid, default)


def pop(uuid: UUID | None = None):
    """Forget that dispatcher, and return it; None if there is none."""
    return _registry.pop(getUUID() if uuid is None else uuid, None)


def clear() -> None:
    """Forget all dispatchers of this process."""
    _registry.clear()


def all_dispatchers() -> list:
    """All dispatchers of this process."""
    return list(_registry.values())


class Dispatcher(Introspection):
    """Serves all queues of ``db`` under one UUID.

    ``reactor`` is one of Twisted to start and stop with, for jobs that use it.
    ``poll_interval`` is how often, in seconds, it looks if nothing wakes it.
    Of its newest ``jobs_size`` jobs and ``polls_size`` polls it can tell.
    ValueError if this process has a dispatcher of that UUID.
    """

    def __init__(
        self,
        db,
        reactor=None,
        poll_interval: float = 5,
        uuid: UUID | None = None,
        jobs_size: int = 200,
        polls_size: int = 400,
    ):
        self.history = History(jobs_size, polls_size)
        uuid = getUUID() if uuid is None else uuid
        if uuid in _registry:
            raise ValueError(f"there is a dispatcher {uuid} in this process already")
        _registry[uuid] = self
        self.UUID = uuid
        #: Names this process: a restarted one has the same UUID, another boot.
        self.boot = uuid4().hex
        self.db = db
        self.reactor = reactor
        #: The thread of a reactor that was made for this dispatcher.
        self.reactor_thread: threading.Thread | None = None
        self.poll_interval = poll_interval
        self.waker = Waker(db)
        #: Keeps the claims of this machine's dispatchers apart.
        self.claim_lock = ClaimLock(db)
        give_up_when_connected(db)
        self.stopping = threading.Event()
        self.activated = False
        self.thread: threading.Thread | None = None
        #: (queue name, agent name) to Station.
        self.stations: dict[tuple[str, str], Station] = {}
        self.observer = Observer()
        #: What a supervisor saw of the deaths of earlier processes.
        self.notes = read_notes(self.UUID)
        self.tidier = Tidier()
        #: Shows what running jobs report.
        self.flusher = Flusher(db)
        self.last_poll: float | None = None
        self._started = 0.0
        #: Held while its thread is started, which a reactor may do late.
        self._start_lock = threading.Lock()
        self._threads_made = 0
        self._away_since: float | None = None
        self._away_tries = 0
        self._observed_at: float | None = None
        self._refused: set[str] = set()
        self._entered: set[str] = set()
        self.tm = transaction.TransactionManager()

    def next_thread_number(self) -> int:
        """Numbers for the names of threads."""
        self._threads_made += 1
        return self._threads_made

    # Start and stop

    def activate(self, threaded: bool = False) -> None:
        """Begin to work, with a reactor when that runs; ValueError if it works already.

        ``threaded`` means nothing: it always works in a thread of its own.
        """
        if self.activated:
            raise ValueError(f"dispatcher {self.UUID} is activated already")
        self.activated = True
        self.history.clear()
        self._started = clock.monotonic()
        self.stopping.clear()
        if self.reactor is None:
            self._start()
        else:
            tie(self, self._start)

    def _start(self) -> None:
        with self._start_lock:
            if not self.activated or self.stopping.is_set():
                return
            log.info("dispatcher %s is starting", self.UUID)
            self.thread = threading.Thread(
                target=self._work, name=f"clockwork-dispatcher-{self.UUID}", daemon=True
            )
            self.thread.start()

    def deactivate(self, grace: float = GRACE) -> None:
        """Stop: claim nothing more, let running jobs end, give the rest back.

        Jobs that run longer than ``grace`` seconds count as interrupted, and
        what they still do is not committed. ValueError if it does not work.
        """
        if not self.activated:
            raise ValueError(f"dispatcher {self.UUID} is not activated")
        self._grace = grace
        with self._start_lock:
            self.stopping.set()
        self.waker.set()
        if self.thread not in (None, threading.current_thread()):
            self.thread.join(grace + AWAY_MAX + 5)
        self.activated = False

    def getStatusInfo(self) -> dict:
        """Whether it works: status, poll interval, times and UUID."""
        now = clock.monotonic()
        last = self.last_poll
        status = RUNNING
        if not self.activated:
            status = STOPPED
        elif last is None:
            late = now - self._started > self.poll_interval
            status = STUCK if late else STARTING
        elif now - last > max(self.poll_interval, 1) * 2:
            status = STUCK
        return {
            "status": status,
            "poll interval": self.poll_interval,
            "time since last poll": None if last is None else now - last,
            "uptime": now - self._started if self.activated else None,
            "uuid": self.UUID,
        }

    # In its thread

    def _work(self) -> None:
        connection = None
        while not self.stopping.is_set():
            try:
                self.require_storage()
                if connection is None:
                    connection = self.db.open(self.tm)
                wait = self.poll(connection)
                self._storage_is_back()
            except ClientDisconnected as error:
                self.history.record_failed(self.stations.values(), error)
                wait = self._storage_is_away(error)
            except TransactionError:
                # Somebody else claimed; a random pause keeps two from
                # meeting again.
                self.tm.abort()
                self.waker.set()
                wait = 0.0
                self.stopping.wait(random.uniform(0, 0.005))
            except Exception as error:
                # A dispatcher that dies stops a whole site's jobs: say what
                # happened and go on.
                self.tm.abort()
                self.history.record_failed(self.stations.values(), error)
                log.critical("poll of dispatcher %s failed", self.UUID, exc_info=True)
                if connection is not None:
                    # What is in memory may have lost its connection.
                    start_over(connection)
                wait = 1.0
                self.stopping.wait(1)
            self.waker.wait(wait, watch=self._has_room())
        self._finish(connection)

    def poll(self, connection) -> float:
        """Look once at all queues; returns seconds until the next look is due."""
        self.waker.look()
        self.tm.begin()
        queues = connection.root().get(KEY)
        wait = float(self.poll_interval)
        if queues is not None:
            known = set()
            for queue_name, queue in queues.items():
                if not self._enter(queue_name, queue):
                    continue
                agents = queue.dispatchers[self.UUID]
                for agent_name in list(agents):
                    known.add((queue_name, agent_name))
                    station = self._station(queue_name, agent_name, agents)
                    wait = min(wait, self._serve(station, queue, agents))
                    self.tm.begin()
            self._leave_others(known)
            wait = min(wait, self._observe(queues))
        if self.history.is_due(self.poll_interval):
            self.history.record(queues, self.UUID, self.boot)
        self.tm.abort()
        self.last_poll = clock.monotonic()
        return wait

    def _serve(self, station: Station, queue, agents) -> float:
        try:
            return station.serve(queue, agents)
        except TransactionError:
            raise
        except Exception as error:
            # A filter that raises, for instance: the other agents, and those
            # who wait for dead dispatchers to be noticed, must not suffer.
            self.tm.abort()
            self.history.failed(station.pool, error)
            log.critical("serving %s failed", station, exc_info=True)
            return 1.0

    def may_begin(self, job) -> bool:
        """Whether a job under suspicion may be begun beside what is running now."""
        pools = [station.pool for station in self.stations.values()]
        waiting = sum(pool.queued for pool in pools)
        ages = [age for pool in pools for age in pool.ages(identity(job))]
        return may_begin(job, waiting, ages)

    def is_reserved(self) -> bool:
        """Whether a job has this process for itself, so that nothing may be begun."""
        return any(station.pool.is_reserved() for station in self.stations.values())

    def _has_room(self) -> bool:
        stations = self.stations.values()
        return not stations or any(station.pool.wanted() for station in stations)

    def _station(self, queue_name: str, agent_name: str, agents) -> Station:
        key = (queue_name, agent_name)
        size = agents[agent_name].size
        station = self.stations.get(key)
        if station is None:
            pool = AgentThreadPool(self, queue_name, agent_name, size)
            self._resize_connections(size)
            station = self.stations[key] = Station(self, agent_name, pool)
        elif station.pool.size != size:
            self._resize_connections(size - station.pool.size)
            station.pool.set_size(size)
        return station

    def _resize_connections(self, change: int) -> None:
        self.db.setPoolSize(self.db.getPoolSize() + change)

    def _leave_others(self, known: set) -> None:
        for key in set(self.stations) - known:
            station = self.stations.pop(key)
            station.pool.withdraw()
            station.pool.set_size(0)
            self._resize_connections(-station.pool.size)

    def _enter(self, name: str, queue) -> bool:
        """Be registered and active in this queue; whether we may serve it."""
        agents = queue.dispatchers._data.get(str(self.UUID))
        if agents is not None and agents.activated and agents.boot == self.boot:
            return True
        if name in self._refused:
            return False
        if name in self._entered and agents is not None and agents.boot != self.boot:
            self._refused.add(name)
            log.error(
                "another process works in queue %r under our UUID %s: this one "
                "stops serving it. Give each worker a UUID file of its own "
                "(environment variable ZC_ASYNC_UUID)",
                name,
                self.UUID,
            )
            return False
        result = try_five_times(
            lambda: self._activate_in(queue), f"activating in queue {name!r}", self.tm
        )
        self.tm.begin()
        if isFailure(result):
            return False
        self._entered.add(name)
        return True

    def _activate_in(self, queue) -> None:
        dispatchers = queue.dispatchers
        agents = dispatchers._data.get(str(self.UUID))
        if agents is None:
            agents = dispatchers.register(self.UUID)
        if agents.boot == self.boot and not agents.activated:
            log.critical("dispatcher %s was taken for dead, and is back", self.UUID)
            for station in self.stations.values():
                station.pool.withdraw()
                station.pool.deferred.clear()
            self.history.jobs.taken_away(queue.name)
            agents.reactivate()
            return
        if agents.activated:
            log.info("taking over from an earlier process of %s", self.UUID)
            agents.deactivate(notes=self.notes)
        agents.activate(self.boot)

    # The others

    def _observe(self, queues) -> float:
        """Take over from the dead; returns seconds until the next look is due."""
        now = clock.monotonic()
        last = self._observed_at
        if last is not None and now - last < OBSERVE_INTERVAL:
            return last + OBSERVE_INTERVAL - now
        if last is not None and now - last > 3 * OBSERVE_INTERVAL:
            # We were asleep ourselves: nobody's silence means anything.
            self.observer.forget()
        self._observed_at = now
        others = False
        for queue in queues.values():
            for agents in list(queue.dispatchers.values()):
                if agents.UUID != self.UUID and agents.activated:
                    others = True
                    self._observe_one(agents)
        if self.tidier.is_due():
            self.tm.begin()
            self.tidier.tidy(queues)
            self.tm.commit()
            self.tm.begin()
        return OBSERVE_INTERVAL if others else inf

    def _observe_one(self, agents) -> None:
        silence = self.observer.silence(agents)
        if not agents.is_silent(silence):
            return
        log.warning(
            "dispatcher %s is silent for %d s: taking its jobs over",
            agents.UUID,
            silence,
        )
        agents.deactivate(notes=read_notes(agents.UUID))
        # A sign of life that arrives before this commit makes it fail.
        agents._p_jar.readCurrent(agents.ping)
        self.tm.commit()
        self.tm.begin()
        self.waker.set()

    # Storage away, and the end

    def require_storage(self) -> None:
        """Raise ClientDisconnected if the queues' storage says that it is away.

        An idle dispatcher finds all that it reads in its cache, and would not
        notice.
        """
        is_connected = getattr(self.db.storage, "is_connected", None)
        if is_connected is not None and not is_connected():
            raise ClientDisconnected("it is not connected")

    def _storage_is_away(self, error) -> float:
        self.tm.abort()
        if self._away_since is None:
            self._away_since = clock.monotonic()
            log.error(
                "the storage is away (%s): claiming nothing until it is back", error
            )
        self._away_tries += 1
        wait = min(0.25 * 2**self._away_tries, AWAY_MAX)
        self.stopping.wait(wait)
        return 0.0

    def _storage_is_back(self) -> None:
        if self._away_since is not None:
            away = clock.monotonic() - self._away_since
            self._away_since = None
            self._away_tries = 0
            self.observer.forget()
            log.info("the storage is back after %d s", away)

    def _finish(self, connection) -> None:
        """Give back what was not begun, wait for what runs, and say good-bye."""
        log.info("dispatcher %s is stopping", self.UUID)
        deadline = clock.monotonic() + self._grace
        for station in self.stations.values():
            station.pool.withdraw()
        wind_down(self, connection, deadline)
        for station in self.stations.values():
            station.pool.stop(deadline)
        self.flusher.stop()
        self.claim_lock.close()
        if connection is not None:
            result = try_five_times(
                lambda: self._deactivate_in(connection), "deactivating", self.tm
            )
            if isFailure(result):
                log.error("dispatcher %s could not say good-bye", self.UUID)
            self.tm.abort()
            connection.close()
        for station in self.stations.values():
            self._resize_connections(-station.pool.size)
        self.stations.clear()
        log.info("dispatcher %s has stopped", self.UUID)

    def _deactivate_in(self, connection) -> None:
        self.tm.begin()
        for queue in connection.root().get(KEY, {}).values():
            agents = queue.dispatchers._data.get(str(self.UUID))
            if agents is None or agents.boot != self.boot or not agents.activated:
                continue
            for (queue_name, agent_name), station in self.stations.items():
                if queue_name == queue.name and agent_name in agents:
                    station.last_sweep(queue, agents[agent_name])
            agents.deactivate(in_order=True)


__all__ = [
    "RUNNING",
    "STARTING",
    "STOPPED",
    "STUCK",
    "AgentThreadPool",
    "Dispatcher",
    "PollInfo",
    "all_dispatchers",
    "clear",
    "get",
    "getId",
    "pop",
]
