"""What tests of an add-on do with jobs, beside letting a worker run them.

=======================  ===========================================================
``eager()``              jobs are run as soon as the transaction is committed that
                         queued them
``perform(f, context)``  one call as a worker makes it, and what comes of it
``assert_queued(f)``     a call waits; ``assert_not_queued(f)``: it does not
``travel(delta)``        it is later
=======================  ===========================================================

``eager`` and ``perform`` commit, so they belong on a functional layer.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collective.clockwork import jobinfo
from collective.clockwork import jobrules
from collective.clockwork.engine import clock
from collective.clockwork.engine import testing as engine_testing
from collective.clockwork.engine.failure import isFailure
from collective.clockwork.engine.interfaces import COMPLETED
from collective.clockwork.engine.queue import Queue
from collective.clockwork.interfaces import IAsyncService
from collective.clockwork.sitejob import BatchJob
from collective.clockwork.sitejob import SiteJob
from contextlib import contextmanager
from datetime import datetime
from datetime import timedelta
from threading import Thread
from transaction._transaction import Status
from transaction.interfaces import ISynchronizer
from typing import Any
from unittest.mock import ANY
from zope.component import getUtility
from zope.interface import implementer

import transaction


__all__ = ["assert_not_queued", "assert_queued", "eager", "perform", "travel"]

#: Name of the queue in which ``perform`` has its one job, for as long as that takes.
PERFORMING = "collective.clockwork.testing"


@contextmanager
def eager() -> Iterator[None]:
    """Have jobs run at the commit that queues them, while the block lasts.

    ::

        with eager():
            publish.queue(folder)
            transaction.commit()
        self.assertEqual("published", state_of(folder))

    It is the real thing: the job is stored, read back and run by the code of a worker,
    in another thread, on another connection, as its user, in a transaction of its own;
    the commit returns when it has ended, with all that it queued in turn. So what was
    not committed is not run, a job cannot see what the test has not committed, and one
    that fails is a failed job and no error of the commit: look at ``job.result``. What
    is due later is not run; see ``travel``.

    The commit of a request that a test browser sends counts as well. Begin a
    transaction after it to see what the jobs did. AssertionError at the end of the
    block if jobs went on queueing jobs.
    """
    jar = getUtility(IAsyncService).getQueues()._p_jar
    runner = _EagerRunner(jar)
    transaction.manager.registerSynch(runner)
    try:
        yield
    finally:
        transaction.manager.unregisterSynch(runner)
    if runner.error is not None:
        raise runner.error


@implementer(ISynchronizer)
class _EagerRunner:
    """Runs what is due after each commit of this thread's transaction manager."""

    def __init__(self, jar: Any) -> None:
        self._jar = jar
        self.error: BaseException | None = None

    def beforeCompletion(self, txn: Any) -> None:
        """See ISynchronizer."""

    def newTransaction(self, txn: Any) -> None:
        """See ISynchronizer."""

    def afterCompletion(self, txn: Any) -> None:
        """See ISynchronizer. Of an abort there is nothing to run."""
        if txn.status is not Status.COMMITTED:
            return
        # The thread's own transaction is not over yet, and its site, user and request
        # are the test's.
        thread = Thread(target=self._drain, name="eager")
        thread.start()
        thread.join()
        for connection in self._jar.connections.values():
            # What the jobs wrote, as if the commit had happened after them.
            connection.newTransaction(txn, False)

    def _drain(self) -> None:
        try:
            engine_testing.drain(self._jar.db())
        except BaseException as error:
            # Raised in the test's thread, where the block ends.
            self.error = error


def perform(func: Callable, context: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Call a function as a worker would; returns its result, or raises its error.

    The call is checked, stored, committed with all that the test did, and run as the
    current user in a transaction of its own, with as many attempts as its retry policy
    makes at once; its unique key and its quotas are left out of it. What it queues
    waits. AssertionError if it asked to be run again later.
    """
    service = getUtility(IAsyncService)
    queues = service.getQueues()
    if PERFORMING not in queues:
        queues[PERFORMING] = Queue()
    using = service.using(queue=PERFORMING, quota=(), unique=None)
    job = using.queueJob(func, context, *args, **kwargs)
    transaction.commit()
    engine_testing.drain(queues._p_jar.db(), (PERFORMING,))
    transaction.begin()
    if job.status != COMPLETED:
        info = jobinfo.describe(job)
        job.cancel()
        transaction.commit()
        raise AssertionError(
            f"{job.callable_name} has not ended: it is {info.status} and due at "
            f"{info.due}"
        )
    if isFailure(job.result):
        job.result.raiseException()
    return job.result


def assert_queued(
    func: Callable | str, context: Any = None, args: Any = ANY, kwargs: Any = ANY
) -> SiteJob:
    """Fail unless a call waits in the current site, committed or not; returns its job.

    ``func`` is a function or its dotted name. ``context`` is an object or its path;
    ``args`` are the arguments after it, as a sequence, and ``kwargs`` a mapping.
    ``unittest.mock.ANY`` is equal to anything, wherever it stands. Members of a batch
    that waits count too, and so does what is due later.
    """
    found = _waiting(func, context, args, kwargs)
    if not found:
        raise AssertionError(
            f"{_wish(func, context, args, kwargs)} is not queued; what is: {_queued()}"
        )
    return found[0]


def assert_not_queued(
    func: Callable | str, context: Any = None, args: Any = ANY, kwargs: Any = ANY
) -> None:
    """Fail if such a call waits; see ``assert_queued``."""
    if _waiting(func, context, args, kwargs):
        raise AssertionError(
            f"{_wish(func, context, args, kwargs)} is queued: {_queued()}"
        )


def _waiting(func: Any, context: Any, args: Any, kwargs: Any) -> list[SiteJob]:
    is_called_for = jobinfo.matcher(None, func, context)
    return [
        job
        for job in _jobs()
        if is_called_for(job)
        and (args is ANY or _shown(job)[0] == list(args))
        and (kwargs is ANY or _shown(job)[1] == dict(kwargs))
    ]


def _jobs() -> Iterator[SiteJob]:
    knows = jobrules.current().knows
    for queue in getUtility(IAsyncService).getQueues().values():
        for job in queue:
            if not knows(job) or jobinfo.status_of(job) != "queued":
                # One that was cancelled stays there until the next claim.
                continue
            yield job
            if isinstance(job, BatchJob):
                yield from job.args


def _shown(job: SiteJob) -> tuple[list, dict]:
    """A job's arguments, with content objects for the references to them."""
    kwargs = {name: job.shown(value) for name, value in job.kwargs.items()}
    return [job.shown(value) for value in job.args], kwargs


def _wish(func: Any, context: Any, args: Any, kwargs: Any) -> str:
    name = func if isinstance(func, str) else f"{func.__module__}.{func.__qualname__}"
    given = [f"args={args!r}"] if args is not ANY else []
    given += [f"kwargs={kwargs!r}"] if kwargs is not ANY else []
    place = "" if context is None else f" on {context!r}"
    return f"{name}{place}{' with ' if given else ''}{', '.join(given)}"


def _queued() -> str:
    calls = []
    for job in _jobs():
        args, kwargs = _shown(job)
        given = [repr(value) for value in args]
        given += [f"{name}={value!r}" for name, value in kwargs.items()]
        place = "/".join(job.context_path) or "a batch"
        calls.append(f"{job.callable_name} on {place} ({', '.join(given)})")
    return "; ".join(calls) or "nothing"


@contextmanager
def travel(to: timedelta | datetime) -> Iterator[datetime]:
    """Have it be later while the block lasts; gives the moment that it is then.

    ``to`` is a timedelta from the present moment, which is that of an outer ``travel``
    if there is one, or an aware datetime. The clock of the queues stands still there,
    so what is due by then is run by ``drain``; other clocks go on.
    """
    if isinstance(to, timedelta):
        to = clock.now() + to
    if to.utcoffset() is None:
        raise ValueError(f"to is {to!r}, which has no time zone")
    before = clock.freeze(to)
    try:
        yield to
    finally:
        clock.freeze(before)
