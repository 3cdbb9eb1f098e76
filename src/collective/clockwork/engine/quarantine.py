"""Jobs that are set aside, because processes died under them too often.

They are neither failed nor tried again until somebody decides: ``release`` lets one be
run once more, ``discard`` fails it. How a job gets here stands in ``deaths``; the
evidence is ``job.deaths``.
"""

from __future__ import annotations

from . import clock
from . import unique
from .base import Base
from .base import database_name
from .commit import log
from .errors import QuarantinedError
from .failure import Failure
from .interfaces import BadStatusError
from .places import enter
from BTrees.OOBTree import OOBTree
from collections.abc import Iterator
from datetime import datetime


class Quarantine(Base):
    """The jobs of one queue that are set aside; iterates over them, newest first.

    Written by take-overs, and by who releases or discards. Each change writes the
    job as well, so two who decide on one job at once cannot both succeed.
    """

    def __init__(self):
        #: Database name and oid of a job to a pair: since when (microseconds), job.
        self._entries = OOBTree()

    def release(self, job) -> None:
        """Let a job wait again, in front of the others and with fresh counts.

        It is run alone, as after a first death; its evidence is kept. LookupError if
        it is not here, BadStatusError if somebody ended it meanwhile,
        DuplicateJobError if another one has its unique key by now; then nothing is
        changed.
        """
        self._check_undecided(job)
        unique.retake(self.parent, job)
        self.withdraw(job)
        job._retry_policy = None
        job._suspect = 1
        job._deaths.count = 0
        job.attempt += 1
        self.parent.take_back(job, front=True)

    def discard(self, job) -> None:
        """Fail a job with a QuarantinedError; its callbacks are run by a worker.

        LookupError if it is not here, BadStatusError if somebody ended it meanwhile.
        """
        self._check_undecided(job)
        self.withdraw(job)
        job.attempt += 1
        job.settle(Failure(QuarantinedError(job._deaths.count)))
        self._hand_over(job)

    def _check_undecided(self, job) -> None:
        if job not in self:
            raise LookupError(f"{job!r} is not in quarantine")
        if job._status != 0:
            raise BadStatusError(
                f"{job!r} is in quarantine, but was ended there: its status is "
                f"{job.status}"
            )

    def withdraw(self, job) -> bool:
        """Take a job out, whatever is to become of it; whether it was here."""
        if job not in self:
            return False
        del self._entries[_key(job)]
        return True

    def let_go_of_ended(self) -> int:
        """Give up the jobs that were ended while they were here; returns how many."""
        ended = [job for job in self if job._status != 0]
        for job in ended:
            self.withdraw(job)
            self._hand_over(job)
        return len(ended)

    def _hand_over(self, job) -> None:
        # A claimer brings it to where finished jobs are, or runs its callbacks.
        enter(self.parent, (), None, job)

    def since(self, job) -> datetime:
        """When a job was set aside; LookupError if it is not here."""
        if job not in self:
            raise LookupError(f"{job!r} is not in quarantine")
        return clock.from_us(self._entries[_key(job)][0])

    def get(self, oid: bytes, database: str, default=None):
        """The job with this oid in that database, if it is here."""
        entry = self._entries.get((database, oid))
        return default if entry is None else entry[1]

    def __contains__(self, job) -> bool:
        return job._p_oid is not None and _key(job) in self._entries

    def __iter__(self) -> Iterator:
        entries = sorted(self._entries.values(), key=lambda entry: -entry[0])
        return (job for _at, job in entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __bool__(self) -> bool:
        return bool(self._entries)


def of(queue) -> Quarantine:
    """A queue's quarantine, to look at; an empty one, not stored, if it has none."""
    if queue._quarantine is not None:
        return queue._quarantine
    empty = Quarantine()
    empty.parent = queue
    return empty


def holds(queue, job) -> bool:
    """Whether this job is set aside; reads nothing in a queue that has no such jobs."""
    return queue._quarantine is not None and job in queue._quarantine


def set_aside(queue, job, now_us: int) -> None:
    """Keep a job that is in no other place, until somebody decides."""
    if queue._quarantine is None:
        # The only time that this record is written; two at once conflict.
        queue._quarantine = of(queue)
    if job._parent is not queue:
        job.parent = queue
    queue._quarantine._entries[_key(job)] = (now_us, job)
    log.critical(
        "%s is set aside: %d processes died while they ran it alone. See its "
        "deaths, then release or discard it",
        repr(job),
        job._deaths.count,
    )


def _key(job) -> tuple:
    return (database_name(job), job._p_oid)
