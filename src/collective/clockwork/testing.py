"""Test layers with background jobs, for this package and for other add-ons.

The layers are described in ``testlayers``. On those where nothing runs jobs by
itself a test has them run in one of two ways:

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

``testtools`` has shorter ways for single calls, and assertions about what is queued.

All of them commit, so they belong on a functional layer, which gives each test a
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
from collective.clockwork.testlayers import _dispatcher_uuid
from collective.clockwork.testlayers import AsyncFunctionalTesting
from collective.clockwork.testlayers import AsyncLayer
from collective.clockwork.testlayers import cleanUpDispatcher
from collective.clockwork.testlayers import ClockworkLayer
from collective.clockwork.testlayers import COLLECTIVE_CLOCKWORK_FIXTURE
from collective.clockwork.testlayers import COLLECTIVE_CLOCKWORK_FUNCTIONAL_TESTING
from collective.clockwork.testlayers import COLLECTIVE_CLOCKWORK_INTEGRATION_TESTING
from collective.clockwork.testlayers import (
    COLLECTIVE_CLOCKWORK_WORKER_ACCEPTANCE_TESTING,
)
from collective.clockwork.testlayers import COLLECTIVE_CLOCKWORK_WORKER_FIXTURE
from collective.clockwork.testlayers import (
    COLLECTIVE_CLOCKWORK_WORKER_FUNCTIONAL_TESTING,
)
from collective.clockwork.testlayers import (
    COLLECTIVE_CLOCKWORK_WORKER_INTEGRATION_TESTING,
)
from collective.clockwork.testlayers import createAsyncDB
from collective.clockwork.testlayers import FunctionalTesting
from collective.clockwork.testlayers import IntegrationTesting
from collective.clockwork.testlayers import LayerMixin
from collective.clockwork.testlayers import PLONE_APP_ASYNC_FIXTURE
from collective.clockwork.testlayers import PLONE_APP_ASYNC_FUNCTIONAL_TESTING
from collective.clockwork.testlayers import PLONE_APP_ASYNC_INTEGRATION_TESTING
from collective.clockwork.testlayers import PLONE_APP_ASYNC_SELENIUM_TESTING
from collective.clockwork.testlayers import PLONE_MANAGER_ID
from collective.clockwork.testlayers import PLONE_MANAGER_NAME
from collective.clockwork.testlayers import PLONE_MANAGER_PASSWORD
from collective.clockwork.testlayers import registerAsyncLayers
from collective.clockwork.testlayers import setUpDispatcher
from collective.clockwork.testlayers import setUpQueue
from collective.clockwork.testtools import assert_not_queued
from collective.clockwork.testtools import assert_queued
from collective.clockwork.testtools import eager
from collective.clockwork.testtools import perform
from collective.clockwork.testtools import travel
from contextlib import contextmanager
from plone.app.testing import TEST_USER_ID
from plone.app.testing import TEST_USER_NAME
from plone.app.testing import TEST_USER_PASSWORD
from plone.app.testing import TEST_USER_ROLES
from typing import Any
from uuid import uuid4
from zope.component import getGlobalSiteManager
from zope.component import getUtility

import transaction


__all__ = [
    "AsyncFunctionalTesting",
    "AsyncLayer",
    "COLLECTIVE_CLOCKWORK_FIXTURE",
    "COLLECTIVE_CLOCKWORK_FUNCTIONAL_TESTING",
    "COLLECTIVE_CLOCKWORK_INTEGRATION_TESTING",
    "COLLECTIVE_CLOCKWORK_WORKER_ACCEPTANCE_TESTING",
    "COLLECTIVE_CLOCKWORK_WORKER_FIXTURE",
    "COLLECTIVE_CLOCKWORK_WORKER_FUNCTIONAL_TESTING",
    "COLLECTIVE_CLOCKWORK_WORKER_INTEGRATION_TESTING",
    "ClockworkLayer",
    "FunctionalTesting",
    "IntegrationTesting",
    "LayerMixin",
    "PLONE_APP_ASYNC_FIXTURE",
    "PLONE_APP_ASYNC_FUNCTIONAL_TESTING",
    "PLONE_APP_ASYNC_INTEGRATION_TESTING",
    "PLONE_APP_ASYNC_SELENIUM_TESTING",
    "PLONE_MANAGER_ID",
    "PLONE_MANAGER_NAME",
    "PLONE_MANAGER_PASSWORD",
    "TEST_USER_ID",
    "TEST_USER_NAME",
    "TEST_USER_PASSWORD",
    "TEST_USER_ROLES",
    "_dispatcher_uuid",
    "assert_not_queued",
    "assert_queued",
    "cleanUpDispatcher",
    "createAsyncDB",
    "drain",
    "eager",
    "perform",
    "registerAsyncLayers",
    "running_worker",
    "setUpDispatcher",
    "setUpQueue",
    "travel",
    "wait_for_result",
    "wait_for_start",
]


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
