"""The pages of the job manager: ``@@jobs``, and ``@@jobs/ID`` for one of its jobs.

Whoever may view jobs sees those of the site; removing and starting them takes the
permission to manage jobs.
"""

from __future__ import annotations

from AccessControl import getSecurityManager
from AccessControl import Unauthorized
from collective.clockwork import _
from collective.clockwork import jobrules
from collective.clockwork.browser.jobs import JobPage
from collective.clockwork.manager.container import number_of
from collective.clockwork.manager.facts import facts_at
from collective.clockwork.manager.facts import JobFacts
from collective.clockwork.manager.facts import newest_facts
from collective.clockwork.manager.interfaces import IJobManager
from datetime import datetime
from functools import cached_property
from plone.protect import CheckAuthenticator
from Products.Five.browser.pagetemplatefile import ViewPageTemplateFile
from Products.statusmessages.interfaces import IStatusMessage
from typing import Any
from zope.component import getUtility
from zope.i18n import translate
from zope.interface import implementer
from zope.publisher.interfaces import IPublishTraverse
from zope.publisher.interfaces import NotFound


#: How many jobs the list shows at most, the newest.
PAGE_SIZE = 500
#: Seconds that a test job may last.
LONGEST_TEST = 3600

COLOURS = {
    "active": "primary",
    "completed": "success",
    "failed": "danger",
    "quarantined": "danger",
    "unreadable": "danger",
}


@implementer(IPublishTraverse)
class JobManagerView(JobPage):
    """All jobs of the manager, or the one whose id follows in the address."""

    listing = ViewPageTemplateFile("manager.pt")
    single = ViewPageTemplateFile("manager_job.pt")

    #: The id that the address names, and the job that has it.
    id: str | None = None
    job: JobFacts | None = None

    def publishTraverse(self, request: Any, name: str) -> JobManagerView:
        """The page of the job with this id; NotFound for what can be none.

        Nobody is logged in yet, so whether there is a job is not looked up here.
        """
        if self.id is not None or number_of(name) is None:
            raise NotFound(self, name, request)
        self.id = name
        return self

    def __call__(self) -> str:
        self.forbid_caching()
        if self.id is not None:
            self.job = facts_at(self.id, self.request)
            if self.job is None:
                raise NotFound(self, self.id, self.request)
        form = self.request.form
        if self.request.method == "POST" and ("remove" in form or "start" in form):
            CheckAuthenticator(self.request)
            if not self.may_manage:
                raise Unauthorized("You may look at background jobs, not change them")
            return self._remove() if "remove" in form else self._start()
        return self.listing() if self.job is None else self.single()

    def page_title(self) -> str:
        if self.job is None:
            return translate(_("Job manager"), context=self.request)
        return translate(
            _("Job ${id}", mapping={"id": self.job.id}), context=self.request
        )

    @property
    def may_manage(self) -> bool:
        manager = getSecurityManager()
        return bool(manager.checkPermission(jobrules.MANAGE_JOBS, self.context))

    @cached_property
    def jobs(self) -> list[JobFacts]:
        return newest_facts(PAGE_SIZE)

    @property
    def is_cut(self) -> bool:
        """Whether there may be more than the page shows."""
        return len(self.jobs) == PAGE_SIZE

    @property
    def page_size(self) -> int:
        return PAGE_SIZE

    def job_url(self, job: JobFacts) -> str:
        return self.url(f"@@jobs/{job.id}")

    def colour(self, job: JobFacts) -> str:
        return COLOURS.get(job.status, "secondary")

    def whole_percent(self, job: JobFacts) -> int | None:
        """How far it is, half a percent rounded up; None if it said nothing, or 0."""
        return None if not job.percent else int(job.percent + 0.5)

    def moment(self, moment: datetime | None) -> str:
        return "" if moment is None else self.localized(moment)

    def _remove(self) -> str:
        id = self.request.form.get("id")
        job = facts_at(id, self.request) if isinstance(id, str) else None
        if job is None:
            self._say(_("There is no such job."), "error")
        elif not job.is_removable:
            # It may have changed since the page was made.
            self._say(_("The job ${id} has not ended.", mapping={"id": id}), "error")
        else:
            getUtility(IJobManager).remove(id)
            self._say(_("The job ${id} was removed.", mapping={"id": id}))
        return self.request.response.redirect(self.url("@@jobs"))

    def _start(self) -> str:
        given = self.request.form.get("duration", "60")
        if not (isinstance(given, str) and given.isascii() and given.isdecimal()):
            given = ""
        if not given or len(given) > 5 or int(given) > LONGEST_TEST:
            text = _(
                "The duration has to be a whole number of seconds, ${most} at most.",
                mapping={"most": LONGEST_TEST},
            )
            self._say(text, "error")
        else:
            id = getUtility(IJobManager).start_test_job(int(given))
            self._say(_("The test job ${id} was started.", mapping={"id": id}))
        return self.request.response.redirect(self.url("@@jobs"))

    def _say(self, text: str, kind: str = "info") -> None:
        IStatusMessage(self.request).add(text, type=kind)
