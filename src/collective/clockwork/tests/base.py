"""Base classes for tests with a worker, by the names that plone.app.async had.

Tests of add-ons import them from here.
"""

from __future__ import annotations

from collections.abc import Iterable
from collective.clockwork.interfaces import IAsyncService
from collective.clockwork.testing import PLONE_APP_ASYNC_FUNCTIONAL_TESTING
from collective.clockwork.testing import PLONE_APP_ASYNC_INTEGRATION_TESTING
from collective.clockwork.testing import TEST_USER_ID
from collective.clockwork.testing import TEST_USER_NAME
from collective.clockwork.testing import TEST_USER_PASSWORD
from plone.app.testing import login
from plone.app.testing import logout
from plone.app.testing import setRoles
from plone.testing.zope import Browser
from zope.component import getUtility

import unittest


class SiteMixin:
    """What both kinds of tests have: a site, the service, and who the user is.

    Neither is derived from the other: a test runner may set up the layer of a class
    for the classes derived from it as well, and each test has one layer.
    """

    def setUp(self):
        super().setUp()
        self.app = self.layer["app"]
        self.portal = self.layer["portal"]
        self.folder = self.layer["test-folder"]
        #: It was ``self.async`` once, which is no name in Python 3.
        self.async_ = getUtility(IAsyncService)

    def login(self, name: str = TEST_USER_NAME) -> None:
        """Be this user of the site."""
        login(self.portal, name)

    def logout(self) -> None:
        """Be anonymous."""
        logout()

    def setRoles(self, roles: Iterable[str], user_id: str = TEST_USER_ID) -> None:
        """Give a user of the site these roles, and no others."""
        setRoles(self.portal, user_id, list(roles))


class AsyncTestCase(SiteMixin, unittest.TestCase):
    """A site with a worker; the test user, a Member, owns ``self.folder``."""

    layer = PLONE_APP_ASYNC_INTEGRATION_TESTING


class FunctionalAsyncTestCase(SiteMixin, unittest.TestCase):
    """The same with a browser."""

    layer = PLONE_APP_ASYNC_FUNCTIONAL_TESTING

    def getCredentials(self) -> str:
        """Name and password of the test user, with a colon between."""
        return f"{TEST_USER_NAME}:{TEST_USER_PASSWORD}"

    def getBrowser(self, loggedIn: bool = True) -> Browser:
        """A browser of the test user, or of anonymous; errors are raised in the test.

        It sees what was committed.
        """
        browser = Browser(self.app)
        browser.handleErrors = False
        if loggedIn:
            browser.addHeader("Authorization", f"Basic {self.getCredentials()}")
        return browser
