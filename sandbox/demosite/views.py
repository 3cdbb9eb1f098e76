"""The page "Try it" of a folder, and what the demo asks for over HTTP."""

from __future__ import annotations

from collective.clockwork.interfaces import IAsyncService
from collective.clockwork.schedules.interfaces import IScheduler
from datetime import timedelta
from plone import api
from plone.protect import CheckAuthenticator
from Products.Five.browser import BrowserView
from Products.Five.browser.pagetemplatefile import ViewPageTemplateFile
from sandbox.demosite import records
from sandbox.demosite.recipes import RECIPES
from ZODB.utils import u64
from zope.component import getUtility

import inspect
import json


#: Name of the schedule of the demo.
EVERY_SECOND = "every-second"


class TryIt(BrowserView):
    """A form with a button for each recipe; a POST of its ``recipe`` queues.

    With ``answer=json`` the answer is the list of the ids of the queued jobs.
    """

    template = ViewPageTemplateFile("tryit.pt")

    def __call__(self) -> str:
        if self.request.method != "POST":
            return self.template()
        CheckAuthenticator(self.request)
        name = self.request.form.get("recipe")
        if name not in RECIPES:
            self.request.response.setStatus(400)
            return f"recipe is {name!r}; it may be {', '.join(RECIPES)}."
        queue, _title = RECIPES[name]
        jobs = queue(getUtility(IAsyncService), self.context)
        if self.request.form.get("answer") == "json":
            self.request.response.setHeader("Content-Type", "application/json")
            return json.dumps([str(u64(job._p_oid)) for job in jobs])
        api.portal.show_message(f"Jobs queued: {len(jobs)}.", self.request)
        return self.request.response.redirect(f"{self.context.absolute_url()}/@@try-it")

    def recipes(self) -> list[dict[str, str]]:
        return [
            {"name": name, "title": title, "text": inspect.getdoc(function)}
            for name, (function, title) in RECIPES.items()
        ]

    def jobs_url(self) -> str | None:
        """Where the jobs are shown, to those who may see them."""
        site = api.portal.get()
        permission = "collective.clockwork: Manage background jobs"
        if not api.user.has_permission(permission, obj=site):
            return None
        return f"{site.absolute_url()}/@@background-jobs"


class PagesJSON(BrowserView):
    """The pages in this folder that the visitor may see."""

    def __call__(self) -> str:
        self.request.response.setHeader("Content-Type", "application/json")
        pages = [brain.getObject() for brain in self._brains()]
        return json.dumps({page.getId(): self._describe(page) for page in pages})

    def _brains(self):
        path = {"query": "/".join(self.context.getPhysicalPath()), "depth": 1}
        return api.content.find(path=path, portal_type="Document")

    def _describe(self, page) -> dict[str, str]:
        return {
            "title": page.title,
            "creator": page.Creator(),
            "description": page.description,
            "state": api.content.get_state(page),
            "html": page.text.output if page.text else "",
        }


class RecordsJSON(BrowserView):
    """What subscribers and callbacks have recorded on this site."""

    def __call__(self) -> str:
        self.request.response.setHeader("Content-Type", "application/json")
        return json.dumps(records.read(self.context))


class EverySecond(BrowserView):
    """A form for a schedule that fires every second.

    A POST of ``user`` begins it, as that user, and one without ends it.
    """

    template = ViewPageTemplateFile("everysecond.pt")

    def __call__(self) -> str:
        if self.request.method != "POST":
            return self.template()
        CheckAuthenticator(self.request)
        scheduler = getUtility(IScheduler)
        user = self.request.form.get("user")
        if user is not None:
            scheduler.add(
                EVERY_SECOND,
                "sandbox.demosite.jobs.record_firing",
                every=timedelta(seconds=1),
                user=user,
                overlap="both",
            )
        elif scheduler.get(EVERY_SECOND) is not None:
            scheduler.remove(EVERY_SECOND)
        self.request.response.setHeader("Content-Type", "application/json")
        return json.dumps([info.name for info in scheduler.list()])


class FiringsJSON(BrowserView):
    """What became of the firings of that schedule, newest first."""

    def __call__(self) -> str:
        self.request.response.setHeader("Content-Type", "application/json")
        firings = getUtility(IScheduler).firings(EVERY_SECOND)
        return json.dumps([self._describe(firing) for firing in firings])

    def _describe(self, firing) -> dict[str, str]:
        return {
            "slot": firing.slot.isoformat(),
            "status": firing.status,
            "job": firing.job_id,
        }
