"""The pages about background jobs: a list, one job, and both names of before.

All of them only look. They answer GET requests, write nothing, and know jobs as
the service tells them (`JobInfo`), so that they never conflict with a worker.
"""

from __future__ import annotations

from AccessControl import getSecurityManager
from AccessControl import Unauthorized
from collective.clockwork import _
from collective.clockwork import jobrules
from collective.clockwork.interfaces import IAsyncService
from collective.clockwork.tasks import is_task
from DateTime import DateTime
from datetime import datetime
from datetime import timedelta
from functools import cached_property
from html import escape
from importlib.metadata import version
from itertools import groupby
from plone.app.event.base import default_timezone
from plone.app.layout.viewlets.common import TitleViewlet
from plone.base.i18nl10n import ulocalized_time
from Products.Five.browser import BrowserView
from Products.Five.browser.pagetemplatefile import ViewPageTemplateFile
from typing import TYPE_CHECKING
from urllib.parse import urlencode
from zope.component import getUtility
from zope.i18n import translate


if TYPE_CHECKING:
    from collective.clockwork.jobinfo import JobInfo
    from datetime import date
    from datetime import tzinfo

#: Statuses in the order of the filter links: title and Bootstrap's colour name.
STATUSES = {
    "queued": (_("Queued"), "secondary"),
    "active": (_("Active"), "primary"),
    "quarantined": (_("Set aside"), "danger"),
    "failed": (_("Failed"), "danger"),
    "cancelled": (_("Cancelled"), "secondary"),
    "completed": (_("Completed"), "success"),
}

#: Those whose filter links are shown only where there are such jobs.
RARE = ("quarantined", "cancelled")

#: The functions of batches, by the names under which the service tells of them.
BATCHES = {
    "collective.clockwork.engine.compose.run_serial": _("Batch, one after the other"),
    "collective.clockwork.engine.compose.run_parallel": _("Batch, side by side"),
}

#: The pages of the control panel, in the order of their links.
PANELS = {
    "@@background-jobs": _("All background jobs"),
    "@@background-queues": _("Queues and quotas"),
    "@@background-schedules": _("Schedules"),
    "@@background-ticks": _("Ticks"),
    "@@jobs": _("Job manager"),
}

#: How many jobs the list shows at most, the newest ones.
PAGE_SIZE = 100

#: How many characters of a result or of arguments the list shows.
EXCERPT = 160

#: A job that is due no later than this after it was queued counts as not delayed.
AT_ONCE = timedelta(seconds=1)


def last_name(dotted: str) -> str:
    """The last part of a dotted name."""
    return dotted.rpartition(".")[2]


class JobPage(BrowserView):
    """What the pages share: one job's facts put into words.

    Text that comes from jobs goes into the templates as plain strings, which
    escape it.
    """

    #: Links to the pages of the control panel.
    navigation = ViewPageTemplateFile("navigation.pt")

    @property
    def service(self) -> IAsyncService:
        """The service, which alone knows the jobs of this site."""
        return getUtility(IAsyncService)

    def forbid_caching(self) -> None:
        """Keep the answer out of every cache: it is personal and soon stale."""
        self.request.response.setHeader("Cache-Control", "no-store")

    def url(self, view: str = "@@background-jobs", **query: str | None) -> str:
        """The address of one of our views, with the given parts of `query`."""
        given = {name: value for name, value in query.items() if value}
        address = f"{self.context.absolute_url()}/{view}"
        return f"{address}?{urlencode(given)}" if given else address

    def panels(self) -> list[dict]:
        """The pages of the control panel: title, address, and whether it is this."""
        return [
            {
                "title": title,
                "url": self.url(view),
                "current": view[2:] == self.__name__,
            }
            for view, title in PANELS.items()
        ]

    def resource_url(self, name: str) -> str:
        """The address of a style sheet or script of ours.

        It changes with each release, as browsers keep these files for a day.
        """
        base = f"{self.context.absolute_url()}/++resource++collective.clockwork"
        return f"{base}/{name}?v={version('collective.clockwork')}"

    @cached_property
    def zone(self) -> tzinfo:
        """The viewer's own time zone, else that of the site."""
        return default_timezone(self.context, as_tzinfo=True)

    def today(self) -> date:
        """The day that it is for the viewer."""
        return datetime.now(self.zone).date()

    def day(self, moment: datetime) -> str:
        """The date of `moment` as Plone writes it in the viewer's language.

        Plone's function writes that of the server's zone; so it gets the
        viewer's date as if that were the server's.
        """
        local = DateTime(*moment.astimezone(self.zone).timetuple()[:3])
        return ulocalized_time(local, context=self.context, request=self.request)

    def clock(self, moment: datetime) -> str:
        """The time of day to the second: Plone's own formats stop at minutes."""
        return f"{moment.astimezone(self.zone):%H:%M:%S}"

    def localized(self, moment: datetime) -> str:
        """`moment` in the viewer's language and time zone."""
        return f"{self.day(moment)} {self.clock(moment)}"

    def times(self, job: JobInfo) -> list[dict]:
        """What happened when: label, text for people, ISO for machines."""
        moments = [
            (_("label_queued_at", default="Queued"), job.queued_at),
            (_("Due"), job.due if self.is_delayed(job) else None),
            (_("Started"), job.started),
            (_("Ended"), job.ended),
        ]
        return [
            {"label": label, "text": self.localized(moment), "iso": moment.isoformat()}
            for label, moment in moments
            if moment is not None
        ]

    def times_in_brief(self, job: JobInfo) -> list[dict]:
        """At most two of the times, with a date only where it is another day's.

        That is another day than today, or than that of the time before.
        """
        moments = [(_("label_queued_at", default="Queued"), job.queued_at)]
        if job.started and job.ended:
            moments.append((_("Ran"), job.started))
        elif job.started:
            moments.append((_("Started"), job.started))
        elif job.ended:
            moments.append((_("Ended"), job.ended))
        elif self.is_delayed(job):
            moments.append((_("Due"), job.due))
        told = []
        known_day = self.today()
        for label, moment in moments:
            if moment is None:
                continue
            day = moment.astimezone(self.zone).date()
            write = self.clock if day == known_day else self.localized
            told.append(
                {"label": label, "text": write(moment), "iso": moment.isoformat()}
            )
            known_day = day
        return told

    def is_delayed(self, job: JobInfo) -> bool:
        """Whether the job was due at a later moment than that of its queueing."""
        if job.due is None:
            return False
        return job.queued_at is None or job.due - job.queued_at > AT_ONCE

    def duration(self, job: JobInfo) -> str | None:
        """How long an ended job ran, as "0.4 s", "3 min 20 s" or "2 h 5 min"."""
        return self.time_between(job.started, job.ended)

    def time_between(
        self, began: datetime | None, ended: datetime | None
    ) -> str | None:
        """How long that is, like `duration`; None if one of them is not known."""
        if began is None or ended is None:
            return None
        seconds = max(0.0, (ended - began).total_seconds())
        if seconds < 0.05:
            return "< 0.1 s"
        if seconds < 10:
            return f"{seconds:.1f} s"
        minutes, seconds = divmod(round(seconds), 60)
        if minutes == 0:
            return f"{seconds} s"
        hours, minutes = divmod(minutes, 60)
        return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"

    def status_title(self, job: JobInfo):
        return STATUSES[job.status][0]

    def status_colour(self, job: JobInfo) -> str:
        return STATUSES[job.status][1]

    def percent(self, job: JobInfo) -> int | None:
        """The progress of a running job from 0 to 100, if it tells any."""
        if job.status != "active" or job.progress is None:
            return None
        return round(100 * min(1.0, max(0.0, job.progress)))

    def reason(self, job: JobInfo) -> str | None:
        """Why a job waits, or was cancelled, in the viewer's language."""
        return job.reason and translate(job.reason, context=self.request)

    def name(self, job: JobInfo) -> str:
        """The job's title, else the function's own name or what kind of batch it is."""
        if job.title:
            return translate(job.title, context=self.request)
        if job.function in BATCHES:
            return translate(BATCHES[job.function], context=self.request)
        return last_name(job.function)

    def members(self, job: JobInfo) -> list[str]:
        """Dotted names of the functions in a batch; empty for other jobs.

        The service cuts a long list of them, so the last may be "…".
        """
        if job.function not in BATCHES:
            return []
        names = job.arguments.split(", ")
        return [*names[:-1], "…"] if names[-1].endswith("…") else names

    def members_in_brief(self, job: JobInfo) -> str:
        """The members of a batch, as "4 jobs: create_page, 3 × append_word"."""
        names = self.members(job)
        runs = [(name, len(list(run))) for name, run in groupby(map(last_name, names))]
        functions = ", ".join(
            name if size == 1 else f"{size} × {name}" for name, size in runs
        )
        if len(names) == 1:
            text = _("1 job: ${functions}", mapping={"functions": functions})
        else:
            cut = names[-1] == "…"
            number = f"{len(names) - 1}+" if cut else len(names)
            text = _(
                "${number} jobs: ${functions}",
                mapping={"number": number, "functions": functions},
            )
        return translate(text, context=self.request)

    def path(self, job: JobInfo) -> str | None:
        """The path of the job's context inside the site, "/" for the site."""
        if job.context is None:
            return None
        inside = job.context == job.site or job.context.startswith(f"{job.site}/")
        return (job.context[len(job.site) :] or "/") if inside else job.context

    def excerpt(self, text: str) -> str:
        return text if len(text) <= EXCERPT else f"{text[:EXCERPT]}…"

    def page_title(self) -> str:
        """What stands in the browser's title, before the site's."""
        return translate(_("Background jobs"), context=self.request)


class PageTitle(TitleViewlet):
    """The browser's title of our pages: Plone gives the site's name alone."""

    def update(self) -> None:
        """Put the page's title in front; the template takes both as HTML."""
        super().update()
        self.site_title = self.sep.join(
            (escape(self.view.page_title()), self.site_title)
        )


class JobsPage(JobPage):
    """The list of jobs, as a whole page in the control panel."""

    template = ViewPageTemplateFile("jobs.pt")
    listing = ViewPageTemplateFile("jobs_list.pt")

    def __call__(self) -> str:
        self.read_filters()
        self.forbid_caching()
        return self.template()

    def read_filters(self) -> None:
        """Take the filters from the request; what makes no sense counts as none."""
        status = self.request.form.get("status")
        user = self.request.form.get("user")
        self.status = status if isinstance(status, str) and status in STATUSES else None
        self.user = user.strip() or None if isinstance(user, str) else None
        self.found = self.service.findJobs(
            status=self.status, user=self.user, limit=PAGE_SIZE + 1
        )
        self.counts = self.service.countJobs()

    @property
    def jobs(self) -> list[JobInfo]:
        return self.found[:PAGE_SIZE]

    @property
    def is_cut(self) -> bool:
        return len(self.found) > PAGE_SIZE

    @property
    def page_size(self) -> int:
        return PAGE_SIZE

    @property
    def is_unused(self) -> bool:
        """No job at all is known on this site."""
        return not self.found and not any(self.counts.values())

    @property
    def no_worker(self) -> bool:
        return self.service.workersAlive() == 0

    def filter_url(self, status: str | None = None, user: str | None = None) -> str:
        return self.url(status=status, user=user)

    def refresh_url(self) -> str:
        """Where the script fetches the list anew, filtered as it is now."""
        return self.url("@@background-jobs-list", status=self.status, user=self.user)

    def filters(self) -> list[dict]:
        """The links that choose a status.

        The counts are those of all users, so they are left out beside a user
        filter, where they would not fit the list.
        """
        counts = {} if self.user else self.counts
        choices = [(None, _("All"), sum(counts.values()) if counts else None)]
        choices += [
            (status, title, counts.get(status, 0) if counts else None)
            for status, (title, _colour) in STATUSES.items()
            if status not in RARE or self.counts.get(status) or status == self.status
        ]
        return [
            {
                "title": title,
                "count": count,
                "url": self.filter_url(status, self.user),
                "current": status == self.status,
            }
            for status, title, count in choices
        ]

    def summary(self) -> str:
        """The counts as one sentence, for a screen reader after a refresh."""
        numbers = {status: self.counts.get(status, 0) for status in STATUSES}
        sentence = _(
            "jobs_summary",
            default="${queued} queued, ${active} active, ${failed} failed, "
            "${completed} completed.",
            mapping=numbers,
        )
        return translate(sentence, context=self.request)


class JobsListPage(JobsPage):
    """The list alone, without the page around it, for the refreshing script."""

    def __call__(self) -> str:
        self.read_filters()
        self.forbid_caching()
        response = self.request.response
        response.setHeader("Content-Type", "text/html; charset=utf-8")
        # Diazo would wrap the fragment into the site's theme.
        response.setHeader("X-Theme-Disabled", "True")
        return self.listing()


class OneJobPage(JobPage):
    """All facts of one job, with the whole traceback; 404 where there is none.

    For those who may manage jobs, and for the user who queued it.
    """

    template = ViewPageTemplateFile("job.pt")

    def __call__(self) -> str:
        self.forbid_caching()
        if getSecurityManager().getUser().getId() is None and not self.may_see_all:
            raise Unauthorized("Log in as the user who queued the job")
        self.job = self.find_job()
        self.request.set("disable_plone.leftcolumn", 1)
        self.request.set("disable_plone.rightcolumn", 1)
        if self.job is None:
            self.request.response.setStatus(404)
        return self.template()

    @property
    def may_see_all(self) -> bool:
        """Whether the user may open the list of all jobs."""
        manager = getSecurityManager()
        return bool(manager.checkPermission(jobrules.MANAGE_JOBS, self.context))

    def find_job(self) -> JobInfo | None:
        job_id = self.request.form.get("id")
        if not isinstance(job_id, str):
            return None
        if not (job_id.isascii() and job_id.isdecimal()):
            return None
        return self.service.getJobInfo(job_id)

    def page_title(self) -> str:
        """The job's name, before what stands in the title of the list."""
        if self.job is None:
            name = translate(_("No such job"), context=self.request)
        else:
            name = self.name(self.job)
        return f"{name} — {super().page_title()}"

    def report_url(self) -> str | None:
        """A link to the report in words that a ready-made task has."""
        if not is_task(self.job.function):
            return None
        return self.url("@@background-task", id=self.job.id)

    def context_url(self) -> str | None:
        """A link to the job's context, where its path lies inside this site."""
        path = self.path(self.job)
        if path is None or path == self.job.context:
            return None
        return self.request.physicalPathToURL(self.job.context.split("/"))


class OldListName(BrowserView):
    """`manage-job-queue`, the page's name in plone.app.async."""

    def __call__(self) -> str:
        target = f"{self.context.absolute_url()}/@@background-jobs"
        return self.request.response.redirect(target)


class OldErrorName(BrowserView):
    """`manage-job-error?id=...`, the traceback's name in plone.app.async."""

    def __call__(self) -> str:
        query = urlencode({"id": self.request.form.get("id", "")})
        target = f"{self.context.absolute_url()}/@@background-job?{query}"
        return self.request.response.redirect(target)
