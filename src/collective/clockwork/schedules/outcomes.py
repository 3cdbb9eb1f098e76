"""What became of firings, for those who look: read from the record and the jobs.

The record refers to the job of each firing that it remembers, so a job is there as long
as its firing, also when its queue has dropped it from the finished ones.
"""

from __future__ import annotations

from collective.clockwork import _
from collective.clockwork import jobinfo
from collective.clockwork.engine import clock
from collective.clockwork.schedules import due
from collective.clockwork.schedules import model
from collective.clockwork.schedules.info import FiringInfo
from collective.clockwork.schedules.model import Firing
from collective.clockwork.schedules.model import Record
from collective.clockwork.schedules.model import Schedule
from datetime import datetime
from typing import Any


#: How many jobs that have not ended are remembered. There may be more only if they were
#: allowed to run side by side.
MOST_PENDING = 25


def firings(schedule: Schedule) -> list[FiringInfo]:
    """The firings that are remembered, newest first."""
    return [describe(schedule, each) for each in reversed(schedule.record.firings)]


def last(schedule: Schedule) -> FiringInfo | None:
    """The newest one; None if there is none."""
    kept = schedule.record.firings
    return describe(schedule, kept[-1]) if kept else None


def describe(schedule: Schedule, firing: Firing) -> FiringInfo:
    """What became of one firing of this schedule."""
    facts: dict[str, Any] = {
        "slot": _shown(schedule, firing.slot),
        "fired": _shown(schedule, firing.fired),
        "by": firing.by,
        "job_id": None,
        "began": None,
        "ended": None,
        "traceback": None,
    }
    if firing.kind == model.JOB:
        facts.update(_of_job(firing.job))
    else:
        facts.update(status=firing.kind, message=_why_no_job(schedule, firing))
    return FiringInfo(**facts)


def note_job(record: Record, job: Any) -> None:
    """Remember that this job was queued, until it has ended."""
    record.pending = (*_pending(record), job)[-MOST_PENDING:]


def is_busy(record: Record) -> bool:
    """Whether a job that was queued has not ended."""
    return not all(map(_has_ended, reversed(record.pending)))


def is_over(firing: Firing) -> bool:
    """Whether nothing more will become of it."""
    return firing.kind != model.JOB or _has_ended(firing.job)


def forget(record: Record) -> None:
    """Forget the firings that are over."""
    left = tuple(firing for firing in record.firings if not is_over(firing))
    if len(left) != len(record.firings):
        record.firings = left
        record.pending = _pending(record)


def _pending(record: Record) -> tuple[Any, ...]:
    return tuple(job for job in record.pending if not _has_ended(job))


def _has_ended(job: Any) -> bool:
    return not jobinfo.is_loadable(job) or jobinfo.status_of(job) in jobinfo.ENDED


def _of_job(job: Any) -> dict[str, Any]:
    if not jobinfo.is_loadable(job):
        message = _("The record of its job cannot be read; the log says why")
        return {"status": "failed", "message": message}
    info = jobinfo.describe(job)
    status = "queued" if info.status == "quarantined" else info.status
    return {
        "status": status,
        "job_id": info.id,
        "began": info.started,
        "ended": info.ended,
        "message": info.error or info.result or info.reason,
        "traceback": info.traceback,
    }


def _why_no_job(schedule: Schedule, firing: Firing) -> str | None:
    if firing.kind == model.REFUSED:
        return firing.reason
    several = firing.count > 1
    if firing.kind == model.SKIPPED:
        if not several:
            return _("The job of an earlier firing was not finished")
        return _(
            "skipped_firings",
            default="${count} firings since ${first}: the job of an earlier one was "
            "not finished",
            mapping=_mapping(schedule, firing),
        )
    if not several:
        return _("No worker was there in time")
    return _(
        "missed_firings",
        default="${count} firings since ${first}: no worker was there in time",
        mapping=_mapping(schedule, firing),
    )


def _mapping(schedule: Schedule, firing: Firing) -> dict[str, str]:
    count = f"{firing.count}"
    if firing.count == due.COUNTED and schedule.cron is not None:
        count += "+"
    first = _shown(schedule, firing.first)
    return {"count": count, "first": f"{first:%Y-%m-%d %H:%M:%S}"}


def _shown(schedule: Schedule, moment: int | None) -> datetime | None:
    """The moment in the schedule's zone; in UTC if that is not known any more."""
    if moment is None:
        return None
    try:
        return schedule.timing.in_zone(moment)
    except ValueError:
        return clock.from_us(moment)
