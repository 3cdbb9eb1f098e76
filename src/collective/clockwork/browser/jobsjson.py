"""`jobs.json`: the jobs of this site for programs."""

from __future__ import annotations

from collective.clockwork import _
from collective.clockwork.browser.jobs import JobPage
from collective.clockwork.browser.jobs import STATUSES
from collective.clockwork.jobinfo import JobInfo
from dataclasses import asdict
from zope.i18n import translate

import json


#: How many jobs are told unless the request says otherwise, and at most.
DEFAULT_LIMIT = 200
MAXIMAL_LIMIT = 1000

#: The lists of plone.app.async's `jobs.json` and our statuses.
OLD_LISTS = {
    "queued": ("queued",),
    "active": ("active",),
    "completed": ("completed",),
    "dead": ("failed", "cancelled", "quarantined"),
}


class JobsJSON(JobPage):
    """An object with `counts`, `workers` (how many are alive) and `jobs`.

    `jobs` holds every field of `JobInfo`, newest job first, times in ISO 8601.
    The parameters `status`, `user` and `limit` choose among them.

    Beside these stand the four lists of plone.app.async's view of this name:
    `queued`, `active`, `completed` and `dead`, each with `id` (a number),
    `callable`, `args`, `status`, `progress` and `failure`. Other than there all
    of these are plain text, never HTML, and the lists hold no more than `jobs`.
    """

    def __call__(self) -> str:
        response = self.request.response
        response.setHeader("Content-Type", "application/json")
        response.setHeader("X-Content-Type-Options", "nosniff")
        self.forbid_caching()
        try:
            chosen = self.read_parameters()
        except ValueError as error:
            response.setStatus(400)
            return json.dumps({"error": str(error)})
        jobs = self.service.findJobs(**chosen)
        answer = {
            "counts": self.service.countJobs(),
            "workers": self.service.workersAlive(),
            "jobs": [asdict(job) | self.words(job) for job in jobs],
        }
        for name, statuses in OLD_LISTS.items():
            those = [job for job in jobs if job.status in statuses]
            answer[name] = [self.old_entry(job) for job in those]
        return json.dumps(answer, default=lambda moment: moment.isoformat())

    def read_parameters(self) -> dict:
        """What to ask the service for. Raises ValueError saying what is wrong."""
        form = self.request.form
        status = form.get("status") or None
        if status is not None and (
            not isinstance(status, str) or status not in STATUSES
        ):
            raise ValueError(f"status is {status!r}; it may be {', '.join(STATUSES)}.")
        user = form.get("user") or None
        if user is not None and not isinstance(user, str):
            raise ValueError(f"user is {user!r}; give one user id.")
        limit = form.get("limit") or str(DEFAULT_LIMIT)
        if not (isinstance(limit, str) and limit.isascii() and limit.isdecimal()):
            raise ValueError(f"limit is {limit!r}; give one whole number.")
        if len(limit) > 9 or not 1 <= int(limit) <= MAXIMAL_LIMIT:
            raise ValueError(f"limit is {limit}; it may be 1 to {MAXIMAL_LIMIT}.")
        return {"status": status, "user": user, "limit": int(limit)}

    def words(self, job: JobInfo) -> dict[str, str | None]:
        """The fields that are texts for people, in the viewer's language."""
        title = self.name(job) if job.title else None
        return {"reason": self.reason(job), "title": title}

    def old_entry(self, job: JobInfo) -> dict:
        percent = self.percent(job)
        return {
            "id": int(job.id),
            "callable": job.function,
            "args": job.arguments,
            "status": self.sentence(job),
            "progress": "" if percent is None else f"{percent} %",
            "failure": job.error or "",
        }

    def sentence(self, job: JobInfo) -> str:
        """The status with its time, as in plone.app.async: "Started at ..."."""
        due = job.due if self.is_delayed(job) else None
        moment = job.ended or job.started or due or job.queued_at
        if moment is None:
            return translate(self.status_title(job), context=self.request)
        mapping = {"time": self.localized(moment)}
        if job.ended:
            text = _("Ended at ${time}", mapping=mapping)
        elif job.started:
            text = _("Started at ${time}", mapping=mapping)
        elif due:
            text = _("Scheduled for ${time}", mapping=mapping)
        else:
            text = _("Queued at ${time}", mapping=mapping)
        return translate(text, context=self.request)
