"""What the instance and worker ZCML files do when Zope starts."""

from __future__ import annotations

from collective.clockwork import startup
from collective.clockwork import subscribers
from collective.clockwork.engine import dispatcher
from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.engine.queue import Queue
from collective.clockwork.interfaces import IAsyncDatabase
from collective.clockwork.interfaces import IQueueReady
from collective.clockwork.testing import drain
from collective.clockwork.testing import wait_for_result
from collective.clockwork.tests.plone import instancehome
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.startupcase import StartupTestCase
from pathlib import Path
from tempfile import TemporaryDirectory
from transaction import TransactionManager
from unittest import mock
from ZODB.DB import DB
from ZODB.DemoStorage import DemoStorage
from ZODB.interfaces import IDatabase
from zope.component import getGlobalSiteManager
from zope.component import getUtility
from zope.component import queryUtility
from zope.event import notify
from zope.processlifetime import DatabaseOpenedWithRoot
from zope.processlifetime import ProcessStarting

import subprocess
import sys
import transaction


class TestInstance(StartupTestCase):
    def queue_names(self, db):
        manager = TransactionManager()
        connection = db.open(manager)
        try:
            return list(connection.root().get(KEY, ()))
        finally:
            manager.abort()
            connection.close()

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

    def test_sizes_that_somebody_set_survive_a_restart_of_the_worker(self):
        self.start("single_db_worker.zcml")
        self.wait_until(lambda: self.service.workersAlive() == 1)
        queue = self.service.getQueues()[""]
        queue.quotas["default"].size = 5
        queue.quotas.create("thumbnails", size=2)
        transaction.commit()
        self.stop_worker()
        self.wait_until(lambda: self.service.workersAlive() == 0)
        self.send_the_events_of_a_start()
        self.wait_until(lambda: self.service.workersAlive() == 1)
        names = ("default", "thumbnails")
        self.assertEqual([5, 2], [queue.quotas[name].size for name in names])

    def test_subscribers_hear_of_each_queue_and_each_gets_the_default_quota(self):
        self.service.getQueues()["reports"] = Queue()
        transaction.commit()
        self.load("single_db_worker.zcml")
        ready = []
        getGlobalSiteManager().registerHandler(
            lambda event: ready.append(event.object.name), [IQueueReady]
        )
        self.send_the_events_of_a_start()
        self.wait_until(lambda: sorted(ready) == ["", "reports"])
        self.wait_until(lambda: self.service.workersAlive() == 1)
        quotas = self.service.getQueues()["reports"].quotas
        self.wait_until(lambda: "default" in quotas)
        self.assertEqual(1, quotas["default"].size)

    def test_a_shell_with_the_workers_configuration_runs_no_jobs(self):
        with mock.patch.dict(sys.modules, {"Zope2.utilities.zconsole": mock.sentinel}):
            self.start("single_db_worker.zcml")
        self.assertEqual([], dispatcher.all_dispatchers())

    def test_a_shell_by_python_m_with_the_workers_configuration_runs_no_jobs(self):
        # There the module is the main one, and known by no other name.
        with TemporaryDirectory() as home:
            script = Path(home, "script.py")
            script.write_text(
                "from collective.clockwork.engine import dispatcher\n"
                "from collective.clockwork.interfaces import IAsyncDatabase\n"
                "from zope.component import queryUtility\n"
                "print('ready:', queryUtility(IAsyncDatabase) is not None)\n"
                "print('dispatchers:', dispatcher.all_dispatchers())\n"
            )
            conf = instancehome.write(Path(home))
            shell = [sys.executable, "-m", "Zope2.utilities.zconsole", "run"]
            done = subprocess.run(
                [*shell, conf, script],
                cwd=home,
                capture_output=True,
                text=True,
                timeout=120,
            )
        said = [line for line in done.stdout.splitlines() if ": " in line]
        self.assertEqual(["ready: True", "dispatchers: []"], said, done.stderr)

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
        notify(DatabaseOpenedWithRoot(self.db))
        names = {
            getattr(registration.handler, "__name__", None)
            for registration in getGlobalSiteManager().registeredHandlers()
        }
        self.assertLessEqual(
            {"start_worker", "configureDispatcher", "notifyQueueReady"}, names
        )
