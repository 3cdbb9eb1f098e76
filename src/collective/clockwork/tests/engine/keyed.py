"""Unique jobs for tests: queued, and looked at."""

from __future__ import annotations

from collective.clockwork.engine import unique
from collective.clockwork.engine.errors import CancelledError
from collective.clockwork.engine.failure import Failure
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import drain
from collective.clockwork.tests.engine import work
from collective.clockwork.tests.engine.optional import job_with
from datetime import timedelta

import transaction


HOUR = timedelta(hours=1)


def put(queue, key="k", quotas=(), **options):
    """Queue a unique job."""
    job = Job(work.answer)
    job.quota_names = quotas
    return queue.put(job, unique=key, **options)


def withdraw(job) -> None:
    job.settle(Failure(CancelledError()))


def action(queue, key="k", **options) -> str:
    return unique.decide(queue, job_with(unique=key, **options)).action


def keys(queue) -> set:
    return {key for key, _entry in queue.keys.items()}


def commit(connection) -> None:
    connection.transaction_manager.commit()


def queue_of(connection):
    connection.transaction_manager.begin()
    return connection.root()[KEY][""]


def end_by_run(db, queue, job):
    transaction.commit()
    assert drain(db) == 1
    transaction.begin()
    assert job.result == 42


def end_by_run_all(db) -> None:
    transaction.commit()
    drain(db)
