"""Jobs that tests with real processes look at from outside: a test job, an export."""

from __future__ import annotations

from collective.clockwork.engine import local
from collective.clockwork.manager import IJobManager
from collective.clockwork.tasks.exports import files
from collective.clockwork.tasks.exports import shelf
from collective.clockwork.tests.acceptance.addon.held import begun_file
from collective.clockwork.tests.acceptance.addon.held import PATIENCE
from collective.clockwork.tests.acceptance.addon.held import release_file
from plone.protect.interfaces import IDisableCSRFProtection
from Products.Five.browser import BrowserView
from threading import Event
from zope.component import getUtility
from zope.interface import alsoProvides

import json
import time


#: The annotation that tells a held export where the test's files are.
DIRECTORY = "collective.clockwork.tests.directory"
NAME = "export"
#: The row, with the heading as the first, before which it waits.
HELD_AT = 3


class HeldWriter(files.CSVWriter):
    """Waits in the middle of the file until the test lets it go on."""

    def __init__(self, target) -> None:
        super().__init__(target)
        self._rows = 0

    def write(self, row) -> None:
        self._rows += 1
        if self._rows == HELD_AT:
            self._wait(local.getJob().annotations[DIRECTORY])
        super().write(row)

    def _wait(self, directory: str) -> None:
        with begun_file(directory, NAME).open("a") as begun:
            begun.write("x")
        deadline = time.monotonic() + PATIENCE
        while not release_file(directory, NAME).exists():
            if time.monotonic() > deadline:
                raise TimeoutError(f"it was not released in {PATIENCE} seconds")
            Event().wait(0.05)


files.WRITERS["held"] = HeldWriter


class QueueHeldExport(BrowserView):
    """Queues an export of the site that waits in ``directory``; gives its id."""

    def __call__(self) -> str:
        # The test has no form whose token it could send.
        alsoProvides(self.request, IDisableCSRFProtection)
        query = {"path": "/".join(self.context.getPhysicalPath())}
        job = shelf.start(self.context, query, ["path"], "held")
        job.annotations[DIRECTORY] = self.request.form["directory"]
        self.request.response.setHeader("Content-Type", "application/json")
        return json.dumps(job.id)


class StartTestJob(BrowserView):
    """Starts the manager's test job; gives its id."""

    def __call__(self) -> str:
        # The test has no form whose token it could send.
        alsoProvides(self.request, IDisableCSRFProtection)
        self.request.response.setHeader("Content-Type", "application/json")
        return json.dumps(getUtility(IJobManager).start_test_job(PATIENCE))
