"""What the logs are told of the end of a job's run."""

from __future__ import annotations

from .commit import log
from .commit import trace
from .commit import tracelog
from .errors import CancelledError
from .failure import isFailure
from .outcomes import Outcome

import logging


#: Characters of a result that are logged.
LOGGED_RESULT = 1_000


def tell(job, result) -> None:
    """Say what became of a job: a result, a Failure, or the Outcome it asked for."""
    if isinstance(result, Outcome):
        trace(logging.INFO, "%s asked to %s", job, str(result))
        result = job._result
        if not isFailure(result):
            return
    if isFailure(result) and result.check(CancelledError):
        log.info("%s was %s", repr(job), result.getErrorMessage())
    elif isFailure(result):
        level = job.failure_log_level
        level = logging.ERROR if level is None else level
        log.log(level, "%s failed:\n%s", repr(job), result.getTraceback())
    elif tracelog.isEnabledFor(logging.INFO):
        tracelog.info(
            "%s succeeded with result: %s",
            repr(job),
            repr(result)[:LOGGED_RESULT],
        )


def tell_of_lost(job, result) -> None:
    """Say what a job had come to, whose commit failed for good."""
    if isFailure(result):
        log.error(
            "Commit failed for %s, which had failed:\n%s",
            repr(job),
            result.getTraceback(),
        )
    else:
        log.info(
            "Commit failed for %s, which had succeeded with result: %s",
            repr(job),
            repr(result)[:LOGGED_RESULT],
        )
