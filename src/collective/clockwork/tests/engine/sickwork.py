"""Jobs and policies for what goes wrong."""

from __future__ import annotations

from collective.clockwork.engine.job import Job
from collective.clockwork.engine.retry import RetryCommonFourTimes
from ZODB.POSException import ConflictError

import transaction


class Touchy:
    """Can be stored, and then not be loaded while it is spoilt."""

    spoilt = False

    def __setstate__(self, state):
        if self.spoilt:
            raise LookupError("its class has changed")

    def __getstate__(self):
        return {"some": "state"}


class Threefold(RetryCommonFourTimes):
    """Allows three deaths of a process, as the Plone service does."""

    max_interruptions = 3


class RaisingPolicy:
    """A retry policy with an error in it."""

    def __init__(self, job):
        self.job = None

    def jobError(self, failure, data_cache):
        raise LookupError("an error in the policy")


class Hooked(Job):
    """A job whose hook has an error in it."""

    def on_result(self, result):
        raise LookupError("an error in the hook")


def boom_of(job):
    raise LookupError("an error in the filter")


def commit_and_fail(counter):
    counter.add()
    transaction.commit()
    raise ValueError("after a commit")


def commit_and_conflict(counter):
    counter.add()
    transaction.commit()
    raise ConflictError("after a commit")


def commit_twice(counter):
    counter.add()
    transaction.commit()
    counter.add()
    return "done"
