"""What the tests of the service share: a site, a folder, a user, and a worker."""

from __future__ import annotations

from collective.clockwork.interfaces import IAsyncService
from collective.clockwork.testing import COLLECTIVE_CLOCKWORK_FUNCTIONAL_TESTING
from collective.clockwork.testing import drain
from collective.clockwork.tests.plone import work
from plone import api
from plone.app.testing import applyProfile
from plone.app.testing import login
from plone.app.testing import setRoles
from plone.app.testing import SITE_OWNER_NAME
from plone.app.testing import TEST_USER_ID
from plone.app.testing import TEST_USER_NAME
from Products.CMFPlone.factory import addPloneSite
from zope.component import getUtility
from zope.component.hooks import setSite

import threading
import time
import transaction
import unittest


def add_site(app, site_id):
    """A second site in the same database, with the add-on; it is the current one."""
    site = addPloneSite(app, site_id, setup_content=False)
    setSite(site)
    applyProfile(site, "collective.clockwork:default")
    transaction.commit()
    return site


class ServiceTestCase(unittest.TestCase):
    """A site with a folder that the test user, an ordinary Member, owns."""

    layer = COLLECTIVE_CLOCKWORK_FUNCTIONAL_TESTING

    def setUp(self):
        self.portal = self.layer["portal"]
        self.service = getUtility(IAsyncService)
        work.happened.clear()
        self.addCleanup(work.happened.clear)
        for event in (work.begun, work.released, *work.gates.values()):
            event.clear()
        while not work.arrivals.empty():
            work.arrivals.get()
        setRoles(self.portal, TEST_USER_ID, ["Manager"])
        self.portal.portal_workflow.setDefaultChain("simple_publication_workflow")
        self.folder = api.content.create(self.portal, "Folder", "folder")
        setRoles(self.portal, TEST_USER_ID, ["Member"])
        transaction.commit()

    def login_as_site_owner(self):
        login(self.layer["app"], SITE_OWNER_NAME)

    def login_as_test_user(self):
        login(self.portal, TEST_USER_NAME)

    def result_of(self, func, *args, **kwargs):
        """Queue a job on the folder, have it run, and return its result."""
        return self.run_job(self.service.queueJob(func, self.folder, *args, **kwargs))

    def run_job(self, job):
        drain()
        self.assertEqual("completed-status", job.status)
        return job.result

    def wait_until(self, condition, seconds=20):
        """Begin transactions until the condition is true; fail after the deadline."""
        deadline = time.monotonic() + seconds
        changed = threading.Event()
        while time.monotonic() < deadline:
            transaction.begin()
            if condition():
                return
            changed.wait(0.02)
        self.fail(f"not true within {seconds} s")

    def stored_jobs(self):
        """How many jobs wait, after a commit and a look into the database."""
        transaction.commit()
        return sum(map(len, self.service.getQueues().values()))
