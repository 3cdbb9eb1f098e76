"""What a job can ask for beside returning a result and raising an error.

``Cancel``, ``Snooze`` and ``RetryAfter`` can each be returned, then what the job has
written is kept, or raised, then it is thrown away::

    if not page.is_published():
        raise Snooze(timedelta(hours=1))

A retry policy may have a method ``retryAfter(delay, data_cache)``, which answers like
the methods of IRetryPolicy and so limits how often RetryAfter is heeded. Without one,
there is no limit.
"""

from __future__ import annotations

from . import clock
from .errors import CancelledError
from .errors import OptionError
from .errors import RefusedOutcomeError
from .failure import Failure
from .options import LONGEST
from .retry import ask
from datetime import datetime
from datetime import timedelta

import math


class Outcome(Exception):
    """What the three have in common."""


class Cancel(Outcome):
    """The job is not to be done: it ends, with a CancelledError."""

    def __init__(self, reason: str | None = None):
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return "be cancelled" + ("" if self.reason is None else f": {self.reason}")

    def error(self) -> CancelledError:
        """What the job ends with."""
        return CancelledError("the job itself", self.reason)


class Postponement(Outcome):
    """The job is to be run again, after a timedelta, seconds, or at an aware datetime.

    Raises OptionError for anything else, and for a time that is negative or absurd.
    """

    def __init__(self, delay: timedelta | float | datetime):
        delay = _checked(type(self).__name__, delay)
        super().__init__(delay)
        #: A timedelta, or an aware datetime.
        self.delay = delay

    def due(self, now_us: int) -> int | None:
        """When it is due, in microseconds; None if that is at once."""
        if isinstance(self.delay, datetime):
            due = clock.to_us(self.delay)
        else:
            due = now_us + self.delay // clock.MICROSECOND
        return due if due > now_us else None

    def __str__(self) -> str:
        at = isinstance(self.delay, datetime)
        return f"be run again {'at' if at else 'in'} {self.delay}"


class Snooze(Postponement):
    """Nothing went wrong, it is only too early: this counts as no attempt."""


class RetryAfter(Postponement):
    """The attempt came to nothing: it counts, and a policy's limit has precedence."""


def conclude(
    job, outcome: Outcome, policy, data_cache: dict, can_wait: bool = True
) -> Failure | None:
    """Put the job off as it asks; or return what it ends with.

    Changes the job in the caller's transaction. ``can_wait`` is false for a job that
    has no queue to wait in, as a callback. ``policy`` is the job's retry policy.
    """
    if isinstance(outcome, Cancel):
        return Failure(outcome.error())
    if not can_wait:
        return _refused(outcome, "it has no place in a queue to wait in")
    if isinstance(outcome, RetryAfter) and not _allows(policy, outcome, data_cache):
        return _refused(outcome, "its retry policy allows no further attempt")
    tries = job._tries
    job.put_off(outcome.due(clock.now_us()))
    if isinstance(outcome, Snooze):
        job._tries = tries
        job._snoozed += 1
    return None


def _refused(outcome: Outcome, why: str) -> Failure:
    return Failure(RefusedOutcomeError(str(outcome), why))


def _allows(policy, outcome: RetryAfter, data_cache: dict) -> bool:
    if getattr(policy, "retryAfter", None) is None:
        return True
    return ask(policy, "retryAfter", outcome.delay, data_cache) is not False


def _checked(name: str, delay) -> timedelta | datetime:
    if isinstance(delay, datetime):
        if delay.tzinfo is None:
            raise OptionError(
                f"{name} got {delay!r}, which has no time zone: use an aware datetime, "
                "for instance datetime.now(timezone.utc)"
            )
        return delay
    if type(delay) in (int, float) and math.isfinite(delay):
        if 0 <= delay <= LONGEST.total_seconds():
            return timedelta(seconds=delay)
    elif isinstance(delay, timedelta) and timedelta() <= delay <= LONGEST:
        return delay
    raise OptionError(
        f"{name} got {delay!r}: it must be a timedelta, a number of seconds, or an "
        f"aware datetime; not negative, and at most {LONGEST.days:,} days"
    )
