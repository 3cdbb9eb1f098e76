"""What the tests share that start a process's worker inside of the test process."""

from __future__ import annotations

from collective.clockwork import monitorport
from collective.clockwork.engine import dispatcher
from collective.clockwork.engine.testing import tear_down_dispatcher
from collective.clockwork.schedules import scheduler
from collective.clockwork.testing import COLLECTIVE_CLOCKWORK_FIXTURE
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from plone.app.testing import popGlobalRegistry
from plone.app.testing import pushGlobalRegistry
from plone.testing import zca
from unittest import mock
from ZODB.DB import DB
from ZODB.DemoStorage import DemoStorage
from zope.component.hooks import setSite
from zope.component.hooks import site
from zope.configuration import xmlconfig
from zope.event import notify
from zope.processlifetime import DatabaseOpenedWithRoot
from zope.processlifetime import ProcessStarting

import collective.clockwork
import os
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
        scheduler.stop()
        for each in dispatcher.all_dispatchers():
            tear_down_dispatcher(each)
            dispatcher.pop(each.UUID)
        monitorport.stop()

    def load(self, name):
        with site(None):
            xmlconfig.file(name, collective.clockwork, context=self.zcml_context())

    def load_text(self, text):
        with site(None):
            xmlconfig.string(text, context=self.zcml_context())

    def zcml_context(self):
        below = COLLECTIVE_CLOCKWORK_FIXTURE["configurationContext"]
        return zca.stackConfigurationContext(below, "startup")

    def start(self, name):
        self.load(name)
        self.send_the_events_of_a_start()

    def send_the_events_of_a_start(self):
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
