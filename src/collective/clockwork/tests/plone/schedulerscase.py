"""What the tests of the schedules' utility and files share."""

from __future__ import annotations

from AccessControl import getSecurityManager
from collective.clockwork.schedules import functions
from collective.clockwork.schedules.interfaces import ISchedulable
from collective.clockwork.schedules.interfaces import IScheduleChanged
from collective.clockwork.schedules.interfaces import IScheduler
from collective.clockwork.tests.plone import work
from collective.clockwork.tests.plone.servicecase import ServiceTestCase
from plone import api
from plone.app.testing import login
from plone.app.testing import setRoles
from plone.app.testing import TEST_USER_ID
from zope.component import getGlobalSiteManager
from zope.component import getUtility

import transaction


#: Registered names of functions of ``work``.
NOTE = "tests.note"
SUM = "tests.sum"

#: Ids of users of the site; their names are the same.
ANNA = "anna"
BERT = "bert"


def tell_user(context):
    """Who runs this."""
    return getSecurityManager().getUser().getId()


class SchedulersTestCase(ServiceTestCase):
    """A site whose test user may manage jobs, with two functions to schedule."""

    def setUp(self):
        super().setUp()
        self.scheduler = getUtility(IScheduler)
        self.register(NOTE, work.note, "Note")
        self.register(SUM, work.add_numbers, "Add numbers")
        setRoles(self.portal, TEST_USER_ID, ["Member", "Site Administrator"])
        self.told = []
        self.handle(IScheduleChanged, self.told.append)
        transaction.commit()

    def register(self, name, function, title, description=""):
        schedulable = functions.Schedulable(function, title, description)
        registry = getGlobalSiteManager()
        registry.registerUtility(schedulable, ISchedulable, name)
        self.addCleanup(registry.unregisterUtility, schedulable, ISchedulable, name)

    def handle(self, event, handler):
        registry = getGlobalSiteManager()
        registry.registerHandler(handler, (event,))
        self.addCleanup(registry.unregisterHandler, handler, (event,))

    def add_user(self, user_id, *roles):
        email = f"{user_id}@example.org"
        with api.env.adopt_roles(["Manager"]):
            api.user.create(email, user_id, "Secret-1234")
        setRoles(self.portal, user_id, roles or ("Member",))

    def be(self, user_id):
        """Be this user of the site."""
        login(self.portal, user_id)

    def add(self, name="notes", function=NOTE, **fields):
        """A schedule that is committed."""
        if function == NOTE:
            fields.setdefault("arguments", {"word": name})
        if "every" not in fields:
            fields.setdefault("cron", "30 2 * * *")
        info = self.scheduler.add(name, function, **fields)
        transaction.commit()
        return info

    def names(self):
        return [info.name for info in self.scheduler.list()]

    def assert_refused(self, kind, parts, call, /, *args, **kwargs):
        """A call raises this, and the message has these parts."""
        with self.assertRaises(kind) as caught:
            call(*args, **kwargs)
        for part in (parts,) if isinstance(parts, str) else parts:
            self.assertIn(part, str(caught.exception))
