"""Queues and quotas as set-up files declare them, and as administrators change them.

They belong to the queues' database, so all sites in it share them. Everything here is
part of the caller's transaction, and asks for no permission: who calls it does.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import MutableMapping
from collective.clockwork.engine.queue import Queue
from collective.clockwork.engine.quota import check_size
from collective.clockwork.engine.quota import holds_place
from collective.clockwork.engine.quota import Quota
from collective.clockwork.interfaces import IAsyncService
from collective.clockwork.jobinfo import is_loadable
from collective.clockwork.service import DEFAULT_QUOTA
from collective.clockwork.service import ensure_default_quota
from collective.clockwork.sitejob import BatchJob
from dataclasses import dataclass
from itertools import chain
from typing import Any
from zope.component import getUtility


#: The quota ``default`` has this size unless somebody says otherwise.
FIRST_SIZE = 1

#: Longest name of a queue or a quota, in characters.
NAME_LENGTH = 100


class QuotaInUseError(ValueError):
    """A quota cannot be removed, because a job has a place in it or waits for one."""


@dataclass(frozen=True)
class QuotaInfo:
    """One quota, as it was when it was asked for."""

    #: Name of its queue.
    queue: str
    name: str
    #: How many of its jobs may be under way at a time, over all workers.
    size: int
    #: How many are.
    running: int


def list_quotas() -> list[QuotaInfo]:
    """All quotas of the database, by the names of queue and quota."""
    return [
        QuotaInfo(queue_name, name, quota.size, sum(map(holds_place, quota.running)))
        for queue_name, queue in sorted(_queues().items())
        for name, quota in sorted(queue.quotas.items())
    ]


def list_queues() -> list[str]:
    """The names of all queues."""
    return sorted(_queues())


def set_size(queue_name: str, name: str, size: int) -> None:
    """Give a quota this size by hand; LookupError if it isn't there.

    ValueError for what cannot be a size.
    """
    _existing(queue_name, name).size = size


def create(queue_name: str, name: str, size: int) -> None:
    """Add a quota by hand.

    LookupError if there is no such queue, KeyError if it has a quota of that name,
    ValueError for what cannot be a name or a size.
    """
    check_name("name of a quota", name)
    _queue(queue_name).quotas.create(name, size=size)


def remove(queue_name: str, name: str) -> None:
    """Remove a quota that no job needs; LookupError if it isn't there.

    QuotaInUseError if a job of any site has a place in it, waits for one, or is set
    aside and would when it is released. ValueError for ``default``, which every queue
    has. A job that is queued under it at this very moment runs without that limit.
    """
    check_removable(queue_name, name)
    _queue(queue_name).quotas.remove(name)


def check_removable(queue_name: str, name: str) -> None:
    """Raise what ``remove`` would raise. It looks at each job that waits."""
    quota = _existing(queue_name, name)
    if name == DEFAULT_QUOTA:
        raise ValueError(
            f"the quota {name!r} cannot be removed, because calls are queued under it "
            "unless they name another: change its size instead"
        )
    queue = _queue(queue_name)
    if any(map(holds_place, quota.running)) or _is_waited_for(queue, name):
        raise QuotaInUseError(
            f"the quota {name!r} of the queue {queue_name!r} is in use: a job runs in "
            "it or waits for it. Remove it when those jobs are done"
        )


def ensure_queue(name: str) -> bool:
    """Make a queue if it isn't there; whether it was made.

    ValueError for what cannot be a name.
    """
    queues = _queues()
    if name in queues:
        return False
    check_name("name of a queue", name)
    queues[name] = Queue()
    ensure_default_quota(queues[name])
    return True


def declare(queue_name: str, name: str, size: int, overwrite: bool = False) -> bool:
    """Have a quota of this size, unless somebody gave it another one by hand.

    Returns whether it has this size now. By hand is what differs from the size that
    was declared last; where none was, anything but the 1 that ``default`` begins with.
    ``overwrite`` sets the size all the same. LookupError if there is no such queue,
    ValueError for what cannot be a name or a size.
    """
    check_size(name, size)
    quotas = _queue(queue_name).quotas
    if name not in quotas:
        create(queue_name, name, size)
    quota = quotas[name]
    if not (overwrite or quota.size in (size, _given_size(quota))):
        return False
    if quota.size != size:
        # Persistent objects count each assignment as a change.
        quota.size = size
    if quota.declared_size != size:
        quota.declared_size = size
    return True


def check_name(what: str, name: str) -> None:
    """Raise ValueError if a queue or a quota cannot be called so.

    ``what`` says whose name it is, for the message.
    """
    if not 0 < len(name) <= NAME_LENGTH or not name.isprintable():
        raise ValueError(
            f"{what} is {name!r}: it must have 1 to {NAME_LENGTH} printable characters"
        )


def _given_size(quota: Quota) -> int | None:
    """The size that it was given by a file, or to begin with."""
    if quota.declared_size is None and quota.name == DEFAULT_QUOTA:
        return FIRST_SIZE
    return quota.declared_size


def _queues() -> MutableMapping[str, Queue]:
    return getUtility(IAsyncService).getQueues()


def _queue(name: str) -> Queue:
    queues = _queues()
    if name not in queues:
        known = ", ".join(map(repr, queues))
        raise LookupError(f"There is no queue {name!r}; there are {known}")
    return queues[name]


def _existing(queue_name: str, name: str) -> Quota:
    quotas = _queue(queue_name).quotas
    if name not in quotas:
        known = ", ".join(map(repr, quotas))
        raise LookupError(
            f"The queue {queue_name!r} has no quota {name!r}; it has {known}"
        )
    return quotas[name]


def _is_waited_for(queue: Queue, name: str) -> bool:
    jobs = chain(queue, queue.quarantine, queue.waiting.values())
    return any(
        name in getattr(each, "quota_names", ())
        for job in jobs
        if is_loadable(job)
        for each in _with_members(job)
        if holds_place(each)
    )


def _with_members(job: Any) -> Iterator[Any]:
    """A job, and those that a batch is going to queue."""
    yield job
    if isinstance(job, BatchJob):
        yield from job.args
