"""What the instance and worker ZCML files do when Zope starts."""

from __future__ import annotations

from collective.clockwork import startup
from collective.clockwork import subscribers
from collective.clockwork.engine import dispatcher
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.testing import tear_down_dispatcher
from collective.clockwork.interfaces import IAsyncDatabase
from collective.clockwork.testing import COLLECTIVE_CLOCKWORK_FIXTURE
from collective.clockwork.testing import drain
from collective.clockwork.testing import wait_for_result
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from plone.app.testing import popGlobalRegistry
from plone.app.testing import pushGlobalRegistry
from plone.testing import zca
from transaction import TransactionManager
from unittest import mock
from ZODB.DB import DB
from ZODB.DemoStorage import DemoStorage
from ZODB.interfaces import IDatabase
from zope.component import getGlobalSiteManager
from zope.component import getUtility
from zope.component import queryUtility
from zope.component.hooks import setSite
from zope.component.hooks import site
from zope.configuration import xmlconfig
from zope.event import notify
from zope.processlifetime import DatabaseOpenedWithRoot
from zope.processlifetime import ProcessStarting

import collective.clockwork
import os
import sys
import tempfile
import transaction


class StartupTestCase(ServiceTestCase):
    """Loads a ZCML file for one test and sends the events of Zope's start."""

    def setUp(self):
        super().setUp()
        self.use_uuid_file()
        pushGlobalRegistry(self.portal)
        self.addCleanup(popGlobalRegistry, self.portal)
        self.addCleanup(self.stop_worker)
        setSite(self.portal)
        transaction.commit()
        self.db = self.layer["zodbDB"]

    def use_uuid_file(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        variables = {"ZC_ASYNC_UUID": os.path.join(folder.name, "uuid.txt")}
        environment = mock.patch.dict(os.environ, variables)
        environment.start()
        self.addCleanup(environment.stop)

    def stop_worker(self):
        transaction.abort()
        for each in dispatcher.all_dispatchers():
            tear_down_dispatcher(each)
            dispatcher.pop(each.UUID)

    def load(self, name):
        context = zca.stackConfigurationContext(
            COLLECTIVE_CLOCKWORK_FIXTURE["configurationContext"], "startup"
        )
        with site(None):
            xmlconfig.file(name, collective.clockwork, context=context)

    def start(self, name):
        self.load(name)
        notify(DatabaseOpenedWithRoot(self.db))
        notify(ProcessStarting())

    def use_async_database(self):
        """Have the database be one of two, as with two sections in zope.conf.

        It is in memory and not closed, because that would close the connection
        which the layer still needs after the test.
        """
        name = self.db.database_name
        other = DB(DemoStorage(), databases=self.db.databases, database_name="async")
        self.assertEqual({name, "async"}, set(self.db.databases))
        return other

    def queue_names(self, db):
        manager = TransactionManager()
        connection = db.open(manager)
        try:
            return list(connection.root().get(KEY, ()))
        finally:
            manager.abort()
            connection.close()


class TestInstance(StartupTestCase):
    def test_loading_a_file_starts_nothing(self):
        for name in ("configure.zcml", "single_db_worker.zcml", "multi_db_worker.zcml"):
            self.load(name)
        self.assertIsNone(queryUtility(IAsyncDatabase))
        self.assertEqual([], dispatcher.all_dispatchers())

    def test_an_instance_with_one_database_can_queue(self):
        self.start("single_db_instance.zcml")
        self.assertIs(self.db, getUtility(IAsyncDatabase))
        self.assertIs(self.db, getUtility(IDatabase))
        self.assertIs(self.db, getUtility(IDatabase, self.db.database_name))
        self.assertEqual([""], self.queue_names(self.db))
        self.assertEqual([], dispatcher.all_dispatchers())

    def test_an_instance_with_two_databases_queues_in_the_other_one(self):
        other = self.use_async_database()
        self.start("multi_db_instance.zcml")
        self.assertIs(other, getUtility(IAsyncDatabase))
        self.assertIs(other, getUtility(IDatabase, "async"))
        self.assertEqual([""], self.queue_names(other))
        job = self.service.queueJob(work.add_page, self.folder, "news")
        transaction.commit()
        self.assertIs(other, job._p_jar.db())
        self.assertEqual([], dispatcher.all_dispatchers())

    def test_jobs_of_another_database_work_on_the_main_one(self):
        self.use_async_database()
        self.start("multi_db_instance.zcml")
        job = self.service.queueJob(work.add_page, self.folder, "news")
        drain()
        self.assertEqual("news", job.result)
        self.assertIn("news", self.folder)

    def test_without_the_other_database_zope_starts_and_says_what_is_missing(self):
        with self.assertLogs("collective.clockwork", "ERROR") as logged:
            self.start("multi_db_worker.zcml")
        self.assertIn("add a section <zodb_db async>", logged.output[0])
        self.assertIsNone(queryUtility(IAsyncDatabase))
        self.assertEqual([], dispatcher.all_dispatchers())

    def test_a_quota_that_somebody_enlarged_survives_a_start(self):
        self.service.getQueues()[""].quotas["default"].size = 3
        transaction.commit()
        startup.make_queues(self.db)
        transaction.begin()
        self.assertEqual(3, self.service.getQueues()[""].quotas["default"].size)

    def test_queues_are_made_in_an_empty_database(self):
        db = DB(DemoStorage())
        self.addCleanup(db.close)
        startup.make_queues(db)
        self.assertEqual([""], self.queue_names(db))


class TestWorker(StartupTestCase):
    def test_a_worker_runs_jobs(self):
        self.start("single_db_worker.zcml")
        self.assertEqual(1, len(dispatcher.all_dispatchers()))
        job = self.service.queueJob(work.add_page, self.folder, "news")
        transaction.commit()
        self.assertEqual("news", wait_for_result(job))

    def test_a_worker_of_two_databases_runs_jobs(self):
        self.use_async_database()
        self.start("multi_db_worker.zcml")
        job = self.service.queueJob(work.add_page, self.folder, "news")
        transaction.commit()
        self.assertEqual("news", wait_for_result(job))

    def test_a_worker_has_an_agent_and_the_ping_intervals(self):
        self.start("single_db_worker.zcml")
        self.wait_until(lambda: self.service.workersAlive() == 1)
        (agents,) = self.service.getQueues()[""].dispatchers.values()
        self.wait_until(lambda: "main" in agents)
        self.assertEqual(subscribers.PING_INTERVAL, agents.ping_interval)
        self.assertEqual(subscribers.PING_DEATH_INTERVAL, agents.ping_death_interval)

    def test_a_worker_keeps_a_quota_that_somebody_enlarged(self):
        self.service.getQueues()[""].quotas["default"].size = 3
        transaction.commit()
        self.start("single_db_worker.zcml")
        self.wait_until(lambda: self.service.workersAlive() == 1)
        self.assertEqual(3, self.service.getQueues()[""].quotas["default"].size)

    def test_a_shell_with_the_workers_configuration_runs_no_jobs(self):
        with mock.patch.dict(sys.modules, {"Zope2.utilities.zconsole": mock.sentinel}):
            self.start("single_db_worker.zcml")
        self.assertEqual([], dispatcher.all_dispatchers())

    def test_a_script_that_only_opens_the_application_runs_no_jobs(self):
        self.load("single_db_worker.zcml")
        notify(DatabaseOpenedWithRoot(self.db))
        self.assertEqual([], dispatcher.all_dispatchers())

    def test_that_a_worker_cannot_start_does_not_keep_zope_from_starting(self):
        self.load("single_db_worker.zcml")
        with mock.patch.object(startup, "start_dispatcher", side_effect=OSError("x")):
            with self.assertLogs("collective.clockwork", "ERROR") as logged:
                notify(DatabaseOpenedWithRoot(self.db))
                notify(ProcessStarting())
        self.assertIn("this process runs no jobs", logged.output[0])

    def test_handlers_are_global(self):
        self.load("single_db_worker.zcml")
        names = {
            getattr(registration.handler, "__name__", None)
            for registration in getGlobalSiteManager().registeredHandlers()
        }
        self.assertLessEqual(
            {"start_worker", "configureDispatcher", "notifyQueueReady"}, names
        )
