"""Test layers with background jobs, for this package and for other add-ons.

Base a layer on ``COLLECTIVE_CLOCKWORK_FIXTURE``, or use one of the two ready
ones. Jobs are run in one of two ways:

``drain``
    runs everything that is due in the test's own thread, one job after the
    other, by the code that a worker runs. Nothing happens behind the test's
    back, so this is the one to use::

        getUtility(IAsyncService).queueJob(make_page, folder, "news")
        drain()
        self.assertIn("news", folder)

``running_worker``
    has a real dispatcher with its threads run the jobs while the block lasts::

        with running_worker(self.layer["zodbDB"]):
            transaction.commit()
            wait_for_result(job)

Both commit, so they belong on a functional layer, which gives each test a
database of its own. Queueing alone can be tested on an integration layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from collective.clockwork.engine import testing as engine_testing
from collective.clockwork.engine.dispatcher import Dispatcher
from collective.clockwork.engine.dispatcher import pop as forget_dispatcher
from collective.clockwork.engine.interfaces import IDispatcherActivated
from collective.clockwork.engine.subscribers import agent_installer
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.engine.testing import wait_for_start
from collective.clockwork.interfaces import IAsyncService
from contextlib import contextmanager
from plone.app.testing import applyProfile
from plone.app.testing import FunctionalTesting
from plone.app.testing import IntegrationTesting
from plone.app.testing import PLONE_FIXTURE
from plone.app.testing import PloneSandboxLayer
from typing import Any
from uuid import uuid4
from zope.component import getGlobalSiteManager
from zope.component import getUtility

import collective.clockwork
import transaction


__all__ = [
    "COLLECTIVE_CLOCKWORK_FIXTURE",
    "COLLECTIVE_CLOCKWORK_FUNCTIONAL_TESTING",
    "COLLECTIVE_CLOCKWORK_INTEGRATION_TESTING",
    "ClockworkLayer",
    "drain",
    "running_worker",
    "wait_for_result",
    "wait_for_start",
]


class ClockworkLayer(PloneSandboxLayer):
    """A Plone site with the add-on installed; nothing runs jobs by itself."""

    defaultBases = (PLONE_FIXTURE,)

    def setUpZope(self, app, configurationContext):
        self.loadZCML(package=collective.clockwork)

    def setUpPloneSite(self, portal):
        applyProfile(portal, "collective.clockwork:default")


COLLECTIVE_CLOCKWORK_FIXTURE = ClockworkLayer()

COLLECTIVE_CLOCKWORK_INTEGRATION_TESTING = IntegrationTesting(
    bases=(COLLECTIVE_CLOCKWORK_FIXTURE,), name="CollectiveClockwork:Integration"
)

COLLECTIVE_CLOCKWORK_FUNCTIONAL_TESTING = FunctionalTesting(
    bases=(COLLECTIVE_CLOCKWORK_FIXTURE,), name="CollectiveClockwork:Functional"
)


def drain() -> int:
    """Commit, run all due jobs of all queues in this thread, and look again.

    Also runs what these jobs queue in turn. The test sees what they did, and
    its user, site and request are as before. Returns how many were run.
    """
    database = getUtility(IAsyncService).getQueues()._p_jar.db()
    transaction.commit()
    count = engine_testing.drain(database)
    transaction.begin()
    return count


@contextmanager
def running_worker(db: Any, poll_interval: float = 0.2) -> Iterator[Dispatcher]:
    """Have a worker run jobs in its threads while the block lasts.

    ``db`` is the layer's ``zodbDB``. Commit to let it see a job, wait with
    ``wait_for_result``, and begin a transaction to see what a job did.
    """
    registry = getGlobalSiteManager()
    registry.registerHandler(agent_installer, [IDispatcherActivated])
    dispatcher = Dispatcher(db, poll_interval=poll_interval, uuid=uuid4())
    try:
        dispatcher.activate()
        yield dispatcher
    finally:
        transaction.abort()
        engine_testing.tear_down_dispatcher(dispatcher)
        forget_dispatcher(dispatcher.UUID)
        registry.unregisterHandler(agent_installer, [IDispatcherActivated])
