"""Jobs that a test holds and lets go, by files in a directory of its own."""

from __future__ import annotations

from collective.clockwork.interfaces import IAsyncService
from pathlib import Path
from persistent.mapping import PersistentMapping
from plone.protect.interfaces import IDisableCSRFProtection
from Products.Five.browser import BrowserView
from threading import Event
from ZODB.utils import u64
from zope.annotation.interfaces import IAnnotations
from zope.component import getUtility
from zope.interface import alsoProvides

import json
import time


KEY = "collective.clockwork.tests.acceptance.held"

#: Seconds after which a job that nobody let go fails.
PATIENCE = 120


def begun_file(directory: str, name: str) -> Path:
    """Gets one letter at each beginning of the job, whatever becomes of it."""
    return Path(directory) / f"{name}.begun"


def release_file(directory: str, name: str) -> Path:
    """The job goes on when it is there."""
    return Path(directory) / f"{name}.release"


def hold(site, directory: str, name: str) -> int:
    """Wait for the release, then count in the database; gives the count."""
    with begun_file(directory, name).open("a") as begun:
        begun.write("x")
    deadline = time.monotonic() + PATIENCE
    while not release_file(directory, name).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{name} was not released in {PATIENCE} seconds")
        Event().wait(0.05)
    done = IAnnotations(site).setdefault(KEY, PersistentMapping())
    done[name] = done.get(name, 0) + 1
    return done[name]


class QueueHeldJob(BrowserView):
    """Queues ``hold`` with the request's ``directory`` and ``name``; gives its id."""

    def __call__(self) -> str:
        # The test has no form whose token it could send.
        alsoProvides(self.request, IDisableCSRFProtection)
        form = self.request.form
        service = getUtility(IAsyncService)
        job = service.queueJob(hold, self.context, form["directory"], form["name"])
        self.request.response.setHeader("Content-Type", "application/json")
        return json.dumps(str(u64(job._p_oid)))


class HeldJobsJSON(BrowserView):
    """How often each job was done, as the database has it."""

    def __call__(self) -> str:
        self.request.response.setHeader("Content-Type", "application/json")
        return json.dumps(dict(IAnnotations(self.context).get(KEY, {})))
