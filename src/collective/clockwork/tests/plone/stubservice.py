"""A service whose jobs a test writes down, in place of a queue with real ones."""

from __future__ import annotations

from AccessControl import getSecurityManager
from AccessControl import Unauthorized
from collections import Counter
from collective.clockwork import jobrules
from collective.clockwork.interfaces import IAsyncService
from collective.clockwork.jobinfo import JobInfo
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from zope.component import getGlobalSiteManager
from zope.component import queryUtility
from zope.component.hooks import getSite


NOON = datetime(2026, 3, 4, 12, 0, tzinfo=timezone.utc)

QUEUED = JobInfo(
    id="7",
    queue="",
    function="my.addon.chapters.convert",
    context="/plone/news",
    user="ada",
    site="/plone",
    status="queued",
    queued_at=NOON,
    due=None,
    started=None,
    ended=None,
    result=None,
    error=None,
    traceback=None,
    reason=None,
    quota_names=("default",),
    attempt=0,
    progress=None,
    arguments="'intro.rst'",
)
ACTIVE = replace(
    QUEUED, id="8", status="active", started=NOON + timedelta(minutes=1), progress=0.4
)
COMPLETED = replace(
    QUEUED,
    id="9",
    user=None,
    status="completed",
    started=NOON + timedelta(minutes=1),
    ended=NOON + timedelta(minutes=4, seconds=20),
    result="'intro'",
)
FAILED = replace(
    COMPLETED,
    id="10",
    user="bob",
    status="failed",
    result=None,
    error="ValueError: no such chapter",
    traceback="Traceback (most recent call last):\nValueError: no such chapter",
)


class StubService:
    """Answers the questions that the pages ask, from a list of JobInfos."""

    def __init__(self, *jobs: JobInfo, workers: int = 1) -> None:
        self.jobs = list(jobs)
        self.workers = workers

    def findJobs(self, status=None, user=None, limit=200) -> list[JobInfo]:
        return [
            job
            for job in self.jobs
            if status in (None, job.status) and user in (None, job.user)
        ][:limit]

    def countJobs(self) -> dict[str, int]:
        return dict(Counter(job.status for job in self.jobs))

    def getJobInfo(self, id) -> JobInfo | None:
        found = next((job for job in self.jobs if job.id == id), None)
        manager = getSecurityManager()
        if found and not manager.checkPermission(jobrules.MANAGE_JOBS, getSite()):
            raise Unauthorized(f"You may not see the job {id}")
        return found

    def workersAlive(self) -> int:
        return self.workers


def install(test, service: StubService) -> StubService:
    """Put `service` in the place of the real one until `test` is over."""
    registry = getGlobalSiteManager()
    real = queryUtility(IAsyncService)
    registry.registerUtility(service, IAsyncService)
    test.addCleanup(registry.unregisterUtility, service, IAsyncService)
    if real is not None:
        test.addCleanup(registry.registerUtility, real, IAsyncService)
    return service
