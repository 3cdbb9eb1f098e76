"""Retry policies: what becomes of an attempt that went wrong.

A policy decides, the engine acts; see IRetryPolicy. The built-in policies keep
their names, counts and waits from zc.async. A policy object is made when the
first thing goes wrong, so a job that runs well stores none.
"""

from __future__ import annotations

from .commit import BACKOFF_FIRST
from .commit import BACKOFF_MAX
from .commit import BACKOFF_STEP
from .commit import ClientDisconnected
from .commit import log
from .commit import pause
from .commit import StorageFull
from .commit import tracelog
from .interfaces import IForgivingPolicy
from .interfaces import IRetryPolicy
from persistent import Persistent
from transaction.interfaces import TransactionError
from zope.component import getAdapter
from zope.component import queryAdapter
from zope.interface import implementer


#: A row: exceptions, name of the count, most attempts (None: no limit), and
#: the first wait, its growth and the longest wait in seconds.
CONFLICT_ROW = ((TransactionError,), "transaction_error", 5, 0, 0, 0)
DISCONNECT_ROW = (
    (ClientDisconnected,),
    "zeo_disconnected",
    None,
    BACKOFF_FIRST,
    BACKOFF_STEP,
    BACKOFF_MAX,
)
FULL_ROW = ((StorageFull,), "storage_full", *DISCONNECT_ROW[2:])


@implementer(IForgivingPolicy)
class RetryCommonFourTimes(Persistent):
    """For jobs: four more attempts after conflicts, patience with the storage.

    Any other error is the job's own and ends it.
    """

    internal_exceptions = (DISCONNECT_ROW, FULL_ROW, CONFLICT_ROW)
    transaction_exceptions = internal_exceptions
    max_interruptions = 9
    log_every = 5

    def __init__(self, job=None):
        #: Counts by row name; written in the job's own commits only.
        self.data: dict = {}

    def jobError(self, failure, data_cache):
        """See IRetryPolicy."""
        return self._decide(self.internal_exceptions, failure, data_cache)

    def commitError(self, failure, data_cache):
        """See IRetryPolicy."""
        return self._decide(self.transaction_exceptions, failure, data_cache)

    def interrupted(self):
        """See IRetryPolicy."""
        self._count("interruptions")
        return not self._is_over_limit()

    def disturbed(self):
        """See IForgivingPolicy."""
        self._count("interruptions")
        self._count("disturbances")
        return True

    @property
    def quarantine(self) -> bool:
        """See IForgivingPolicy; false in a subclass lets such a job fail."""
        return self._is_over_limit()

    def _count(self, name: str) -> None:
        self.data = {**self.data, name: self.data.get(name, 0) + 1}

    def _is_over_limit(self) -> bool:
        limit = self.max_interruptions
        own = self.data.get("interruptions", 0) - self.data.get("disturbances", 0)
        return limit is not None and own > limit

    def updateData(self, data_cache):
        """See IRetryPolicy."""
        first = self.data.get("first_active") or data_cache.get("first_active")
        changed = {**self.data, **data_cache}
        if first is not None:
            changed["first_active"] = first
        if changed != self.data:
            self.data = changed

    def _decide(self, rows, failure, data_cache) -> bool:
        for exceptions, key, limit, first, step, longest in rows:
            if failure.check(*exceptions) is None:
                continue
            count = data_cache.get(key, 0) + 1
            data_cache[key] = count
            data_cache[f"last_{key}"] = failure.message
            if limit is not None and count >= limit:
                tracelog.warning("giving up after %d of %s", count, key)
                return False
            if count == 1 or not count % self.log_every:
                tracelog.warning("trying again after %d of %s", count, key)
            if first or step:
                pause(min(first + step * (count - 1), longest))
            return True
        return False


class RetryCommonForever(RetryCommonFourTimes):
    """For callbacks: they must succeed some day, whatever the commit says."""

    internal_exceptions = (
        DISCONNECT_ROW,
        FULL_ROW,
        ((TransactionError,), "transaction_error", None, 0, 0, 0),
    )
    transaction_exceptions = internal_exceptions
    max_interruptions = None
    #: Seconds between attempts after an error at commit that is no conflict.
    other_commit_initial_backoff = 0
    other_commit_incremental_backoff = 1
    other_commit_max_backoff = 60

    def commitError(self, failure, data_cache):
        """See IRetryPolicy."""
        if self._decide(self.transaction_exceptions, failure, data_cache):
            return True
        count = data_cache.get("other", 0) + 1
        data_cache["other"] = count
        data_cache["last_other"] = failure.message
        if self._cannot_ever_work(failure):
            return False
        wait = (
            self.other_commit_initial_backoff
            + self.other_commit_incremental_backoff * (count - 1)
        )
        pause(min(wait, self.other_commit_max_backoff))
        return True

    def _cannot_ever_work(self, failure) -> bool:
        # zc.async tried to store an unpicklable result for ever, and its
        # thread was lost with it.
        unpicklable = failure.check("pickle.PicklingError", "_pickle.PicklingError")
        return bool(unpicklable) or (
            bool(failure.check(TypeError)) and "pickle" in failure.message
        )


@implementer(IForgivingPolicy)
class NeverRetry(Persistent):
    """One attempt, whatever happens."""

    quarantine = False

    def __init__(self, job=None):
        self.data: dict = {}

    def jobError(self, failure, data_cache):
        """See IRetryPolicy."""
        return False

    def commitError(self, failure, data_cache):
        """See IRetryPolicy."""
        return False

    def interrupted(self):
        """See IRetryPolicy."""
        return False

    def disturbed(self):
        """See IForgivingPolicy."""
        return False

    def updateData(self, data_cache):
        """See IRetryPolicy; nothing to keep."""


def callback_retry_policy_factory(job):
    """The policy of callbacks that name none: the adapter ``callback``, or Forever."""
    policy = queryAdapter(job, IRetryPolicy, name="callback")
    return RetryCommonForever(job) if policy is None else policy


def make_policy(job):
    """A new policy for the job, by its ``retry_policy_factory``.

    None means the unnamed IRetryPolicy adapter or RetryCommonFourTimes, a str
    the adapter of that name, a callable is called with the job. One that
    cannot be made is reported, and RetryCommonFourTimes stands in for it; in
    zc.async the job's thread asked again for ever.
    """
    try:
        return _policy_of(job)
    except TransactionError:
        raise
    except Exception:
        # The factory is the application's; a job must end all the same.
        name = repr(job.retry_policy_factory)
        log.critical("the retry policy %s cannot be made", name, exc_info=True)
        return RetryCommonFourTimes(job)


def ask(policy, question: str, *arguments):
    """The policy's answer; no, if it has none or cannot give it."""
    method = getattr(policy, question, None)
    if method is None:
        log.error("the retry policy %s has no %s: no retry", repr(policy), question)
        return False
    try:
        return method(*arguments)
    except TransactionError:
        raise
    except Exception:
        # The policy is the application's; a job must end all the same.
        log.critical("%s of %s failed", question, repr(policy), exc_info=True)
        return False


def _policy_of(job):
    factory = job.retry_policy_factory
    if factory is None:
        policy = queryAdapter(job, IRetryPolicy)
        return RetryCommonFourTimes(job) if policy is None else policy
    if isinstance(factory, str):
        return getAdapter(job, IRetryPolicy, name=factory)
    return factory(job)
