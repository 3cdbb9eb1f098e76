"""What the tests of schedules share: schedules as they are stored, and the thread's
looks, one by one, at times of the test's choice.
"""

from __future__ import annotations

from collective.clockwork import identity
from collective.clockwork.engine import clock
from collective.clockwork.interfaces import IAsyncDatabase
from collective.clockwork.schedules import model
from collective.clockwork.schedules import outcomes
from collective.clockwork.schedules import scheduler
from collective.clockwork.startup import make_queues
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from plone.app.testing import TEST_USER_ID
from ZODB.DB import DB
from ZODB.MappingStorage import MappingStorage
from zope.component import getGlobalSiteManager

import transaction


#: When the tests begin.
NOON = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)

#: What the worker that fired last is left, and more.
A_MOMENT = timedelta(seconds=1)

HOUR = timedelta(hours=1)


def us(delta):
    return delta // clock.MICROSECOND


def clock_of(moment):
    return f"{moment:%H:%M:%S}"


class ScheduleTestCase(ServiceTestCase):
    """A site whose clock stands still; schedules are hourly unless they say more."""

    def setUp(self):
        super().setUp()
        self.db = self.layer["zodbDB"]
        before = clock.freeze(NOON)
        self.addCleanup(clock.freeze, before)
        self.timekeeper = scheduler.Timekeeper(self.db)

    def use_async_database(self):
        """Have the queues in a database of their own, which can be packed."""
        databases = self.layer["zodbDB"].databases
        self.db = DB(MappingStorage(), databases=databases, database_name="async")
        registry = getGlobalSiteManager()
        registry.registerUtility(self.db, IAsyncDatabase)
        self.addCleanup(registry.unregisterUtility, self.db, IAsyncDatabase)
        make_queues(self.db)
        transaction.begin()
        self.timekeeper = scheduler.Timekeeper(self.db)

    def schedules(self, site=None):
        site = site or self.portal
        connection = site._p_jar.get_connection(self.db.database_name)
        return model.make_schedules(connection).for_site(site)

    def add(self, name="hourly", function=work.add_numbers, site=None, **fields):
        """A schedule that is committed."""
        site = site or self.portal
        given = {
            "function": f"{function.__module__}:{function.__name__}",
            "cron": None if "every" in fields else "0 * * * *",
            "userfolder_path": site.acl_users.getPhysicalPath(),
            "user_id": TEST_USER_ID,
            "since": us(NOON - clock.EPOCH),
            "start": us(NOON - clock.EPOCH),
            **fields,
        }
        schedule = model.Schedule(name, **given)
        self.schedules(site).add(schedule)
        transaction.commit()
        return schedule

    def pass_time(self, delta):
        clock.freeze(clock.now() + delta)

    def look(self, timekeeper=None):
        """One look of the thread, a moment later, with a new transaction after it."""
        self.pass_time(A_MOMENT)
        try:
            return (timekeeper or self.timekeeper).look()
        finally:
            transaction.begin()

    def after(self, delta):
        """Look after so much time, and now, so that the thread knows of all."""
        self.look()
        self.pass_time(delta)
        self.look()

    def kinds(self, schedule):
        return [firing.kind for firing in schedule.record.firings]

    def slots(self, schedule):
        return [
            clock_of(clock.from_us(firing.slot)) for firing in schedule.record.firings
        ]

    def jobs(self, schedule):
        return [
            firing.job for firing in schedule.record.firings if firing.job is not None
        ]

    def queued(self):
        return [job for queue in self.service.getQueues().values() for job in queue]

    def outcome(self, schedule):
        return outcomes.last(schedule)

    def subscribe(self, handler, event):
        registry = getGlobalSiteManager()
        registry.registerHandler(handler, [event])
        self.addCleanup(registry.unregisterHandler, handler, [event])

    def with_other_connection(self, function):
        """Do something with the portal in a transaction of another connection."""
        manager = transaction.TransactionManager()
        connection = self.db.open(manager)
        try:
            app = identity.application(connection)
            result = function(model.schedules_in(connection), app)
            manager.commit()
            return result
        finally:
            manager.abort()
            connection.close()
