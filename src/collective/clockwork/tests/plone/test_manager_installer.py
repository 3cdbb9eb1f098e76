"""The subscribers that make the place for the manager's containers."""

from __future__ import annotations

from collective.clockwork.engine.interfaces import DatabaseOpened
from collective.clockwork.engine.interfaces import IObjectAdded
from collective.clockwork.interfaces import IAsyncDatabase
from collective.clockwork.manager import AsyncJob
from collective.clockwork.manager import IJobManager
from collective.clockwork.manager import job_container_installer
from collective.clockwork.manager import KEY
from collective.clockwork.manager import multidb_job_container_installer
from collective.clockwork.startup import make_queues
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from contextlib import closing
from unittest import mock
from ZODB.DB import DB
from ZODB.MappingStorage import MappingStorage
from zope.component import getGlobalSiteManager
from zope.component import getUtility

import operator
import transaction
import unittest


class TestInstallers(unittest.TestCase):
    def setUp(self):
        self.databases = {}
        self.main, self.other = map(self.database, ("unnamed", "async"))

    def database(self, name):
        made = DB(MappingStorage(), databases=self.databases, database_name=name)
        self.addCleanup(made.close)
        return made

    def stored(self, database):
        with closing(database.open(transaction.TransactionManager())) as connection:
            found = connection.root().get(KEY)
            return None if found is None else found._p_oid

    def test_they_make_what_is_missing_once_and_tell(self):
        told = []
        registry = getGlobalSiteManager()
        registry.registerHandler(told.append, [IObjectAdded])
        self.addCleanup(registry.unregisterHandler, told.append, [IObjectAdded])
        job_container_installer(DatabaseOpened(self.main))
        oid = self.stored(self.main)
        self.assertIsNotNone(oid)
        job_container_installer(DatabaseOpened(self.main))
        self.assertEqual(oid, self.stored(self.main))
        self.assertEqual([KEY], [event.name for event in told])

    def test_the_named_database_gets_it_and_the_opened_one_does_not(self):
        multidb_job_container_installer(DatabaseOpened(self.main))
        self.assertIsNone(self.stored(self.main))
        self.assertIsNotNone(self.stored(self.other))

    def test_an_error_is_not_hidden_and_the_connection_is_closed(self):
        lonely = DB(MappingStorage())
        self.addCleanup(lonely.close)
        with self.assertRaises(KeyError):
            multidb_job_container_installer(DatabaseOpened(lonely))
        (info,) = lonely.connectionDebugInfo()
        self.assertIsNone(info["opened"])

        event = mock.Mock()
        event.database.open.side_effect = OSError("the storage is away")
        with self.assertRaisesRegex(OSError, "is away"):
            job_container_installer(event)


class TestTwoDatabases(ServiceTestCase):
    def test_jobs_are_kept_where_the_queues_are(self):
        main = self.layer["zodbDB"]
        other = DB(
            MappingStorage(), databases=main.databases, database_name="jobs-elsewhere"
        )
        self.addCleanup(main.databases.pop, "jobs-elsewhere")
        self.addCleanup(other.close)
        make_queues(other)
        registry = getGlobalSiteManager()
        registry.registerUtility(other, IAsyncDatabase)
        self.addCleanup(registry.unregisterUtility, other, IAsyncDatabase)
        manager = getUtility(IJobManager)
        job = AsyncJob(operator.add, 40, 2)
        job_id = manager.put(job)
        transaction.commit()
        self.assertEqual("jobs-elsewhere", job._p_jar.db().database_name)
        self.assertEqual([job_id], [each for each, _job in manager.jobs()])
        self.assertIn(KEY, job._p_jar.root())
