"""Jobs that wait, in order: for a quota, for a worker, or for their time.

A lane holds the jobs that need the same quotas; the lane without quotas holds
what could not be claimed straight from an intake. The keys are times on the
scale of transaction ids, so lanes merge by comparing keys, and a job that is
given back under its old key is back in its old place.

Written by claimers only. Each change writes the lane's own record, which has
no conflict resolution: two claimers cannot both change one lane.
"""

from __future__ import annotations

from .base import Base
from .base import same
from .trees import SmallTree


#: Stands before the priority in the names of lanes of one other than 0. No quota has
#: such a name, so for the room that jobs need it counts for nothing.
PRIORITY = "\1"
#: Keys below this are in front of everything that came by itself.
FRONT = 1 << 40
#: Crowded keys that a lane in memory remembers the end of.
REMEMBERED = 1000


class Lane(Base):
    """Jobs by key."""

    #: How many.
    length = 0
    #: How often one was put in before others.
    insertions = 0

    def __init__(self, names: tuple = ()):
        #: Names of the quotas that each of its jobs needs a place in.
        self.names = names
        #: Key to job.
        self.jobs = SmallTree()

    @property
    def priority(self) -> int:
        """That of all its jobs."""
        last = self.names[-1] if self.names else ""
        return int(last[1:]) if last[:1] == PRIORITY else 0

    def add(self, key: int, job) -> int:
        """Put a job in at ``key``, or right behind what is there; returns where."""
        jobs = self.jobs
        wanted = key
        # Many jobs may be due at one moment: to look through all of them for
        # each would take the square of their number.
        behind = getattr(self, "_v_behind", None)
        if behind is None or len(behind) > REMEMBERED:
            behind = self._v_behind = {}
        hint = behind.get(wanted, wanted)
        if hint - 1 in jobs:
            key = max(key, hint)
        last = jobs.maxKey() if jobs else 0
        while not jobs.insert(key, job):
            key += 1
        if key < last:
            self.insertions += 1
        if key != wanted:
            behind[wanted] = key + 1
        self.length += 1
        return key

    def add_front(self, job) -> int:
        """Put a job before all that came by itself, behind others put so."""
        jobs = self.jobs
        key = 1
        if jobs and jobs.minKey() < FRONT:
            key = jobs.maxKey(FRONT) + 1
        return self.add(key, job)

    def remove(self, key: int) -> None:
        """Take out the job at ``key``."""
        del self.jobs[key]
        self.length -= 1

    def find(self, job, hint: int | None = None) -> int | None:
        """The job's key; looks from ``hint`` on first. None if it isn't here."""
        if hint is not None:
            for count, (key, other) in enumerate(self.jobs.items(hint)):
                if same(other, job):
                    return key
                if count > 100:
                    break
        for key, other in self.jobs.items():
            if same(other, job):
                return key
        return None

    def __len__(self) -> int:
        return self.length

    def __bool__(self) -> bool:
        return True
