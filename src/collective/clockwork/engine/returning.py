"""How a job that is not being run goes back to its queue, or ends all the same."""

from __future__ import annotations

from . import clock
from .commit import log
from .commit import never_fail
from .errors import CancelledError
from .failure import Failure
from .interfaces import BadStatusError
from .interfaces import ReassignedError
from .retry import ask
from datetime import datetime
from datetime import timedelta
from datetime import timezone

import logging
import transaction


def manager(job):
    """The transaction manager that commits this job."""
    jar = job._p_jar
    return transaction.manager if jar is None else jar.transaction_manager


def due_of(decision) -> int | None:
    """Microseconds of a policy's datetime or timedelta; None for at once."""
    if isinstance(decision, timedelta):
        if decision <= timedelta():
            return None
        return clock.now_us() + decision // clock.MICROSECOND
    if decision.tzinfo is None:
        # zc.async read the naive datetimes of policies as UTC.
        decision = decision.replace(tzinfo=timezone.utc)
    due = clock.to_us(decision)
    return due if due > clock.now_us() else None


def return_to_queue(job) -> None:
    """Put a job that no dispatcher watches back into its queue.

    Raises BadStatusError if it is in no queue.
    """
    queue = job.queue
    if queue is None:
        raise BadStatusError(f"{job!r} is in no queue, so it cannot be put off")
    agent = job.agent
    if agent is not None:
        agent.release(job)
    queue.take_back(job)


def end_from_outside(job, error: Exception, agent, may_retry: bool) -> None:
    """End a job that an agent has, whatever its run still does.

    ``agent`` is None for a callback, which stays where it is.
    Changes it in the caller's transaction, so that what its run writes from now on
    cannot be committed. With ``may_retry`` its policy may have it tried again.
    """
    decision = False
    if may_retry:
        policy, data = job.getRetryPolicy(), {"first_active": clock.now()}
        decision = ask(policy, "jobError", Failure(error), data)
        ask(policy, "updateData", data)
    if decision is True:
        job.put_off(None)
    elif isinstance(decision, datetime | timedelta):
        job.put_off(due_of(decision))
    else:
        if agent is not None:
            job._parent = agent
        job.attempt += 1
        job.settle(Failure(error))


def fail(job, error: BaseException, agent=None, attempt: int | None = None) -> None:
    """End a job that was not begun, for the agent that has it; commits.

    Raises ReassignedError if it was begun, or is at another ``attempt``.
    """
    tm = manager(job)
    failure = Failure(error)

    def settle():
        if job._status != 0 or attempt not in (None, job.attempt):
            raise ReassignedError(repr(job))
        if agent is not None:
            job._parent = agent
        job.settle(failure)

    never_fail(settle, f"failing {job!r}", tm)
    level = logging.ERROR if job.failure_log_level is None else job.failure_log_level
    if isinstance(error, CancelledError):
        level = logging.INFO
    log.log(level, "%s failed: %s", repr(job), failure.getErrorMessage())
    tm.begin()
