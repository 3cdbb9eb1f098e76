"""Quotas: how many of their jobs may be under way, over all workers."""

from __future__ import annotations

from .base import Base
from .base import same
from .base import TreeMapping
from .interfaces import IQuota
from .interfaces import IQuotas
from zope.interface import implementer


#: First characters of what stands among quota names in a lane and is none; see
#: ``places.LENT`` and ``lanes.PRIORITY``.
RESERVED = ("\0", "\1")


@implementer(IQuota)
class Quota(Base):
    """See IQuota. Written by claimers, and by who changes its size.

    ``running`` is a plain tuple in the quota's own record, without conflict
    resolution: that makes the size a strict maximum.
    """

    #: Jobs that have a place; finished ones stay until the next look.
    running: tuple = ()

    #: The size that a set-up file gave it last; None if none did. One that differs
    #: was set by hand since. Written together with the size.
    declared_size: int | None = None

    def __init__(self, name: str, size: int = 1):
        check_size(name, size)
        self.name = name
        self._size = size

    @property
    def size(self) -> int:
        """How many may be under way. A smaller one than that stops no job."""
        return self._size

    @size.setter
    def size(self, value: int):
        check_size(self.name, value)
        if value != self._size:
            self._size = value

    def clean(self) -> None:
        """See IQuota."""
        left = tuple(job for job in self.running if holds_place(job))
        if len(left) != len(self.running):
            self.running = left

    @property
    def filled(self) -> bool:
        """See IQuota."""
        return len(self.running) >= self.size

    @property
    def room(self) -> int:
        """How many more may begin now; looks at the running ones only if need be."""
        if len(self.running) < self.size:
            return self.size - len(self.running)
        return max(0, self.size - sum(map(holds_place, self.running)))

    @property
    def lent_room(self) -> int:
        """The same for jobs that others, which hold a place, wait for."""
        busy = [job for job in self.running if not job.is_waiting]
        return max(0, self.size - sum(map(holds_place, busy)))

    def add(self, item) -> None:
        """Give a job a place.

        Raises ValueError if it does not name this quota, or there is no room.
        """
        if any(same(item, job) for job in self.running):
            return
        if self.name not in getattr(item, "quota_names", ()):
            raise ValueError(f"{item!r} does not need the quota {self.name!r}")
        self.clean()
        if self.filled:
            raise ValueError(f"quota {self.name!r} is filled: its size is {self.size}")
        self.running = (*self.running, item)

    def extend(self, jobs: list) -> None:
        """Give one run of jobs, of which one at a time is under way, a place."""
        self.clean()
        self.running = (*self.running, *jobs)

    def discard(self, jobs: list) -> None:
        """Take away the places of these jobs."""
        left = tuple(
            job for job in self.running if not any(same(job, gone) for gone in jobs)
        )
        if len(left) != len(self.running):
            self.running = left

    def __iter__(self):
        return iter(self.running)

    def __len__(self) -> int:
        return len(self.running)

    def __bool__(self) -> bool:
        return True

    def index(self, item) -> int:
        """The job's position; ValueError if it has no place."""
        for position, job in enumerate(self.running):
            if same(job, item):
                return position
        raise ValueError(f"{item!r} has no place in quota {self.name!r}")


def check_size(name: str, size: int) -> None:
    """Raise ValueError unless ``size`` can be a quota's size."""
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ValueError(
            f"size of quota {name!r} is {size!r}: it must be a whole number, 0 or more"
        )


def holds_place(job) -> bool:
    """Whether the job is under way, as far as a quota is concerned.

    One that was put off keeps its place until it is swept: to go by its time would
    mean that a worker whose clock is slow gives away the place of a job that has
    begun elsewhere.
    """
    return job._status < 2


@implementer(IQuotas)
class Quotas(TreeMapping):
    """See IQuotas. Name to Quota; changed by hand, hardly ever."""

    def create(self, name: str, size: int = 1) -> Quota:
        """Make a quota; KeyError if there is one of that name.

        ValueError for a size or a name that cannot be.
        """
        if name[:1] in RESERVED:
            raise ValueError(
                f"a quota cannot be called {name!r}: names that begin with a control "
                "character are the engine's own"
            )
        if name in self._data:
            raise KeyError(f"there is a quota {name!r} already; change its size")
        quota = Quota(name, size)
        quota.parent = self
        self._data[name] = quota
        return quota

    def remove(self, name: str) -> None:
        """Lift the limit; KeyError if there is no such quota."""
        self._data.pop(name).parent = None
