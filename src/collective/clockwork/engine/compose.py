"""Jobs one after the other, jobs side by side, and what is made of them.

The job that ``serial`` or ``parallel`` returns puts its members into its own
queue and then waits; it occupies no thread meanwhile, but keeps its places in
quotas, so that a batch holds up what was queued behind it in its quota.
"""

from __future__ import annotations

from .callbacks import as_job
from .interfaces import NEW
from .job import Job
from .threadlocal import local


def serial(*jobs, postprocess=None) -> Job:
    """A job that runs ``jobs`` one after the other, then ``postprocess``.

    ``postprocess`` is called with the finished jobs behind arguments of its
    own, and its result becomes the result; without one, that is the tuple of
    jobs. A member that fails does not stop the others: look at its ``result``.
    As in zc.async.
    """
    return _batch(run_serial, jobs, postprocess)


def parallel(*jobs, postprocess=None) -> Job:
    """A job that runs ``jobs`` in any order, also at once; else see ``serial``."""
    return _batch(run_parallel, jobs, postprocess)


def _batch(runner, jobs: tuple, postprocess) -> Job:
    members = []
    for item in jobs:
        try:
            members.append(as_job(item))
        except (TypeError, ValueError) as error:
            raise TypeError("Could not adapt", item, str(error)) from error
    last = as_job(all_jobs if postprocess is None else postprocess)
    return Job(runner, *members, postprocess=last)


def all_jobs(*jobs) -> tuple:
    """Postprocess of a batch that names none."""
    return jobs


def run_serial(*members, postprocess: Job) -> Job:
    """Put the first member that is not begun; its callback puts the next."""
    return _start(schedule_next, postprocess)


def run_parallel(*members, postprocess: Job) -> Job:
    """Put all members; the callback of the last one puts ``postprocess``."""
    return _start(schedule_all, postprocess)


def _start(schedule, postprocess: Job) -> Job:
    batch = local.getJob()
    schedule(batch, batch.queue)
    return postprocess


def schedule_next(batch: Job, queue) -> None:
    """Put the next member of a serial batch, or its end.

    Nothing is put while one of them is under way, so an interrupted batch
    that is begun again keeps its order.
    """
    for member in batch._args:
        if _is_finished(member):
            continue
        if member.status == NEW:
            _put_member(batch, member, queue, serial_member_done)
        return
    _put_end(batch, queue)


def schedule_all(batch: Job, queue) -> None:
    """Put all members of a parallel batch that were not, or its end."""
    unfinished = False
    for member in batch._args:
        if member.status == NEW:
            _put_member(batch, member, queue, parallel_member_done)
        unfinished = unfinished or not _is_finished(member)
    if not unfinished:
        _put_end(batch, queue)


def _is_finished(member: Job) -> bool:
    return member._status >= 2


def _put_member(batch: Job, member: Job, queue, done) -> None:
    member._outer = batch
    member.addCallback(Job(done, batch))
    queue.put(member)


def _put_end(batch: Job, queue) -> None:
    end = batch._kwargs["postprocess"]
    if end.status != NEW:
        return
    end._args = (*end._args, *batch._args)
    end._outer = batch
    queue.put(end)


def serial_member_done(batch: Job, result) -> None:
    """Callback of a member of a serial batch."""
    schedule_next(batch, batch.queue)


def parallel_member_done(batch: Job, result) -> None:
    """Callback of a member of a parallel batch."""
    schedule_all(batch, batch.queue)
