"""The worker threads of one agent, and what they have been given to do.

The dispatcher hands over runs of claimed jobs and collects what became of
them; the threads touch nothing in the database but the jobs themselves.

A job that was given to the pool is, at any moment, in exactly one of ``_inbox``
and ``_tails`` (nobody began it), ``running``, and ``reports``.
"""

from __future__ import annotations

from . import clock
from .attempt import DEFERRED
from .attempt import DONE
from .attempt import LOST
from .attempt import PUT_OFF
from .base import identity
from .claims import UNSTARTED
from .commit import log
from .commit import never_fail
from .commit import trace
from .commit import wait_for_system_recovery
from .failure import isFailure
from .interfaces import ReassignedError
from .run import decide_interrupt
from .run import finish_outer_jobs
from .run import follow_promises
from .run import run_claimed
from .threadlocal import local
from collections import deque
from dataclasses import dataclass

import logging
import threading
import transaction


#: Seconds of work that a pool keeps claimed ahead of its threads.
AHEAD = 0.1
#: Jobs that a pool keeps claimed at most.
MOST = 64
#: Seconds after which claimed jobs that nobody begins go back.
GIVE_BACK_AFTER = 0.1
#: Weight of the last job in the average duration.
SMOOTHING = 0.2


@dataclass(frozen=True)
class Ticket:
    """A claimed job, as it is handed to a thread."""

    oid: bytes
    database: str
    attempt: int
    agent_oid: bytes
    #: Where the agent is; None for the job's own database.
    agent_database: str | None = None

    @property
    def claim(self) -> tuple:
        """Tells this claim from all others: the job's identity, and its attempt."""
        return (self.oid, self.database, self.attempt)


@dataclass
class Running:
    """A job that a thread is at."""

    ticket: Ticket
    since: float
    since_us: int


class AgentThreadPool:
    """``size`` threads that run the jobs of one agent of one queue."""

    def __init__(self, dispatcher, queue: str, name: str, size: int):
        self.dispatcher = dispatcher
        self.queue = queue
        self.name = name
        self.size = 0
        #: Identity of a job to what became of it; taken by the dispatcher.
        self.reports: dict[tuple, str] = {}
        #: (oid, database) of other jobs that came to their end here.
        self.outer: list[tuple[bytes, str]] = []
        #: Thread name to Running.
        self.running: dict[str, Running] = {}
        #: Claim to Running, for jobs that wait for a Deferred.
        self.deferred: dict[tuple, Running] = {}
        self.threads: list[threading.Thread] = []
        #: When the last job was begun, or handed over to idle threads; on the
        #: monotonic clock.
        self.last_begin = clock.monotonic()
        self._inbox: deque[deque[Ticket]] = deque()
        #: What is left of runs that a thread is at; for that thread alone.
        self._tails: list[deque[Ticket]] = []
        self._changed = threading.Condition()
        self._wanted_threads = 0
        self._average: float | None = None
        self.set_size(size)

    def set_size(self, size: int) -> None:
        """Start threads, or let some end after the job that they are at."""
        with self._changed:
            self.size = size
            self._wanted_threads = size
            self.threads = [thread for thread in self.threads if thread.is_alive()]
            for _ in range(size - len(self.threads)):
                number = self.dispatcher.next_thread_number()
                thread = threading.Thread(
                    target=self._perform,
                    name=f"clockwork-{self.queue}-{self.name}-{number}",
                    daemon=True,
                )
                self.threads.append(thread)
                thread.start()
            self._changed.notify_all()

    # What the dispatcher asks

    @property
    def queued(self) -> int:
        """Jobs that no thread has begun."""
        with self._changed:
            return self._count_queued()

    def _count_queued(self) -> int:
        return sum(map(len, self._inbox)) + sum(map(len, self._tails))

    @property
    def idle(self) -> bool:
        """Whether it has nothing to do."""
        with self._changed:
            return not self._inbox and not self.running and not self.deferred

    def batch(self) -> int:
        """How many jobs to keep claimed: some moments' work for all threads."""
        average = self._average
        with self._changed:
            if self.running:
                # A job that is still running may be the first of its kind.
                youngest = clock.monotonic() - max(
                    running.since for running in self.running.values()
                )
                average = max(average or 0.0, youngest)
        return self._batch_for(average)

    def _batch_for(self, average: float | None) -> int:
        if not average:
            return self.size
        return max(self.size, min(MOST, int(self.size * AHEAD / average)))

    def wanted(self) -> int:
        """How many more jobs to claim now; 0 while there is enough."""
        batch = self.batch()
        with self._changed:
            queued = self._count_queued()
            held = queued + len(self.running)
            room = self.size + MOST - held - len(self.deferred)
        if queued > batch // 4:
            return 0
        return max(0, min(batch - held, room))

    def take_reports(self) -> tuple[dict, list]:
        """What became of jobs since; to be given back with ``forget``."""
        with self._changed:
            return dict(self.reports), list(self.outer)

    def forget(self, reports: dict, outer: list) -> None:
        """These reports are taken care of."""
        with self._changed:
            for claim, outcome in reports.items():
                if self.reports.get(claim) == outcome:
                    del self.reports[claim]
            self.outer = [entry for entry in self.outer if entry not in outer]

    def known(self) -> set[tuple]:
        """All claims that it was given and that are not taken care of."""
        with self._changed:
            waiting = [*self._inbox, *self._tails]
            return {
                *(ticket.claim for run in waiting for ticket in run),
                *(running.ticket.claim for running in self.running.values()),
                *self.deferred,
                *self.reports,
            }

    def submit(self, runs: list[list[Ticket]]) -> None:
        """Hand over claimed jobs; those of one run go to one thread, in order."""
        with self._changed:
            if not self._count_queued():
                # Threads that had nothing to do are not stuck.
                self.last_begin = clock.monotonic()
            for run in runs:
                self._inbox.append(deque(run))
            self._changed.notify(len(runs))

    def withdraw(self) -> None:
        """Report all that nobody has begun as unstarted."""
        with self._changed:
            for run in [*self._inbox, *self._tails]:
                for ticket in run:
                    self.reports[ticket.claim] = UNSTARTED
                run.clear()
            self._inbox.clear()

    def is_stuck(self) -> bool:
        """Whether claimed jobs wait behind long ones."""
        with self._changed:
            waiting = self._count_queued()
        return waiting > 0 and clock.monotonic() - self.last_begin > GIVE_BACK_AFTER

    def running_for(self, seconds: float) -> list[tuple[bytes, int]]:
        """Pairs of oid and start (microseconds) of jobs that run longer already."""
        limit = clock.monotonic() - seconds
        with self._changed:
            return sorted(
                (running.ticket.oid, running.since_us)
                for running in [*self.running.values(), *self.deferred.values()]
                if running.since <= limit
            )

    def stop(self, deadline: float) -> bool:
        """Let all threads end; whether they did by then (monotonic clock)."""
        with self._changed:
            self._wanted_threads = 0
            self._changed.notify_all()
        for thread in list(self.threads):
            thread.join(max(0.0, deadline - clock.monotonic()))
        with self._changed:
            left = max(0.0, deadline - clock.monotonic())
            self._changed.wait_for(lambda: not self.deferred, left)
        return not any(thread.is_alive() for thread in self.threads)

    # In the threads

    def _perform(self) -> None:
        local.dispatcher = self.dispatcher
        local.agent_name = self.name
        local.stopping = self.dispatcher.stopping
        connection = self.dispatcher.db.open()
        try:
            while True:
                run = self._next_run()
                if run is None:
                    return
                self._perform_run(connection, run)
        finally:
            transaction.abort()
            connection.close()
            self.dispatcher.waker.set()

    def _next_run(self) -> deque | None:
        with self._changed:
            while True:
                if len(self.threads) > self._wanted_threads:
                    self.threads.remove(threading.current_thread())
                    return None
                if self._wanted_threads == 0:
                    return None
                if self._inbox:
                    run = self._inbox.popleft()
                    self._tails.append(run)
                    return run
                self._changed.wait()

    def _perform_run(self, connection, run: deque) -> None:
        while True:
            with self._changed:
                if not run:
                    self._tails = [tail for tail in self._tails if tail is not run]
                    return
                ticket = run.popleft()
                now = clock.monotonic()
                self.last_begin = now
                self.running[threading.current_thread().name] = Running(
                    ticket, now, clock.now_us()
                )
            try:
                outcome, outer = self._perform_job(connection, ticket)
            except BaseException:
                # Not the job: the database did not let it begin or end. The
                # thread must go on, and the job be given back.
                log.critical("%s could not be run", ticket, exc_info=True)
                outcome, outer = LOST, []
                self.dispatcher.stopping.wait(1)
            self._report(ticket, run, outcome, outer, clock.monotonic() - now)
            follow_promises(self._report_deferred)

    def _report(self, ticket, run: deque, outcome: str, outer: list, took: float):
        with self._changed:
            running = self.running.pop(threading.current_thread().name)
            if outcome == DEFERRED:
                self.deferred[ticket.claim] = running
            else:
                self.reports[ticket.claim] = outcome
            self.outer.extend(outer)
            if outcome != DONE:
                # The order inside the quota would be lost if the rest went on.
                for rest in run:
                    self.reports[rest.claim] = UNSTARTED
                run.clear()
            average = self._average
            self._average = (
                took if average is None else average + SMOOTHING * (took - average)
            )
            call = self._count_queued() <= self._batch_for(self._average) // 4
        if call or outcome != DONE:
            self.dispatcher.waker.set()

    def _report_deferred(self, claim: tuple, outcome: str, job, outer: list) -> None:
        if outcome == DONE:
            self.dispatcher.history.jobs.end_deferred(claim, job, outer)
        with self._changed:
            if self.deferred.pop(claim, None) is not None:
                self.reports[claim] = outcome
            self.outer.extend(identity(other) for other in outer)
            self._changed.notify_all()
        self.dispatcher.waker.set()

    def _perform_job(self, connection, ticket: Ticket) -> tuple[str, list]:
        previous, local.finished = local.finished, []
        outcome = None
        try:
            outcome = self._run_job(connection, ticket)
            return outcome, [identity(job) for job in local.finished]
        finally:
            local.finished = previous
            if outcome != DONE:
                # Behind a commit there is nothing to abort, and it costs a tenth
                # of what a short job does.
                connection.transaction_manager.abort()
            for other in connection.connections.values():
                other.cacheGC()

    def _run_job(self, connection, ticket: Ticket) -> str:
        job = None
        try:
            connection.transaction_manager.begin()
            job = self._find(connection, ticket)
            if job is None:
                return LOST
            if job.attempt != ticket.attempt or job._status == 3:
                log.error("%s was reassigned, or completed already", repr(job))
                return DONE if job._status == 3 else LOST
            trace(
                logging.INFO, "%s starting in %s", job, threading.current_thread().name
            )
            there = ticket.agent_database or ticket.database
            agent = connection.get_connection(there).get(ticket.agent_oid)
            records = self.dispatcher.history.jobs
            record = records.begin(self, ticket, job)
            outcome = run_claimed(job, ticket.attempt, agent)
            finish_outer_jobs()
            if job._p_jar is None:
                # A connection lets go of a job if a commit failed on an object
                # id that ZEO gave out twice: what became of it was not stored.
                outcome = LOST
            records.end(record, job, outcome, local.finished)
            if outcome == DONE:
                thread = threading.current_thread().name
                trace(logging.INFO, "%s completed in %s", job, thread)
            return outcome
        except ReassignedError:
            return LOST
        except BaseException as error:
            return self._broke_off(job, ticket, error)

    def _find(self, connection, ticket: Ticket):
        """The claimed job, read; None if it cannot be. Waits for the storage."""

        def read():
            job = connection.get_connection(ticket.database).get(ticket.oid)
            job._p_activate()
            return job

        try:
            return read()
        except Exception:
            # Read again by what waits for a storage that is away, and reports
            # anything else. Always going that way costs each job a commit.
            tm = connection.transaction_manager
            tm.abort()
            tm.begin()
            found = wait_for_system_recovery(read, f"reading {ticket}", tm)
            tm.begin()
            return None if isFailure(found) else found

    def _broke_off(self, job, ticket: Ticket, error: BaseException) -> str:
        """A job raised SystemExit or the like: the thread goes on, unless it stops.

        In zc.async the thread died, and the job stayed active until its
        dispatcher did too.
        """
        stopping = self.dispatcher.stopping.is_set()
        if job is None or (stopping and isinstance(error, SystemExit)):
            return UNSTARTED
        log.critical("%s broke off with %r", repr(job), error, exc_info=True)
        tm = job._p_jar.transaction_manager
        tm.abort()
        tm.begin()

        def interrupt() -> str:
            if job.attempt != ticket.attempt or job._status not in (0, 1):
                return LOST
            decide_interrupt(job)
            return PUT_OFF

        return never_fail(interrupt, f"interrupting {job!r}", tm)
