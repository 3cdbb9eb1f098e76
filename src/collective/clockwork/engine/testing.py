"""For tests of the engine, and of applications that use it.

``drain`` runs what is due in the calling thread, on the real structures and by
the same steps as a worker, so a test is deterministic. The ``wait_for_...``
functions wait for a dispatcher with threads.
"""

from __future__ import annotations

from . import clock
from . import retention
from .agent import Agent
from .attempt import DEFERRED
from .claims import Claim
from .dispatcher import Dispatcher
from .history import History
from .interfaces import ACTIVE
from .interfaces import COMPLETED
from .interfaces import KEY
from .live import notes_of
from .pool import AgentThreadPool
from .pool import Ticket
from .run import follow_promises
from .station import ticket_of
from .sweeping import sweep
from .threadlocal import local
from collections.abc import Callable
from datetime import datetime
from datetime import timezone
from uuid import UUID
from ZODB.utils import u64

import logging
import sys
import threading
import time
import transaction


#: The dispatcher under which ``drain`` works.
DRAIN_UUID = UUID("00000000-0000-0000-0000-00000000d7a1")
#: Seconds between two looks.
LOOK = 0.01
#: The name that zc.async has for sleeping by the real clock; ours is never replaced.
time_sleep = time.sleep
#: Above all loggers of the engine.
LOGGER = logging.getLogger("collective.clockwork.engine")


class TearDownDispatcherError(RuntimeError):
    """A dispatcher, or a job in it, did not stop."""


def set_now(moment: datetime) -> None:
    """Stop the engine's clock at ``moment``; a naive one is read as UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    clock.freeze(moment)


def setUpDatetime() -> None:
    """Stop the engine's clock at the moment that zc.async's tests begin with."""
    set_now(datetime(2006, 8, 10, 15, 44, 22, 211))


def tearDownDatetime() -> None:
    """Let the engine's clock go on."""
    clock.freeze(None)


def wait_until(condition: Callable, what: str, seconds: float = 6, begin=None):
    """The first true value of ``condition``; AssertionError when time is up.

    ``begin`` is called before each look, to see the database of that moment.
    """
    deadline = time.monotonic() + seconds
    while True:
        if begin is not None:
            begin()
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {seconds} s")
        time.sleep(LOOK)


def _begin_of(job) -> Callable:
    jar = job._p_jar
    tm = transaction.manager if jar is None else jar.transaction_manager
    return tm.begin


def wait_for_result(job, seconds: float = 6):
    """The job's result once it is completed; begins transactions."""
    wait_until(
        lambda: job.status == COMPLETED, f"completing {job!r}", seconds, _begin_of(job)
    )
    return job.result


def wait_for_start(job, seconds: float = 6) -> None:
    """Return when the job is seen to run, or has run; begins transactions."""
    wait_until(
        lambda: job.status in (ACTIVE, COMPLETED, "callback-status"),
        f"starting {job!r}",
        seconds,
        _begin_of(job),
    )


def wait_for_annotation(job, name: str, seconds: float = 6):
    """The job's annotation of that name, live or not; begins transactions."""
    missing = object()

    def look():
        found = job.annotations.get(name, missing)
        if found is missing:
            found = notes_of(job).get(name, missing)
        return None if found is missing else (found,)

    return wait_until(look, f"annotation {name!r}", seconds, _begin_of(job))[0]


def wait_for_deactivation(dispatcher: Dispatcher, seconds: float = 6) -> None:
    """Return when the dispatcher has stopped."""
    wait_until(lambda: not dispatcher.activated, "deactivation", seconds)


def wait_for_death(agents, seconds: float = 6) -> None:
    """Return when the dispatcher of these DispatcherAgents counts as dead."""
    wait_until(lambda: agents.dead, "death", seconds, _begin_of(agents))


def tear_down_dispatcher(dispatcher: Dispatcher, grace: float = 5) -> None:
    """Stop a dispatcher, its threads, and a reactor that was made for it.

    Raises TearDownDispatcherError naming the threads that went on, and their jobs.
    """
    stations = list(dispatcher.stations.values())
    if dispatcher.activated:
        dispatcher.deactivate(grace)
    left = []
    for station in stations:
        for thread in station.pool.threads:
            if thread.is_alive():
                running = station.pool.running.get(thread.name)
                job = f" at job {u64(running.ticket.oid)}" if running else ""
                left.append(f"{thread.name}{job}")
    reactor_thread = dispatcher.reactor_thread
    if reactor_thread is not None and reactor_thread.is_alive():
        dispatcher.reactor.callFromThread(dispatcher.reactor.stop)
        reactor_thread.join(grace)
    for thread in (dispatcher.thread, reactor_thread):
        if thread is not None and thread.is_alive():
            left.append(thread.name)
    if left:
        raise TearDownDispatcherError(f"still running: {', '.join(left)}")


class _Inline:
    """Stands in for a dispatcher while jobs are run in the calling thread."""

    def __init__(self, db):
        self.db = db
        self.UUID = DRAIN_UUID
        self.stopping = threading.Event()
        self.history = History()
        #: Nobody else looks on.
        self.flusher = None


class _NoThreads(AgentThreadPool):
    """A pool whose jobs are run by whoever calls ``perform``."""

    def __init__(self, dispatcher):
        super().__init__(dispatcher, "", "main", 0)

    def perform(self, connection, ticket: Ticket) -> tuple[str, list]:
        """Run one job here, as a worker thread would."""
        previous = local.stopping
        if previous is None:
            local.stopping = self.dispatcher.stopping
        try:
            return self._perform_job(connection, ticket)
        finally:
            local.stopping = previous


def drain(db, queue_names: tuple | None = None, limit: int = 10_000) -> int:
    """Run all due jobs of the database's queues in this thread; returns how many.

    Each job is claimed, run, committed and swept as in a worker, in a
    transaction of its own on another connection, under the dispatcher
    ``DRAIN_UUID``. A job whose Deferred has not fired is left active, and ends in
    a thread when it does. Commit before, begin a transaction after. AssertionError
    after ``limit`` jobs, which means that jobs keep queueing jobs.
    """
    tm = transaction.TransactionManager()
    claimer = db.open(tm)
    runner = db.open()
    pool = _NoThreads(_Inline(db))
    count = 0
    try:
        progress = True
        while progress:
            progress = False
            tm.begin()
            for name, queue in claimer.root().get(KEY, {}).items():
                if queue_names is not None and name not in queue_names:
                    continue
                while _drain_one(queue, tm, pool, runner):
                    progress = True
                    count += 1
                    if count > limit:
                        raise AssertionError(f"more than {limit} jobs ran")
    finally:
        tm.abort()
        claimer.close()
        transaction.manager.abort()
        runner.close()
    return count


def _drain_one(queue, tm, pool: _NoThreads, runner) -> bool:
    tm.begin()
    agent = _drain_agent(queue)
    claim = Claim(queue, agent.accepts, 1, clock.now_us())
    runs = claim.take()
    retention.file(queue, agent, [(job, None) for job in claim.finished])
    if not runs:
        if claim.changed:
            tm.commit()
        return bool(claim.finished or claim.more)
    entry = runs[0][0]
    agent.hold(runs[0])
    tm.commit()
    ticket = ticket_of(entry, agent)
    outcome, outer = pool.perform(runner, ticket)
    tm.begin()
    jar = queue._p_jar
    outer_jobs = [jar.get_connection(name).get(oid) for oid, name in outer]
    reports = {} if outcome == DEFERRED else {ticket.claim: outcome}
    sweep(queue, agent, reports, outer_jobs, clock.now_us())
    tm.commit()
    for promise in follow_promises():
        if promise.thread is not None:
            promise.thread.join()
    return True


def _drain_agent(queue) -> Agent:
    dispatchers = queue.dispatchers
    if DRAIN_UUID not in dispatchers:
        dispatchers.register(DRAIN_UUID)
    agents = dispatchers[DRAIN_UUID]
    if not agents.activated:
        agents.activate("drain")
    if "main" not in agents:
        agents["main"] = Agent()
    return agents["main"]


def get_poll(dispatcher: Dispatcher, count: int | None = None, seconds: float = 6):
    """A poll that is recorded from now on, or the newest of more than ``count``.

    Polls are recorded when they did something, and once in each poll interval.
    """
    polls = dispatcher.polls
    last = _newest(polls)

    def look():
        newest = _newest(polls)
        if newest is None:
            return None
        fresh = newest is not last if count is None else len(polls) > count
        return (newest,) if fresh else None

    dispatcher.waker.set()
    return wait_until(look, "a poll", seconds)[0]


def _newest(polls):
    return next(iter(polls), None)


def print_logs(log_file=None, log_level: int = logging.CRITICAL) -> logging.Handler:
    """Write what the engine logs to a file, by default to standard output.

    Returns the handler; give it to ``logging.Logger.removeHandler``.
    """
    handler = logging.StreamHandler(sys.stdout if log_file is None else log_file)
    handler.setLevel(log_level)
    LOGGER.addHandler(handler)
    return handler
