"""What the tests of the pages share: a site, jobs to show, and a browser."""

from __future__ import annotations

from collective.clockwork.testing import COLLECTIVE_CLOCKWORK_FUNCTIONAL_TESTING
from collective.clockwork.tests.plone.stubservice import ACTIVE
from collective.clockwork.tests.plone.stubservice import COMPLETED
from collective.clockwork.tests.plone.stubservice import FAILED
from collective.clockwork.tests.plone.stubservice import install
from collective.clockwork.tests.plone.stubservice import QUEUED
from collective.clockwork.tests.plone.stubservice import StubService
from lxml import html
from plone.app.testing import SITE_OWNER_NAME
from plone.app.testing import SITE_OWNER_PASSWORD
from plone.testing.zope import Browser

import json
import unittest


VIEWS = (
    "@@background-jobs",
    "@@background-jobs-list",
    "@@background-job?id=10",
    "@@jobs.json",
    "@@manage-job-queue",
    "@@manage-job-error?id=10",
)


class BrowserTestCase(unittest.TestCase):
    layer = COLLECTIVE_CLOCKWORK_FUNCTIONAL_TESTING

    #: Whether the jobs come from the real service instead of a list.
    real = False

    def setUp(self):
        self.portal = self.layer["portal"]
        if not self.real:
            jobs = (QUEUED, ACTIVE, COMPLETED, FAILED)
            self.service = install(self, StubService(*jobs))
        self.browser = self.browser_of(SITE_OWNER_NAME, SITE_OWNER_PASSWORD)

    def browser_of(self, name=None, password=None):
        browser = Browser(self.layer["app"])
        browser.handleErrors = True
        browser.raiseHttpErrors = False
        if name is not None:
            credentials = f"Basic {name}:{password}"
            browser.addHeader("Authorization", credentials)
        return browser

    def open(self, view="@@background-jobs"):
        """Open one of our views; what it shows, as a tree."""
        self.browser.open(f"{self.portal.absolute_url()}/{view}")
        return html.fromstring(self.browser.contents)

    def open_json(self, view="@@jobs.json"):
        self.browser.open(f"{self.portal.absolute_url()}/{view}")
        return json.loads(self.browser.contents)

    def shown_ids(self, page):
        return [row.get("id") for row in page.xpath('//tr[starts-with(@id, "job-")]')]


def text(page, path):
    """The text of the one element at `path`, in single spaces."""
    (element,) = page.xpath(path)
    return " ".join(element.text_content().split())
