"""The monitor port that zope.conf asks for, and the helpers about workers."""

from __future__ import annotations

from App.config import getConfiguration
from collective.clockwork import config
from collective.clockwork import monitorport
from collective.clockwork import subscribers
from collective.clockwork.engine import dispatcher
from collective.clockwork.engine.testing import wait_until
from collective.clockwork.interfaces import IAsyncDatabase
from collective.clockwork.interfaces import IInitAsync
from collective.clockwork.testing import wait_for_result
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.startupcase import StartupTestCase
from datetime import timedelta
from unittest import mock
from zope.component import getGlobalSiteManager
from zope.component import getUtility
from zope.configuration.config import ConfigurationConflictError
from zope.event import notify
from zope.interface.verify import verifyObject
from zope.processlifetime import DatabaseOpenedWithRoot

import json
import os
import socket
import tempfile
import transaction


FOUR_FILES = {
    "single_db_instance.zcml": config.InitSingleDBInstance,
    "multi_db_instance.zcml": config.InitMultiDBInstance,
    "single_db_worker.zcml": config.InitSingleDBWorker,
    "multi_db_worker.zcml": config.InitMultiDBWorker,
}


class ZopeConfTestCase(StartupTestCase):
    def zope_conf(self, **sections):
        """Have zope.conf hold these product-config sections; `_` is a dot."""
        products = {name.replace("_", "."): keys for name, keys in sections.items()}
        patch = mock.patch.object(
            getConfiguration(), "product_config", products, create=True
        )
        patch.start()
        self.addCleanup(patch.stop)


class TestAddress(ZopeConfTestCase):
    def address(self, **sections):
        self.zope_conf(**sections)
        return monitorport.configured_address()

    def test_without_a_section_there_is_none(self):
        self.assertIsNone(self.address(another_product={"monitor": "80"}))

    def test_a_number_is_a_port(self):
        self.assertEqual(8890, self.address(collective_clockwork={"monitor": "8890"}))

    def test_the_section_of_the_old_monitor_is_understood(self):
        self.assertEqual(18882, self.address(zc_z3monitor={"port": "18882"}))

    def test_our_section_goes_before_the_old_one(self):
        found = self.address(
            collective_clockwork={"monitor": "1"}, zc_z3monitor={"port": "2"}
        )
        self.assertEqual(1, found)

    def test_a_host_may_stand_before_the_port(self):
        for value, expected in (
            ("127.0.0.1:8890", ("127.0.0.1", 8890)),
            ("[::1]:8890", ("::1", 8890)),
        ):
            with self.subTest(value):
                found = self.address(collective_clockwork={"monitor": value})
                self.assertEqual(expected, found)

    def test_a_full_file_name_is_a_socket_file(self):
        found = self.address(collective_clockwork={"monitor": "/run/monitor.sock"})
        self.assertEqual("/run/monitor.sock", found)

    def test_what_is_no_address_is_refused_with_section_key_and_remedy(self):
        for value in ("", "eighty", "70000", ":8890", "localhost:", "-1"):
            with self.subTest(value), self.assertRaises(ValueError) as caught:
                self.address(collective_clockwork={"monitor": value})
            text = str(caught.exception)
            self.assertIn("<product-config collective.clockwork>", text)
            self.assertIn(f"monitor {value!r}: give a port", text)


class TestMonitor(ZopeConfTestCase):
    def socket_file(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return os.path.join(folder.name, "monitor")

    def ask(self, path, line):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            client.sendall(f"{line}\n".encode())
            return b"".join(iter(lambda: client.recv(4096), b"")).decode()

    def test_a_worker_answers_where_zope_conf_says_until_it_is_stopped(self):
        path = self.socket_file()
        self.zope_conf(collective_clockwork={"monitor": path})
        self.start("single_db_worker.zcml")
        job = self.service.queueJob(work.add_numbers, self.folder, 40, 2)
        transaction.commit()
        wait_for_result(job)
        wait_until(
            lambda: "completed" in self.ask(path, f"asyncdb job {job.id}"),
            "an answer about the job",
        )
        wait_until(
            lambda: json.loads(self.ask(path, "async status"))["status"] == "RUNNING",
            "a look into the queues",
        )
        monitorport.stop()
        self.assertFalse(os.path.exists(path))

    def test_an_instance_has_no_monitor(self):
        path = self.socket_file()
        self.zope_conf(collective_clockwork={"monitor": path})
        self.start("single_db_instance.zcml")
        self.assertFalse(os.path.exists(path))

    def test_a_monitor_that_cannot_start_does_not_keep_the_worker_from_working(self):
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        port = str(taken.getsockname()[1])
        for value, reason in ((port, "in use"), ("eighty", "give a port")):
            with self.subTest(value):
                self.zope_conf(zc_z3monitor={"port": value})
                with self.assertLogs("collective.clockwork", "ERROR") as logged:
                    self.start("single_db_worker.zcml")
                self.assertIn(reason, logged.output[0])
                job = self.service.queueJob(work.add_numbers, self.folder, 1)
                transaction.commit()
                self.assertEqual(1, wait_for_result(job))
                self.stop_worker()


class TestInitAsync(StartupTestCase):
    def test_each_file_registers_the_class_of_its_name(self):
        for name, kind in FOUR_FILES.items():
            with self.subTest(name):
                self.load(name)
                found = getUtility(IInitAsync)
                self.assertIs(kind, type(found))
                self.assertTrue(verifyObject(IInitAsync, found))

    def test_of_two_files_it_is_said_that_they_conflict(self):
        two = "".join(
            f'<include package="collective.clockwork" file="{name}" />'
            for name in ("single_db_instance.zcml", "single_db_worker.zcml")
        )
        namespace = "http://namespaces.zope.org/zope"
        with self.assertRaisesRegex(ConfigurationConflictError, "IInitAsync"):
            self.load_text(f'<configure xmlns="{namespace}">{two}</configure>')

    def test_a_policy_package_may_have_a_worker_of_its_own(self):
        class Worker(config.InitMultiDBWorker):
            def init(self):
                super().init()
                work.happened.append("prepared")

        other = self.use_async_database()
        self.load("subscribers.zcml")
        getGlobalSiteManager().registerUtility(Worker(), IInitAsync)
        self.send_the_events_of_a_start()
        self.assertEqual(["prepared"], work.happened)
        self.assertIs(other, getUtility(IAsyncDatabase))
        job = self.service.queueJob(work.add_numbers, self.folder, 1)
        transaction.commit()
        self.assertEqual(1, wait_for_result(job))

    def test_asked_twice_it_makes_one_worker(self):
        self.load("single_db_worker.zcml")
        notify(DatabaseOpenedWithRoot(self.db))
        with self.assertNoLogs("collective.clockwork", "ERROR"):
            self.send_the_events_of_a_start()
        self.assertEqual(1, len(dispatcher.all_dispatchers()))

    def test_before_the_databases_are_open_it_says_what_to_wait_for(self):
        with self.assertRaisesRegex(LookupError, "IDatabaseOpenedWithRoot"):
            config.InitSingleDBInstance().init()


class TestHelpers(StartupTestCase):
    def test_a_quota_is_made_or_given_another_size(self):
        queue = self.service.getQueues()[""]
        subscribers.set_quota(queue, "thumbnails", 2)
        self.assertEqual(2, queue.quotas["thumbnails"].size)
        quota = queue.quotas["thumbnails"]
        subscribers.set_quota(queue, "thumbnails", 3)
        self.assertEqual(3, quota.size)
        self.assertIs(quota, queue.quotas["thumbnails"])

    def test_a_size_that_cannot_be_is_refused(self):
        queue = self.service.getQueues()[""]
        for name in ("default", "another"):
            with self.subTest(name), self.assertRaisesRegex(ValueError, "whole number"):
                subscribers.set_quota(queue, name, -1)
        self.assertEqual(1, queue.quotas["default"].size)
        self.assertNotIn("another", queue.quotas)

    def test_ping_intervals_are_given_in_seconds(self):
        self.start("single_db_worker.zcml")
        self.wait_until(lambda: self.service.workersAlive() == 1)
        (agents,) = self.service.getQueues()[""].dispatchers.values()
        subscribers.set_ping_intervals(agents, 20, 50)
        self.assertEqual(timedelta(seconds=20), agents.ping_interval)
        self.assertEqual(timedelta(seconds=50), agents.ping_death_interval)
        with self.assertRaisesRegex(ValueError, "the second more than the first"):
            subscribers.set_ping_intervals(agents, 50, 20)
        self.assertEqual(timedelta(seconds=20), agents.ping_interval)
