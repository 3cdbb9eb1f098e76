"""Jobs in lanes that have to begin by some moment, in the order of these moments.

A job that is past its moment fails, wherever it stands: behind a full quota, or
behind others that no agent's filter lets through. Without this index a claim would
have to look at all that waits in order to find it.

An entry says where in the lanes its job is, and goes when the job does. What became
of an entry that was left over is found out at its moment, at the latest.
"""

from __future__ import annotations

from .base import database_name
from BTrees.OOBTree import OOBTree
from itertools import islice


class Deadlines(OOBTree):
    """Moment, database and oid of a job to its lane's names, its key there, and itself.

    Written by claimers, and by who changes the ``begin_by`` of a waiting job. Its
    conflicts are resolved, other than those of lanes: two claimers that both take one
    job both write its lane, so here it is enough that different jobs do not meet.
    """

    max_leaf_size = 16
    max_internal_size = 64


def note(queue, job, names: tuple, key: int) -> None:
    """Remember a job that now stands at ``key`` in the lane of these quotas."""
    if job.expiry() is None or job._p_oid is None:
        return
    if queue.deadlines is None:
        queue.deadlines = Deadlines()
    queue.deadlines[_entry_of(job)] = (names, key, job)


def forget(queue, job) -> None:
    """Drop the entry of a job that leaves its lane."""
    if queue.deadlines and job._begin_by is not None and job._p_oid is not None:
        queue.deadlines.pop(_entry_of(job), None)


def passed(queue, now_us: int, most: int) -> list[tuple]:
    """Pairs of key and value of at most so many entries whose moment has passed."""
    if not queue.deadlines:
        return []
    return list(islice(queue.deadlines.items(None, (now_us,)), most))


def first(queue) -> int | None:
    """The next moment in microseconds; None if there is none."""
    return queue.deadlines.minKey()[0] if queue.deadlines else None


def _entry_of(job) -> tuple:
    return (job.latest_begin(), database_name(job), job._p_oid)
