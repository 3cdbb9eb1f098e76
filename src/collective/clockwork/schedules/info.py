"""Schedules and firings as others see them: frozen, and nothing of the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from datetime import timedelta
from typing import Any
from zope.i18nmessageid import Message


#: What a firing does while a job of an earlier one is not finished.
OVERLAPS = ("skip", "queue", "both")

#: What becomes of the firings for which no worker was there in time.
MISSED = ("skip", "once", "all")

#: What became of a firing. The first five are those of its job.
FIRING_STATUSES = (
    "queued",
    "active",
    "completed",
    "failed",
    "cancelled",
    # A job of an earlier firing was not finished, and ``overlap`` is "skip".
    "skipped",
    # No worker was there in time, and ``missed`` left it out.
    "missed",
    # It could not be queued: its user or its context is gone, for instance.
    "refused",
)


@dataclass(frozen=True)
class FunctionInfo:
    """A function that can be scheduled."""

    #: Name by which ``IScheduler.add`` takes it.
    name: str
    #: What people choose it by.
    title: Message | str
    description: Message | str


@dataclass(frozen=True)
class ScheduleInfo:
    """One schedule of a site, as it was when it was asked for."""

    #: Identifies it in its site.
    name: str
    #: What it is called in lists; its name if nothing was given.
    title: str
    #: Name of the function, see `FunctionInfo`; ``module:name`` if it isn't registered.
    function: str
    #: Five fields of cron; None if ``every`` is given.
    cron: str | None
    #: A fixed interval, a second or more; None if ``cron`` is given.
    every: timedelta | None
    #: Name of the zone in which ``cron`` is meant, as "Europe/Berlin".
    timezone: str
    #: Id of the user as whom the job runs.
    user: str
    #: Path of what the function is called with, from the site on; "" is the site.
    context: str
    #: Further arguments of the function, by name; what JSON can hold.
    arguments: dict[str, Any]
    #: How late a firing may be and still count as in time.
    grace: timedelta
    #: One of `OVERLAPS`.
    overlap: str
    #: One of `MISSED`.
    missed: str
    #: Each firing is put off by a part of it, so that not all begin at once.
    jitter: timedelta
    #: How many firings are remembered.
    keep: int
    #: Quota under which its jobs run.
    quota: str
    #: Whether it fires.
    active: bool
    #: "zcml" for one that ZCML declares, else "site".
    origin: str
    #: The next moment at which it fires, in its zone; None if it does not.
    next: datetime | None
    #: Why it cannot fire, or could not if it were active; None if nothing is wrong.
    problem: Message | None

    #: The newest firing; None if there was none.
    last: FiringInfo | None


@dataclass(frozen=True)
class FiringInfo:
    """What became of one firing."""

    #: Moment at which it was due, in the schedule's zone; None if run by hand.
    slot: datetime | None
    #: When a worker fired it, or somebody ran it by hand.
    fired: datetime
    #: One of `FIRING_STATUSES`.
    status: str
    #: Who ran it by hand; None otherwise.
    by: str | None
    #: Id of its job, for its page; None without one, or if that is kept no more.
    job_id: str | None
    began: datetime | None
    ended: datetime | None
    #: What it returned, the error it ended with, or why there was no job; brief.
    message: str | None
    #: The traceback of a failed one.
    traceback: str | None
