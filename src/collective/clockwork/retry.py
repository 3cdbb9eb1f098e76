"""Retry policies for jobs of the service."""

from __future__ import annotations

from collective.clockwork.engine.failure import Failure
from collective.clockwork.engine.retry import CONFLICT_ROW
from collective.clockwork.engine.retry import DISCONNECT_ROW
from collective.clockwork.engine.retry import FULL_ROW
from collective.clockwork.engine.retry import RetryCommonFourTimes
from datetime import timedelta
from typing import Any
from ZODB.POSException import ConflictError


#: Attempts after which a job that conflicts each time has failed. Jobs that
#: change the catalog side by side conflict now and then, and with the five
#: attempts of zc.async one in some dozens would lose each time.
CONFLICT_ATTEMPTS = 20
#: See the rows of ``engine.retry``.
PATIENT_ROW = ((ConflictError,), "conflict", CONFLICT_ATTEMPTS, 0, 0, 0)


class ServiceRetry(RetryCommonFourTimes):
    """The policy of jobs that the service queued, unless they name another.

    Patient with conflicts, which are tried again after random pauses that
    grow, and less patient than the engine with jobs that bring their process down;
    else as RetryCommonFourTimes. It is registered as ``IRetryPolicy``
    adapter for ``service.SiteJob``, and can be overridden there.
    """

    internal_exceptions = (DISCONNECT_ROW, FULL_ROW, PATIENT_ROW, CONFLICT_ROW)
    transaction_exceptions = internal_exceptions
    max_interruptions = 3


class RetryWithDelay:
    """``job.retry_policy_factory = RetryWithDelay(timedelta(minutes=5))``.

    A job that raises an error of its own is tried again after the delay, until it was
    tried ``max_retries`` times in all. Conflicts, a storage that is away, and a
    worker's end are dealt with at once, as for other jobs. Names, default and that
    count are those of plone.app.async, which delayed conflicts too, and shared
    one count between all jobs that were given one such object; here each job has its
    own, so one object serves many jobs.

    Raises TypeError for a delay that is no timedelta, ValueError for one that is not
    longer than nothing.
    """

    #: How often a job is tried in all. Change it in a subclass.
    max_retries = 8

    def __init__(self, delay: timedelta = timedelta(minutes=15)) -> None:
        if not isinstance(delay, timedelta):
            raise TypeError(
                f"delay is {delay!r}: pass a timedelta, such as timedelta(minutes=5); "
                "as the retry policy of a job set RetryWithDelay(), with parentheses"
            )
        if delay <= timedelta():
            raise ValueError(f"delay is {delay!r}: it must be longer than nothing")
        self.delay = delay

    def __call__(self, job: Any) -> DelayedRetry:
        """A policy for this job alone."""
        return DelayedRetry(self.delay, self.max_retries)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.delay!r})"


class DelayedRetry(ServiceRetry):
    """The policy that ``RetryWithDelay`` makes for one job."""

    #: Time between an error and the next attempt, and how many attempts there are.
    delay = timedelta(minutes=15)
    max_retries = RetryWithDelay.max_retries

    def __init__(self, delay: timedelta, max_retries: int) -> None:
        super().__init__()
        self.delay = delay
        self.max_retries = max_retries

    def jobError(self, failure: Failure, data_cache: dict) -> bool | timedelta:
        """See IRetryPolicy."""
        for exceptions, *_row in self.internal_exceptions:
            if failure.check(*exceptions) is not None:
                return super().jobError(failure, data_cache)
        # Each attempt begins with an empty cache; what stays is in ``data``.
        count = data_cache.get("job_error", self.data.get("job_error", 0)) + 1
        data_cache["job_error"] = count
        data_cache["last_job_error"] = failure.message
        return self.delay if count < self.max_retries else False
