"""Cancelling: a waiting job is withdrawn, a running one is asked to stop.

Who cancels writes the job itself if it waits, which makes the commit of a worker that
begins it at this very moment fail; and a request in ``queue.cancels`` if a worker has
it already. That worker's dispatcher reads the requests and passes them on in memory, so
a checkpoint costs nothing. What is left of a withdrawn job in lanes and schedule is
cleared away by the next claim.
"""

from __future__ import annotations

from . import clock
from .base import identity
from .base import same
from .commit import log
from .errors import CancelledError
from .failure import Failure
from .interfaces import BadStatusError
from .interfaces import ICallbackProxy
from .interfaces import IJob
from .interfaces import NEW
from .places import enter
from .places import take_near
from BTrees.OOBTree import OOBTree
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple


#: It waited, and will not be run.
WITHDRAWN = "withdrawn"
#: A worker has it, and is asked to stop it.
ASKED = "asked"
#: It is finished already.
LATE = "late"

#: Withdrawn jobs that one claim clears away at most.
CLEARED_AT_ONCE = 100
#: Stands in each tree, because emptying one conflicts with adding to it.
_SENTINEL = ("", b"")
#: What the jobs call that ``compose`` makes; of these the arguments are jobs, too.
_BATCHES = tuple(
    f"{__package__}.compose.{name}" for name in ("run_serial", "run_parallel")
)


class Request(NamedTuple):
    """A cancel that was asked for; stored as it is until the job has ended."""

    job: object
    by: str | None
    at_us: int
    reason: str | None

    def error(self) -> CancelledError:
        """What the job gets."""
        return CancelledError(self.by, self.reason)


def cancel(queue, job, by: str | None = None, reason: str | None = None) -> str:
    """See IQueue. Of a job that waits for others those are cancelled."""
    if job._status >= 2:
        return LATE
    if IJob.providedBy(job._parent) or ICallbackProxy.providedBy(job._parent):
        raise BadStatusError(
            f"{job!r} is part of another job: cancel that one, {job._parent!r}"
        )
    if job.status == NEW:
        raise BadStatusError(f"{job!r} is in no queue, so there is nothing to cancel")
    if not same(job.queue, queue):
        raise LookupError("item not in queue", job)
    return _stop(queue, job, Request(job, by, clock.now_us(), reason))


def _members(job) -> Iterator:
    """What a waiting job waits for: the members of a batch, and its end."""
    if job.callable_name in _BATCHES:
        yield from job._args
    yield job._result


def _stop(queue, job, request: Request) -> str:
    if job.is_waiting:
        for member in _members(job):
            if member._status < 2:
                there = queue if member.queue is None else member.queue
                _stop(there, member, request._replace(job=member))
        return ASKED
    if job._status == 0 and queue.holder(job) is None:
        withdraw(queue, job, request.error())
        return WITHDRAWN
    # Who asked first stays noted.
    _tree(queue, "cancels").setdefault(_key(job), request)
    return ASKED


def withdraw(queue, job, error: BaseException) -> None:
    """End a job that nobody has begun, in the caller's transaction."""
    if job._p_jar is None and queue._p_jar is not None:
        queue._p_jar.add(job)
    log.info("%s is withdrawn: %s", repr(job), error)
    job.parent = queue
    job.keep_order()
    job.settle(Failure(error))
    if queue.quarantine.withdraw(job):
        enter(queue, (), None, job)
    else:
        _tree(queue, "withdrawn")[_key(job)] = job


def _tree(queue, name: str) -> OOBTree:
    tree = getattr(queue, name)
    if tree is None:
        tree = OOBTree({_SENTINEL: None})
        setattr(queue, name, tree)
    return tree


def _key(job) -> tuple:
    oid, database = identity(job)
    return (database, oid)


def _entries(tree, limit: int | None = None) -> list:
    """Pairs of key and value, without the sentinel."""
    if tree is None:
        return []
    return list(islice(tree.items(_SENTINEL, excludemin=True), limit))


def has_withdrawn(queue) -> bool:
    """Whether there is something to clear away."""
    return queue.withdrawn is not None and len(queue.withdrawn) > 1


def clear_away(queue) -> list:
    """Take withdrawn jobs out of lanes and schedule; returns those that are done.

    One in an intake is filed when it arrives. One with callbacks is moved to where
    it is claimed soon, because a worker has to call them: beside all quotas.
    """
    done = []
    for key, job in _entries(queue.withdrawn, CLEARED_AT_ONCE):
        del queue.withdrawn[key]
        if job._queued is not None and not take_near(queue, job):
            # Members of a batch that were not queued yet are in no place.
            continue
        if job._status == 3:
            done.append(job)
        else:
            enter(queue, (), None, job)
    return done


def has_requests(queue) -> bool:
    """Whether a cancel was asked for."""
    return queue.cancels is not None and len(queue.cancels) > 1


def heed(queue, agent, pool) -> tuple[bool, list]:
    """Pass the requests on to where the jobs are.

    Returns whether anything was written, and pairs of a job and its error, of those
    that have no thread which could be asked.
    """
    written = False
    threadless = []
    # All of them, which are no more than what is claimed: those of jobs that do not
    # stop must not keep others from being heard.
    for key, request in _entries(queue.cancels):
        job = request.job
        if job._status < 2 and agent.holds(job):
            if pool.cancel(identity(job), request.by, request.reason):
                threadless.append((job, request.error()))
        elif job._status >= 2:
            del queue.cancels[key]
            written = True
        elif not job.is_waiting and job._status == 0 and queue.holder(job) is None:
            # Given back by the worker that was asked.
            withdraw(queue, job, request.error())
            del queue.cancels[key]
            written = True
    return written, threadless
