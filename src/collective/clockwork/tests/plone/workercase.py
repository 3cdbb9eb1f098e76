"""What tests share that have a real worker run jobs in as many threads as they need."""

from __future__ import annotations

from collective.clockwork.engine.subscribers import AgentInstaller
from collective.clockwork.testing import running_worker
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from zope.component import getGlobalSiteManager

import transaction


class WorkerTestCase(ServiceTestCase):
    """A site with jobs that a worker runs in threads, and not the test."""

    def run_in_worker(self, *jobs, threads=1):
        """Have a worker with so many threads run these jobs; return their results."""
        queue = self.service.getQueues()[""]
        queue.quotas["default"].size = threads
        transaction.commit()
        registry = getGlobalSiteManager()
        # Called first, so that the worker's own finds an agent.
        installer = AgentInstaller("main", size=threads)
        registry.registerHandler(installer)
        self.addCleanup(registry.unregisterHandler, installer)
        with running_worker(self.layer["zodbDB"]):
            for job in jobs:
                self.wait_until(lambda job=job: job.status == "completed-status")
        transaction.begin()
        return [job.result for job in jobs]
