"""The page that follows a task, for the user who started it.

It refreshes itself without a script, as long as the task waits or runs.
"""

from __future__ import annotations

from collective.clockwork import _
from collective.clockwork import identity
from collective.clockwork.browser.jobs import JobPage
from collective.clockwork.tasks import offer
from collective.clockwork.tasks.exports import shelf
from functools import cached_property
from plone.protect import CheckAuthenticator
from Products.Five.browser.pagetemplatefile import ViewPageTemplateFile
from urllib.parse import urlencode
from zope.i18n import translate
from zope.i18nmessageid import Message


#: Seconds between two refreshes.
INTERVAL = 4

UNFINISHED = ("queued", "active")

#: The lists of a report, with the words above them.
LISTS = {
    "broken": _("Broken links"),
    "failed": _("Failed"),
    "skipped": _("Skipped"),
    "unchecked": _("Not checked"),
}

#: Reasons in a report, in words for people.
REASONS = {
    "gone": _("It is not there any more."),
    "locked": _("Somebody is working on it."),
    "unauthorized": _("You may not do that with it."),
    "not-possible": _("Its state cannot be changed like that, or not by you."),
    "not-empty": _("Something inside of it could not be deleted."),
    "nothing-there": _("There is nothing at this address."),
    "invalid": _("This is no valid address."),
    "unknown-host": _("There is no site of this name."),
    "unreachable": _("The site cannot be reached."),
    "certificate": _("The site's certificate is not valid."),
    "redirects": _("The site sends visitors in circles."),
    "private-address": _("It is not in the public net, so it was not asked."),
    "port": _("It is not at a web site's usual port, so it was not asked."),
    "too-many": _("There were too many links to other sites before it."),
}


class TaskProgressPage(JobPage):
    """How far a task is, and what came of it; 404 for whoever may not see it."""

    template = ViewPageTemplateFile("task.pt")

    def __call__(self) -> str:
        self.forbid_caching()
        id = self.request.form.get("id")
        self.info = offer.look(id) if isinstance(id, str) else None
        if self.info is None:
            self.request.response.setStatus(404)
            return self.template()
        if self.request.method == "POST" and "cancel" in self.request.form:
            CheckAuthenticator(self.request)
            if self.is_unfinished:
                self.service.cancelJob(id)
            return self.request.response.redirect(self.url("@@background-task", id=id))
        return self.template()

    def page_title(self) -> str:
        title = _("No such job") if self.info is None else self.info.task.title
        return translate(title, context=self.request)

    @cached_property
    def export(self) -> shelf.Export | None:
        """What is known of the file, if the task makes one."""
        is_export = self.info is not None and self.info.task.name == shelf.NAME
        return shelf.look(self.info.job.id) if is_export else None

    def site_url(self, view: str, **query: str) -> str:
        """The address of a view of the site."""
        address = f"{identity.current_site().absolute_url()}/{view}"
        return f"{address}?{urlencode(query)}" if query else address

    @property
    def is_unfinished(self) -> bool:
        return self.info is not None and self.info.job.status in UNFINISHED

    @property
    def refreshes(self) -> bool:
        """Whether the page loads itself again; whoever reads it can stop that."""
        return self.is_unfinished and self.request.form.get("refresh") != "no"

    @property
    def interval(self) -> int:
        return INTERVAL

    def switch_url(self) -> str:
        """This page with the refreshing switched."""
        wanted = "no" if self.refreshes else None
        return self.url("@@background-task", id=self.info.job.id, refresh=wanted)

    def counts(self) -> list[dict]:
        """How many objects met which fate: the first line always, others if any."""
        report = self.info.report
        lines = [
            (_("Done"), report["done"]),
            (_("Entries removed"), report["removed"]),
            (_("Broken links"), report["broken_total"]),
            (_("Links not checked"), report["unchecked_total"]),
            (_("Skipped"), report["skipped_total"]),
            (_("Skipped, as you may not see them"), report["hidden"]),
            (_("Failed"), report["failed_total"]),
        ]
        return [
            {"label": label, "number": number}
            for index, (label, number) in enumerate(lines)
            if number or not index
        ]

    def lists(self) -> list[dict]:
        """What was skipped and so on: path, address, link and reason of each."""
        report = self.info.report
        return [
            {
                "name": name,
                "title": title,
                "entries": [self._entry(*entry) for entry in report[name]],
                "more": report[f"{name}_total"] - len(report[name]),
            }
            for name, title in LISTS.items()
            if report[name]
        ]

    def _entry(self, path: str, *rest: str) -> dict:
        *links, reason = rest
        site = tuple(self.info.job.site.split("/"))
        names = [name for name in path.split("/") if name]
        return {
            "path": path,
            "url": self.request.physicalPathToURL((*site, *names)),
            "link": links[0] if links else None,
            "reason": self._reason(reason),
        }

    def _reason(self, reason: str) -> str | Message:
        if reason.startswith("status-"):
            status = reason.removeprefix("status-")
            return _("The site answers with ${status}.", mapping={"status": status})
        return REASONS.get(reason, reason)

    def percent(self, job) -> int | None:
        """The progress of a task that runs; what has ended needs none."""
        return super().percent(job) if self.is_unfinished else None
