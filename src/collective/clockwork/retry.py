"""Retry policies for jobs of the service."""

from __future__ import annotations

from collective.clockwork.engine.retry import CONFLICT_ROW
from collective.clockwork.engine.retry import DISCONNECT_ROW
from collective.clockwork.engine.retry import FULL_ROW
from collective.clockwork.engine.retry import RetryCommonFourTimes
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
