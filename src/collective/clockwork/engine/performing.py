"""Running one claimed job in the thread that was given it, up to what became of it."""

from __future__ import annotations

from . import retention
from .attempt import DONE
from .attempt import LOST
from .attempt import PUT_OFF
from .base import identity
from .commit import log
from .commit import never_fail
from .commit import trace
from .commit import wait_for_system_recovery
from .control import Control
from .errors import CancelledError
from .failure import isFailure
from .interfaces import ReassignedError
from .run import decide_interrupt
from .run import finish_outer_jobs
from .run import run_claimed
from .sweeping import UNSTARTED
from .threadlocal import local
from dataclasses import dataclass
from typing import NamedTuple
from ZODB.utils import u64

import logging
import threading


@dataclass(frozen=True)
class Ticket:
    """A claimed job, as it is handed to a thread."""

    oid: bytes
    database: str
    attempt: int
    agent_oid: bytes
    #: Where the agent is; None for the job's own database.
    agent_database: str | None = None
    #: For how many seconds nothing may be begun beside it.
    alone: float = 0.0
    #: Seconds that it may take.
    timeout: float | None = None
    #: Whether it may share a transaction with others.
    groupable: bool = False

    @property
    def identity(self) -> tuple:
        """Tells this job from all others."""
        return (self.oid, self.database)

    @property
    def activity(self) -> tuple:
        """How the agent's activity names the job while it runs."""
        return (self.database, u64(self.oid))

    @property
    def claim(self) -> tuple:
        """Tells this claim from all others: the job's identity, and its attempt."""
        return (self.oid, self.database, self.attempt)


@dataclass
class Running:
    """A job that a thread is at; or several, which share a transaction."""

    tickets: list[Ticket]
    since: float
    since_us: int
    control: Control

    @property
    def ticket(self) -> Ticket:
        """The first of them."""
        return self.tickets[0]

    def overdue(self, grace: float) -> Overdue | None:
        """What did not stop by ``grace`` seconds past its timeout, if it did not."""
        is_over, callback = self.control.overdue(grace)
        return Overdue(self.ticket, callback) if is_over else None


class Overdue(NamedTuple):
    """A claimed job whose thread does not stop at a timeout."""

    ticket: Ticket
    #: Identity of the callback that it hangs in; None for the job's own function.
    callback: tuple | None


class Performing:
    """The part of a pool that runs one job; it touches no other part of it."""

    def control_for(self, ticket: Ticket) -> Control:
        """What others may want of this job while it runs."""
        dispatcher = self.dispatcher
        return Control(dispatcher.stopping, ticket, dispatcher.flusher)

    def _end_control(self, control: Control) -> None:
        """Show nothing more of what this job reported."""
        control.end()

    def _perform_job(
        self, connection, ticket: Ticket, control: Control | None = None
    ) -> tuple[str, list]:
        """What became of the job, and identities of others that ended with it."""
        previous, local.finished = local.finished, []
        outcome = None
        local.control = self.control_for(ticket) if control is None else control
        try:
            outcome = self._run_job(connection, ticket)
            return outcome, [identity(job) for job in local.finished]
        finally:
            local.finished = previous
            self._end_control(local.control)
            local.control = None
            if outcome != DONE:
                # Behind a commit there is nothing to abort, and it costs a tenth
                # of what a short job does.
                connection.transaction_manager.abort()
            # Of all databases that were opened together.
            connection.cacheGC()

    def _run_job(self, connection, ticket: Ticket) -> str:
        job = None
        try:
            connection.transaction_manager.begin()
            job = self._find(connection, ticket)
            if job is None:
                return LOST
            if job.attempt != ticket.attempt or job._status == 3:
                # A withdrawal that met the claim is nobody's fault.
                withdrawn = isFailure(job._result) and job._result.check(CancelledError)
                level = logging.INFO if withdrawn else logging.ERROR
                log.log(level, "%s was reassigned, or completed already", repr(job))
                return retention.report(job, DONE) if job._status == 3 else LOST
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
            return retention.report(job, outcome)
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
