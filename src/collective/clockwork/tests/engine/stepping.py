"""Processes that go on one transaction at a time, in an order that a test decides.

A ``SteppedManager`` stops the thread that uses it before each begin and each
commit. What a thread reads between the two is one snapshot, so these are all
the places where what others do can make a difference. Only one thread runs at
any time: a run is the same each time.
"""

from __future__ import annotations

from collections.abc import Callable
from collective.clockwork.engine import dispatcher as registry
from collective.clockwork.engine.dispatcher import Dispatcher
from collective.clockwork.engine.pool import AgentThreadPool
from collective.clockwork.engine.station import Station
from collective.clockwork.engine.threadlocal import local
from contextlib import nullcontext
from transaction.interfaces import TransactionError

import threading
import transaction


#: Seconds after which a thread that does not come back is an error.
PATIENCE = 30


class Killed(BaseException):
    """The process of this thread is no more."""


class SteppedManager(transaction.TransactionManager):
    """Stops its thread before each begin and commit; see above."""

    actor = None

    def begin(self):
        self._stop("begin")
        return super().begin()

    def commit(self):
        self._stop("commit")
        return super().commit()

    def _stop(self, where: str) -> None:
        if self.actor is not None:
            self.actor.stop(where)


class Stopping(threading.Event):
    """The stop of a dispatcher, for which nobody waits in real time."""

    def wait(self, timeout=None):
        return self.is_set()


class Actor:
    """A call in a thread of its own that goes on when it is told to."""

    number = 0

    def __init__(self, call: Callable, manager: SteppedManager, stopping: Stopping):
        self.call = call
        self.manager = manager
        self.stopping = stopping
        #: What it is about to do; None once it has ended.
        self.where: str | None = "start"
        self.killed = False
        self.error: BaseException | None = None
        self._go = threading.Semaphore(0)
        self._halt = threading.Semaphore(0)
        Actor.number += 1
        self.thread = threading.Thread(
            target=self._run, name=f"actor-{Actor.number}", daemon=True
        )
        self.thread.start()

    def _run(self) -> None:
        self._go.acquire()
        local.stopping = self.stopping
        self.manager.actor = self
        try:
            if not self.killed:
                self.call()
        except Killed:
            self.killed = True
        except BaseException as error:
            # Raised again in the thread of the test.
            self.error = error
        finally:
            self.manager.actor = None
            self.manager.abort()
            self.where = None
            self._halt.release()

    def stop(self, where: str) -> None:
        """Called in the thread: wait until the test lets it go on."""
        if not self.killed:
            self.where = where
            self._halt.release()
            self._go.acquire()
        if self.killed:
            raise Killed()

    @property
    def ended(self) -> bool:
        return self.where is None

    def step(self) -> None:
        """Let it go on up to its next begin or commit."""
        if self.ended:
            return
        self._go.release()
        assert self._halt.acquire(timeout=PATIENCE), f"{self.thread.name} hangs"
        if self.error is not None:
            raise self.error

    def finish(self, steps: int = 1000) -> None:
        """Let it go on to its end."""
        for _ in range(steps):
            if self.ended:
                return
            self.step()
        raise AssertionError(f"{self.thread.name} does not end")

    def kill(self) -> None:
        """End it where it stands: nothing that it began is committed."""
        if self.ended:
            return
        self.killed = True
        self.step()
        while not self.ended:
            assert self._halt.acquire(timeout=PATIENCE), f"{self.thread.name} lives"


class SteppedPool(AgentThreadPool):
    """A pool whose threads are actors."""

    def set_size(self, size: int) -> None:
        self.size = size
        self._wanted_threads = size

    @property
    def has_work(self) -> bool:
        return bool(self._inbox)

    def perform_next(self, connection) -> None:
        """Take the next run of jobs and perform it, as a thread does."""
        self._perform_run(connection, self._next_run())


class NoLock:
    """Stands in for the lock that keeps claims apart, so that they meet."""

    def held(self):
        return nullcontext(False)

    def close(self) -> None:
        """There is nothing to close."""


class SteppedDispatcher(Dispatcher):
    """Has no thread, and pools without threads."""

    def __init__(self, db, uuid):
        super().__init__(db, uuid=uuid)
        self.tm = SteppedManager()
        self.claim_lock = NoLock()
        self.stopping = Stopping()

    def _station(self, queue_name: str, agent_name: str, agents) -> Station:
        key = (queue_name, agent_name)
        if key not in self.stations:
            pool = SteppedPool(self, queue_name, agent_name, agents[agent_name].size)
            self.stations[key] = Station(self, agent_name, pool)
        return self.stations[key]


class Process:
    """One worker process: its dispatcher, and the threads of its pools."""

    #: Errors after which a dispatcher looks again, instead of ending the test.
    passing: tuple = (TransactionError,)

    def __init__(self, db, uuid):
        registry.pop(uuid)
        self.db = db
        self.uuid = uuid
        self.dispatcher = SteppedDispatcher(db, uuid)
        self.connection = db.open(self.dispatcher.tm)
        self.poller: Actor | None = None
        self.workers: list[Actor] = []
        self._free: list = []

    @property
    def pools(self) -> list[SteppedPool]:
        return [station.pool for station in self.dispatcher.stations.values()]

    @property
    def busy(self) -> bool:
        """Whether any of its threads is in the middle of something."""
        return bool(self.workers) or self.poller is not None

    def _poll(self) -> None:
        try:
            self.dispatcher.poll(self.connection)
        except self.passing:
            self.dispatcher.tm.abort()
            self.dispatcher.waker.set()

    def poll(self) -> None:
        """One step of a poll; begins one if none is under way."""
        if self.poller is None:
            dispatcher = self.dispatcher
            self.poller = Actor(self._poll, dispatcher.tm, dispatcher.stopping)
        self.poller.step()
        if self.poller.ended:
            self.poller = None

    def start_work(self) -> bool:
        """Let a thread take a run of jobs; whether there was one, and room."""
        for pool in self.pools:
            if pool.has_work and len(self.workers) < pool.size:
                self.workers.append(self._worker(pool))
                return True
        return False

    def _worker(self, pool: SteppedPool) -> Actor:
        if not self._free:
            self._free.append(self.db.open(SteppedManager()))
        connection = self._free.pop()

        def perform():
            local.dispatcher = self.dispatcher
            local.agent_name = pool.name
            pool.perform_next(connection)
            connection.transaction_manager.abort()
            self._free.append(connection)

        actor = Actor(perform, connection.transaction_manager, self.dispatcher.stopping)
        actor.step()
        return actor

    def running(self, worker: Actor) -> list:
        """What this thread is at: one entry of a pool, or none."""
        return [
            pool.running[worker.thread.name]
            for pool in self.pools
            if worker.thread.name in pool.running
        ]

    def report(self, ticket) -> str | None:
        """What a thread has reported of this claim, and nobody has swept."""
        found = [pool.reports.get(ticket.claim) for pool in self.pools]
        return next(filter(None, found), None)

    def work(self, index: int) -> None:
        """One step of one of its threads."""
        if self.workers:
            self.workers[index % len(self.workers)].step()
            self.workers = [worker for worker in self.workers if not worker.ended]

    def go_on(self) -> None:
        """Let all its threads come to the end of what they are at."""
        while self.poller is not None:
            self.poll()
        while self.start_work() or self.workers:
            self.work(0)

    def stop(self) -> None:
        """The end of a process whose jobs outlive the grace: they go on."""
        while self.poller is not None:
            self.poll()
        dispatcher = self.dispatcher
        dispatcher.stopping.set()
        dispatcher._grace = 0

        def finish():
            dispatcher._finish(self.connection)

        Actor(finish, dispatcher.tm, dispatcher.stopping).finish()
        registry.pop(self.uuid)

    def kill(self) -> None:
        """SIGKILL: whatever is under way ends where it is."""
        self.dispatcher.stopping.set()
        for actor in [self.poller, *self.workers]:
            if actor is not None:
                actor.kill()
        self.poller = None
        self.workers = []
        registry.pop(self.uuid)
