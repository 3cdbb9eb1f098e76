"""In the browser, while a worker runs."""

from collective.clockwork.interfaces import IAsyncService
from collective.clockwork.testing import wait_for_result
from collective.greenhouse.testing import GREENHOUSE_WORKER_TESTING
from plone import api
from plone.app.testing import TEST_USER_NAME
from plone.app.testing import TEST_USER_PASSWORD
from plone.testing.zope import Browser
from zope.component import getUtility

import transaction
import unittest


class BrowserTests(unittest.TestCase):
    layer = GREENHOUSE_WORKER_TESTING

    def setUp(self):
        self.greenhouse = self.layer["test-folder"]
        api.content.create(self.greenhouse, "Document", "basil")
        transaction.commit()
        self.browser = Browser(self.layer["app"])
        self.browser.handleErrors = False
        self.browser.addHeader(
            "Authorization", f"Basic {TEST_USER_NAME}:{TEST_USER_PASSWORD}"
        )

    def test_what_the_button_starts_is_seen_when_it_is_done(self):
        self.browser.open(f"{self.greenhouse.absolute_url()}/@@water")
        self.browser.getControl("Litres").value = "3"
        self.browser.getControl("Water").click()
        self.assertIn("watered in the background", self.browser.contents)
        # Queued behind it, in a quota of one: when this is done, so is that.
        service = getUtility(IAsyncService)
        job = service.queueJob(api.content.get_uuid, self.greenhouse)
        transaction.commit()
        wait_for_result(job)
        self.browser.open(f"{self.greenhouse.absolute_url()}/@@water")
        self.assertIn("<li>1 plants watered</li>", self.browser.contents)
        self.assertIn("3 litres", self.greenhouse["basil"].Description())
