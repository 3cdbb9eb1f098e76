"""What plone.app.async had under this name, for a port by search and replace.

``queue`` is at home in ``job``. New code imports it from the package.
"""

from __future__ import annotations

from collections.abc import Iterator
from collective.clockwork.engine.interfaces import COMPLETED
from collective.clockwork.engine.job import isFailure
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.interfaces import IAsyncService
from collective.clockwork.job import queue
from zope.component import getUtility

import transaction


__all__ = ["queue", "wait_for_all_jobs"]


def wait_for_all_jobs(seconds: float = 6, assert_successful: bool = True) -> None:
    """For tests: commit, and wait until a worker has done all jobs of the queue ``""``.

    Those that it has claimed are waited for too, and those that are queued meanwhile.
    AssertionError when time is up, and, with ``assert_successful``, when one of them
    failed. In plone.app.async claimed jobs were missed.
    """
    # By identity: a job that was queued just now has no object id yet, and a quick
    # worker may have done it before the first look.
    seen = {id(job): job for job in _unfinished()}
    transaction.commit()

    def all_are_done() -> bool:
        seen.update((id(job), job) for job in _unfinished())
        return all(job.status == COMPLETED for job in seen.values())

    what = 'the end of all jobs of the queue ""'
    wait_until(all_are_done, what, seconds, begin=transaction.begin)
    failed = [job for job in seen.values() if isFailure(job.result)]
    if assert_successful and failed:
        texts = "\n".join(f"{job!r}: {job.result!r}" for job in failed)
        raise AssertionError(f"{len(failed)} jobs failed:\n{texts}")
    transaction.commit()


def _unfinished() -> Iterator:
    """What waits in the queue, what workers have, and what waits for other jobs."""
    jobs = getUtility(IAsyncService).getQueues()[""]
    yield from jobs
    yield from jobs.waiting.values()
    for agents in jobs.dispatchers.values():
        for agent in agents.values():
            yield from agent
