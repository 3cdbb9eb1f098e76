"""The kinds of jobs that the manager has names for, and what it says of them."""

from __future__ import annotations

from collective.clockwork import _
from collective.clockwork.engine import context
from collective.clockwork.engine import interfaces
from collective.clockwork.engine import local
from collective.clockwork.engine import progress
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.live import notes_of
from collective.clockwork.manager.interfaces import IProgressable
from typing import Any
from ZODB.utils import u64
from zope.interface import implementer

import threading


#: A job without site, user and request; the engine's own. As in waeup.kofa.async.
AsyncJob = Job

#: Name of the annotation by which jobs said how far they are in waeup.kofa.async.
PERCENT = "percent"

#: Status of an engine's job to a word for programs, and the same for people.
JOB_STATUS_MAP = {
    interfaces.NEW: ("new", _("job_status_new", default="new")),
    interfaces.PENDING: ("pending", _("job_status_pending", default="waiting")),
    interfaces.ASSIGNED: ("assigned", _("job_status_assigned", default="about to run")),
    interfaces.ACTIVE: ("active", _("job_status_active", default="running")),
    interfaces.CALLBACKS: (
        "callbacks",
        _("job_status_callbacks", default="performing callbacks"),
    ),
    interfaces.COMPLETED: (
        "completed",
        _("job_status_completed", default="completed"),
    ),
    interfaces.QUARANTINED: (
        "quarantined",
        _("job_status_quarantined", default="set aside"),
    ),
}


@implementer(IProgressable)
class ProgressableJob(AsyncJob):
    """A job that says how far it is. In waeup.kofa.async nothing ever updated it."""

    @property
    def percent(self) -> float | None:
        """See IProgressable: what was said last, seen from any process."""
        return percent_of(self)


def percent_of(job: Any) -> float | None:
    """How far any job is, from 0 to 100; None as long as it says nothing.

    What it reports (``ctx.progress``) goes before the live annotation "percent", which
    is also read when it was committed with the job.
    """
    said = progress.of(job).percent
    if said is None:
        said = notes_of(job).get(PERCENT, job.annotations.get(PERCENT))
    if isinstance(said, bool) or not isinstance(said, int | float):
        return None
    return min(100.0, max(0.0, float(said))) if said == said else None


def get_job_id(persisted_job: Any) -> str:
    """The id of a stored job: its object id as a decimal number.

    It is unique in the database of the queues only. ValueError for a job that is not
    stored.
    """
    if persisted_job._p_oid is None:
        raise ValueError(
            f"{persisted_job!r} is not stored, so it has no id: queue it first"
        )
    return str(u64(persisted_job._p_oid))


def compute(num: int, duration: float = 60) -> int:
    """Take so many seconds, say each second how far it is, and return ``num * 2``.

    In a job it can be cancelled at each of these moments.
    """
    seconds = max(0, int(duration))
    for second in range(seconds):
        _report(100.0 * second / seconds)
        threading.Event().wait(1)
    _report(100.0)
    return num * 2


def _report(percent: float) -> None:
    if local.getJob() is not None:
        ctx = context.current()
        ctx.checkpoint()
        ctx.progress(percent=percent)
