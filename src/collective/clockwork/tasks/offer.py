"""Which tasks there are, how they are queued, and what can be asked about them."""

from __future__ import annotations

from AccessControl import Unauthorized
from AccessControl.Permissions import delete_objects
from AccessControl.Permissions import manage_zcatalog_entries
from collections.abc import Callable
from collective.clockwork import _
from collective.clockwork.engine import progress
from collective.clockwork.interfaces import IAsyncService
from collective.clockwork.jobinfo import JobInfo
from collective.clockwork.tasks.delete import delete
from collective.clockwork.tasks.exports.job import export
from collective.clockwork.tasks.links import check_links
from collective.clockwork.tasks.reindex import rebuild_catalog
from collective.clockwork.tasks.reindex import reindex
from collective.clockwork.tasks.report import report_of
from collective.clockwork.tasks.transition import change_state
from dataclasses import dataclass
from datetime import timedelta
from Products.CMFCore.permissions import ModifyPortalContent
from typing import Any
from zope.component import getUtility


#: Quota of the tasks. It is their own, so that a long one holds up no other job.
QUOTA = "clockwork-tasks"
#: Quota of link checks, which wait for other sites for hours.
LINKS_QUOTA = "clockwork-links"
#: Quota of exports: who waits for a file does not wait for others' tasks.
EXPORTS_QUOTA = "clockwork-exports"
#: How long an export is kept, with its file.
KEEP_EXPORTS = timedelta(days=7)


@dataclass(frozen=True)
class Task:
    """A task as people are offered it."""

    name: str
    title: str
    description: str
    func: Callable
    #: Whoever has it on the context is offered the task; what it may do there is
    #: decided for each object, when it runs.
    permission: str
    #: Whether it is about the whole site, and not about selected objects.
    whole_site: bool = False
    #: Name of the quota that it runs under.
    quota: str = QUOTA
    #: How long the job is kept when it has ended; None for as long as others.
    keep: timedelta | None = None


TASKS = {
    task.name: task
    for task in (
        Task(
            "transition",
            _("Change state"),
            _("Publishes, hides or otherwise changes the state of many objects."),
            change_state,
            ModifyPortalContent,
        ),
        Task(
            "delete",
            _("Delete"),
            _("Deletes objects and all that is inside of them."),
            delete,
            delete_objects,
        ),
        Task(
            "links",
            _("Check links"),
            _("Finds links that lead nowhere."),
            check_links,
            ModifyPortalContent,
            quota=LINKS_QUOTA,
        ),
        Task(
            "export",
            _("Export"),
            _("Makes a file with a list, for Excel and other programs."),
            export,
            ModifyPortalContent,
            quota=EXPORTS_QUOTA,
            keep=KEEP_EXPORTS,
        ),
        Task(
            "reindex",
            _("Index again"),
            _("Brings listings and searches up to date with the content."),
            reindex,
            ModifyPortalContent,
        ),
        Task(
            "catalog",
            _("Rebuild the catalog"),
            _("Indexes all objects of the site, and drops entries of lost ones."),
            rebuild_catalog,
            manage_zcatalog_entries,
            whole_site=True,
        ),
    )
}


def name_of(task: Task) -> str:
    """The name of its function, as jobs tell it."""
    return f"{task.func.__module__}.{task.func.__qualname__}"


_BY_FUNCTION = {name_of(task): task for task in TASKS.values()}


@dataclass(frozen=True)
class TaskInfo:
    """What is known of a task that was queued."""

    task: Task
    job: JobInfo
    #: The path that it is at, or None.
    message: str | None
    #: How many objects it has looked at, and how many there are; None if unknown.
    looked_at: int | None
    total: int | None
    #: See ``report.Report``; while it runs, what is committed of it.
    report: dict[str, Any]


def ensure_quota(queue: Any, name: str) -> None:
    """Add a quota of tasks if it isn't there; a size that was set is kept."""
    if name not in queue.quotas:
        queue.quotas.create(name, size=1)


def start(
    task: Task, context: Any, *, notify: str | None = None, **arguments: Any
) -> Any:
    """Queue the task on this context, in the caller's transaction; the job.

    ``notify`` is the option of this name: whether the user gets a mail at the end.
    """
    service = getUtility(IAsyncService)
    queue = service.getQueues()[""]
    ensure_quota(queue, task.quota)
    asking = service.using(quota=task.quota, title=task.title, notify=notify)
    if task.keep is not None:
        asking = asking.using(keep_result=task.keep, keep_failure=task.keep)
    job = asking.queueJob(task.func, context, **arguments)
    if job.id is None:
        # Whoever asked is led to the job's page, before the commit that stores it.
        queue._p_jar.add(job)
    return job


def look(id: str) -> TaskInfo | None:
    """What is known of the task with this job id; None if there is none.

    None also for a job of another user, unless the current one may manage jobs.
    """
    service = getUtility(IAsyncService)
    try:
        job = service.getJob(id)
    except Unauthorized:
        return None
    if job is None or job.callable_name not in _BY_FUNCTION:
        return None
    said = progress.of(job)
    return TaskInfo(
        _BY_FUNCTION[job.callable_name],
        service.getJobInfo(id),
        said.message,
        None if said.done is None else int(said.done),
        None if said.total is None else int(said.total),
        report_of(job),
    )
