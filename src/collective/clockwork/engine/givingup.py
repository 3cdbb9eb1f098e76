"""Callbacks that are given up: they hang, or processes die under them.

A callback has no place of its own, to be set aside in for instance: it belongs to a
job whose own work is done. So one that cannot go on fails, with an error that says
why, and the job goes back to its queue, for a worker to call what is left.

What is written here is the callback, which makes a late commit of the one that hangs
fail, and the job above it.
"""

from __future__ import annotations

from . import clock
from .commit import log
from .errors import JobTimeoutError
from .failure import Failure
from .interfaces import AbortedError
from .interfaces import ICallbackProxy
from .interfaces import IJob
from .places import drop
from .places import place
from .places import waiting_key
from .retry import ask
from .returning import end_from_outside
from transaction.interfaces import TransactionError


#: Deaths that count, after which a callback fails whose policy names no limit. The
#: default policy of callbacks is one of these: it is patient with errors, but a
#: process does not belong to one callback.
MOST_DEATHS = 9


def end_overdue(job, callback: tuple) -> bool:
    """End the callback of that identity, in which the thread of a claimed job hangs.

    Returns whether there was something to end. Its policy is asked as after any error.
    """
    oid, database = callback
    found = job._p_jar.get_connection(database).get(oid)
    if found._status >= 2 or found.is_waiting or found._deferred:
        # Between the look and this transaction it came to its end.
        return False
    error = JobTimeoutError(found._timeout / 1e6)
    log.error("%s is given up: %s", repr(found), error)
    end_from_outside(found, error, agent=None, may_retry=True)
    _let_go_on(_top(found))
    return True


def _top(callback):
    """The job that a callback, of whatever depth, belongs to."""
    above = callback
    while IJob.providedBy(above.parent) or ICallbackProxy.providedBy(above.parent):
        above = above.parent
    return above


def _let_go_on(job) -> None:
    """Take a job in its callbacks away from the thread that is at them."""
    job.attempt += 1
    queue = job.queue
    number = None if queue is None else waiting_key(queue, job)
    if number is not None:
        # One that had waited for the claimed job. That one is swept by its agent.
        del queue.waiting[number]
        drop(queue, [job])
        place(queue, job, None, clock.now_us())


def current(job):
    """The callback that a process was at which died while ``job`` was in its callbacks.

    They are called in order, so it is the first that is not done. None if no callback
    was chosen or begun, or if they cannot be read here.
    """
    try:
        return _first_open(job)
    except TransactionError:
        raise
    except Exception:
        # Loading runs code of the application's classes, which may be gone.
        log.warning("the callbacks of %s cannot be read", repr(job), exc_info=True)
        return None


def _first_open(job):
    later = None
    for callback in job._callbacks:
        while ICallbackProxy.providedBy(callback):
            callback = callback.job
        if callback is None:
            return later
        if callback._status == 2:
            return _first_open(callback) or later
        if callback._status == 0:
            return callback
        if callback._status == 1 and not callback.is_waiting:
            if not callback._deferred:
                return callback
            # The thread went on behind it, unless it was called again.
            later = later or callback
    return later


def fail_deadly(callback, deaths: int) -> bool:
    """Fail a callback if its policy takes so many deaths for enough; whether it did."""
    policy = callback.getRetryPolicy()
    unlimited = getattr(policy, "max_interruptions", None) is None
    may_go_on = ask(policy, "interrupted")
    if may_go_on and not (unlimited and deaths > MOST_DEATHS):
        return False
    error = AbortedError(
        f"{deaths} processes died while they called it, with no other job in hand: it "
        "is not called again"
    )
    log.critical("%s is given up: %s", repr(callback), error)
    callback.attempt += 1
    callback.settle(Failure(error))
    return True
