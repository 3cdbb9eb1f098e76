"""Unique jobs: of each key, a queue has at most one unfinished job.

``queue.keys`` knows which job has a key. It is divided into buckets, which merge
what transactions that end at the same time have written for different keys. Of two
that write the same key the second fails, and finds the other's job when it tries
again::

    producers   read and write the entry of their job's key
    by hand     who lets a job wait again that had left the queue, or was set aside
    the tidier  removes entries whose jobs have ended

Nothing is written when a job ends: that an entry's job has ended, or has left the
queue, is seen from the job itself by whoever wants its key.

A job that is replaced is withdrawn by writing its own record alone. The new job names
it, and the claimer that reads the new one clears it away from where it waited: lanes
and schedule are the claimers', and a producer that wrote there would conflict.
"""

from __future__ import annotations

from .base import database_name
from .base import same
from .errors import CancelledError
from .errors import DuplicateJobError
from .failure import Failure
from .interfaces import PENDING
from .places import readable
from .places import take_near
from BTrees.OOBTree import OOBucket
from collections.abc import Iterator
from itertools import islice
from persistent import Persistent
from transaction.interfaces import TransactionError
from typing import NamedTuple
from zlib import crc32
from ZODB.POSException import POSKeyError


#: Parts of ``Keys``; a put rewrites one, so they should stay small.
BUCKETS = 256
#: In each bucket, because one that becomes empty, or is, does not merge.
SENTINEL = ""

#: Entries of unfinished jobs that the tidier looks at in one go, and entries that
#: it removes: its work must be short whatever waits, but keep up with what ends.
LOOKED_AT_ONCE = 500
REMOVED_AT_ONCE = 2_000

#: Where ``tidy`` begins: number of a bucket, and the key in it that was seen last.
START = (0, SENTINEL)

#: What is to happen to a job whose key was looked up.
GO_ON = "go on"
GIVE_BACK = "give back"
WITHDRAW = "withdraw"


class Keys(Persistent):
    """Which job has a key.

    Its own record is written when it is made, and never again. A bucket is written
    by the transactions that queue jobs with its keys, and by the tidier.
    """

    def __init__(self):
        #: Key to what ``_entry`` makes of its job.
        self.buckets = tuple(OOBucket({SENTINEL: b""}) for _ in range(BUCKETS))

    def bucket(self, key: str) -> OOBucket:
        """Where this key is, if it is there."""
        number = crc32(key.encode("utf-8", "surrogatepass"))
        return self.buckets[number % len(self.buckets)]

    def items(self) -> Iterator[tuple[str, object]]:
        """All keys with their entries."""
        for bucket in self.buckets:
            for key, entry in bucket.items():
                if key != SENTINEL:
                    yield key, entry


class Decision(NamedTuple):
    """What is to happen to a new job: one of the above, and the job concerned.

    GO_ON: it is queued. GIVE_BACK: it is not, ``other`` stands in for it. WITHDRAW:
    it is queued, and ``other``, which waits, is withdrawn.
    """

    action: str
    other: object = None


def prepare(queue) -> None:
    """Make what unique jobs need, if it is missing, in the caller's transaction.

    Better not left to the first ``put``: of two first ones at a time one fails.
    """
    if queue.keys is None:
        queue.keys = Keys()


def holder(queue, key: str):
    """The unfinished job of this queue that has this key; None if it is free."""
    keys = queue.keys
    entry = None if keys is None else keys.bucket(key).get(key)
    if entry is None:
        return None
    job = _job_of(queue, entry)
    return None if job is None or _is_free(queue, key, job) else job


def decide(queue, job) -> Decision:
    """What is to happen to this new job, which has a key; writes nothing.

    Raises DuplicateJobError if another job has the key, and the options say that
    it stays.
    """
    key = job._unique
    other = holder(queue, key)
    if other is None:
        return Decision(GO_ON)
    status = _status(other)
    if job._debounce is not None:
        # One that runs began before this: it may have missed what this is about.
        return Decision(WITHDRAW, other) if status == PENDING else Decision(GO_ON)
    if job._on_duplicate == "drop" and status is not None:
        return Decision(GIVE_BACK, other)
    if job._on_duplicate == "replace" and status == PENDING:
        return Decision(WITHDRAW, other)
    raise DuplicateJobError(key, _refusal(key, other, status, job._on_duplicate), other)


def enter(queue, job, decision: Decision) -> None:
    """Do for a new job what was decided; it is stored and marked as queued already."""
    if decision.action == WITHDRAW:
        _replace(queue, job, decision.other)
    if job._debounce is not None:
        job._begin_after = job._queued + job._debounce
    prepare(queue)
    key = job._unique
    queue.keys.bucket(key)[key] = _entry(queue, job)


def retake(queue, job) -> None:
    """Give a job that is to wait again its key, which others may have taken meanwhile.

    Raises DuplicateJobError if that is so; then nothing is changed.
    """
    key = job._unique
    if key is None:
        return
    other = holder(queue, key)
    if other is not None and not same(other, job):
        refusal = _refusal(key, other, _status(other), job._on_duplicate)
        text = f"{refusal}: {job!r} cannot wait again before that one has ended"
        raise DuplicateJobError(key, text, other)
    if queue._p_jar is not None and job._p_jar is None:
        queue._p_jar.add(job)
    prepare(queue)
    bucket = queue.keys.bucket(key)
    entry = _entry(queue, job)
    if bucket.get(key) != entry:
        bucket[key] = entry
    elif bucket._p_jar is not None:
        # Who gives the key to another job at this moment does not write this one.
        bucket._p_jar.readCurrent(bucket)


def _replace(queue, job, other) -> None:
    other.keep_order()
    reason = f"another job has its unique key {job._unique!r} now"
    other.settle(Failure(CancelledError(None, reason)))
    entry = _entry(queue, other)
    if isinstance(entry, bytes):
        job._replaces = entry


def clear_replaced(queue, job):
    """Take the job that this one replaced out of its lane or the schedule.

    Called by claimers, in their transaction; returns that job, None if it isn't there:
    it was taken out before, or it is yet to arrive. Looks only near its own place.
    """
    other = None if job._replaces is None else _job_of(queue, job._replaces)
    if other is None or not readable(other) or other._status < 2:
        return None
    return other if take_near(queue, other) else None


def tidy(queue, start: tuple[int, str] = START) -> tuple[int, str]:
    """Remove entries whose jobs have ended, in the caller's transaction.

    Looks at a bounded number, from ``start`` on; returns where to begin next time.
    """
    keys = queue.keys
    if keys is None:
        return start
    buckets = keys.buckets
    number, after = start
    looked, removed = LOOKED_AT_ONCE, REMOVED_AT_ONCE
    for _each in range(len(buckets)):
        bucket = buckets[number]
        # Behind the sentinel, which sorts first.
        behind = bucket.keys(after, excludemin=True)
        chosen = list(islice(behind, min(looked, removed)))
        gone = _gone(queue, bucket, chosen)
        for key in gone:
            del bucket[key]
        looked -= len(chosen) - len(gone)
        removed -= len(gone)
        if looked <= 0 or removed <= 0:
            return number, chosen[-1]
        number, after = (number + 1) % len(buckets), SENTINEL
    return number, after


def _gone(queue, bucket: OOBucket, keys: list) -> list:
    jar = queue._p_jar
    entries = [bucket[key] for key in keys]
    if jar is not None and entries:
        # Those of other databases are read one by one.
        jar.prefetch([e for e in entries if isinstance(e, bytes) and len(e) == 8])
    gone = []
    for key, entry in zip(keys, entries, strict=True):
        job = _job_of(queue, entry)
        if job is None or _is_free(queue, key, job):
            gone.append(key)
    return gone


def _entry(queue, job):
    """How a job stands in a bucket: by oid, and name of another database.

    Not as a reference: buckets could not merge where a reference was replaced, and
    finished jobs would be kept.
    """
    if queue._p_jar is None or job._p_oid is None:
        # Only in a queue that is not stored yet.
        return job
    name = database_name(job)
    return job._p_oid + (b"" if name == database_name(queue) else name.encode())


def _job_of(queue, entry):
    """The job, None if it is not in the database any more."""
    if not isinstance(entry, bytes):
        return entry
    jar = queue._p_jar
    name = entry[8:].decode()
    if name:
        jar = jar.get_connection(name)
    try:
        return jar.get(entry[:8])
    except POSKeyError:
        return None


def _is_free(queue, key: str, job) -> bool:
    """Whether the job that a key was given to does not need it any more."""
    try:
        if job._status == 3 or job._unique != key or not same(job.queue, queue):
            return True
        # Ended without having begun: only its callbacks are still to be called.
        return job._status == 2 and job._active_start is None
    except POSKeyError:
        return True
    except TransactionError:
        raise
    except Exception:
        # Loading runs code of the application's classes, which may be gone or may
        # have changed since. Such a job waits until they are back.
        return False


def _status(job):
    """The job's status; None if its record cannot be read here."""
    try:
        return job.status
    except TransactionError:
        raise
    except Exception:
        # The same as above.
        return None


def _refusal(key: str, other, status, on_duplicate: str) -> str:
    if status is None:
        state = "cannot be read here: is code missing that it needs?"
    else:
        state = f"has the status {status.default or status}"
    text = f"{other!r} has the unique key {key!r} already, and {state}"
    if on_duplicate == "replace":
        text += "; only a waiting job can be replaced"
    return text
