"""Where a job of a queue waits: in a lane, in the schedule, or for an inner job.

Only claimers move jobs between these; see ``claims``.
"""

from __future__ import annotations

from . import clock
from . import deadlines
from .base import database_name
from .base import reading_error
from .base import same
from .commit import log
from .interfaces import IAgent
from .lanes import Lane
from .lanes import PRIORITY
from .run import brief
from hashlib import sha256
from itertools import islice
from ZODB.utils import u64


#: Stands before a quota's name in the lane of jobs that are lent a place in it.
LENT = "\0"

#: Jobs behind its own place among which one that has ended is looked for: others may
#: have the same time.
NEAR = 100

#: Microseconds until a job whose record cannot be read is looked at again.
UNREADABLE_FOR = 1_800_000_000


def lane_names(queue, job) -> tuple:
    """Names of the quotas that a job must wait for, in a fixed order.

    Behind them stands its priority, because each has lanes of its own. A place that
    a job holds while it waits for this one is lent to this one; in zc.async an outer
    and an inner job of one quota waited for each other.
    """
    quotas = queue.quotas
    names = sorted(
        LENT + name if _held_by_outer(quotas[name], job) else name
        for name in job.quota_names
        if name in quotas
    )
    if job._priority:
        names.append(f"{PRIORITY}{job._priority}")
    return tuple(names)


def without_priority(names: tuple) -> tuple:
    """Of a lane's names those of quotas."""
    return names[:-1] if names and names[-1].startswith(PRIORITY) else names


def _held_by_outer(quota, job) -> bool:
    outer = job._outer
    while outer is not None:
        if outer.is_waiting and any(same(outer, held) for held in quota.running):
            return True
        outer = outer._outer
    return False


def lane_of(queue, names: tuple) -> Lane:
    """The lane for these quotas, made if need be."""
    lane = queue.lanes.get(names)
    if lane is None:
        lane = queue.lanes[names] = Lane(names)
        lane.parent = queue
    return lane


def enter(queue, names: tuple, key: int | None, job) -> None:
    """Put a job into the lane for these quotas, in front of all when key is None."""
    lane = lane_of(queue, names)
    key = lane.add_front(job) if key is None else lane.add(key, job)
    deadlines.note(queue, job, names, key)


def leave(queue, lane: Lane, key: int, job) -> None:
    """Take a job that was read out of its lane."""
    lane.remove(key)
    deadlines.forget(queue, job)


def place(queue, job, key: int | None, now_us: int) -> None:
    """Let a job wait: for its time, else at ``key``, or in front when it is None."""
    if job._parent is not queue:
        # A function that commits in the middle stores the agent there.
        job.parent = queue
    if job._status == 1:
        # And that it has begun, which nobody would begin again.
        give_back(job)
    if job.is_held(now_us):
        queue.schedule.add(clock.order_key(job._begin_after), job)
    else:
        enter(queue, lane_names(queue, job), key, job)


def give_back(job) -> None:
    """Make a job that was begun wait again, as if it had not been begun.

    It loses no attempt. The number that tells claims apart is raised, so that nothing
    of the one who had it can be committed any more.
    """
    if IAgent.providedBy(job._parent):
        # It was stored as active.
        job._parent = job._parent.queue
    job._status = 0
    job._active_start = None
    job.attempt += 1


def take_near(queue, job) -> bool:
    """Take a job out of its lane or the schedule; whether it was there.

    Looks only near the place that it was given, whatever else waits.
    """
    lane = queue.lanes.get(lane_names(queue, job))
    # One that was given back is in front.
    places = [] if lane is None else [(lane, job.order_key()), (lane, None)]
    if job._begin_after is not None:
        due = clock.order_key(job._begin_after)
        places.append((queue.schedule, due))
        if lane is not None:
            # Where it is once it has fallen due.
            places.append((lane, due))
    for lane, wanted in places:
        for key, found in islice(lane.jobs.items(wanted), NEAR):
            if same(found, job):
                leave(queue, lane, key, job)
                return True
    return False


def readable(job) -> bool:
    """Whether the job's record can be loaded, here and now."""
    error = reading_error(job)
    if error is not None:
        # One such job must not hold up the others.
        log.critical("job %s cannot be read: it waits", brief(job), exc_info=error)
    return error is None


def park(queue, job, now_us: int) -> None:
    """Let a job that cannot be read wait for a while."""
    queue.schedule.add(clock.order_key(now_us + UNREADABLE_FOR), job)


def drop(queue, jobs: list) -> None:
    """Take away the quota places of these jobs."""
    for quota in queue.quotas.values():
        if quota.running:
            quota.discard(jobs)


def wait(queue, job) -> None:
    """Keep a job that waits for an inner one; it keeps its quota places.

    If the inner one sits in a lane for the same quotas, it is moved to one
    where it does not wait for its own outer job.
    """
    _keep_waiting(queue, job)
    if job._p_jar is not None:
        # Another worker may be finishing it at this moment: then look again.
        job._p_jar.readCurrent(job)
    inner = job._result
    if set(job.quota_names) & set(inner.quota_names) and inner._status == 0:
        queue.replace(inner)


def _keep_waiting(queue, job) -> None:
    if waiting_key(queue, job) is not None:
        return
    key = _own_key(queue, job)
    other = queue.waiting.get(key)
    if other is not None:
        # It is one of another database, kept as below.
        queue.waiting[_own_key(queue, other)] = other
    queue.waiting[key] = job


def waiting_key(queue, job) -> int | None:
    """The job's key in ``queue.waiting``; None if it isn't there."""
    # Jobs of all databases were kept under their oid alone once.
    for key in (_own_key(queue, job), u64(job._p_oid)):
        if same(queue.waiting.get(key), job):
            return key
    return None


def _own_key(queue, job) -> int:
    """The oid in the queue's database; a negative number for jobs of others."""
    name = database_name(job)
    if name == database_name(queue):
        return u64(job._p_oid)
    digest = sha256(name.encode() + b"\0" + job._p_oid).digest()
    return -1 - (u64(digest[:8]) >> 1)
