"""Short jobs that share a transaction: the way past the storage's commit rate.

A thread runs several ``groupable`` jobs in one transaction, with a savepoint before
each::

    job 1 ── savepoint ── job 2 ── savepoint ── job 3 ── commit

Each member's effects and its completion are in that one commit, as if it had run
alone. A member that fails, or turns out to need more than a plain return, is rolled
back to its savepoint; the group ends there, what stands before it is committed, and it
is run again alone, by its own retry policy. So is each member, in order, when the
commit fails. What such a job did outside of the database it may thus do twice.

A group ends behind a member with callbacks, too: these have commits of their own, and
are run before what comes next.
"""

from __future__ import annotations

from . import clock
from . import objectids
from . import retention
from .attempt import DONE
from .attempt import Run
from .commit import explained
from .commit import EXPLOSIVE_ERRORS
from .commit import log
from .commit import TakenId
from .commit import trace
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from persistent import Persistent

import logging
import threading


#: Jobs in a group at most.
MOST_IN_GROUP = 64
#: Seconds after which a group takes in no further job.
BUDGET = 0.05
#: Seconds that a group waits for its turn. What takes longer is not short, and must
#: not hold up others.
PATIENCE = 0.25

_turn = threading.Lock()


@contextmanager
def take_turn() -> Iterator[None]:
    """Let one group after the other be run in this process.

    What they do is nearly all Python, so two at a time only take the interpreter from
    each other: measured, three threads had a third fewer jobs done than one has, with
    half as much processor time again for each.
    """
    is_mine = _turn.acquire(timeout=PATIENCE)
    try:
        yield
    finally:
        if is_mine:
            _turn.release()


@dataclass
class Outcome:
    """What became of the tickets that ``run_together`` took."""

    #: Claim to outcome, of those that came to their end.
    reports: dict = field(default_factory=dict)
    #: Pairs of ticket and job, of the same.
    landed: list = field(default_factory=list)
    #: Tickets to be run alone, in this order.
    alone: list = field(default_factory=list)


@dataclass
class _Member:
    ticket: object
    job: object
    run: Run


def run_together(connection, upcoming: list, take: Callable) -> Outcome:
    """Run as many jobs as fit into one transaction, and commit it.

    ``take`` gives one ticket after the other, and None behind the last; the first ones
    are likely to be those in ``upcoming``.
    """
    outcome = Outcome()
    tm = connection.transaction_manager
    tm.begin()
    fetch(connection, upcoming)
    settled: list[_Member] = []
    taken: list = []
    began = clock.monotonic()
    while not outcome.alone and not (taken and clock.monotonic() - began > BUDGET):
        ticket = take()
        if ticket is None:
            break
        taken.append(ticket)
        shared = tm.get()
        mark = _Mark(shared) if settled else None
        member = _Member(ticket, None, None)
        fits = (mark is None or mark.is_set) and _settle(connection, member)
        if tm.get() is not shared:
            # The function has ended the transaction that it shared.
            _divide(outcome, settled)
            settled, mark = [], None
        if not fits:
            settled = _roll_back(outcome, mark, settled, tm)
            _reopen(member)
            outcome.alone.append(ticket)
            break
        settled.append(member)
        if member.job._callbacks:
            break
    _commit(outcome, settled, tm)
    places = {ticket.claim: place for place, ticket in enumerate(taken)}
    outcome.alone.sort(key=lambda ticket: places[ticket.claim])
    return outcome


def fetch(connection, tickets: Iterable) -> None:
    """Load what these jobs are called with in one round trip.

    Who claimed the jobs has loaded them: they are in a ZEO client's cache.
    """
    missing: dict = {}
    for ticket in tickets:
        for value in _used_by(connection.get_connection(ticket.database), ticket.oid):
            if isinstance(value, Persistent) and value._p_changed is None:
                missing.setdefault(value._p_jar, []).append(value._p_oid)
    for jar, oids in missing.items():
        if jar is not None and len(oids) > 1:
            jar.prefetch(oids)


def _used_by(jar, oid: bytes) -> list:
    try:
        job = jar.get(oid)
        job._p_activate()
        return [job._callable, *job._args, *(job._kwargs or {}).values()]
    except Exception:
        # Looked into by who runs it.
        return []


class _Mark:
    """A point of a transaction to go back to."""

    def __init__(self, shared):
        self._shared = shared
        self._hooks = self._count_hooks()
        self._savepoint = None
        try:
            self._savepoint = shared.savepoint(optimistic=True)
        except Exception:
            # What was done so far cannot be stored.
            log.info("a group cannot go on", exc_info=True)

    @property
    def is_set(self) -> bool:
        """Whether it was possible to come here."""
        return self._savepoint is not None

    def _count_hooks(self) -> int:
        shared = self._shared
        return sum(
            len(list(hooks()))
            for hooks in (
                shared.getBeforeCommitHooks,
                shared.getAfterCommitHooks,
                shared.getBeforeAbortHooks,
                shared.getAfterAbortHooks,
            )
        )

    def go_back(self) -> bool:
        """Undo what was done since; whether that was possible."""
        if not self.is_set or self._count_hooks() != self._hooks:
            # A hook cannot be taken out again.
            return False
        try:
            self._savepoint.rollback()
        except Exception:
            # A data manager without savepoints has joined.
            log.debug("a group cannot be rolled back to a savepoint", exc_info=True)
            return False
        return True


def _settle(connection, member: _Member) -> bool:
    """Run one job up to its commit; whether that is all that it needs."""
    ticket = member.ticket
    try:
        job = connection.get_connection(ticket.database).get(ticket.oid)
        job._p_activate()
        member.job = job
        if job.attempt != ticket.attempt or job._status != 0:
            return False
        if job._suspect or job.aborted is not None or job.is_expired(clock.now_us()):
            return False
        there = ticket.agent_database or ticket.database
        agent = connection.get_connection(there).get(ticket.agent_oid)
    except Exception:
        # Looked into by who runs it alone.
        return False
    trace(logging.INFO, "%s starting in a group", job)
    member.run = Run(job, claimed_attempt=ticket.attempt, agent=agent)
    return member.run.settle_in_group()


def _roll_back(outcome: Outcome, mark, settled: list, tm) -> list[_Member]:
    """Undo the last member's changes; returns those that are settled still."""
    if settled and mark is not None and mark.go_back():
        return settled
    tm.abort()
    tm.begin()
    outcome.alone.extend(member.ticket for member in settled)
    return []


def _reopen(member: _Member) -> None:
    """Let a job be run again that committed in the middle, and then failed."""
    job, run = member.job, member.run
    if run is None or job.attempt != member.ticket.attempt:
        return
    if job._status == 1 and job._active_start == run.started:
        job._status = 0
        job._active_start = None


def _divide(outcome: Outcome, settled: list) -> None:
    """Sort those whose shared transaction was ended by a later one of them."""
    for member in settled:
        if member.job._status >= 2:
            _landed(outcome, member)
        else:
            outcome.alone.append(member.ticket)


def _landed(outcome: Outcome, member: _Member) -> None:
    job = member.job
    if job._status == 2:
        # Its callbacks have commits of their own.
        outcome.alone.append(member.ticket)
        return
    outcome.reports[member.ticket.claim] = retention.report(job, DONE)
    outcome.landed.append((member.ticket, job))
    member.run.log_result(job._result)
    trace(logging.INFO, "%s completed in a group", job)


def _commit(outcome: Outcome, settled: list, tm) -> None:
    try:
        tm.commit()
    except EXPLOSIVE_ERRORS:
        tm.abort()
        raise
    except Exception as error:
        # Of which job it is cannot be told from here: each is run alone.
        log.info("%d grouped jobs are run one by one", len(settled), exc_info=True)
        tm.abort()
        if isinstance(explained(error, committing=True), TakenId):
            for jar in {member.run.jar for member in settled}:
                objectids.start_over(jar)
        outcome.alone[:0] = [member.ticket for member in settled]
    else:
        for member in settled:
            _landed(outcome, member)
