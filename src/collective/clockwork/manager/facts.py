"""What pages see of the manager's jobs: facts, no persistent objects."""

from __future__ import annotations

from collections import deque
from collective.clockwork import _
from collective.clockwork.engine import interfaces
from collective.clockwork.engine.errors import CancelledError
from collective.clockwork.engine.job import isFailure
from collective.clockwork.jobinfo import excerpt
from collective.clockwork.jobinfo import is_loadable
from collective.clockwork.manager.interfaces import IJobManager
from collective.clockwork.manager.jobs import JOB_STATUS_MAP
from collective.clockwork.manager.jobs import percent_of
from collective.clockwork.manager.site import JobManagerTraverser
from collective.clockwork.sitejob import SiteJob
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zope.component import getUtility


#: Statuses in which a page lets a job be removed.
REMOVABLE = ("new", "completed", "failed", "cancelled")


@dataclass(frozen=True)
class JobFacts:
    """One job, as it was when it was asked for. Times are aware, and in UTC."""

    id: str
    #: A word of JOB_STATUS_MAP, or "failed", "cancelled" or "unreadable".
    status: str
    #: The same for people.
    status_title: str
    #: Dotted name of what is called; None if the record cannot be read.
    function: str | None = None
    begin_after: datetime | None = None
    #: Seconds after that until when it has to begin; None for ever.
    begin_by: float | None = None
    #: repr of its annotations.
    annotations: str = ""
    #: From 0 to 100; None as long as it says nothing.
    percent: float | None = None
    #: "Type: message" of a job that failed.
    failure: str | None = None
    #: Whether the service knows it, so that the control panel has a page for it.
    is_of_service: bool = False

    @property
    def is_removable(self) -> bool:
        """Whether nothing is lost to see when it is kept no more."""
        return self.status in REMOVABLE


def facts_of(job_id: str, job: Any) -> JobFacts:
    """The facts about a job, also about one whose record cannot be read."""
    if not is_loadable(job):
        title = _("job_status_unreadable", default="cannot be read")
        return JobFacts(job_id, "unreadable", title)
    word, title = JOB_STATUS_MAP[job.status]
    failure = None
    result = job.stored_result if isinstance(job, SiteJob) else job.result
    ended = job.status in (interfaces.COMPLETED, interfaces.CALLBACKS)
    if ended and isFailure(result):
        word, title = "failed", _("job_status_failed", default="failed")
        if result.check(CancelledError):
            word, title = "cancelled", _("job_status_cancelled", default="cancelled")
        name = result.typeName.rpartition(".")[2]
        failure = f"{name}: {result.getErrorMessage()}"
    begin_by = job.begin_by
    return JobFacts(
        job_id,
        word,
        title,
        job.callable_name,
        job.begin_after,
        None if begin_by is None else begin_by.total_seconds(),
        excerpt(dict(job.annotations)),
        percent_of(job),
        failure,
        isinstance(job, SiteJob),
    )


def newest_facts(limit: int) -> list[JobFacts]:
    """Those of so many jobs of the manager in the current site, the highest id last."""
    newest = deque(getUtility(IJobManager).jobs(), maxlen=limit)
    return [facts_of(*pair) for pair in newest]


def facts_at(name: str, request: Any) -> JobFacts | None:
    """Those of the job at this place of an address; None if there is none."""
    job = JobManagerTraverser(getUtility(IJobManager), request).traverse(name)
    return None if job is None else facts_of(name, job)
